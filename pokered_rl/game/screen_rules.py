"""Rules of :mod:`~pokered_rl.game.screens`: conditions on bytes, and an ordered list that names the kind of screen.

Sources: the engine of pret/pokered (commit 079d1cc9), summarised in ``docs/reference/ram_map.md``, and public save
states of the real game. Return addresses are those of the English retail game, Red and Blue; Sprout has its calls at
the same ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, IntEnum

from pokered_rl.game.ram_map import RAM_MAP

__all__ = [
    "BUTTONS",
    "COMPARISONS",
    "COMPUTED",
    "CONDITIONS",
    "MENU_BUTTONS",
    "RULES",
    "STACK_RANGE",
    "TILE_MAP_COLUMNS",
    "TILE_MAP_RANGE",
    "TILE_MENU_CURSOR",
    "WAIT_LOOP_RETURNS",
    "Acts",
    "Condition",
    "Keys",
    "Rule",
    "ScreenKind",
]

#: The buttons in the order of their bits in the game's joypad bytes: A is bit 0, DOWN bit 7.
BUTTONS = ("A", "B", "SELECT", "START", "RIGHT", "LEFT", "UP", "DOWN")


class ScreenKind(IntEnum):
    """The kind of screen; see ``docs/reference/screens.md``."""

    OVERWORLD = 0
    WALKING = 1
    SCRIPTED = 2
    TEXT_PRINTING = 3
    TEXT_WAITING = 4
    YES_NO = 5
    START_MENU = 6
    LIST = 7
    QUANTITY = 8
    PARTY = 9
    BATTLE_LEFT = 10
    BATTLE_RIGHT = 11
    MOVE_LIST = 12
    NAMING = 13
    OPTIONS = 14
    OTHER_MENU = 15
    BATTLE_BUSY = 16
    TRANSITION = 17
    TITLE = 18


class Keys(IntEnum):
    """Joypad bits, alone and in the combinations that the rules use."""

    A = 1
    B = 2
    SELECT = 4
    START = 8
    RIGHT = 16
    LEFT = 32
    UP = 64
    DOWN = 128
    TEXT = 3  # A and B
    TITLE = 11  # A, B and START
    QUANTITY = 195  # A, B, UP, DOWN
    OPTION_VALUE = 250  # B, START and the pad: A acts on CANCEL only
    OPTION_FIRST = 218  # the same without LEFT
    OPTION_LAST = 234  # the same without RIGHT
    OPTION_CANCEL = 203  # A, B, START, UP, DOWN
    BATTLE = 243  # A, B and the pad: no battle screen knows START, and SELECT swaps moves only
    ALL = 255


class Acts(Enum):
    """Source of the usable buttons of a menu."""

    WATCHED = "wMenuWatchedKeys, and UP and DOWN where the cursor can move"
    WATCHED_BUT_A = "the same without A"


@dataclass(frozen=True)
class Condition:
    """A byte that holds one of some values."""

    address: int
    values: frozenset[int]


@dataclass(frozen=True)
class Rule:
    """A kind of screen and its conditions.

    Attributes:
        kind: The kind.
        when: Names of conditions that must all hold; ``!`` in front: must not hold. ``menu`` and ``waits`` are
            computed (see ``COMPUTED``).
        keys: The buttons that can have an effect.
        ignored: Whether the game takes no input.
        stack: True: only where the stack is carried; False: only where it is not; None: either way.
    """

    kind: ScreenKind
    when: tuple[str, ...]
    keys: Keys | Acts
    ignored: bool = False
    stack: bool | None = None


def _address(at: str | int) -> int:
    return at if isinstance(at, int) else RAM_MAP[at].address


def _is(at: str | int, *values: int) -> Condition:
    return Condition(_address(at), frozenset(values))


def _has(at: str | int, mask: int) -> Condition:
    return Condition(_address(at), frozenset(value for value in range(256) if value & mask))


#: wTileMap: 18 lines of 20 tiles.
TILE_MAP_RANGE = RAM_MAP["wTileMap"].range
#: Tiles in a line of the screen.
TILE_MAP_COLUMNS = 20


def _tile(x: int, y: int, *values: int) -> Condition:
    return _is(TILE_MAP_RANGE[0] + TILE_MAP_COLUMNS * y + x, *values)


#: Tiles of the text font (charmap): the filled cursor, the arrow of a waiting text, a box corner, the times sign.
TILE_MENU_CURSOR = 0xED
_TILE_ARROW, _TILE_CORNER, _TILE_TIMES = 0xEE, 0x79, 0xF1
_TILE_LETTERS = range(0x80, 0x100)

#: The deepest 64 words of the stack, which grows down from 0xDFFF; the outermost return address is the last word.
STACK_RANGE = (0xDF7F, 0xDFFF)
_RETURN_LOW, _RETURN_HIGH = 0xDFFD, 0xDFFE
#: Return addresses inside WaitForTextScrollButtonPress (00:3865), one of them on the stack while a text waits for A or
#: B: from JoypadLowSensitivity, from the blinking of the arrow, and from the predef that ends each round.
WAIT_LOOP_RETURNS = (0x3886, 0x3882, 0x388B)

#: Conditions that are not about one byte. ``menu``: the cursor tile stands at wMenuCursorLocation; ``waits``,
#: ``blinks``, ``polls``: the first, second, third of WAIT_LOOP_RETURNS is on the stack.
COMPUTED = ("menu", "waits", "blinks", "polls")

_MOVE_SLOTS = (1, 2, 3, 4)
#: Conditions of the rules, by name.
CONDITIONS: dict[str, Condition] = {
    # outermost return address: 0402 and 0405 overworld loop, 041A map script, 0499 DisplayTextID, 046E hidden event
    "return 04xx": _is(_RETURN_HIGH, 0x04),
    "return xx02/05": _is(_RETURN_LOW, 0x02, 0x05),
    "return xx1A": _is(_RETURN_LOW, 0x1A),
    "return xx6E/99": _is(_RETURN_LOW, 0x6E, 0x99),
    # 1F49-2023 SoftReset and Init; 4000-7FFF title screen, main menu, Oak's speech (switchable bank)
    "return title": _is(_RETURN_HIGH, 0x1F, 0x20, *range(0x40, 0x80)),
    # engine state
    "timer on": _has("wStatusFlags6", 0x01),
    "battle": _has("wIsInBattle", 0xFF),
    "demonstration": _is("wBattleType", 1),
    "step": _has("wWalkCounter", 0xFF),
    "simulated": _has("wStatusFlags5", 0x81),
    "joypad off": _has("wStatusFlags5", 0x20),
    "escort": _has("wNPCMovementScriptPointerTableNum", 0xFF),
    "forced move": _has("wMovementFlags", 0xC3),
    "half second": _has("wIgnoreInputCounter", 0xFF),
    "all keys ignored": _is("wJoyIgnore", 0xFF),
    "keys ignored": _has("wJoyIgnore", 0xFF),
    "window hidden": _is("hWY", *range(144, 256)),
    "font": _has("wFontLoaded", 0x01),
    # screen
    "arrow": _tile(18, 16, _TILE_ARROW),
    "arrow counter": _is("hDownArrowBlinkCount2", *range(1, 7)),
    "box": _tile(0, 12, _TILE_CORNER),
    "box at 0,0": _tile(0, 0, _TILE_CORNER),
    "box at 0,5": _tile(0, 5, _TILE_CORNER),
    "box at 0,10": _tile(0, 10, _TILE_CORNER),
    "box at 15,9": _tile(15, 9, _TILE_CORNER),
    "times at 16,10": _tile(16, 10, _TILE_TIMES),
    "box at 7,9": _tile(7, 9, _TILE_CORNER),
    "times at 8,10": _tile(8, 10, _TILE_TIMES),
    "box at 0,8": _tile(0, 8, _TILE_CORNER),
    # the frame of a Pokédex page, and a letter of what is printed on it last
    "frame at 0,0": _tile(0, 0, 0x63),
    "frame at 19,17": _tile(19, 17, 0x6E),
    "letter at 1,11": _tile(1, 11, *_TILE_LETTERS),
    "letter at 2,11": _tile(2, 11, *_TILE_LETTERS),
    # "Start!" of the slot machine, "is evolving!"
    "S at 1,14": _tile(1, 14, 0x92),
    "t at 2,14": _tile(2, 14, 0xB3),
    "mark at 6,14": _tile(6, 14, 0xE7),
    "e at 4,16": _tile(4, 16, 0xA4),
    "v at 5,16": _tile(5, 16, 0xB5),
    "mark at 12,16": _tile(12, 16, 0xE7),
    # menu variables, of use only together with ``menu``
    "keys A B": _is("wMenuWatchedKeys", 0x03),
    "keys A": _is("wMenuWatchedKeys", 0x01),
    "list keys": _is("wMenuWatchedKeys", 0x07),
    "title keys": _is("wMenuWatchedKeys", 0x0B),
    "left column keys": _is("wMenuWatchedKeys", 0x11),
    "right column keys": _is("wMenuWatchedKeys", 0x21),
    "move keys": _is("wMenuWatchedKeys", 0xC1, 0xC3, 0xC7),
    "fight keys": _is("wMenuWatchedKeys", 0xC7),
    **{f"item {number}": _is("wCurrentMenuItem", number) for number in _MOVE_SLOTS},
    **{f"no PP {number}": _is(_address("wBattleMonPP") + number - 1, 0x00, 0x40, 0x80, 0xC0) for number in _MOVE_SLOTS},
    "START menu keys": _is("wMenuWatchedKeys", 0xCB),
    "all keys": _is("wMenuWatchedKeys", 0xFF),
    "top y 1": _is("wTopMenuItemY", 1),
    "top y 2": _is("wTopMenuItemY", 2),
    "top y 3": _is("wTopMenuItemY", 3),
    "top y 8": _is("wTopMenuItemY", 8),
    "top y 3/8/13": _is("wTopMenuItemY", 3, 8, 13),
    "top y 16": _is("wTopMenuItemY", 16),
    "top x 0": _is("wTopMenuItemX", 0),
    "top x 1": _is("wTopMenuItemX", 1),
    "top x 5": _is("wTopMenuItemX", 5),
    "top x 11": _is("wTopMenuItemX", 11),
    "top x 14": _is("wTopMenuItemX", 14),
    "top x 12/15": _is("wTopMenuItemX", 12, 15),
    "two items": _is("wMaxMenuItem", 1),
    "list box": _is("wTextBoxID", 0x0D),
    "two-option box": _is("wTextBoxID", 0x14),
    "cursor below top": _has("wCurrentMenuItem", 0xFF),
    "several items": _has("wMaxMenuItem", 0xFF),
    "wraps": _has("wMenuWrappingEnabled", 0xFF),
    "left past its ends": _has("wMenuWatchMovingOutOfBounds", 0xFF),
    "scrolled": _has("wListScrollOffset", 0xFF),
    "item list": _is("wListMenuID", 3),
    **{f"watches {button}": _has("wMenuWatchedKeys", 1 << bit) for bit, button in enumerate(BUTTONS)},
}

#: Conditions that compare bytes: the sum of weight times byte is above 0, with a constant under the label "".
COMPARISONS: dict[str, dict[str, int]] = {
    "cursor above bottom": {"wMaxMenuItem": 1, "wCurrentMenuItem": -1},
    # DisplayListMenuIDLoop scrolls down as long as wListScrollOffset + 3 <= wListCount.
    "more below": {"wListCount": 1, "wListScrollOffset": -1, "": -2},
    "on an entry": {"wListCount": 1, "wListScrollOffset": -1, "wCurrentMenuItem": -1},
}

#: The buttons of a live menu: each acts if all conditions of one of its lines hold. HandleMenuInput moves the cursor
#: with UP and DOWN whatever is watched, stops at the ends of menus that do not wrap, and returns only on watched keys.
MENU_BUTTONS: tuple[tuple[str, tuple[str, ...]], ...] = (
    *((button, (f"watches {button}",)) for button in BUTTONS if button != "SELECT"),
    ("UP", ("cursor below top",)),
    ("UP", ("wraps", "several items")),
    ("UP", ("left past its ends", "!list keys")),
    ("UP", ("left past its ends", "scrolled")),
    ("DOWN", ("cursor above bottom",)),
    ("DOWN", ("wraps", "several items")),
    ("DOWN", ("left past its ends", "!list keys")),
    ("DOWN", ("left past its ends", "more below")),
    # In lists SELECT swaps entries, of item lists alone, and CANCEL is no entry (HandleItemListSwapping).
    ("SELECT", ("watches SELECT", "!list keys")),
    ("SELECT", ("watches SELECT", "item list", "on an entry")),
)

_OVERWORLD = ("return 04xx", "return xx02/05")
#: The same without the stack: nothing covers the map.
_OVERWORLD_SEEN = ("window hidden", "!font", "!battle")


def _overworld(stack: bool) -> tuple[Rule, ...]:
    """The rules of the overworld loop, recognised by the stack or, without it, by what is on the screen."""
    loop = _OVERWORLD if stack else _OVERWORLD_SEEN
    kind = ScreenKind
    return (
        Rule(kind.SCRIPTED, (*loop, "simulated"), Keys.ALL, ignored=True, stack=stack),
        Rule(kind.SCRIPTED, (*loop, "escort"), Keys.ALL, ignored=True, stack=stack),
        Rule(kind.SCRIPTED, (*loop, "forced move"), Keys.ALL, ignored=True, stack=stack),
        Rule(kind.TRANSITION, (*loop, "joypad off", "half second"), Keys.ALL, ignored=True, stack=stack),
        Rule(kind.SCRIPTED, (*loop, "joypad off"), Keys.ALL, ignored=True, stack=stack),
        Rule(kind.SCRIPTED, (*loop, "all keys ignored"), Keys.ALL, ignored=True, stack=stack),
        Rule(kind.WALKING, (*loop, "step"), Keys.ALL, ignored=True, stack=stack),
        Rule(kind.SCRIPTED, (*loop, "keys ignored"), Keys.ALL, stack=stack),
        Rule(kind.OVERWORLD, loop, Keys.ALL, stack=stack),
    )


_MENUS = (
    # The option screen has an input loop of its own and leaves wMenuWatchedKeys as the menu before it did: its three
    # boxes tell it apart. The text speed stops at both ends, and A acts on CANCEL alone.
    *(
        Rule(ScreenKind.OPTIONS, ("box at 0,0", "box at 0,5", "box at 0,10", *at), keys)
        for at, keys in (
            (("top y 3", "top x 1"), Keys.OPTION_FIRST),
            (("top y 3", "top x 14"), Keys.OPTION_LAST),
            (("top y 3/8/13",), Keys.OPTION_VALUE),
            (("top y 16",), Keys.OPTION_CANCEL),
        )
    ),
    Rule(ScreenKind.NAMING, ("menu", "all keys"), Keys.ALL),
    Rule(ScreenKind.START_MENU, ("menu", "START menu keys", "top y 2", "top x 11"), Acts.WATCHED),
    Rule(ScreenKind.TITLE, ("menu", "title keys"), Acts.WATCHED),
    Rule(ScreenKind.BATTLE_LEFT, ("menu", "left column keys"), Acts.WATCHED),
    Rule(ScreenKind.BATTLE_RIGHT, ("menu", "right column keys"), Acts.WATCHED),
    # The moves of a fight are counted from 1. On one without PP, A shows a text and leads back (SelectMenuItem.noPP).
    *(
        Rule(ScreenKind.MOVE_LIST, ("menu", "fight keys", f"item {number}", f"no PP {number}"), Acts.WATCHED_BUT_A)
        for number in _MOVE_SLOTS
    ),
    Rule(ScreenKind.MOVE_LIST, ("menu", "move keys"), Acts.WATCHED),
    Rule(ScreenKind.MOVE_LIST, ("menu", "keys A B", "top y 8", "top x 5"), Acts.WATCHED),
    Rule(ScreenKind.LIST, ("menu", "list keys"), Acts.WATCHED),
    Rule(ScreenKind.PARTY, ("menu", "keys A B", "top y 1", "top x 0"), Acts.WATCHED),
    Rule(ScreenKind.PARTY, ("menu", "keys A", "top y 1", "top x 0"), Acts.WATCHED),
    Rule(ScreenKind.YES_NO, ("menu", "keys A B", "two items", "two-option box"), Acts.WATCHED),
    Rule(ScreenKind.YES_NO, ("menu", "keys A B", "two items", "top y 8", "top x 12/15"), Acts.WATCHED),
    Rule(ScreenKind.OTHER_MENU, ("menu",), Acts.WATCHED),
)

_IN_TEXT = ("return 04xx", "return xx6E/99")
_IN_SCRIPT = ("return 04xx", "return xx1A")

#: The rules; the first that matches is the answer.
RULES: tuple[Rule, ...] = (
    Rule(ScreenKind.BATTLE_BUSY, (*_OVERWORLD, "battle"), Keys.BATTLE, ignored=True, stack=True),
    *_overworld(stack=True),
    Rule(ScreenKind.TITLE, (*_OVERWORLD_SEEN, "!timer on"), Keys.TITLE, stack=False),
    *_overworld(stack=False),
    Rule(ScreenKind.TEXT_WAITING, ("arrow",), Keys.TEXT),
    # The old man's demonstration moves the cursor by itself.
    Rule(ScreenKind.TEXT_WAITING, ("battle", "demonstration", "waits"), Keys.TEXT),
    Rule(ScreenKind.BATTLE_BUSY, ("battle", "demonstration"), Keys.BATTLE, ignored=True),
    *_MENUS,
    Rule(ScreenKind.QUANTITY, ("box at 15,9", "times at 16,10"), Keys.QUANTITY),
    # The shop leaves its quantity on the screen while it talks: then a box was drawn after the list.
    Rule(ScreenKind.QUANTITY, ("box at 7,9", "times at 8,10", "list box"), Keys.QUANTITY),
    Rule(ScreenKind.TEXT_WAITING, ("waits",), Keys.TEXT),
    Rule(ScreenKind.TEXT_WAITING, ("blinks", "arrow counter", "box"), Keys.TEXT),
    Rule(ScreenKind.TEXT_WAITING, ("polls", "arrow counter", "box"), Keys.TEXT),
    # Both status pages wait in that loop (status_screen.asm), with a box at (0, 8).
    Rule(ScreenKind.TEXT_WAITING, ("blinks", "arrow counter", "box at 0,8"), Keys.TEXT),
    Rule(ScreenKind.TEXT_WAITING, ("polls", "arrow counter", "box at 0,8"), Keys.TEXT),
    # The last Pokédex page has a loop of its own (pokedex.asm); during the cry before it nothing is printed yet.
    Rule(ScreenKind.TEXT_WAITING, ("frame at 0,0", "frame at 19,17", "letter at 1,11"), Keys.TEXT),
    Rule(ScreenKind.TEXT_WAITING, ("frame at 0,0", "frame at 19,17", "letter at 2,11"), Keys.TEXT),
    # A stops a wheel (slot_machine.asm).
    Rule(ScreenKind.OTHER_MENU, ("box", "S at 1,14", "t at 2,14", "mark at 6,14"), Keys.A),
    # B stops an evolution (evolution.asm). A does nothing: it stands for waiting where there is no no-op.
    Rule(ScreenKind.OTHER_MENU, ("box", "e at 4,16", "v at 5,16", "mark at 12,16"), Keys.TEXT),
    Rule(ScreenKind.BATTLE_BUSY, ("battle",), Keys.BATTLE, ignored=True),
    Rule(ScreenKind.TEXT_PRINTING, ("box", "!window hidden"), Keys.TEXT, ignored=True),
    Rule(ScreenKind.TEXT_PRINTING, ("box", "return title"), Keys.TEXT, ignored=True, stack=True),
    # Screens with input loops of their own: town map, slot machine, Pokédex pages.
    Rule(ScreenKind.OTHER_MENU, (*_IN_TEXT, "!window hidden"), Keys.ALL, stack=True),
    Rule(ScreenKind.OTHER_MENU, ("font", "!window hidden"), Keys.ALL, stack=False),
    Rule(ScreenKind.TRANSITION, _IN_TEXT, Keys.ALL, ignored=True, stack=True),
    Rule(ScreenKind.SCRIPTED, _IN_SCRIPT, Keys.ALL, ignored=True, stack=True),
    Rule(ScreenKind.TITLE, ("return title",), Keys.TITLE, stack=True),
    Rule(ScreenKind.TITLE, ("!timer on",), Keys.TITLE),
    Rule(ScreenKind.TRANSITION, (), Keys.ALL, ignored=True),
)
