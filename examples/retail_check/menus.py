"""Open every entry of the START menu, and try every button on the screens behind it."""

from typing import Any

from pokered_rl.emulator import Emulator, SaveState
from pokered_rl.game import ScreenKind, screen_lines

from .checks import CheckFailed
from .prober import MaskTrial, Prober, state_of

#: What an entry opens, by its place from the end: EXIT, OPTION, SAVE, the player's name, ITEM, POKéMON, POKéDEX.
_OPENS = (
    ScreenKind.OVERWORLD,
    ScreenKind.OPTIONS,
    ScreenKind.YES_NO,
    ScreenKind.TEXT_WAITING,
    ScreenKind.LIST,
    ScreenKind.PARTY,
    ScreenKind.OTHER_MENU,
)
_OUT = (ScreenKind.START_MENU, ScreenKind.OVERWORLD)


def check_start_menu(emulator: Emulator, start: SaveState, masks: MaskTrial) -> tuple[str, list[dict[str, Any]]]:
    """Open the menu, then each entry; leave each by B; try all buttons on every screen met."""
    emulator.load_state(start)
    prober = Prober(emulator)
    prober.settle()
    if prober.press("start") is not ScreenKind.START_MENU:
        raise CheckFailed(f"START opened {prober.kind.name}, text {prober.text()!r}")
    masks(prober, "START menu")
    menu = state_of(prober)
    count = prober.value("wMaxMenuItem")  # one more than the last entry: the caller wraps
    if not 1 <= count <= len(_OPENS):
        raise CheckFailed(f"the START menu has {count} entries, expected 1 to {len(_OPENS)}")
    entries, faults = [], []
    for index in range(count):
        emulator.load_state(menu)
        entry = _open(prober, index, count, masks)
        entries.append(entry)
        faults += entry.pop("faults")
    detail = ", ".join(f"{entry['name']}: {entry['kind']}" for entry in entries)
    if faults:
        raise CheckFailed(f"{'; '.join(faults)} ({detail})")
    return detail, entries


def _open(prober: Prober, index: int, count: int, masks: MaskTrial) -> dict[str, Any]:
    """Move to an entry, open it, try the buttons and return."""
    faults = []
    for _ in range(3 * count):  # the menu remembers its cursor, and wraps
        if prober.value("wCurrentMenuItem") == index:
            break
        prober.press("down")
    if prober.value("wCurrentMenuItem") != index:
        raise CheckFailed(f"DOWN does not lead to entry {index} of the START menu")
    row = prober.value("wTopMenuItemY") + 2 * index
    column = prober.value("wTopMenuItemX")
    name = screen_lines(prober.ram)[row][column:].strip("▶ ")
    kind = prober.press("a")
    for _ in range(8):  # a text may come before the screen that the entry is about
        if kind is not ScreenKind.TEXT_WAITING or _OPENS[count - 1 - index] is ScreenKind.TEXT_WAITING:
            break
        masks(prober, f"{name}, text")
        kind = prober.press("a")
    expected = _OPENS[count - 1 - index]
    empty = expected is ScreenKind.PARTY and not prober.value("wPartyCount")
    if kind is not (ScreenKind.START_MENU if empty else expected):
        faults.append(f"{name} opened {kind.name}, expected {expected.name}; text {prober.text()!r}")
    if kind is not ScreenKind.OVERWORLD and not empty:
        masks(prober, name)
        if kind not in (ScreenKind.TEXT_WAITING, ScreenKind.START_MENU):
            prober.press("down")
            masks(prober, f"{name}, one down")
        prober.back_to(*_OUT)
    return {"name": name, "kind": kind.name, "faults": faults}
