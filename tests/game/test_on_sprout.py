"""The screen rules against a running game: what they say is what the processor does and what the keys do."""

import importlib.util
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pokered_rl.game import BUTTONS, RAM_MAP, ScreenKind, read_screen

pytest.importorskip("pyboy")

_spec = importlib.util.spec_from_file_location("sprout_samples", Path(__file__).parent / "sprout_samples.py")
assert _spec is not None
assert _spec.loader is not None
sprout = importlib.util.module_from_spec(_spec)
sys.modules["sprout_samples"] = sprout
_spec.loader.exec_module(sprout)


_CARTRIDGE = Path(__file__).parents[2] / "roms" / "sprout.gb"


def _browse(player: Any) -> None:
    """Opens the START menu and every entry of it, and leaves again."""
    player.press("start")
    player.settle_any()
    lines = player[0xCC28]  # wMaxMenuItem: one more than the last line
    for line in range(lines - 1):
        player.choose(line)
        player.settle_any(60)
        for key in ("down", "up", "a", "down", "b", "b"):
            player.press(key)
        for _ in range(12):
            if player[0xCC29] == 0xCB and player.settle_any(60) == "menu":  # back in the START menu
                break
            player.press("b")
        else:
            player.press("start")
            player.settle_any()
        if player.listening:
            player.press("start")
            player.settle_any()
    player.press("b")
    player.settle()


def _name(player: Any) -> None:
    """From power-on to the naming screen, by taking the first line of everything, and through its keys."""
    for _ in range(60):
        player.settle_any(24)
        player.press("start" if player.listening or not player[0xD125] else "a", 4, 4)
        if player[0xCC29] == 0xFF:  # wMenuWatchedKeys
            break
    for key in ("right", "down", "a", "select", "b", "up", "left"):
        player.press(key)


def _browse_battle(player: Any) -> None:
    """Through the other menus of a battle, from a state in its battle menu."""
    kept = [state for states in player.samples.states.values() for state in states]
    state = next(s for (kind, *_), s in sprout.settled(player, kept).items() if kind == ScreenKind.BATTLE_LEFT)
    for keys in (("right", "down", "up", "a", "down", "b"), ("down", "a", "down", "up", "b"), ("a", "down", "b", "up")):
        sprout.load(player, state)
        for key in keys:
            player.settle_any(120)
            player.press(key)


def _play(tmp_path_factory: pytest.TempPathFactory, last: str, every: int) -> Iterator[Any]:
    walkthrough = sprout.walkthrough()
    rom = tmp_path_factory.mktemp("rom") / "sprout.gb"  # a copy: a battery save beside the original would be loaded
    rom.write_bytes(_CARTRIDGE.read_bytes())
    with sprout.sampled(walkthrough.Traveller, every)(rom) as player:
        player.tick(1)
        power_on = sprout.save(player)
        _name(player)
        sprout.load(player, power_on)
        for name, step in walkthrough.STEPS:
            step(player)
            if name in ("starter", last):
                here = sprout.save(player)
                _browse(player)
                sprout.load(player, here)  # the walkthrough goes on as if nothing had been
            if name == last:
                break
        _browse_battle(player)
        yield player


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Sprout up to the first battle."""
    yield from _play(tmp_path_factory, "rival_1", every=8)


@pytest.fixture(scope="module")
def played_far(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Sprout through shop, catching and both kinds of battles."""
    yield from _play(tmp_path_factory, "catch", every=16)


def _disagreements(player: Any) -> Counter[tuple[str, str]]:
    found: Counter[tuple[str, str]] = Counter()
    for truth, kind in zip(player.samples.truths, map(ScreenKind, player.samples.kinds().tolist()), strict=True):
        agrees = {
            "map": kind is ScreenKind.OVERWORLD,
            "text": kind is ScreenKind.TEXT_WAITING,
            "menu": kind in sprout.MENUS,
            "": kind is not ScreenKind.OVERWORLD,
        }[truth]
        if not agrees:
            found[truth, kind.name] += 1
    return found


def _press_everything(player: Any) -> tuple[list[str], Counter[str], Counter[str]]:
    """What is wrong with the masks, and by kind the presses without effect, all and masked ones."""
    wrong: list[str] = []
    idle: Counter[str] = Counter()
    masked: Counter[str] = Counter()
    kept = [state for states in player.samples.states.values() for state in states]
    for (kind, *situation), state in sprout.settled(player, kept).items():
        name = ScreenKind(kind).name
        sprout.load(player, state)
        usable = read_screen(sprout.full_ram(player.memory)).usable
        if kind in sprout.VERTICAL and (usable[BUTTONS.index("LEFT")] or usable[BUTTONS.index("RIGHT")]):
            wrong.append(f"LEFT or RIGHT usable in {name} {situation}")
        for index, acts in sprout.presses(player, state):
            if acts and not usable[index]:
                wrong.append(f"{BUTTONS[index]} masked in {name} {situation}, but it acts")
            elif not acts and kind in sprout.MASKED:
                idle[name] += 1
                masked[name] += not usable[index]
    return wrong, idle, masked


def _check_kinds(player: Any, expected: set[str]) -> None:
    seen = {ScreenKind(kind).name for kind in np.unique(player.samples.kinds())}
    assert expected <= seen, expected - seen
    assert not _disagreements(player)


def _check_presses(player: Any) -> None:
    wrong, idle, masked = _press_everything(player)
    assert not wrong
    assert sum(masked.values()) >= 0.8 * sum(idle.values()), (idle, masked)


_EARLY = {
    "OVERWORLD", "WALKING", "SCRIPTED", "TEXT_PRINTING", "TEXT_WAITING", "YES_NO", "START_MENU", "LIST", "PARTY",
    "BATTLE_LEFT", "BATTLE_RIGHT", "MOVE_LIST", "NAMING", "OPTIONS", "OTHER_MENU", "BATTLE_BUSY", "TRANSITION", "TITLE",
}  # fmt: skip


def test_screen_kind_is_what_the_processor_is_doing(played: Any) -> None:
    _check_kinds(played, _EARLY)


def test_masked_buttons_do_nothing_and_most_that_do_nothing_are_masked(played: Any) -> None:
    _check_presses(played)


def test_a_move_without_pp_is_masked_for_choosing_it_leads_back_to_the_menus(played: Any) -> None:
    kept = [state for states in played.samples.states.values() for state in states]
    state = next(s for (kind, *_), s in sprout.settled(played, kept).items() if kind == ScreenKind.MOVE_LIST)
    sprout.load(played, state)
    points = RAM_MAP["wBattleMonPP"].address + played[RAM_MAP["wCurrentMenuItem"].address] - 1
    what_a_turn_changes = [RAM_MAP[label].range for label in ("wBattleMonHP", "wEnemyMonHP", "wBattleMonPP")]
    for empty, acts in ((False, True), (True, False)):
        sprout.load(played, state)
        played.memory[points] = 0 if empty else 5
        before = [played.memory[first:last] for first, last in what_a_turn_changes]
        assert read_screen(sprout.full_ram(played.memory)).usable[BUTTONS.index("A")] == acts
        played.press("a")
        for _ in range(20):  # back in the battle menu, behind what a turn says
            played.settle_any(120)
            if played[RAM_MAP["wMenuWatchedKeys"].address] in (0x11, 0x21):
                break
            played.press("b")
        assert ([played.memory[first:last] for first, last in what_a_turn_changes] != before) == acts


@pytest.mark.long
def test_screen_kind_is_what_the_processor_is_doing_further_on(played_far: Any) -> None:
    _check_kinds(played_far, _EARLY | {"QUANTITY"})


@pytest.mark.long
def test_masked_buttons_do_nothing_further_on(played_far: Any) -> None:
    _check_presses(played_far)
