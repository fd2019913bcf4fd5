"""What the tests of Sprout's screens look at, and the ways to them."""

from __future__ import annotations

from typing import Any

import sprout_player as sp

TOP_Y, TOP_X, ITEM, LAST, KEYS = 0xCC24, 0xCC25, 0xCC26, 0xCC28, 0xCC29
TEXT_BOX, LIST_KIND, SCROLL, LIST = 0xD125, 0xCF94, 0xCC36, 0xCF8B
IN_BATTLE, FONT, WINDOW = 0xD057, 0xCFC4, 0xFFB0
A, B, SELECT, START, RIGHT, LEFT = 0x01, 0x02, 0x04, 0x08, 0x10, 0x20


def menu(player: sp.Player) -> tuple[int, int, int, int]:
    assert player.settle_any() == "menu", player.screen_text()
    assert player[player.word(0xCC30)] == 0xED, "the cursor is not where wMenuCursorLocation says"
    return player[TOP_Y], player[TOP_X], player[LAST], player[KEYS]


def ignores(player: sp.Player, *keys: str) -> None:
    menu(player)
    before = player[ITEM], player[TOP_X], player[KEYS], player[SCROLL]
    for key in keys:
        player.press(key, 4, 8)
        assert (player[ITEM], player[TOP_X], player[KEYS], player[SCROLL]) == before, key
    menu(player)


def start_line(player: sp.Player, line: int) -> None:
    player.press("start", 4, 8)
    menu(player)
    player.choose(line)


def wild_battle(player: Any) -> None:
    """Into the reeds until somebody comes, and on to the battle menu."""
    player.settle = lambda: sp.Player.settle(player)
    for spot in ((6, 5), (9, 5)) * 20:
        player.walk_to(spot)
        if player[IN_BATTLE]:
            break
    assert player[IN_BATTLE] == 1
    for _ in range(20):
        if player.settle_any() == "menu":
            return
        player.press("a", 4, 8)
    raise AssertionError("no battle menu")
