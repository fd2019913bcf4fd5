"""Read states that PyBoy itself wrote, of this release or an older one."""

import os

from pokered_rl.emulator.cartridge import Cartridge
from pokered_rl.emulator.emulator import PYBOY_VERSION, STATE_VERSION, Emulator
from pokered_rl.emulator.savestate import MAGIC, SaveState, read_state_file
from pokered_rl.emulator.state_layout import as_version_12, halted_at, is_colour, with_stat_transition
from pokered_rl.errors import SaveStateError

__all__ = ["load_raw"]

_HALT = 0x76
#: Battery memory by the code at 0x149 of the header, as PyBoy allocates it.
_BATTERY_BYTES = {0: 8192, 1: 8192, 2: 8192, 3: 32768, 4: 131072, 5: 65536}


def load_raw(path: str | os.PathLike[str], cartridge: Cartridge) -> SaveState:
    """Read a state file for a cartridge: of this library, or of any PyBoy release.

    A bare PyBoy state is loaded and saved again, so the result is a state of the installed PyBoy. By the version in its
    first byte (for PyBoy 2.8.1; tried with 33 public states of the retail game, and with states that PyBoy 2.4.0,
    2.5.0, 2.5.4, 2.6.1, 2.7.0, 2.7.1 and 2.8.0 wrote):

    - 7 (PyBoy 1.5) and 29 (2.8) load as they are;
    - 8-12 (1.6 to 2.4) lack one byte, which is inserted;
    - 13-17 (2.5 to 2.7.1) are converted without their sound part;
    - 18-28 (between releases) are tried as they are, and refused when PyBoy cannot read them;
    - newer ones are refused.

    A bare state does not name its cartridge. Checked are sizes, and that a halted CPU is at a HALT instruction of this
    ROM.

    Args:
        path: The file.
        cartridge: The cartridge it was saved from.

    Raises:
        SaveStateError: The file cannot be read, is not a state, is of Game Boy Color mode or a version that does not
            load, or was saved from another cartridge.
    """
    data = read_state_file(path)
    if data.startswith(MAGIC):
        state = SaveState.from_bytes(data, source=str(path))
        state.check_cartridge(cartridge, source=str(path))
        return state
    if not data:
        raise SaveStateError(f"{path} is empty.")
    version = data[0]
    if version > STATE_VERSION:
        raise SaveStateError(
            f"{path} is not a PyBoy state, or one of a newer PyBoy: it begins with version {version}, the installed "
            f"PyBoy {PYBOY_VERSION} writes {STATE_VERSION}. Update PyBoy if a newer one wrote it."
        )
    if is_colour(data):
        raise SaveStateError(
            f"{path} was saved in Game Boy Color mode, which has two banks of video RAM and eight of work RAM; this "
            f"library plays as the first Game Boy. Load it with PyBoy(ROM, cgb=True), save in the game, and start "
            f"PyBoy(ROM, cgb=False) from that battery file."
        )
    candidates = [data]
    try:
        if 8 <= version <= 12:
            candidates.append(with_stat_transition(data))
        elif 13 <= version <= 17:
            battery_bytes = _BATTERY_BYTES.get(cartridge.rom()[0x149], 8192)
            candidates.append(with_stat_transition(as_version_12(data, battery_bytes=battery_bytes)))
    except ValueError as error:
        raise SaveStateError(f"{path} is not a PyBoy state, or damaged: {error}.") from error
    problem: SaveStateError | None = None
    with Emulator(cartridge) as emulator:
        for candidate in candidates:
            try:
                emulator.load_raw_bytes(candidate)
            except SaveStateError as error:
                problem = error
                continue
            _check_cartridge(path, data, cartridge)
            return emulator.save_state()
    advice = (
        f"States of versions 18 to {STATE_VERSION - 1}, which no PyBoy release wrote, cannot be converted: load it "
        f"with the PyBoy that wrote it, save in the game, and start from there."
        if 18 <= version < STATE_VERSION
        else "It is damaged, not a PyBoy state, or of a cartridge with another size of battery memory."
    )
    raise SaveStateError(f"{path} cannot be loaded: {problem} {advice}") from problem


def _check_cartridge(path: str | os.PathLike[str], raw: bytes, cartridge: Cartridge) -> None:
    address = halted_at(raw)
    # The first ROM bank, below 0x4000, is always mapped; the games' frame wait is there.
    if address is None or not 1 <= address < 0x4000:
        return
    rom = cartridge.rom()
    if _HALT not in (rom[address], rom[address - 1]):
        raise SaveStateError(
            f"{path} was saved from another cartridge: its CPU waits at 0x{address:04x}, where "
            f"{cartridge.title!r} (SHA-1 {cartridge.sha1}) has no HALT instruction."
        )
