"""Every kind of screen in the menu table of the RAM map, with the variables and the keys of the retail game."""

from __future__ import annotations

import io
from typing import Any

import sprout_player as sp
import sprout_walkthrough as walkthrough
from pyboy import PyBoy
from sprout_screens import (
    FONT,
    IN_BATTLE,
    ITEM,
    LAST,
    LEFT,
    LIST,
    LIST_KIND,
    RIGHT,
    SCROLL,
    SELECT,
    START,
    TEXT_BOX,
    TOP_X,
    TOP_Y,
    WINDOW,
    A,
    B,
    ignores,
    menu,
    start_line,
    wild_battle,
)  # fmt: skip


# ---------------------------------------------------------------------------------------------- battle
def test_battle_menu_has_two_columns_with_keys_of_their_own(at: Any) -> None:
    player = at("catch")
    wild_battle(player)
    assert player.outermost in sp.BATTLES
    assert (player[WINDOW], player[FONT], player[TEXT_BOX]) == (0, 0, 0x0B)
    assert player[0xD059] == player[0xCFE5]  # wCurOpponent is the species
    assert player[0xD031] == 0  # no trainer
    assert menu(player) == (14, 9, 1, A | RIGHT)
    ignores(player, "b", "start", "select", "left")
    player.press("down", 4, 8)
    assert player[ITEM] == 1
    player.press("right", 4, 8)
    assert menu(player) == (14, 15, 1, A | LEFT)
    assert player[ITEM] == 1
    ignores(player, "b", "start", "select", "right")


def test_move_list_counts_from_one_wraps_and_b_leaves(at: Any) -> None:
    player = at("catch")
    wild_battle(player)
    player.choose(0)
    known = sum(m > 0 for m in player.memory[0xD01C:0xD020])
    assert menu(player) == (12, 5, known + 1, 0xC7)
    assert player[0xFFF6] & 2  # single spaced
    assert player[0xCCDB] == 0
    first = player[ITEM]
    assert first == 1
    ignores(player, "left", "right", "start")
    player.press("up", 4, 8)
    assert player[ITEM] == known
    player.press("down", 4, 8)
    assert player[ITEM] == 1
    player.press("b", 4, 8)
    assert menu(player) == (14, 9, 1, A | RIGHT)


def test_a_turn_costs_pp_and_hp_and_the_animation_is_marked(at: Any) -> None:
    player = at("catch")
    wild_battle(player)
    foe = player.big(0xCFE6)
    player.choose(0)
    menu(player)
    line = player.best_move(walkthrough.power)
    strength = player[0xD02D + line - 1]
    player.choose(line)
    sounds = set()
    for _ in range(500):
        player.tick()
        sounds.add(player[0xCF07])
        if player.on_stack(sp.MENU_WAITS, sp.TEXT_WAITS):
            break
    assert 0xFF in sounds
    assert len(sounds) > 1  # something else while a move was shown
    assert player[0xD02D + line - 1] == strength - 1
    assert player[0xCCDC] == player[0xD01C + line - 1]
    assert player.big(0xCFE6) < foe or player.big(0xD0D7) == 0 or "missed" in player.screen_text()


def test_bag_in_battle_is_a_scrolling_list(at: Any) -> None:
    player = at("catch")
    wild_battle(player)
    player.choose(1)
    assert menu(player) == (4, 5, 2, A | B | SELECT)
    assert (player[LIST_KIND], player.word(LIST), player[0xD12A]) == (3, 0xD31D, player[0xD31D])
    assert player[TEXT_BOX] == 0x0D
    ignores(player, "left", "right", "start")
    for _ in range(player[0xD31D] + 2):
        player.press("down", 4, 8)
    assert player[SCROLL] + player[ITEM] == player[0xD31D]  # CANCEL is the last line
    player.press("a", 4, 8)
    assert menu(player)[0] == 14


def test_team_in_battle_animates_and_b_goes_back(at: Any) -> None:
    player = at("catch")
    wild_battle(player)
    player.press("right", 4, 8)
    menu(player)
    player.choose(0)
    assert menu(player) == (1, 0, player[0xD163] - 1, A | B)
    assert player[0xD07D] == 2
    assert any(player.tick() or player.on_stack(sp.PARTY_WAITS) for _ in range(30))
    ignores(player, "left", "right", "start", "select")
    player.press("b", 4, 8)
    assert menu(player)[0] == 14


def test_running_ends_a_wild_battle_and_three_steps_are_free_of_battles(at: Any) -> None:
    player = at("catch")
    wild_battle(player)
    assert player.fight(walkthrough.power, run=True) in (0, 2)
    assert player[IN_BATTLE] == 0
    assert player[0xD059] == 0
    assert 0 < player[0xD13C] <= 3
    assert player.big(0xCFF4) > 0  # the enemy's fields keep their values


def test_winning_gives_experience_and_losing_leads_home_with_half_the_money(at: Any) -> None:
    player = at("catch")
    wild_battle(player)
    before = int.from_bytes(bytes(player.memory[0xD179:0xD17C]), "big")
    player.memory[0xCFE6], player.memory[0xCFE7] = 0, 1
    assert player.fight(walkthrough.power) == 0
    assert int.from_bytes(bytes(player.memory[0xD179:0xD17C]), "big") > before

    player = at("catch")
    wild_battle(player)
    money = int(bytes(player.memory[0xD347:0xD34A]).hex())
    player.memory[0xD015], player.memory[0xD016] = 0, 1  # one HP left
    for i in range(1, player[0xD163]):
        player.memory[0xD16C + 44 * i], player.memory[0xD16D + 44 * i] = 0, 0
    lost = False
    for _ in range(200):
        if player.listening:
            break
        lost |= player[IN_BATTLE] == 0xFF
        if player.settle_any(300) == "menu" and player.menu_is(0x11):
            player.press("right", 4, 8)
            player.settle_any()
            player.choose(1)  # fails to run, and is hit
        else:
            player.press("a", 4, 4)
    if player[0xCF0B] == 1:
        assert int(bytes(player.memory[0xD347:0xD34A]).hex()) == money // 2
        assert player[sp.CUR_MAP] == player[0xD719]
        assert player.big(0xD16C) == player.big(0xD18D)


# ---------------------------------------------------------------------------------------------- START and what it opens
def test_start_menu_has_seven_lines_with_the_book(at: Any) -> None:
    player = at("hall_of_fame")
    player.press("start", 4, 8)
    assert menu(player) == (2, 11, 7, 0xCB)
    assert player.outermost == sp.TALK


def test_book_turns_its_pages(at: Any) -> None:
    player = at("hall_of_fame")
    start_line(player, 0)
    assert menu(player) == (3, 0, 6, 0x33)
    ignores(player, "start", "select")
    assert "LEAFLING" in player.screen_text()
    player.press("right", 4, 8)
    menu(player)
    assert "LEAFLING" not in player.screen_text()
    player.press("left", 4, 8)
    menu(player)
    assert "LEAFLING" in player.screen_text()
    player.press("b", 4, 8)
    assert menu(player)[3] == 0xCB


def test_team_has_a_menu_of_its_own_and_can_be_rearranged(at: Any) -> None:
    player = at("hall_of_fame")
    species = bytes(player.memory[0xD164:0xD166])
    start_line(player, 1)
    assert menu(player)[:2] == (1, 0)
    player.choose(0)
    assert menu(player) == (12, 12, 2, A | B)
    player.choose(1)
    menu(player)
    assert player[0xD07D] == 4
    player.choose(1)
    menu(player)
    assert bytes(player.memory[0xD164:0xD166]) == species[::-1]
    assert player[0xD16B] == species[1]


def test_bag_asks_use_or_toss_and_tossing_asks_how_many(at: Any) -> None:
    player = at("hall_of_fame")
    start_line(player, 2)
    assert menu(player)[:2] == (4, 5)
    items = [player[0xD31E + 2 * i] for i in range(player[0xD31D])]
    for _ in range(items.index(4)):
        player.press("down", 4, 8)
        menu(player)
    nets = player[0xD31F + 2 * items.index(4)]
    player.press("a", 4, 8)
    assert menu(player) == (11, 14, 1, A | B)
    assert player[TEXT_BOX] == 6
    player.choose(1)
    player.tick(20)
    assert (player[0xCF96], player[0xCF97]) == (1, nets)
    player.press("down", 4, 8)
    assert player[0xCF96] == nets  # wraps
    player.press("up", 4, 8)
    assert player[0xCF96] == 1
    player.press("a", 4, 8)
    for _ in range(5):
        player.settle_any()
        if player.menu_is(A | B, 8, 15):
            break
        player.press("a", 4, 8)
    assert menu(player) == (8, 15, 1, A | B)
    assert player[TEXT_BOX] == 0x14
    ignores(player, "start", "select", "left", "right")
    player.press("a", 4, 8)
    player.settle_any()
    assert player[0xD31F + 2 * items.index(4)] == nets - 1


def test_text_speed_of_the_options_is_the_speed_of_the_text(at: Any) -> None:
    frames = {}
    for speed, presses in ((1, ()), (3, ("right",)), (5, ("right", "right"))):
        player = at("hall_of_fame")
        start_line(player, 5)
        player.wait(lambda p=player: p[TOP_Y] == 3, 60)
        player.tick(8)
        for key in presses:
            player.press(key, 4, 8)
        player.press("b", 4, 8)
        menu(player)
        player.press("b", 4, 8)
        player.settle()
        assert player[0xD355] & 7 == speed
        player.step("down")
        player.go((3, 2))
        player.face("up")
        player.press("a", 2, 2)
        begin = player.frames
        player.settle_any()
        frames[speed] = player.frames - begin
    assert frames[1] * 2 < frames[3]
    assert frames[3] * 3 < frames[5] * 2


def test_a_saved_game_can_be_continued(at: Any) -> None:
    player = at("hall_of_fame")
    start_line(player, 4)
    for _ in range(20):
        player.settle_any()
        if player.menu_is(A | B, 8, 15):
            break
    player.choose(0)
    player.wait(lambda: player.listening, 400)
    player.tick(8)
    kept = bytes(player.memory[0xD158:0xD35D]), bytes(player.memory[0xD747:0xD887]), player.where
    battery = io.BytesIO()
    player.pyboy.stop(save=True, ram_file=battery)
    player.pyboy = PyBoy(str(sp.CARTRIDGE), window="null", sound_emulated=False, log_level="ERROR",
                         ram_file=io.BytesIO(battery.getvalue()))  # fmt: skip
    player.memory = player.pyboy.memory
    player.tick(100)
    player.press("start", 4, 8)
    assert menu(player) == (2, 1, 2, A | B | START)
    player.choose(0)
    player.wait(lambda: player.listening, 300)
    assert (bytes(player.memory[0xD158:0xD35D]), bytes(player.memory[0xD747:0xD887]), player.where) == kept


# ---------------------------------------------------------------------------------------------- houses
def test_shop_buys_what_the_list_shows(at: Any) -> None:
    player = at("shopping")
    player.enter((5, 15))
    player.go((2, 4))
    player.look("up")
    assert menu(player) == (1, 1, 2, A | B)
    assert player[TEXT_BOX] == 0x0E
    player.choose(0)
    assert menu(player) == (4, 5, 2, A | B | SELECT)
    assert (player[LIST_KIND], player[0xCF93]) == (2, 1)
    money = int(bytes(player.memory[0xD347:0xD34A]).hex())
    player.press("down", 4, 8)
    menu(player)
    player.press("a", 4, 8)
    player.tick(20)
    assert (player[0xCF96], player[0xCF97]) == (1, 99)
    player.press("down", 4, 8)
    assert player[0xCF96] == 99
    player.press("up", 4, 8)
    player.press("a", 4, 8)
    for _ in range(5):
        player.settle_any()
        if player.menu_is(A | B, 8, 15):
            break
        player.press("a", 4, 8)
    player.choose(0)
    player.settle_any()
    assert int(bytes(player.memory[0xD347:0xD34A]).hex()) == money - 300  # one DEW DROP
    assert 20 in player.memory[0xD31E:0xD346:2]


def test_healing_house_has_its_box_at_column_12(at: Any) -> None:
    player = at("shopping")
    player.enter((5, 5))
    player.go((3, 4))
    player.look("up")
    for _ in range(5):
        if player.settle_any() == "menu":
            break
        player.press("a", 4, 8)
    assert menu(player) == (8, 12, 1, A | B)
    player.press("b", 4, 8)
    player.through()


# ---------------------------------------------------------------------------------------------- names
def test_naming_screen_enters_a_name() -> None:
    with sp.Player() as player:
        player.tick(100)
        player.press("start", 4, 8)
        assert menu(player) == (2, 1, 1, A | B | START)
        player.choose(0)
        for _ in range(6):
            if player.settle_any(200) == "menu":
                break
            player.press("a", 4, 8)
        assert menu(player) == (2, 1, 3, A)
        ignores(player, "b", "start", "select", "left", "right")
        player.choose(0)
        player.tick(20)
        assert (player[TOP_Y], player[TOP_X], player[ITEM], player[LAST]) == (3, 1, 1, 7)
        for key in ("a", "right", "a", "a", "b", "select", "down", "a", "left", "left"):
            player.press(key, 4, 8)
        assert player[TOP_X] == 17  # wraps
        assert player[ITEM] == 2
        player.press("start", 4, 8)
        assert player[0xCEEA] == 1
        assert bytes(player.memory[0xD158:0xD15C]) == bytes([0x80, 0x81, 0xAA, 0x50])  # A, B, k
