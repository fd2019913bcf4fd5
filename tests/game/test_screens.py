"""The rules of the menu table and of the Behaviour chapters of docs/reference/ram_map.md, on RAM made by hand."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from pokered_rl.game import (
    BUTTONS,
    FULL_LAYOUT,
    SCREEN_RANGES,
    RamLayout,
    ScreenKind,
    input_ignored,
    read_screen,
    screen_kind,
    usable_buttons,
)
from pokered_rl.game.screen_rules import RULES

Build = Callable[..., Tensor]

_OVERWORLD: dict[str, Any] = {"wStack_word": 0x0402, "hWY": 144, "wStatusFlags6": 1}
_TEXT: dict[str, Any] = {"wStack_word": 0x0499, "hWY": 0, "wStatusFlags6": 1, "wFontLoaded": 1}
_SCRIPT: dict[str, Any] = {**_TEXT, "wStack_word": 0x041A}
_HIDDEN: dict[str, Any] = {**_TEXT, "wStack_word": 0x046E}
_BATTLE: dict[str, Any] = {"wStack_word": 0x062F, "hWY": 0, "wStatusFlags6": 1, "wIsInBattle": 1}
_SET_UP: dict[str, Any] = {"wStack_word": 0x45F2, "hWY": 0}


def _tile(x: int, y: int) -> int:
    return 0xC3A0 + 20 * y + x


@pytest.fixture
def screen(blank_ram: Build) -> Build:
    """RAM from a base, labels, and tiles as {(x, y): tile}; ``waits`` is where on the stack ``word`` stands."""

    def build(
        base: dict[str, Any],
        tiles: dict[tuple[int, int], int] | None = None,
        *,
        waits: int = 0,
        word: int = 0x3886,
        **labels: Any,
    ) -> Tensor:
        values = {**base, **labels}
        outermost = values.pop("wStack_word")
        bytes_at = {_tile(x, y): tile for (x, y), tile in (tiles or {}).items()}
        bytes_at |= {0xDFFD: outermost & 0xFF, 0xDFFE: outermost >> 8}
        if waits:
            bytes_at |= {waits: word & 0xFF, waits + 1: word >> 8}
        return blank_ram(bytes_at=bytes_at, **values)

    return build


@pytest.fixture
def menu(screen: Build) -> Build:
    """RAM with a menu that takes input: its variables, and the cursor tile where they say."""

    def build(
        base: dict[str, Any],
        top: tuple[int, int],
        last: int,
        keys: int,
        item: int = 0,
        *,
        spacing: int = 2,
        cursor: int = 0xED,
        tiles: dict[tuple[int, int], int] | None = None,
        **labels: Any,
    ) -> Tensor:
        y, x = top
        at = _tile(x, y + spacing * item)
        return screen(
            base,
            {**(tiles or {}), (x, y + spacing * item): cursor},
            wTopMenuItemY=y,
            wTopMenuItemX=x,
            wMaxMenuItem=last,
            wCurrentMenuItem=item,
            wMenuWatchedKeys=keys,
            wMenuCursorLocation=[at & 0xFF, at >> 8],
            **labels,
        )

    return build


def _kind(ram: Tensor) -> ScreenKind:
    return ScreenKind(int(screen_kind(ram)))


def _usable(ram: Tensor) -> set[str]:
    return {button for button, usable in zip(BUTTONS, usable_buttons(ram), strict=True) if usable}


# kind, base, (top y, x), last item, watched keys, cursor on the first, a middle and the last item; extra labels; then
# the buttons that act there. The rows are those of the menu table.
_ROWS = [
    # START wraps by its own code: UP and DOWN are watched
    ("START menu", "START_MENU", _TEXT, (2, 11), 7, 0xCB, (0, 3, 6), {}, ["A B START UP DOWN"] * 3),
    ("yes/no", "YES_NO", _TEXT, (8, 15), 1, 0x03, (0, 1), {"wTextBoxID": 0x14}, ["A B DOWN", "A B UP"]),
    ("heal or cancel", "YES_NO", _TEXT, (8, 12), 1, 0x03, (0, 1), {"wTextBoxID": 0x14}, ["A B DOWN", "A B UP"]),
    ("yes/no elsewhere", "YES_NO", _SCRIPT, (8, 1), 1, 0x03, (0, 1), {"wTextBoxID": 0x14}, ["A B DOWN", "A B UP"]),
    ("battle, left", "BATTLE_LEFT", _BATTLE, (14, 9), 1, 0x11, (0, 1), {}, ["A RIGHT DOWN", "A RIGHT UP"]),
    ("battle, right", "BATTLE_RIGHT", _BATTLE, (14, 15), 1, 0x21, (0, 1), {}, ["A LEFT DOWN", "A LEFT UP"]),
    ("safari, left", "BATTLE_LEFT", _BATTLE, (14, 1), 1, 0x11, (0,), {"wBattleType": 2}, ["A RIGHT DOWN"]),
    ("safari, right", "BATTLE_RIGHT", _BATTLE, (14, 13), 1, 0x21, (1,), {"wBattleType": 2}, ["A LEFT UP"]),
    ("Mimic list", "MOVE_LIST", _BATTLE, (7, 1), 4, 0xC1, (1, 3), {}, ["A UP DOWN"] * 2),
    ("PP list", "MOVE_LIST", _BATTLE, (7, 5), 4, 0xC3, (1, 3), {}, ["A B UP DOWN"] * 2),
    ("move to forget", "MOVE_LIST", _BATTLE, (8, 5), 3, 0x03, (0, 1, 3), {}, ["A B DOWN", "A B UP DOWN", "A B UP"]),
    ("use/toss", "OTHER_MENU", _TEXT, (11, 14), 1, 0x03, (0, 1), {"wTextBoxID": 6}, ["A B DOWN", "A B UP"]),
    ("party", "PARTY", _TEXT, (1, 0), 5, 0x03, (0, 2, 5), {"wMenuWrappingEnabled": 1}, ["A B UP DOWN"] * 3),
    ("party of one", "PARTY", _TEXT, (1, 0), 0, 0x03, (0,), {"wMenuWrappingEnabled": 1}, ["A B"]),
    ("party, no way back", "PARTY", _BATTLE, (1, 0), 2, 0x01, (1,), {"wMenuWrappingEnabled": 1}, ["A UP DOWN"]),
    ("party submenu", "OTHER_MENU", _TEXT, (10, 12), 3, 0x03, (0, 3), {}, ["A B DOWN", "A B UP"]),
    ("mart", "OTHER_MENU", _TEXT, (1, 1), 2, 0x03, (0, 1, 2), {}, ["A B DOWN", "A B UP DOWN", "A B UP"]),
    ("player's PC", "OTHER_MENU", _HIDDEN, (2, 1), 3, 0x03, (0, 3), {}, ["A B DOWN", "A B UP"]),
    ("Bill's PC", "OTHER_MENU", _HIDDEN, (2, 1), 4, 0x03, (2,), {}, ["A B UP DOWN"]),
    ("title menu", "TITLE", _SET_UP, (2, 1), 1, 0x0B, (0, 1), {}, ["A B START DOWN", "A B START UP"]),
    ("names to choose", "OTHER_MENU", _SET_UP, (2, 1), 3, 0x01, (0, 1), {}, ["A DOWN", "A UP DOWN"]),
    # The Pokédex scrolls past its ends in ways that RAM alone does not tell: UP and DOWN stay usable there.
    (
        "Pokédex",
        "OTHER_MENU",
        _TEXT,
        (3, 0),
        6,
        0x33,
        (0, 3, 6),
        {"wMenuWatchMovingOutOfBounds": 1},
        ["A B LEFT RIGHT UP DOWN"] * 3,
    ),
]


@pytest.mark.parametrize(
    ("kind", "base", "top", "last", "keys", "item", "labels", "buttons"),
    [
        pytest.param(kind, base, top, last, keys, item, labels, buttons, id=f"{name}, item {item}")
        for name, kind, base, top, last, keys, items, labels, lines in _ROWS
        for item, buttons in zip(items, lines, strict=True)
    ],
)
def test_row_of_the_menu_table(
    menu: Build,
    kind: str,
    base: dict[str, Any],
    top: tuple[int, int],
    last: int,
    keys: int,
    item: int,
    labels: dict[str, Any],
    buttons: str,
) -> None:
    ram = menu(base, top, last, keys, item, **labels)
    assert _kind(ram) is ScreenKind[kind]
    assert _usable(ram) == set(buttons.split())
    assert not bool(input_ignored(ram))


@pytest.mark.parametrize("item", [1, 2, 4])
def test_move_list_is_single_spaced_and_wraps_by_its_own_code(menu: Build, item: int) -> None:
    ram = menu(_BATTLE, (12, 5), 5, 0xC7, item, spacing=1, wBattleMonPP=[5, 1, 0x42, 63])
    assert _kind(ram) is ScreenKind.MOVE_LIST
    assert _usable(ram) == {"A", "B", "SELECT", "UP", "DOWN"}


@pytest.mark.parametrize("item", [1, 2, 3, 4])
@pytest.mark.parametrize("pp_ups", [0x00, 0xC0])
def test_a_move_without_pp_cannot_be_chosen_in_a_fight(menu: Build, item: int, pp_ups: int) -> None:
    points = [5, 5, 5, 5]
    points[item - 1] = pp_ups  # the two highest bits count PP-ups
    ram = menu(_BATTLE, (12, 5), 5, 0xC7, item, spacing=1, wBattleMonPP=points)
    assert _kind(ram) is ScreenKind.MOVE_LIST
    assert _usable(ram) == {"B", "SELECT", "UP", "DOWN"}
    # An ether is given to such a move.
    assert "A" in _usable(menu(_BATTLE, (7, 5), 5, 0xC3, item, spacing=1, wBattleMonPP=points))


# entries, scroll offset, cursor, what acts besides A and B: the list shows three rows, the last one CANCEL
_LISTS = [
    (0, 0, 0, "DOWN"),  # CANCEL alone... and max 1: the cursor may go one down
    (1, 0, 0, "DOWN SELECT"),
    (1, 0, 1, "UP"),  # on CANCEL
    (5, 0, 0, "DOWN SELECT"),
    (5, 0, 2, "UP DOWN SELECT"),  # 5 >= 0 + 3: scrolls down
    (5, 2, 0, "UP DOWN SELECT"),  # scrolls up
    (5, 2, 2, "UP DOWN SELECT"),  # 5 >= 2 + 3
    (5, 3, 2, "UP"),  # entry 3 + 2 = 5 is CANCEL; 5 < 3 + 3
    (5, 3, 1, "UP DOWN SELECT"),
]


@pytest.mark.parametrize(("entries", "scroll", "item", "buttons"), _LISTS)
def test_item_list_scrolls_and_swaps_only_where_there_is_something(
    menu: Build, entries: int, scroll: int, item: int, buttons: str
) -> None:
    ram = menu(
        _TEXT,
        (4, 5),
        2 if entries > 1 else 1,
        0x07,
        item,
        wListCount=entries,
        wListScrollOffset=scroll,
        wListMenuID=3,
        wMenuWatchMovingOutOfBounds=1,
    )
    assert _kind(ram) is ScreenKind.LIST
    assert _usable(ram) == {"A", "B", *buttons.split()}


@pytest.mark.parametrize("list_id", [0, 1, 2, 4])
def test_select_swaps_in_item_lists_alone(menu: Build, list_id: int) -> None:
    ram = menu(_TEXT, (4, 5), 2, 0x07, 0, wListCount=5, wListMenuID=list_id, wMenuWatchMovingOutOfBounds=1)
    assert _kind(ram) is ScreenKind.LIST
    assert _usable(ram) == {"A", "B", "DOWN"}


@pytest.mark.parametrize("kind", ["START_MENU", "YES_NO", "LIST", "PARTY", "MOVE_LIST"])
def test_left_and_right_are_masked_in_every_vertical_list(menu: Build, kind: str) -> None:
    ram = {
        "START_MENU": menu(_TEXT, (2, 11), 7, 0xCB),
        "YES_NO": menu(_TEXT, (8, 15), 1, 0x03, wTextBoxID=0x14),
        "LIST": menu(_TEXT, (4, 5), 2, 0x07, wListCount=5),
        "PARTY": menu(_TEXT, (1, 0), 5, 0x03),
        "MOVE_LIST": menu(_BATTLE, (12, 5), 5, 0xC7, 1, spacing=1),
    }[kind]
    assert _kind(ram) is ScreenKind[kind]
    assert not {"LEFT", "RIGHT"} & _usable(ram)


_TOSS, _SHOP = {(15, 9): 0x79, (16, 10): 0xF1}, {(7, 9): 0x79, (8, 10): 0xF1}


@pytest.mark.parametrize(("box", "last_box"), [(_TOSS, 0x06), (_TOSS, 0x01), (_SHOP, 0x0D)])
def test_quantity_takes_a_b_up_and_down(menu: Build, box: dict[tuple[int, int], int], last_box: int) -> None:
    # The list behind it keeps a hollow cursor.
    ram = menu(_TEXT, (4, 5), 2, 0x07, cursor=0xEC, tiles={**box, (0, 12): 0x79}, wTextBoxID=last_box)
    assert _kind(ram) is ScreenKind.QUANTITY
    assert _usable(ram) == {"A", "B", "UP", "DOWN"}
    assert not bool(input_ignored(ram))


def test_shop_that_talks_behind_its_quantity_is_printing(screen: Build) -> None:
    # "That will be ...": PrintText has drawn a message box (1), the quantity stays where it was.
    assert _kind(screen(_TEXT, {**_SHOP, (0, 12): 0x79}, wTextBoxID=1)) is ScreenKind.TEXT_PRINTING


def test_naming_screen_uses_every_button(menu: Build) -> None:
    ram = menu({**_SET_UP}, (3, 9), 7, 0xFF, 4)
    assert _kind(ram) is ScreenKind.NAMING
    assert _usable(ram) == set(BUTTONS)


_OPTION_BOXES = {(0, 0): 0x79, (0, 5): 0x79, (0, 10): 0x79}


@pytest.mark.parametrize("keys", [0xCB, 0x0B])
@pytest.mark.parametrize("cursor", [0xED, 0x7F])
@pytest.mark.parametrize(
    ("row", "column", "buttons"),
    [
        (3, 1, "B START RIGHT UP DOWN"),
        (3, 7, "B START LEFT RIGHT UP DOWN"),
        (3, 14, "B START LEFT UP DOWN"),
        (8, 1, "B START LEFT RIGHT UP DOWN"),
        (8, 10, "B START LEFT RIGHT UP DOWN"),
        (13, 1, "B START LEFT RIGHT UP DOWN"),
        (16, 1, "A B START UP DOWN"),
    ],
)
def test_option_screen_is_told_by_its_boxes(
    menu: Build, row: int, column: int, buttons: str, keys: int, cursor: int
) -> None:
    # wMenuWatchedKeys is left over from the menu that opened it: START or title.
    ram = menu(_TEXT, (row, column), 7, keys, tiles=_OPTION_BOXES, cursor=cursor)
    assert _kind(ram) is ScreenKind.OPTIONS
    assert _usable(ram) == set(buttons.split())


@pytest.mark.parametrize("base", [_TEXT, _SCRIPT, _HIDDEN, _BATTLE, _SET_UP])
def test_text_with_an_arrow_waits_for_a_or_b(screen: Build, base: dict[str, Any]) -> None:
    ram = screen(base, {(0, 12): 0x79, (18, 16): 0xEE})
    assert _kind(ram) is ScreenKind.TEXT_WAITING
    assert _usable(ram) == {"A", "B"}
    assert not bool(input_ignored(ram))


@pytest.mark.parametrize("base", [_TEXT, _SCRIPT, _HIDDEN, _BATTLE, _SET_UP])
@pytest.mark.parametrize("at", [0xDFFB, 0xDFE3, 0xDF91])
def test_text_without_an_arrow_waits_when_the_stack_says_so(screen: Build, base: dict[str, Any], at: int) -> None:
    ram = screen(base, {(0, 12): 0x79}, waits=at)
    assert _kind(ram) is ScreenKind.TEXT_WAITING
    assert _usable(ram) == {"A", "B"}


def test_the_wait_has_to_be_a_word_of_the_stack(screen: Build) -> None:
    # 0xDFE2 is no word's address: the stack starts at the odd 0xDFFF.
    assert _kind(screen(_TEXT, {(0, 12): 0x79}, waits=0xDFE2)) is ScreenKind.TEXT_PRINTING


@pytest.mark.parametrize("word", [0x3882, 0x388B])
def test_other_halves_of_the_waiting_loop_count_while_its_counter_runs(screen: Build, word: int) -> None:
    # One round of the loop calls the arrow (3882), the joypad (3886) and a predef (388B), each at the other's place.
    for counter, kind in ((6, ScreenKind.TEXT_WAITING), (1, ScreenKind.TEXT_WAITING), (0, ScreenKind.TEXT_PRINTING)):
        ram = screen(_TEXT, {(0, 12): 0x79}, waits=0xDFE3, word=word, hDownArrowBlinkCount2=counter)
        assert _kind(ram) is kind


@pytest.mark.parametrize("word", [0x3882, 0x3886, 0x388B])
def test_status_pages_in_battle_wait_in_every_part_of_the_loop(screen: Build, word: int) -> None:
    # pret/pokered, engine/pokemon/status_screen.asm: both pages draw a box at (0, 8) and none at (0, 12).
    ram = screen(_BATTLE, {(0, 8): 0x79}, waits=0xDFD1, word=word, hDownArrowBlinkCount2=6)
    assert _kind(ram) is ScreenKind.TEXT_WAITING
    assert _usable(ram) == {"A", "B"}
    assert not bool(input_ignored(ram))


#: engine/menus/pokedex.asm: the corners of the frame; the description begins at (1, 11).
_PAGE = {(0, 0): 0x63, (19, 0): 0x65, (0, 17): 0x6C, (19, 17): 0x6E}


@pytest.mark.parametrize("base", [_BATTLE, _TEXT, _SCRIPT])
@pytest.mark.parametrize("column", [1, 2])
def test_last_page_of_the_pokedex_waits_for_a_or_b(screen: Build, base: dict[str, Any], column: int) -> None:
    ram = screen(base, {**_PAGE, (column, 11): 0x80})
    assert _kind(ram) is ScreenKind.TEXT_WAITING
    assert _usable(ram) == {"A", "B"}
    assert not bool(input_ignored(ram))


def test_pokedex_page_of_a_capture_does_not_listen_during_the_cry(screen: Build) -> None:
    # PlayCry waits for the sound before the description is printed.
    ram = screen(_BATTLE, {**_PAGE, (1, 11): 0x7F, (2, 11): 0x7F})
    assert _kind(ram) is ScreenKind.BATTLE_BUSY
    assert bool(input_ignored(ram))


def _written(text: str, x: int, y: int) -> dict[tuple[int, int], int]:
    """Tiles of a text: A is 0x80, a 0xA0, the blank 0x7F, the exclamation mark 0xE7 (constants/charmap.asm)."""
    codes = {" ": 0x7F, "!": 0xE7, "?": 0xE6}
    letters = [codes.get(c) or (0x80 + ord(c) - ord("A") if c.isupper() else 0xA0 + ord(c) - ord("a")) for c in text]
    return {(x + i, y): tile for i, tile in enumerate(letters)}


def test_slot_wheels_wait_for_a(screen: Build) -> None:
    # engine/slots/slot_machine.asm, SlotMachine_HandleInputWhileWheelsSpin; data/text/text_2.asm: "Start!"
    ram = screen(_TEXT, {(0, 12): 0x79, **_written("Start!", 1, 14)})
    assert _kind(ram) is ScreenKind.OTHER_MENU
    assert _usable(ram) == {"A"}
    assert not bool(input_ignored(ram))
    assert bool(input_ignored(screen(_TEXT, {(0, 12): 0x79, **_written("Starts", 1, 14)})))


@pytest.mark.parametrize("base", [_BATTLE, _TEXT])
def test_evolution_listens_to_b(screen: Build, base: dict[str, Any]) -> None:
    # engine/movie/evolution.asm, Evolution_CheckForCancel; data/text/text_5.asm: "What? NAME", "is evolving!"
    texts = {(0, 12): 0x79, **_written("What? MEWTWO", 1, 14)}
    ram = screen(base, {**texts, **_written("is evolving!", 1, 16)})
    assert _kind(ram) is ScreenKind.OTHER_MENU
    assert "B" in _usable(ram)
    assert not bool(input_ignored(ram))
    assert bool(input_ignored(screen(base, {**texts, **_written("is evolvin", 1, 16)})))  # still being printed


@pytest.mark.parametrize("base", [_TEXT, _BATTLE])
def test_menu_that_takes_input_outweighs_a_wait_left_over_on_the_stack(menu: Build, base: dict[str, Any]) -> None:
    # At the same depth as the waiting text before it, HandleMenuInput may leave the old word where it was.
    ram = menu(base, (8, 15), 1, 0x03, wTextBoxID=0x14)
    for at, byte in ((0xDF91, 0x86), (0xDF92, 0x38)):
        ram[FULL_LAYOUT.column(at)] = byte
    assert _kind(ram) is ScreenKind.YES_NO


@pytest.mark.parametrize("base", [_TEXT, _SCRIPT, _HIDDEN, _SET_UP])
def test_text_box_without_a_wait_is_printing(screen: Build, base: dict[str, Any]) -> None:
    ram = screen(base, {(0, 12): 0x79})
    assert _kind(ram) is ScreenKind.TEXT_PRINTING
    assert bool(input_ignored(ram))
    assert _usable(ram) == {"A", "B"}  # held, they hurry it


def test_leftover_wait_on_the_stack_says_nothing_in_the_overworld(screen: Build) -> None:
    assert _kind(screen(_OVERWORLD, waits=0xDFE3)) is ScreenKind.OVERWORLD


@pytest.mark.parametrize("word", [0x0402, 0x0405])
def test_standing_player_can_do_anything(screen: Build, word: int) -> None:
    ram = screen({**_OVERWORLD, "wStack_word": word})
    assert _kind(ram) is ScreenKind.OVERWORLD
    assert _usable(ram) == set(BUTTONS)
    assert not bool(input_ignored(ram))


@pytest.mark.parametrize("transport", [0, 1, 2])
def test_a_step_in_progress_is_walking_on_foot_on_wheels_and_on_water(screen: Build, transport: int) -> None:
    ram = screen(_OVERWORLD, wWalkCounter=5, wWalkBikeSurfState=transport)
    assert _kind(ram) is ScreenKind.WALKING
    assert bool(input_ignored(ram))


@pytest.mark.parametrize(
    "labels",
    [
        {"wStatusFlags5": 0x80},  # simulated joypad
        {"wStatusFlags5": 0x01},  # scripted NPC
        {"wStatusFlags5": 0x20},  # joypad disabled
        {"wNPCMovementScriptPointerTableNum": 1},
        {"wMovementFlags": 0x01},  # on a door
        {"wMovementFlags": 0x02},  # stepping out
        {"wMovementFlags": 0x40},  # ledge
        {"wMovementFlags": 0x80},  # spinner
        {"wJoyIgnore": 0xFF},
        {"wStatusFlags5": 0x80, "wWalkCounter": 3},
    ],
)
def test_player_moved_by_the_game_is_scripted(screen: Build, labels: dict[str, int]) -> None:
    ram = screen(_OVERWORLD, **labels)
    assert _kind(ram) is ScreenKind.SCRIPTED
    assert bool(input_ignored(ram))
    assert _usable(ram) == set(BUTTONS)  # nothing acts: nothing is masked


@pytest.mark.parametrize("flags", [0x04, 0x08, 0x10, 0x20])
def test_other_movement_flags_do_not_stop_the_player(screen: Build, flags: int) -> None:
    assert _kind(screen(_OVERWORLD, wMovementFlags=flags)) is ScreenKind.OVERWORLD


def test_keys_that_the_game_throws_away_are_masked(screen: Build) -> None:
    ram = screen(_OVERWORLD, wJoyIgnore=0xFC)  # all but A and B
    assert _usable(ram) == {"A", "B"}
    assert not bool(input_ignored(ram))


def test_keys_thrown_away_are_masked_in_menus_too_but_never_all(menu: Build) -> None:
    assert _usable(menu(_TEXT, (8, 15), 1, 0x03, wTextBoxID=0x14, wJoyIgnore=0xFE)) == {"A"}
    assert _usable(menu(_TEXT, (8, 15), 1, 0x03, wTextBoxID=0x14, wJoyIgnore=0xFF)) == set(BUTTONS)


def test_half_second_after_a_warp_is_a_transition(screen: Build) -> None:
    ram = screen(_OVERWORLD, wStatusFlags5=0x26, wIgnoreInputCounter=20)
    assert _kind(ram) is ScreenKind.TRANSITION
    assert bool(input_ignored(ram))


def test_counter_of_the_half_second_alone_blocks_nothing(screen: Build) -> None:
    assert _kind(screen(_OVERWORLD, wIgnoreInputCounter=20)) is ScreenKind.OVERWORLD


@pytest.mark.parametrize("word", [0x03A9, 0x0748, 0x0934, 0x07B1])
def test_return_addresses_of_warps_and_map_loads_are_transitions(screen: Build, word: int) -> None:
    ram = screen({**_OVERWORLD, "wStack_word": word})
    assert _kind(ram) is ScreenKind.TRANSITION
    assert bool(input_ignored(ram))


def test_map_script_without_a_text_box_is_scripted(screen: Build) -> None:
    for window in (0, 144):
        assert _kind(screen({**_SCRIPT, "hWY": window})) is ScreenKind.SCRIPTED


@pytest.mark.parametrize("in_battle", [1, 2])
@pytest.mark.parametrize("word", [0x062F, 0x0578])
def test_battle_without_cursor_or_arrow_is_busy(screen: Build, in_battle: int, word: int) -> None:
    ram = screen({**_BATTLE, "wStack_word": word}, {(0, 12): 0x79}, wIsInBattle=in_battle)
    assert _kind(ram) is ScreenKind.BATTLE_BUSY
    assert bool(input_ignored(ram))
    assert not {"START", "SELECT"} & _usable(ram)


def test_lost_battle_is_busy_until_the_black_out_has_run(screen: Build) -> None:
    assert _kind(screen({**_BATTLE, "wStack_word": 0x0934}, wIsInBattle=0xFF)) is ScreenKind.BATTLE_BUSY


def test_end_of_a_battle_is_a_transition(screen: Build) -> None:
    assert _kind(screen(_BATTLE, wIsInBattle=0)) is ScreenKind.TRANSITION


def test_demonstration_moves_its_cursor_by_itself(menu: Build, screen: Build) -> None:
    ram = menu(_BATTLE, (14, 9), 1, 0x11, wBattleType=1)
    assert _kind(ram) is ScreenKind.BATTLE_BUSY
    assert bool(input_ignored(ram))
    assert _kind(screen(_BATTLE, {(18, 16): 0xEE}, wBattleType=1)) is ScreenKind.TEXT_WAITING


@pytest.mark.parametrize("cursor", [0x7F, 0xEC])
@pytest.mark.parametrize("base", [_TEXT, _BATTLE])
def test_menu_variables_without_the_cursor_tile_are_leftovers(menu: Build, base: dict[str, Any], cursor: int) -> None:
    ram = menu(base, (2, 11), 7, 0xCB, 2, cursor=cursor, tiles={(0, 12): 0x79})
    assert _kind(ram) in (ScreenKind.TEXT_PRINTING, ScreenKind.BATTLE_BUSY)


@pytest.mark.parametrize(("keys", "top"), [(0xCB, (2, 11)), (0x21, (14, 15)), (0x03, (10, 12)), (0x01, (2, 1))])
def test_menu_variables_left_over_after_closing_do_not_show_in_the_overworld(
    menu: Build, keys: int, top: tuple[int, int]
) -> None:
    ram = menu(_OVERWORLD, top, 3, keys, 1, cursor=0x39)
    assert _kind(ram) is ScreenKind.OVERWORLD
    assert _usable(ram) == set(BUTTONS)


@pytest.mark.parametrize("at", [0x0000, 0xC39F, 0xC508, 0xFFFF])
def test_cursor_address_outside_the_tile_map_is_no_menu(screen: Build, at: int) -> None:
    ram = screen(_TEXT, wMenuCursorLocation=[at & 0xFF, at >> 8], wMenuWatchedKeys=0xCB)
    # the tiles at both ends of the map, where a clamped address would look
    for tile in (0xC3A0, 0xC507):
        ram[FULL_LAYOUT.column(tile)] = 0xED
    assert _kind(ram) is ScreenKind.OTHER_MENU
    assert _usable(ram) == set(BUTTONS)


@pytest.mark.parametrize("base", [_TEXT, _HIDDEN])
def test_unknown_screen_under_a_text_is_a_menu_where_anything_may_act(screen: Build, base: dict[str, Any]) -> None:
    ram = screen(base)
    assert _kind(ram) is ScreenKind.OTHER_MENU
    assert _usable(ram) == set(BUTTONS)
    assert not bool(input_ignored(ram))


def test_text_routine_that_shows_the_map_is_a_transition(screen: Build) -> None:
    assert _kind(screen({**_TEXT, "hWY": 144})) is ScreenKind.TRANSITION


@pytest.mark.parametrize("word", [0x0000, 0x45F2, 0x1F9A, 0x7FFF])
def test_before_the_game_it_is_the_title(screen: Build, word: int) -> None:
    ram = screen({"wStack_word": word, "hWY": 144})
    assert _kind(ram) is ScreenKind.TITLE
    assert {"A", "START"} <= _usable(ram)
    assert not bool(input_ignored(ram))


def test_hacks_with_other_code_are_read_without_the_stack(screen: Build) -> None:
    ram = screen({**_OVERWORLD, "wStack_word": 0x0413})
    assert _kind(ram) is ScreenKind.TRANSITION
    assert int(screen_kind(ram, stack=False)) == ScreenKind.OVERWORLD
    text = screen({**_TEXT, "wStack_word": 0x04AA}, {(0, 12): 0x79})
    assert int(screen_kind(text, stack=False)) == ScreenKind.TEXT_PRINTING
    title = screen({"wStack_word": 0, "hWY": 144})
    assert int(screen_kind(title, stack=False)) == ScreenKind.TITLE


def test_every_kind_has_a_rule_and_the_last_rule_always_holds() -> None:
    assert {rule.kind for rule in RULES} == set(ScreenKind)
    assert RULES[-1].when == ()


def _random_ram(*batch: int) -> Tensor:
    generator = torch.Generator().manual_seed(7)
    return torch.randint(0, 256, (*batch, FULL_LAYOUT.size), dtype=torch.uint8, generator=generator)


def _all_kinds(menu: Build, screen: Build) -> Tensor:
    rams = [menu(base, top, last, keys, items[0], **labels) for _, _, base, top, last, keys, items, labels, _ in _ROWS]
    rams += [screen(base, {(0, 12): 0x79}) for base in (_OVERWORLD, _TEXT, _SCRIPT, _BATTLE, _SET_UP)]
    rams += [screen(_TEXT, {(18, 16): 0xEE}), screen(_OVERWORLD, wWalkCounter=1), screen(_TEXT, waits=0xDFE3)]
    return torch.stack([*rams, *_random_ram(64 - len(rams))])


def test_batch_of_64_reads_like_its_rows_alone(menu: Build, screen: Build) -> None:
    ram = _all_kinds(menu, screen)
    whole = read_screen(ram)
    assert whole.kind.shape == whole.ignored.shape == (64,)
    assert whole.usable.shape == (64, 8)
    assert whole.kind.dtype == torch.uint8
    assert whole.usable.dtype == whole.ignored.dtype == torch.bool
    assert len(whole.kind.unique()) > 10
    folded = read_screen(ram.view(4, 16, -1))
    for part, expected in zip(folded, whole, strict=True):
        assert torch.equal(part.flatten(0, 1), expected)
    for row in range(64):
        for single, expected in ((read_screen(ram[row]), 0), (read_screen(ram[row : row + 1]), 1)):
            for part, of_whole in zip(single, whole, strict=True):
                assert torch.equal(part[0] if expected else part, of_whole[row])


def test_functions_agree_with_the_reading_of_all_at_once(menu: Build, screen: Build) -> None:
    ram = _all_kinds(menu, screen)
    whole = read_screen(ram)
    assert torch.equal(screen_kind(ram), whole.kind)
    assert torch.equal(usable_buttons(ram), whole.usable)
    assert torch.equal(input_ignored(ram), whole.ignored)


def test_compact_layout_reads_like_the_full_image(menu: Build, screen: Build) -> None:
    ram = _all_kinds(menu, screen)
    layout = RamLayout(SCREEN_RANGES)
    compact = torch.cat([ram[:, FULL_LAYOUT.slice(start, stop - start)] for start, stop in SCREEN_RANGES], -1)
    for part, expected in zip(read_screen(compact, layout), read_screen(ram), strict=True):
        assert torch.equal(part, expected)


def test_never_are_all_buttons_masked() -> None:
    assert bool(usable_buttons(_random_ram(4096)).any(-1).all())


def test_strided_and_empty_batches_are_read_too(menu: Build, screen: Build) -> None:
    ram = _all_kinds(menu, screen).view(4, 16, -1)
    for turned, plain in zip(read_screen(ram.transpose(0, 1)), read_screen(ram), strict=True):
        assert torch.equal(turned.transpose(0, 1), plain)
    assert read_screen(ram[:0]).usable.shape == (0, 16, 8)
