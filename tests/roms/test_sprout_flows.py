"""Sequences over several screens: battles, catching and naming, a full team, the box, moves, items."""

from __future__ import annotations

import io
from typing import Any

import sprout_player as sp
import sprout_walkthrough as walkthrough
from pyboy import PyBoy
from sprout_screens import (
    BAG,
    IN_BATTLE,
    ITEM,
    LIST,
    LIST_KIND,
    NET,
    NICKS,
    OWNED,
    PUDDLIN,
    TEXT_BOX,
    A,
    B,
    fight_until_it_evolves,
    ignores,
    menu,
    mon,
    one_level_before_evolution,
    put,
    start_line,
    throw_net,
    until,
    until_text,
    wild_battle,
)  # fmt: skip
from sprout_walkthrough import world

PARTY, BOX, MONEY = 0xD163, 0xDA80, 0xD347
BOX_NICKS, ENEMY, BRINEEL = 0xDE06, 0xCFE5, 0x85
MINT_LEAF = world.ITEMS["MINT_LEAF"][0]
MIRROR_ME, TIDE = 102, 57
YES_NO = (8, 15, 1, A | B)


def read_on(player: sp.Player) -> None:
    """Press A until the map is back."""
    for _ in range(60):
        if player.settle_any() == "map":
            player.tick(4)
            return
        player.press("a", 4, 8)
    raise AssertionError(player.screen_text())


def type_name(player: sp.Player) -> None:
    """Enter A and B on the naming screen."""
    player.tick(20)
    assert player[0xCC29] == 0xFF
    for key in ("a", "right", "a", "start"):
        player.press(key, 4, 8)


# ---------------------------------------------------------------------------------------------- as the retail game
def test_a_trainers_creature_is_loaded_after_the_text_that_wants_to_fight(at: Any) -> None:
    # InitBattleCommon of the retail game sets wEnemyMonPartyPos 0xFF and wIsInBattle 2 after the transition;
    # EnemySendOutFirstMon fills wEnemyMon after the text.
    player = at("catch")
    player.settle = lambda: sp.Player.settle(player)
    put(player, 0xD0DB, 200)  # no wild battle on the way
    before = bytes(player.memory[ENEMY : ENEMY + 29])
    assert any(before)  # the battle of the catch
    player.walk_to((15, 8))
    while not player[0xD059]:  # wCurOpponent is set after the rival's text
        assert bytes(player.memory[ENEMY : ENEMY + 29]) == before
        player.press("a", 4, 8)
    stale = before[:3] + b"\xff" + before[4:]
    in_battle = set()
    for _ in range(600):
        in_battle.add(player[IN_BATTLE])
        assert bytes(player.memory[ENEMY : ENEMY + 29]) == (stale if player[IN_BATTLE] else before)
        if player.on_stack(sp.TEXT_WAITS) and player[IN_BATTLE]:
            break
        player.tick()
    assert in_battle == {0, 2}
    assert player.settle_any() == "text"
    assert "to fight" in player.screen_text()
    player.press("start", 4, 60)
    assert bytes(player.memory[ENEMY : ENEMY + 29]) == stale
    player.press("a", 4, 8)
    player.wait(lambda: player[ENEMY + 3] == 0, 60)
    assert (player[ENEMY], player[ENEMY + 14]) == (0x24, 13)  # PIPWING, level 13
    assert player.big(ENEMY + 1) == player.big(ENEMY + 15) > 0


def test_a_wild_creature_is_loaded_before_the_transition_and_keeps_the_position_byte(at: Any) -> None:
    player = at("catch")
    player.settle = lambda: sp.Player.settle(player)
    put(player, ENEMY, 0, 0, 0, 5)
    for spot in ((6, 5), (9, 5)) * 20:
        player.walk_to(spot)
        if player[0xD059]:
            break
    player.wait(lambda: player[IN_BATTLE] == 1, 60)
    player.tick(2)
    assert player[0xFFB0] == 144  # the map still shows
    assert player.big(ENEMY + 1) == player.big(ENEMY + 15) > 0
    assert player[ENEMY + 3] == 5


def test_a_new_kind_shows_a_page_that_waits_for_a_or_b_without_an_arrow(at: Any) -> None:
    for key in ("a", "b"):
        player = at("catch")
        put(player, OWNED, 0, 0)
        throw_net(player)
        until_text(player, "page in the book")
        assert any(player.memory[OWNED : OWNED + 2])
        player.press("a", 4, 8)
        assert player.settle_any() == "page"
        player.tick(60)
        page = bytes(player.memory[0xC3A0:0xC508])
        assert [page[0], page[19], page[340], page[359]] == [0x63, 0x65, 0x6C, 0x6E]
        for other in ("start", "select", "up", "down", "left", "right"):
            player.press(other, 4, 8)
        assert bytes(player.memory[0xC3A0:0xC508]) == page
        assert not player.on_stack(sp.TEXT_WAITS, sp.MENU_WAITS)
        assert (player[IN_BATTLE], player.outermost in sp.BATTLES) == (1, True)
        player.press(key, 4, 8)
        until(player, YES_NO, presses=2)

    player = at("catch")
    put(player, OWNED, 0xFF, 0xFF)
    throw_net(player)
    until_text(player, "caught")
    player.press("a", 4, 8)
    until(player, YES_NO, presses=1)  # a kind that is known has no page


def test_evolution_runs_before_the_battle_ends(at: Any) -> None:
    player = at("catch")
    one_level_before_evolution(player)
    fight_until_it_evolves(player)
    assert player[0xD164] == PUDDLIN
    while player[0xD164] == PUDDLIN:
        assert (player[IN_BATTLE], player.outermost in sp.BATTLES) == (1, True)
        assert not player.on_stack(sp.TEXT_WAITS, sp.MENU_WAITS)
        player.tick()
    assert player[IN_BATTLE] == 1
    read_on(player)
    assert player[IN_BATTLE] == 0
    assert mon(player, 0)[0] == player[0xD164] == BRINEEL
    assert bytes(player.memory[NICKS : NICKS + 8]) == b"\x81\x91\x88\x8d\x84\x84\x8b\x50"  # BRINEEL
    assert player.big(0xD16C) <= player.big(0xD18D)
    assert player[OWNED + 1] & 4  # the eleventh kind of the book


def test_b_stops_an_evolution(at: Any) -> None:
    player = at("catch")
    one_level_before_evolution(player)
    fight_until_it_evolves(player)
    for _ in range(40):
        player.press("b", 2, 6)
        if player.on_stack(sp.TEXT_WAITS):
            break
    assert "stays" in player.screen_text()
    assert player[IN_BATTLE] == 1
    read_on(player)
    assert player[IN_BATTLE] == 0
    assert mon(player, 0)[0] == player[0xD164] == PUDDLIN
    assert mon(player, 0)[0x21] == 16


# ---------------------------------------------------------------------------------------------- a full team
def test_six_creatures_join_the_team_and_the_seventh_goes_to_the_box(at: Any) -> None:
    player = at("catch")
    assert player[PARTY] == 2
    for number in range(2, 7):
        throw_net(player)
        until(player, YES_NO)
        assert player[TEXT_BOX] == 0x14
        kind = bytes(player.memory[0xCFDA : 0xCFDA + 11])
        named = number in (2, 6)
        if named:
            player.choose(0)
            type_name(player)
        else:
            player.press("b", 4, 8)
        read_on(player)
        name = b"\x80\x81\x50" if named else kind[: kind.index(0x50) + 1]
        if number < 6:
            assert player[PARTY] == number + 1
            assert player[PARTY + 1 + number] == mon(player, number)[0] == player[0xD11C]
            assert player[PARTY + 2 + number] == 0xFF
            assert bytes(player.memory[NICKS + 11 * number : NICKS + 11 * number + len(name)]) == name
        else:
            assert (player[PARTY], player[BOX], player[BOX + 1]) == (6, 1, player[0xD11C])
            assert bytes(player.memory[BOX_NICKS : BOX_NICKS + 3]) == name
        assert player[BAG + 2] == 4

    # a team of six: the menu has six lines, wraps, and any two can be swapped
    start_line(player, 1)
    assert menu(player) == (1, 0, 5, A | B)
    player.press("up", 4, 8)
    assert player[ITEM] == 5
    last, first = mon(player, 5), mon(player, 0)
    player.press("a", 4, 8)
    assert menu(player) == (12, 12, 2, A | B)
    player.choose(1)
    menu(player)
    player.choose(0)
    menu(player)
    assert (mon(player, 0), mon(player, 5)) == (last, first)
    assert (player[PARTY + 1], player[PARTY + 6]) == (last[0], first[0])
    for _ in range(4):
        player.press("b", 4, 8)
    player.settle_any()

    # a full team and a full box: the net stays in the bag
    put(player, BOX, 20, *[player[BOX + 1]] * 20, 0xFF)
    throw_net(player)
    until(player, (14, 9, 1, 0x11), (14, 15, 1, 0x21), presses=3)
    assert (player[BAG + 2], player[BOX], player[IN_BATTLE]) == (5, 20, 1)


def test_another_creature_of_six_continues_when_one_faints(at: Any) -> None:
    player = at("catch")
    friend = mon(player, 1)
    for i in range(2, 6):
        put(player, 0xD16B + 44 * i, *friend)
        put(player, PARTY + 1 + i, friend[0], 0xFF)
    put(player, PARTY, 6)
    wild_battle(player)
    put(player, 0xD015, 0, 1)
    for i in range(1, 5):
        put(player, 0xD16C + 44 * i, 0, 0)
    for _ in range(60):  # until the enemy hits
        if player.settle_any() == "menu":
            if player.menu_is(A, 1, 0):
                break
            if player.menu_is(0x11):
                player.press("right", 4, 8)
                menu(player)
            player.choose(1)
        else:
            player.press("a", 4, 8)
        if player.listening:
            return  # it got away first
    assert menu(player) == (1, 0, 5, A)  # B is refused
    ignores(player, "b")
    player.choose(2)  # cannot fight
    assert menu(player) == (1, 0, 5, A)
    player.choose(5)
    menu(player)
    assert (player[0xCC2F], player.big(0xD015)) == (5, int.from_bytes(friend[1:3], "big"))


# ---------------------------------------------------------------------------------------------- the box
def to_the_box(player: Any) -> None:
    walkthrough.rest_above(player)
    player.enter((8, 11))
    player.go((6, 4))
    player.face("right")
    player.press("a", 4, 8)
    assert player.outermost == sp.HIDDEN
    until(player, (2, 1, 4, A | B))


def test_box_shows_stores_returns_and_releases(at: Any) -> None:
    player = at("highmere")
    to_the_box(player)
    friend = mon(player, 1)
    player.choose(1)
    menu(player)
    assert (player[LIST_KIND], player.word(LIST)) == (0, PARTY)
    player.choose(1)
    assert menu(player) == (12, 10, 2, A | B)
    assert "PUT IN" in player.screen_text()
    player.choose(1)  # its page, and back
    assert player.settle_any() == "text"
    assert "SPECIAL" in player.screen_text()
    player.press("a", 4, 8)
    assert menu(player) == (12, 10, 2, A | B)
    player.choose(2)  # cancel
    assert menu(player) == (2, 1, 4, A | B)
    assert player[PARTY] == 2
    player.choose(1)
    menu(player)
    player.choose(1)
    menu(player)
    player.choose(0)
    until(player, (2, 1, 4, A | B))
    assert (player[PARTY], player[BOX], player[BOX + 1], player[BOX + 2]) == (1, 1, friend[0], 0xFF)
    assert player[PARTY + 2] == 0xFF

    player.choose(0)
    menu(player)
    assert (player[LIST_KIND], player.word(LIST)) == (0, BOX)
    player.choose(0)
    assert menu(player) == (12, 10, 2, A | B)
    assert "TAKE OUT" in player.screen_text()
    player.choose(0)
    until(player, (2, 1, 4, A | B))
    assert (player[PARTY], player[BOX]) == (2, 0)
    assert mon(player, 1)[:3] == friend[:3]
    assert mon(player, 1)[0x21:] == friend[0x21:]

    player.choose(1)  # in again, and away for good
    menu(player)
    player.choose(1)
    menu(player)
    player.choose(0)
    until(player, (2, 1, 4, A | B))
    player.choose(2)
    menu(player)
    player.choose(0)
    until(player, YES_NO)
    player.choose(0)
    until(player, (2, 1, 4, A | B))
    assert (player[PARTY], player[BOX], player[BOX + 1]) == (1, 0, 0xFF)
    player.press("b", 4, 8)
    player.through()


# ---------------------------------------------------------------------------------------------- moves
def grow_to_the_fifth_move(player: sp.Player) -> None:
    """Win a battle after which the first creature can learn a fifth move; end at the question."""
    at = 0xD16B
    assert player[at] == BRINEEL  # learns TIDE at level 24
    put(player, at + 8, 33, 39, 55, 36)
    put(player, at + 0x1D, 20, 20, 20, 20)
    put(player, at + 0x0E, *(24**3 - 1).to_bytes(3, "big"))
    put(player, at + 0x21, 23)
    wild_battle(player)
    put(player, 0xCFE6, 0, 1)
    put(player, 0xD029, 3)  # faster than any enemy: 3 x 256
    player.choose(0)
    menu(player)
    player.choose(1)
    until(player, YES_NO, (14, 9, 1, 0x11))
    if player.menu_is(0x11):  # it missed
        player.choose(0)
        menu(player)
        player.choose(1)
        until(player, YES_NO)
    assert player[at + 0x21] == 24


def test_a_fifth_move_takes_the_place_of_the_one_chosen(at: Any) -> None:
    player = at("catch")
    grow_to_the_fifth_move(player)
    player.choose(0)
    until(player, (8, 5, 3, A | B))
    assert player[0xFFF6] & 2
    ignores(player, "left", "right", "start", "select")
    player.choose(2)
    read_on(player)
    assert tuple(mon(player, 0)[8:12]) == (33, 39, TIDE, 36)
    assert mon(player, 0)[0x1F] == 15  # fresh
    assert not player[0xFFF6] & 2


def test_a_fifth_move_can_be_refused_twice(at: Any) -> None:
    for says_yes in (False, True):
        player = at("catch")
        grow_to_the_fifth_move(player)
        if says_yes:
            player.choose(0)
            until(player, (8, 5, 3, A | B))
        player.press("b", 4, 8)
        read_on(player)
        assert tuple(mon(player, 0)[8:12]) == (33, 39, 55, 36)


def test_mint_leaf_restores_the_move_chosen_from_the_pp_list(at: Any) -> None:
    player = at("hall_of_fame")
    put(player, BAG + 1, MINT_LEAF, 2)
    known = sum(m > 0 for m in mon(player, 0)[8:12])
    put(player, 0xD16B + 0x1D, 1)
    start_line(player, 2)
    for wanted in (None, 1):
        menu(player)
        player.choose(0)
        assert menu(player) == (11, 14, 1, A | B)
        player.choose(0)
        assert menu(player) == (1, 0, 1, A | B)
        assert player[0xD07D] == 1
        player.choose(0)
        assert menu(player) == (7, 5, known + 1, 0xC3)
        assert (player[0xCCDB], player[ITEM]) == (2, 1)
        ignores(player, "left", "right", "start", "select")
        player.press("up", 4, 8)
        assert player[ITEM] == known
        player.press("down", 4, 8)
        if wanted is None:
            player.press("b", 4, 8)
        else:
            player.choose(wanted)
            until(player, (4, 5, 2, 7))
    assert mon(player, 0)[0x1D] == 11
    assert player[BAG + 2] == 1


def test_a_copied_move_is_chosen_without_b_and_lasts_until_the_battle_ends(at: Any) -> None:
    player = at("catch")
    put(player, 0xD16B + 8, MIRROR_ME)
    put(player, 0xD16B + 0x1D, 10)
    wild_battle(player)
    foes = [m for m in player.memory[0xCFED:0xCFF1] if m]
    player.choose(0)
    menu(player)
    player.choose(1)
    for _ in range(8):
        if player.settle_any() == "menu":
            break
        player.press("a", 4, 8)
    assert menu(player) == (7, 1, len(foes) + 1, 0xC1)
    assert (player[0xCCDB], player[ITEM]) == (1, 1)
    ignores(player, "b", "left", "right", "start", "select")
    player.choose(1)
    menu(player)
    assert player[0xD01C] == foes[0]
    assert player[0xD02D] == 9
    assert mon(player, 0)[8] == MIRROR_ME
    player.fight(walkthrough.power, run=True)
    assert (mon(player, 0)[8], mon(player, 0)[0x1D]) == (MIRROR_ME, 9)


# ---------------------------------------------------------------------------------------------- items and money
def money(player: sp.Player) -> int:
    return int(bytes(player.memory[MONEY : MONEY + 3]).hex())


def test_shop_buys_back_at_half_the_price(at: Any) -> None:
    player = at("shopping")
    player.enter((5, 15))
    player.go((2, 4))
    player.look("up")
    menu(player)
    before, nets = money(player), player[BAG + 2 + 2 * bag(player).index(NET)]
    player.choose(1)
    menu(player)
    for _ in range(bag(player).index(NET)):
        player.press("down", 4, 8)
    player.press("a", 4, 8)
    player.tick(20)
    assert (player[0xCF96], player[0xCF97]) == (1, nets)
    player.press("up", 4, 8)
    ignored = player[0xCF96]
    for key in ("left", "right", "start", "select"):
        player.press(key, 4, 8)
        assert player[0xCF96] == ignored == 2
    player.press("a", 4, 8)
    until(player, YES_NO)
    player.choose(0)
    until(player, (4, 5, 2, 7), (4, 5, 1, 7))
    assert money(player) == before + 200
    assert player[BAG + 2 + 2 * bag(player).index(NET)] == nets - 2
    for _ in range(8):
        if player.settle_any() == "map":
            return
        player.press("b", 4, 8)
    raise AssertionError("the shop does not let go")


def bag(player: sp.Player) -> list[int]:
    return [player[BAG + 1 + 2 * i] for i in range(player[BAG])]


def test_item_pc_stores_returns_and_throws_away(at: Any) -> None:
    player = at("hall_of_fame")
    player.go((1, 1))
    player.enter((0, 1))
    player.go((7, 2))
    player.face("up")
    put(player, BAG + 1, NET, 5)
    player.press("a", 4, 8)
    assert player.outermost == sp.HIDDEN
    assert menu(player) == (2, 1, 3, A | B)
    assert player[0xCD60] & 8  # wMiscFlags: using a PC
    for line, amount, here, there in ((1, 2, 3, 2), (0, 1, 4, 1), (2, 1, 4, None)):
        player.choose(line)
        menu(player)
        assert (player[LIST_KIND], player.word(LIST)) == (3, BAG if line == 1 else 0xD53A)
        player.press("a", 4, 8)
        player.tick(20)
        for _ in range(amount - 1):
            player.press("up", 4, 8)
        if (line, amount) != (2, 1):  # a single item is not asked for its quantity
            player.press("a", 4, 8)
        assert menu(player) == (2, 1, 3, A | B)
        assert player[BAG + 2] == here
        assert (player[0xD53C] if player[0xD53A] else None) == there
        assert player[0xD53B + 2 * player[0xD53A]] == 0xFF
    player.press("b", 4, 8)
    player.settle_any()
    assert not player[0xCD60] & 8


# ---------------------------------------------------------------------------------------------- other screens
def test_option_screen_keeps_its_cursor_in_ram(at: Any) -> None:
    player = at("hall_of_fame")
    start_line(player, 5)
    player.wait(lambda: player[0xCC24] == 3, 60)
    player.tick(8)
    for key, y, x in (
        ("right", 3, 7),
        ("down", 8, 1),
        ("right", 8, 10),
        ("down", 13, 1),
        ("down", 16, 1),
        ("down", 3, 7),
    ):
        player.press(key, 4, 8)
        assert (player[0xCC24], player[0xCC25], player[ITEM]) == (y, x, 0)
        assert player.word(0xCC30) == 0xC3A0 + 20 * y + x
        assert player[player.word(0xCC30)] == 0xED
        assert bytes(player.memory[0xC3A0:0xC508]).count(0xED) == 1
    assert player[0xD355] == 0x83  # medium, moves are not shown


def test_card_waits_like_a_text(at: Any) -> None:
    player = at("hall_of_fame")
    start_line(player, 3)
    assert player.settle_any() == "text"
    assert "BADGES" in player.screen_text()
    for key in ("start", "select", "up"):
        player.press(key, 4, 8)
        assert player.settle_any() == "text"
    player.press("b", 4, 8)
    assert menu(player)[3] == 0xCB


def test_hall_of_fame_counts_the_team_saves_and_restarts_the_game(at: Any) -> None:
    player = at("champion")
    assert player[0xD5A2] == 0
    player.settle = lambda: sp.Player.settle(player)
    player.enter((5, 1))
    player.walk_to((3, 2))
    player.face("up")
    player.press("a", 4, 8)
    shown = set()
    for _ in range(100):
        player.tick(8)
        text = player.screen_text()
        shown |= {i for i in range(2) if f"LEVEL  {mon(player, i)[0x21]:4}".replace(" ", "") in text.replace(" ", "")}
        if "HALL OF FRIENDS" not in text and shown:
            break
    assert shown == {0, 1}
    assert player[0xD5A2] == 1  # before the last text

    # jp Init after the last button: work RAM is clear and the title shows; CONTINUE leads home
    until_text(player, "THE END")
    player.press("start", 4, 8)
    assert player.settle_any() == "text"
    player.press("a", 4, 8)
    player.tick(100)
    assert "PRESS START" in player.screen_text()
    assert player[0xD5A2] == 0
    assert not any(player.memory[PARTY : PARTY + 8])
    assert not any(player.memory[0xD747:0xD887])
    assert player.outermost not in (*sp.OVERWORLD, sp.TALK, sp.HIDDEN, sp.SCRIPT, *sp.BATTLES)
    player.press("start", 4, 8)
    assert menu(player) == (2, 1, 2, 0x0B)  # CONTINUE is there
    player.choose(0)
    player.wait(lambda: player.listening, 300)
    assert player[0xD5A2] == 1
    assert player[PARTY] == 2
    assert player[sp.CUR_MAP] == walkthrough.MAPS["HOME_1F"]


def cycle_power(player: sp.Player) -> None:
    """Switch off and on with the battery RAM kept."""
    battery = io.BytesIO()
    player.pyboy.stop(save=True, ram_file=battery)
    player.pyboy = PyBoy(str(sp.CARTRIDGE), window="null", sound_emulated=False, log_level="ERROR",
                         ram_file=io.BytesIO(battery.getvalue()))  # fmt: skip
    player.memory = player.pyboy.memory


def test_save_is_deleted_only_by_yes(at: Any) -> None:
    player = at("hall_of_fame")  # saved by the machine
    cycle_power(player)
    for answer, lines in (("a", 2), ("down", 1)):
        player.tick(100)
        for key in ("up", "select", "b"):
            player.down(key)
        player.tick(8)
        for key in ("up", "select", "b"):
            player.up(key)
        assert menu(player) == YES_NO
        assert "NO" in player.screen_text().split("\n")[8]
        ignores(player, "start", "select")
        player.press("b", 4, 8)
        assert menu(player) == YES_NO  # B is no answer
        player.press(answer, 4, 8)
        if answer == "down":
            player.press("a", 4, 8)
        player.tick(100)
        player.press("start", 4, 8)
        assert menu(player) == (2, 1, lines, 0x0B)
        player.press("b", 4, 8)
