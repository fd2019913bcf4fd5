"""Addresses that the tests of Sprout's screens read, and ways to the screens."""

from __future__ import annotations

from typing import Any

import sprout_player as sp
import sprout_walkthrough as walkthrough
from sprout_walkthrough import world

TOP_Y, TOP_X, ITEM, LAST, KEYS = 0xCC24, 0xCC25, 0xCC26, 0xCC28, 0xCC29
TEXT_BOX, LIST_KIND, SCROLL, LIST = 0xD125, 0xCF94, 0xCC36, 0xCF8B
IN_BATTLE, FONT, WINDOW = 0xD057, 0xCFC4, 0xFFB0
BAG, NICKS, OWNED = 0xD31D, 0xD2B5, 0xD2F7
NET, PUDDLIN = world.ITEMS["NET"][0], 0xB1
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
    """Walk in the reeds until a battle begins, and on to the battle menu."""
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


def mon(player: sp.Player, index: int) -> bytes:
    return bytes(player.memory[0xD16B + 44 * index : 0xD16B + 44 * index + 44])


def put(player: sp.Player, address: int, *values: int) -> None:
    for i, value in enumerate(values):
        player.memory[address + i] = value


def until(player: sp.Player, *wanted: tuple[int, int, int, int], presses: int = 12) -> None:
    """Press A until one of these menus waits."""
    for _ in range(presses):
        waits = player.settle_any()
        if waits == "menu" and (player[0xCC24], player[0xCC25], player[0xCC28], player[0xCC29]) in wanted:
            return
        assert waits != "map", "the menu never came"
        player.press("a", 4, 8)
    raise AssertionError(player.screen_text())


def until_text(player: sp.Player, words: str, presses: int = 20) -> None:
    """Press A until the screen shows these words and waits."""
    for _ in range(presses):
        waits = player.settle_any()
        if waits and words in player.screen_text():
            return
        player.press("a", 4, 8)
    raise AssertionError(player.screen_text())


def throw_net(player: sp.Player) -> None:
    """Throw a net, put into the bag, at a weak sleeping creature: at rate 255 it cannot fail."""
    wild_battle(player)
    for i in range(player[0xD163]):
        at = 0xD16B + 44 * i
        put(player, at + 1, player[at + 0x22], player[at + 0x23])
    put(player, 0xCFE6, 0, 1)
    put(player, 0xCFE9, 3)
    put(player, 0xD007, 255)
    put(player, BAG + 1, NET, 5)
    player.choose(1)
    menu(player)
    for _ in range(20):  # the list remembers where it was
        player.press("up", 4, 8)
    assert player[ITEM] + player[0xCC36] == 0
    player.press("a", 4, 8)


def one_level_before_evolution(player: sp.Player) -> None:
    """Begin a battle that PUDDLIN, a point of experience below level 16, can win."""
    wild_battle(player)
    put(player, 0xD16B, PUDDLIN)
    put(player, 0xD16B + 5, 0x15, 0x15)
    put(player, 0xD16B + 0x21, 15)
    put(player, 0xD16B + 0x0E, *(16**3 - 1).to_bytes(3, "big"))
    put(player, 0xD164, PUDDLIN)
    put(player, NICKS, *b"\x8f\x94\x83\x83\x8b\x88\x8d\x50")  # PUDDLIN
    put(player, OWNED, 0, 0)
    put(player, 0xCFE6, 0, 1)


def fight_until_it_evolves(player: sp.Player) -> None:
    for _ in range(60):
        if "evolving" in player.screen_text():
            return
        waits = player.settle_any(200)
        if waits == "menu" and player.menu_is(0x11):
            player.choose(0)
        elif waits == "menu" and player.menu_is(0xC7):
            player.choose(player.best_move(walkthrough.power))
        else:
            player.press("a", 4, 8)
    raise AssertionError(player.screen_text())
