"""Make save states at the milestones of Sprout's story by replaying its recorded walkthrough."""

import json
import os
import re
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any

from pokered_rl.emulator.cartridge import Cartridge
from pokered_rl.emulator.emulator import PYBOY_VERSION, Emulator
from pokered_rl.emulator.savestate import SaveState
from pokered_rl.errors import CartridgeError, EpisodeLogError, SaveStateError

__all__ = ["CACHE_VARIABLE", "start_states"]

#: Environment variable that names the cache folder.
CACHE_VARIABLE = "POKERED_CACHE"

_KEYS = dict(zip("ABCSRLUD", ("a", "b", "select", "start", "right", "left", "up", "down"), strict=True))
_EVENT = re.compile(r"(\d+)([A-Za-z.])")


def start_states(cartridge: Cartridge | str | os.PathLike[str] = "sprout") -> dict[str, Path]:
    """Return save states at the milestones of the story, to begin episodes from.

    The first call replays the walkthrough of the bundled cartridge (some seconds) and keeps the states in the user's
    cache folder; later calls read them there. Each state is the first one after its milestone in which the player is
    on a map and can act.

    Args:
        cartridge: ``"sprout"`` for the bundled cartridge, a :class:`Cartridge` or a ROM file.

    Returns:
        Milestone to file, in the order of the story; the files are what ``start_states`` of an environment and
        ``env.start_states`` of a configuration take.

    Raises:
        CartridgeError: There is no walkthrough of this cartridge.
        EpisodeLogError: The walkthrough did not replay as it was recorded.

    Example:
        >>> from pokered_rl.emulator import start_states
        >>> states = start_states("sprout")
        >>> list(states)[:3]
        ['leave_home', 'starter', 'rival_1']
    """
    if cartridge == "sprout":
        cartridge = Cartridge.bundled()
    elif not isinstance(cartridge, Cartridge):
        cartridge = Cartridge.find(cartridge)
    recording = _recording()
    _refuse_others(cartridge, recording["cartridge_sha1"])
    folder = _cache_folder() / "start_states" / f"{cartridge.sha1[:12]}-pyboy-{PYBOY_VERSION}"
    files = {part["name"]: folder / f"{part['name']}.state" for part in recording["milestones"]}
    if not all(_is_whole(file) for file in files.values()):
        for name, state in _replay(cartridge, recording):
            state.save(files[name])
    return files


def _recording() -> dict[str, Any]:
    """Read what ``tests/roms/record_walkthrough.py`` wrote.

    It has the SHA-1 of the cartridge, and for each milestone the keys from the one before to it and the RAM hash there.
    ``12A4a9.``: after 12 frames A goes down, 4 later up again, 9 later the part ends.
    """
    file = resources.files("pokered_rl.emulator") / "data" / "sprout_walkthrough.json"
    recording: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return recording


def _refuse_others(cartridge: Cartridge, known_sha1: str) -> None:
    if cartridge.sha1 == known_sha1:
        return
    found = f"{cartridge.path} ({cartridge.title!r}, SHA-1 {cartridge.sha1})"
    if cartridge.kind == "sprout":
        raise CartridgeError(
            f"The walkthrough of Sprout was recorded on SHA-1 {known_sha1}, not on {found}. Record it on your build: "
            f"python tests/roms/record_walkthrough.py"
        )
    raise CartridgeError(
        f"There is no walkthrough of {found}, only of Sprout. Play to where episodes should begin and save a state "
        f"there: docs/howto/your_rom.md."
    )


def _cache_folder() -> Path:
    named = os.environ.get(CACHE_VARIABLE)
    if named:
        return Path(named)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pokered_rl"


def _is_whole(file: Path) -> bool:
    try:
        SaveState.load(file)
    except SaveStateError:
        return False
    return True


def _replay(cartridge: Cartridge, recording: dict[str, Any]) -> Iterator[tuple[str, SaveState]]:
    """Play from power-on; yield each milestone and the state there."""
    with Emulator(cartridge) as emulator:
        for part in recording["milestones"]:
            for frames, key in _EVENT.findall(part["keys"]):
                emulator.tick(int(frames))
                if key == ".":
                    continue
                press = key.isupper()
                (emulator.press if press else emulator.release)(_KEYS[key.upper()])
            if part["keys"]:  # none: reached together with the one before
                emulator.tick(1, render=True)  # a state shows its picture
            if emulator.ram_hash() != part["ram_sha256"]:
                raise EpisodeLogError(
                    f"The walkthrough of {cartridge.title!r} does not replay with PyBoy {PYBOY_VERSION}: RAM differs "
                    f"at {part['name']!r}. It was recorded with PyBoy {recording['pyboy']}."
                )
            yield part["name"], emulator.save_state()
