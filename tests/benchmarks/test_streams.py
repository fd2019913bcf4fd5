"""What the rows of emulation play: each emulator its own part of the recording, from where that part begins."""

import numpy as np
import pytest

import streams
from pokered_rl.emulator import Emulator
from pokered_rl.envs import PokemonRedEnv
from pokered_rl.episodes.proof import Proof
from pokered_rl.game import ScreenKind


@pytest.fixture
def numbered(monkeypatch):
    """A recording of 3,210 steps whose actions are the numbers of the steps, and whose states, too."""
    steps = np.arange(3210)
    kinds = np.full(3210, ScreenKind.OVERWORLD, np.uint8)
    kinds[:321] = ScreenKind.MOVE_LIST
    recording = streams._Recording(steps, steps % 3, kinds, dict(enumerate(steps)), [7, 2000], 40)
    monkeypatch.setattr(streams, "recording", lambda: recording)


@pytest.mark.parametrize("emulators", [1, 8, 32])
def test_the_emulators_play_the_recording_between_them_and_no_step_twice(numbered, emulators):
    stream = streams.recorded(emulators)
    assert stream.actions.shape == stream.waits.shape == (3200 // emulators, emulators)  # 100 steps for each of 32
    assert sorted(stream.actions.flatten()) == list(range(3200))
    assert list(stream.states) == stream.actions[0].tolist()
    assert (stream.waits == stream.actions % 3).all()


def test_walking_alone_is_played_by_as_many_emulators_as_there_are(numbered, monkeypatch):
    monkeypatch.setattr(streams, "_WALKS", 2)
    stream = streams.walking(3)
    assert stream.actions[0].tolist() == list(stream.states) == [7, 2000, 7]
    assert len(stream.actions) == 40


def test_the_mixture_is_counted_by_screens(numbered):
    assert streams.mixture() == {"walking": 0.9, "text": 0, "battle": 0.1, "menus": 0}  # 321 of 3,210 choose a move


def test_each_emulator_begins_in_its_own_state(sprout, start):
    with Emulator(sprout) as emulator:
        emulator.load_state(start)
        emulator.tick(60)
        later = emulator.save_state()
    env = PokemonRedEnv(sprout, num_emulators=3, start_states=streams.PlacedStates([start, later]))
    try:
        env.reset()
        assert [env.start_state(index).sha256 for index in range(3)] == [start.sha256, later.sha256, start.sha256]
    finally:
        env.close()


def test_the_recording_was_played_on_the_bundled_cartridge(sprout):
    assert Proof.load(streams.RECORDING).cartridge_sha1 == sprout.sha1
