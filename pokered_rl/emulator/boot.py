"""Play from power-on to the first moment at which the player can walk, by reading RAM."""

import torch

from pokered_rl.emulator.emulator import Emulator
from pokered_rl.emulator.savestate import SaveState
from pokered_rl.errors import CartridgeError
from pokered_rl.game.ram_map import address
from pokered_rl.game.screen_rules import TILE_MAP_RANGE, TILE_MENU_CURSOR, ScreenKind
from pokered_rl.game.screens import screen_kind

__all__ = ["boot"]

_HOLD_FRAMES = 4
_LOOK_FRAMES = 12
#: Looks at a screen that does not react before another button is tried.
_PATIENCE_LOOKS = 12

_MENU_LABELS = ("wTopMenuItemY", "wTopMenuItemX", "wCurrentMenuItem", "wMaxMenuItem", "wMenuWatchedKeys")
_PLACE_LABELS = ("wCurMap", "wXCoord", "wYCoord", "wSpritePlayerStateData1FacingDirection")

_TEXT = (ScreenKind.TEXT_PRINTING, ScreenKind.TEXT_WAITING, ScreenKind.YES_NO)
_UNWANTED = (ScreenKind.START_MENU, ScreenKind.LIST, ScreenKind.QUANTITY, ScreenKind.PARTY, ScreenKind.OPTIONS)
_WAIT = (ScreenKind.WALKING, ScreenKind.SCRIPTED, ScreenKind.TRANSITION, ScreenKind.BATTLE_BUSY)


def boot(emulator: Emulator, *, max_frames: int = 20_000) -> SaveState:
    """Switch the console on and play to the first moment at which direction keys move the player.

    Each press is chosen by RAM and the kind of screen: A at title and texts, NEW GAME, the first preset name of each
    list (the second entry; the first is NEW NAME), one letter and END on a naming screen, B in any other menu. The
    start is reached when a direction key moves or turns the player; that trial is undone before the state is saved.
    The procedure is the same for the retail games (opening, title, speech, bedroom) and for Sprout.

    Args:
        emulator: Left at the start.
        max_frames: Most frames to play; the retail opening takes about 4,000.

    Returns:
        The state at the start, with its picture drawn.

    Raises:
        CartridgeError: The start was not reached; the message says on which screen the game is.
    """
    emulator.reset()
    first_frame = emulator.frame_count
    seen: list[str] = []
    signature: tuple[object, ...] = ()
    looks = 0
    while emulator.frame_count - first_frame < max_frames:
        emulator.tick(_LOOK_FRAMES - 1)
        emulator.tick(1, render=True)
        kind = _kind(emulator)
        current = (kind, *_menu(emulator))
        looks = looks + 1 if current == signature else 0
        signature = current
        if not seen or seen[-1] != kind.name:
            seen.append(kind.name)
        if kind is ScreenKind.OVERWORLD and _u8(emulator, "wCurMapWidth"):
            state = emulator.save_state()
            responds = _responds(emulator)
            emulator.load_state(state)
            if responds:
                return state
        button = _choose(emulator, kind, looks)
        if button is not None:
            emulator.press(button)
            emulator.tick(_HOLD_FRAMES)
            emulator.release(button)
    place = ", ".join(f"{label} {_u8(emulator, label)}" for label in ("wCurMap", "wXCoord", "wYCoord"))
    menu = ", ".join(f"{label} {value}" for label, value in zip(_MENU_LABELS, _menu(emulator), strict=True))
    raise CartridgeError(
        f"{emulator.cartridge.path} ({emulator.cartridge.title!r}) did not reach its playable start within "
        f"{max_frames} frames. It is at {seen[-1] if seen else 'power-on'}; the screens before it: "
        f"{' > '.join(seen[-9:-1]) or 'none'}. {place}; {menu}. Give a start state of your own instead."
    )


def _choose(emulator: Emulator, kind: ScreenKind, looks: int) -> str | None:
    """Choose the button for what is on the screen, None to wait."""
    top_y, top_x, item, last, keys = _menu(emulator)
    if looks >= _PATIENCE_LOOKS:
        # Nothing changes: the screen is misread, or it is a picture that any of these keys ends.
        return ("a", "start", "b", "down")[looks % 4]
    if _menu_is_live(emulator) and (top_y, top_x) == (2, 1):
        if (last, keys) == (3, 0x01):  # NEW NAME and three presets
            return "down" if item == 0 else "a"
        # Title menu: NEW GAME comes after CONTINUE, which is there only with a battery file; ours is empty.
        return "a" if last < 2 or item == 1 else "down"
    if kind is ScreenKind.TITLE:
        return ("start", "a")[looks % 2]
    if kind is ScreenKind.NAMING:
        return ("a", "start")[looks % 2]
    if kind in _TEXT or kind is ScreenKind.OTHER_MENU:
        return "a"
    if kind in _UNWANTED:
        return "b"
    if kind in _WAIT or kind is ScreenKind.OVERWORLD:
        return None
    return "a"  # battle menus: no start is reached through one


def _kind(emulator: Emulator) -> ScreenKind:
    ram = torch.from_numpy(emulator.ram())
    return ScreenKind(int(screen_kind(ram, stack=emulator.cartridge.profile.stack_words)))


def _u8(emulator: Emulator, label: str) -> int:
    return int(emulator.memory[address(label)])


def _menu(emulator: Emulator) -> tuple[int, ...]:
    return tuple(_u8(emulator, label) for label in _MENU_LABELS)


def _menu_is_live(emulator: Emulator) -> bool:
    cursor = address("wMenuCursorLocation")
    place = int(emulator.memory[cursor] | emulator.memory[cursor + 1] << 8)
    return TILE_MAP_RANGE[0] <= place < TILE_MAP_RANGE[1] and bool(emulator.memory[place] == TILE_MENU_CURSOR)


def _responds(emulator: Emulator) -> bool:
    """Whether a direction key moves or turns the player. The caller loads the state from before it."""
    before = [_u8(emulator, label) for label in _PLACE_LABELS]
    for button in ("down", "up", "right", "left"):
        emulator.press(button)
        emulator.tick(8)
        emulator.release(button)
        emulator.tick(16)
        if [_u8(emulator, label) for label in _PLACE_LABELS] != before:
            return True
    return False
