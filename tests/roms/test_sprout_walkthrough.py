"""The walkthrough from power-on to the hall of friends, and random keys at its milestones."""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any

import evidence
import pytest
import random_policy
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
    # lost battles and healing vary; far more steps mean a fault
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
    ], "run PYTHONPATH=roms/sprout python tests/roms/record_walkthrough.py"
    assert len(journey.log) - len(keys) < 10  # the end of the text after the last milestone


@pytest.mark.parametrize(
    "name", ["leave_home", "starter", "pebble_lane", "brindle", "badge_stone", "catch", "cave", "champion"]
)
def test_random_keys_break_no_invariant(at: Any, name: str) -> None:
    fuzz.fuzz(at(name), seed=walkthrough_seed(name), actions=150)


def walkthrough_seed(name: str) -> int:
    return [step for step, _ in walkthrough.STEPS].index(name)


def test_random_keys_from_power_on_reach_few_milestones() -> None:
    with walkthrough.Traveller() as player:
        fuzz.fuzz(player, seed=1, actions=600)
        done = sum(walkthrough.event(player, name) for name in walkthrough.world.EVENTS)
        assert done < len(walkthrough.world.EVENTS) / 3


@pytest.mark.long  # minutes
def test_a_hundred_thousand_random_actions_reach_less_than_a_third_of_the_milestones() -> None:
    milestones = random_policy.Cartridge.bundled().profile.milestones.names
    assert len(random_policy.reached(100_000, seed=0)) < len(milestones) / 3


@pytest.mark.parametrize("name", ["walkthrough", "fuzz", "random_policy", "cost"])
def test_what_the_docs_show_was_measured_on_this_cartridge(name: str) -> None:
    result = json.loads((evidence.RESULTS / f"sprout_{name}.json").read_text())
    assert result["cartridge_sha1"] == hashlib.sha1(sp.CARTRIDGE.read_bytes()).hexdigest(), f"run {result['command']}"
    if name == "walkthrough":
        assert tuple(result["samples"]) == random_policy.Cartridge.bundled().profile.milestones.names
    if name == "fuzz":
        assert (result["actions"], len(result["samples"])) == (200_000, 20)
    if name == "random_policy":
        assert result["reached"] < result["milestones"] / 3
        assert result["steps"] == 100_000
    if name == "cost":
        # How much dearer depends on the processor: menus are at 1.22 on an AMD EPYC, at 1.34 on an Intel Xeon.
        assert all(0.75 <= ratio <= 1.4 for ratio in result["of_estimate"].values())


def test_the_picture_of_all_maps_shows_this_cartridge() -> None:
    sha1 = hashlib.sha1(sp.CARTRIDGE.read_bytes()).hexdigest()
    picture = (evidence.ROOT / "docs" / "reference" / "sprout_maps.png").read_bytes()
    assert b"cartridge_sha1\0" + sha1.encode() in picture, "run python roms/sprout/draw_maps.py"
