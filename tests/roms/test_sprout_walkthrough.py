"""The whole game, from power-on to the hall of friends, and random keys at every milestone of it."""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any

import pytest
import record_walkthrough
import sprout_fuzz as fuzz
import sprout_player as sp
import sprout_walkthrough as walkthrough

#: frames an agent's action takes by default
FRAMES_PER_ACTION = 24


def test_the_walkthrough_finishes_the_game(journey: Any, at: Any) -> None:
    assert list(journey.frames) == [name for name, _ in walkthrough.STEPS]
    assert sum(journey.events.values()) >= 40
    player = at("hall_of_fame")
    assert player[0xD356] == 3  # two badges
    assert player[0xD5A2] == 1  # one team in the hall of friends
    assert player[0xD163] == 2  # the starter and the one from the net
    # longer ways are lost fights and healing; far longer ones mean that something no longer works
    assert journey.frames["hall_of_fame"] // FRAMES_PER_ACTION < 12_000
    for name, frames in journey.frames.items():
        print(f"{name:18} {frames // FRAMES_PER_ACTION:6} steps")


def test_the_package_carries_the_keys_of_this_walkthrough(journey: Any) -> None:
    recording = json.loads(record_walkthrough.RECORDING.read_text())
    assert recording["cartridge_sha1"] == hashlib.sha1(sp.CARTRIDGE.read_bytes()).hexdigest()
    keys = re.findall("[A-Za-z]", "".join(part["keys"] for part in recording["milestones"]))
    assert keys == [
        record_walkthrough.LETTERS[key] if down else record_walkthrough.LETTERS[key].lower()
        for _, key, down in journey.log[: len(keys)]
    ], "run python tests/roms/record_walkthrough.py"
    assert len(journey.log) - len(keys) < 10  # the end of the talk after the last milestone


@pytest.mark.parametrize(
    "name", ["leave_home", "starter", "pebble_lane", "brindle", "badge_stone", "catch", "cave", "champion"]
)
def test_random_keys_keep_every_promise(at: Any, name: str) -> None:
    fuzz.fuzz(at(name), seed=walkthrough_seed(name), actions=150)


def walkthrough_seed(name: str) -> int:
    return [step for step, _ in walkthrough.STEPS].index(name)


def test_random_keys_from_power_on_reach_few_milestones() -> None:
    with walkthrough.Traveller() as player:
        fuzz.fuzz(player, seed=1, actions=600)
        done = sum(walkthrough.event(player, name) for name in walkthrough.world.EVENTS)
        assert done < len(walkthrough.world.EVENTS) / 3
