"""The whole game, from power-on to the hall of friends, and what can be seen on the way."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

pytest.importorskip("pyboy")
sys.path[:0] = [str(Path(__file__).resolve().parent)]

from sprout_walkthrough import STEPS, Traveller, event, play, world  # noqa: E402

#: frames an agent's action takes by default
FRAMES_PER_ACTION = 24


def test_the_walkthrough_finishes_the_game() -> None:
    with Traveller() as player:
        reached = play(player)
        assert list(reached) == [name for name, _ in STEPS]
        done = [name for name in world.EVENTS if event(player, name)]
        assert len(done) >= 40
        assert player[0xD356] == 3  # two badges
        assert player[0xD5A2] == 1  # one team in the hall of friends
        assert player[0xD163] == 2  # the starter and the one from the net
        for name, frames in reached.items():
            print(f"{name:18} {frames // FRAMES_PER_ACTION:6} steps")
