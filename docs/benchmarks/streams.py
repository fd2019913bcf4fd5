"""What the rows of emulation play: the recorded game of the expert, its walking alone, or random keys.

The recording is ``docs/reference/proofs/expert.proof``, Sprout from power-on to the hall of fame, written by
``python docs/benchmarks/board.py``. Each emulator plays its own part of it, from the state in which that part begins.
"""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from bare import playable_state, scripted_actions
from pokered_rl.emulator import ActionSet, Cartridge, EmulatorPool, SaveState
from pokered_rl.envs import StartStates
from pokered_rl.envs.start_states import StartState
from pokered_rl.episodes.proof import Proof
from pokered_rl.game import FULL_LAYOUT, ScreenKind, screen_kind

RECORDING = Path(__file__).parents[1] / "reference" / "proofs" / "expert.proof"
#: Parts that the recording is cut into, so that as many emulators begin in different places.
_PARTS = 32
#: Longest stretches of the pad alone, which are walking.
_WALKS = 8
_PAD = ("up", "down", "left", "right")
_RANDOM_STEPS = 2_000
#: What a mixture is made of, by the names of the screens; anything else is a menu.
_SHARES = {
    "walking": ("OVERWORLD", "WALKING", "SCRIPTED", "TRANSITION"),
    "text": ("TEXT_PRINTING", "TEXT_WAITING"),
    "battle": ("BATTLE_LEFT", "BATTLE_RIGHT", "BATTLE_BUSY", "MOVE_LIST"),
}


class PlacedStates(StartStates):
    """Start states of which emulator i begins in number i."""

    def draw(self, generator: np.random.Generator, *, emulator: int = 0, num_emulators: int = 1) -> StartState:
        """Return the state of that emulator."""
        return self._entries[emulator % len(self)]


@dataclass(frozen=True, eq=False)
class Stream:
    """Actions [T, E] that E emulators play from their states, again from the beginning when they are through."""

    states: tuple[SaveState, ...]
    actions: NDArray[np.int64]
    #: Waiting frames [T, E] of the recording; None where they are not known.
    waits: NDArray[np.int64] | None = None

    @property
    def start_states(self) -> PlacedStates:
        """The states, for an environment."""
        return PlacedStates(self.states)


@dataclass(frozen=True, eq=False)
class _Recording:
    actions: NDArray[np.int64]  # [T]
    waits: NDArray[np.int64]  # [T]
    kinds: NDArray[np.uint8]  # [T], screen before each step
    states: dict[int, SaveState]  # step -> state before it
    walks: list[int]  # first steps of stretches of walking
    walk_steps: int  # of the shortest of them


@cache
def recording() -> _Recording:
    """Play the recording once; take the states from which its parts begin.

    Raises:
        SystemExit: The cartridge is not that of the recording.
    """
    proof, cartridge = Proof.load(RECORDING), Cartridge.find()
    if proof.cartridge_sha1 != cartridge.sha1:
        raise SystemExit(f"{RECORDING.name} was played on {proof.cartridge_title}, not on {cartridge.title}")
    boot, leg = proof.legs
    actions, waits = proof.actions[boot.steps :], proof.wait_frames[boot.steps :].astype(np.int64)
    edges = np.flatnonzero(np.diff(np.isin(actions, [leg.actions.index(name) for name in _PAD]), prepend=0, append=0))
    begins, lengths = edges[::2], edges[1::2] - edges[::2]
    longest = np.argsort(-lengths)[:_WALKS]
    walks = begins[longest].tolist()
    kept = {*walks, *range(0, leg.steps, leg.steps // _PARTS)}
    rams = np.empty((leg.steps, FULL_LAYOUT.size), np.uint8)
    states = {}
    with EmulatorPool(cartridge, num_emulators=1, actions=ActionSet(leg.actions)) as pool:
        pool.reset([0], [playable_state(cartridge)])
        emulator = pool.emulators[0]
        for step, action in enumerate(actions.tolist()):
            emulator.read_ram_into(FULL_LAYOUT, rams[step])
            if step in kept:
                states[step] = emulator.save_state()
            if pool.step([action]).wait_frames[0] != waits[step]:
                raise SystemExit(f"{RECORDING.name} departs at step {step}: make it anew with docs/benchmarks/board.py")
    return _Recording(
        actions=np.array([ActionSet().names.index(name) for name in leg.actions])[actions],
        waits=waits,
        kinds=screen_kind(torch.from_numpy(rams), FULL_LAYOUT, stack=cartridge.profile.stack_words).numpy(),
        states=states,
        walks=walks,
        walk_steps=int(lengths[longest].min()),
    )


def mixture() -> dict[str, float]:
    """Return the shares of the recording's steps by what is on the screen."""
    kinds = recording().kinds
    shares = {name: float(np.isin(kinds, [ScreenKind[each] for each in of]).mean()) for name, of in _SHARES.items()}
    return {name: round(share, 3) for name, share in (shares | {"menus": 1 - sum(shares.values())}).items()}


def _stream(begins: list[int], steps: int) -> Stream:
    played = recording()
    places = np.array(begins) + np.arange(steps)[:, None]  # [T, E]
    return Stream(tuple(played.states[step] for step in begins), played.actions[places], played.waits[places])


def recorded(emulators: int) -> Stream:
    """Return the recorded game, a part of it for each of at most 32 emulators."""
    steps = len(recording().actions) // _PARTS
    share = _PARTS // emulators
    return _stream([emulator * share * steps for emulator in range(emulators)], share * steps)


def walking(emulators: int) -> Stream:
    """Return the longest stretches of walking in the recording."""
    played = recording()
    return _stream([played.walks[emulator % _WALKS] for emulator in range(emulators)], played.walk_steps)


def random_keys(emulators: int) -> Stream:
    """Return random keys, all from the game's beginning."""
    state = playable_state(Cartridge.find())
    actions = scripted_actions(_RANDOM_STEPS, emulators, num_actions=len(ActionSet()))
    return Stream((state,) * emulators, actions)
