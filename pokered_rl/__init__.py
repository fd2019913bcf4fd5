"""Recurrent value-based reinforcement learning (R2D2) on Pokémon Red, TorchRL-native.

The names that most experiments need are here; they load on first use, so that ``import pokered_rl`` alone is quick. The
only thing that it does is to tell Gymnasium the names of the environment's classes: `GYMNASIUM_ID` works in
``gymnasium.make`` and ``gymnasium.make_vec`` from then on.

Example:
    >>> from pokered_rl import PokemonRedEnv
    >>> env = PokemonRedEnv(num_emulators=2)  # without a ROM of your own it plays Sprout
    >>> env.rollout(3).batch_size
    torch.Size([2, 3])
    >>> env.close()
"""

import signal
import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

# Ctrl-C while the command `pokered_rl` is loaded ends it without a traceback; once it listens it handles that itself.
_is_command = bool(sys.argv) and Path(sys.argv[0]).name == "pokered_rl"
if _is_command and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)

import gymnasium  # noqa: E402 - after the signal

if TYPE_CHECKING:
    from .data import SequenceBuilder, make_replay
    from .emulator import ActionSet, ActionTiming, Cartridge, Emulator, EmulatorPool, SaveState
    from .envs import PokemonRedEnv, make_env
    from .errors import PokeredError
    from .game import GameState, ScreenKind, screen_kind, usable_buttons
    from .modules import R2D2Network, R2D2Policy
    from .objectives import R2D2Loss
    from .training import Callback, Experiment

__all__ = [
    "GYMNASIUM_ID",
    "ActionSet",
    "ActionTiming",
    "Callback",
    "Cartridge",
    "Emulator",
    "EmulatorPool",
    "Experiment",
    "GameState",
    "PokemonRedEnv",
    "PokeredError",
    "R2D2Loss",
    "R2D2Network",
    "R2D2Policy",
    "SaveState",
    "ScreenKind",
    "SequenceBuilder",
    "make_env",
    "make_replay",
    "screen_kind",
    "usable_buttons",
]

#: The environment's name for ``gymnasium.make`` and ``gymnasium.make_vec``.
GYMNASIUM_ID = "pokered_rl/PokemonRed-v0"

gymnasium.register(
    GYMNASIUM_ID,
    entry_point="pokered_rl.envs.gymnasium:PokemonRedGymEnv",
    vector_entry_point="pokered_rl.envs.gymnasium:PokemonRedVectorEnv",
    # Wrappers would hide action_masks(); the environment itself refuses a step before the first reset.
    order_enforce=False,
    disable_env_checker=True,
)

_HOME = {
    "data": ("SequenceBuilder", "make_replay"),
    "emulator": ("ActionSet", "ActionTiming", "Cartridge", "Emulator", "EmulatorPool", "SaveState"),
    "envs": ("PokemonRedEnv", "make_env"),
    "errors": ("PokeredError",),
    "game": ("GameState", "ScreenKind", "screen_kind", "usable_buttons"),
    "modules": ("R2D2Policy", "R2D2Network"),
    "objectives": ("R2D2Loss",),
    "training": ("Callback", "Experiment"),
}
_ROOM_OF = {name: room for room, names in _HOME.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _ROOM_OF:
        raise AttributeError(f"module 'pokered_rl' has no attribute {name!r}")
    value = getattr(import_module(f".{_ROOM_OF[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
