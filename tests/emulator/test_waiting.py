import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from pokered_rl.emulator import Emulator
from pokered_rl.game.ram_map import FULL_LAYOUT, RAM_MAP
from pokered_rl.game.screen_rules import (
    COMPUTED,
    CONDITIONS,
    RULES,
    STACK_RANGE,
    TILE_MAP_RANGE,
    TILE_MENU_CURSOR,
    WAIT_LOOP_RETURNS,
)
from pokered_rl.game.screens import BusyRule, input_ignored


class Image:
    """A RAM image by address."""

    def __init__(self, ram):
        self.ram = ram

    def __getitem__(self, address):
        if isinstance(address, slice):
            return [self[place] for place in range(address.start, address.stop)]
        return int(self.ram[FULL_LAYOUT.column(address)])


def poke(ram, address, value):
    ram[FULL_LAYOUT.column(address)] = value


def random_images(count, seed):
    """Images in which every byte that the rules look at often has a value that they look for."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (count, FULL_LAYOUT.size), dtype=np.uint8)
    for ram in images:
        # Start from "nothing holds", then let each condition of one rule hold, and a few more at random.
        for condition in CONDITIONS.values():
            poke(ram, condition.address, 0)
        chosen = RULES[rng.integers(len(RULES))].when
        names = list(CONDITIONS)
        extra = [names[i] for i in rng.integers(0, len(names), rng.integers(0, 4))]
        for name in (*extra, *chosen):
            if name in CONDITIONS:
                poke(ram, CONDITIONS[name].address, rng.choice(sorted(CONDITIONS[name].values)))
        if "menu" in chosen or rng.random() < 0.2:
            place = rng.integers(TILE_MAP_RANGE[0] - 20, TILE_MAP_RANGE[1] + 20)  # sometimes just outside
            poke(ram, RAM_MAP["wMenuCursorLocation"].address, place & 0xFF)
            poke(ram, RAM_MAP["wMenuCursorLocation"].address + 1, place >> 8)
            poke(ram, place, TILE_MENU_CURSOR)
        for name, word in zip(COMPUTED[1:], WAIT_LOOP_RETURNS, strict=True):
            if name in chosen or rng.random() < 0.1:
                place = rng.integers(STACK_RANGE[0], STACK_RANGE[1] - 3)  # sometimes at an odd address: no word
                poke(ram, place, word & 0xFF)
                poke(ram, place + 1, word >> 8)
    return images


def test_rule_agrees_with_the_game_room_on_random_images():
    images = random_images(4000, seed=1)
    expected = input_ignored(torch.from_numpy(images)).tolist()
    rule = BusyRule()
    assert [rule(Image(ram)) for ram in images] == expected
    assert 0.2 < np.mean(expected) < 0.8  # both answers are tried


def test_rule_for_hacks_agrees_with_the_game_room_without_the_stack():
    images = random_images(2000, seed=2)
    expected = input_ignored(torch.from_numpy(images), stack=False).tolist()
    rule = BusyRule(stack_words=False)
    assert [rule(Image(ram)) for ram in images] == expected
    assert 0.1 < np.mean(expected) < 0.9


def test_rule_agrees_on_every_frame_of_play(emulator):
    rule = BusyRule()
    rng = np.random.default_rng(3)
    answers = []
    for button in rng.choice(["a", "b", "start", "right", "left", "up", "down"], 60):
        emulator.press(button)
        for frame in range(12):
            if frame == 4:
                emulator.release(button)
            emulator.tick(1)
            answers.append(rule(emulator.memory))
            assert answers[-1] == bool(input_ignored(torch.from_numpy(emulator.ram())))
    assert 0 < sum(answers) < len(answers)


@pytest.mark.long
@pytest.mark.timeout(1200)
def test_rule_agrees_on_every_frame_of_the_whole_game(sprout, monkeypatch):
    # The walkthrough of the cartridge's own tests finishes the game in about 140,000 frames; its keys are played again.
    monkeypatch.syspath_prepend(Path(__file__).resolve().parents[1] / "roms")
    from sprout_walkthrough import Traveller, play

    with Traveller() as player:
        play(player)
        log, frames = player.log, player.frames
    rule = BusyRule()
    keys = {}
    for frame, key, down in log:
        keys.setdefault(frame, []).append((key, down))
    images, answers, waits = [], [], 0
    with Emulator(sprout) as emulator:
        for frame in range(frames):
            for key, down in keys.get(frame, ()):
                (emulator.press if down else emulator.release)(key)
            emulator.tick(1)
            images.append(emulator.ram())
            answers.append(rule(emulator.memory))
            if len(images) == 512 or frame == frames - 1:
                assert answers == input_ignored(torch.from_numpy(np.stack(images))).tolist()
                waits += sum(answers)
                images, answers = [], []
        assert emulator.memory[RAM_MAP["wNumHoFTeams"].address] == 1  # the same game, to its end
    assert 0.5 < waits / frames < 0.9


def test_rule_agrees_on_images_of_the_retail_game():
    folder = os.environ.get("POKERED_REAL_RAM")
    if not folder:
        pytest.skip("POKERED_REAL_RAM names no folder of RAM images of the retail game")
    rule = BusyRule()
    screens = json.loads((Path(folder) / "screens.json").read_text())
    for path in sorted(Path(folder).glob("*.bin")):
        ram = np.frombuffer(path.read_bytes(), dtype=np.uint8)
        ignored = screens.get(path.stem, {"ignored": False})["ignored"]
        assert rule(Image(ram)) == bool(input_ignored(torch.from_numpy(ram.copy()))) == ignored, path.name


def test_walking_player_is_busy_until_the_step_ends(emulator):
    rule = BusyRule()
    assert not rule(emulator.memory)
    for button in ("down", "up", "left", "right"):
        place = (emulator.memory[RAM_MAP["wXCoord"].address], emulator.memory[RAM_MAP["wYCoord"].address])
        emulator.press(button)
        emulator.tick(8)
        emulator.release(button)
        busy = rule(emulator.memory)
        emulator.tick(24)
        moved = place != (emulator.memory[RAM_MAP["wXCoord"].address], emulator.memory[RAM_MAP["wYCoord"].address])
        assert busy is moved
        if moved:
            assert not rule(emulator.memory)
            return
    pytest.fail("the player could not move in any direction")
