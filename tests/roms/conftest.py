"""The walkthrough, played once for all tests of this folder, with a save state after every step."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest

pytest.importorskip("pyboy")

import sprout_walkthrough as walkthrough


@dataclass
class Journey:
    """Frames and PyBoy states at the end of every step of the walkthrough, and the keys pressed."""

    frames: dict[str, int] = field(default_factory=dict)
    states: dict[str, bytes] = field(default_factory=dict)
    events: dict[str, bool] = field(default_factory=dict)
    log: list[tuple[int, str, bool]] = field(default_factory=list)


@pytest.fixture(scope="session")
def journey() -> Journey:
    out = Journey()
    with walkthrough.Traveller() as player:
        for name, step in walkthrough.STEPS:
            step(player)
            out.frames[name] = player.frames
            state = io.BytesIO()
            player.pyboy.save_state(state)
            out.states[name] = state.getvalue()
        out.log = player.log
        out.events = {name: walkthrough.event(player, name) for name in walkthrough.world.EVENTS}
    return out


@pytest.fixture
def at(journey: Journey) -> Iterator[Callable[[str], walkthrough.Traveller]]:
    """Return a player at the end of a step of the walkthrough."""
    players = []

    def start(name: str) -> walkthrough.Traveller:
        player = walkthrough.Traveller()
        players.append(player)
        player.pyboy.load_state(io.BytesIO(journey.states[name]))
        player.tick(4)
        return player

    yield start
    for player in players:
        player.pyboy.stop(save=False)
