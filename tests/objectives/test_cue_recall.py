"""The LSTM learns to remember, and needs stored states for it: `docs/benchmarks/cue_recall.py`."""

import pytest

import cue_recall

pytestmark = [pytest.mark.long, pytest.mark.timeout(1800)]
CHANCE = 0.25


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_an_lstm_with_stored_states_answers_early_and_late_questions(seed):
    result = cue_recall.train("stored_state", seed)
    assert result["early"] > 0.95
    assert result["late"] > 0.95


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_replay_from_zero_states_does_not_learn_late_questions(seed):
    assert cue_recall.train("zero_start", seed)["late"] < 0.6


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_without_an_lstm_the_answers_are_guesses(seed):
    result = cue_recall.train("no_lstm", seed)
    assert result["early"] < CHANCE + 0.1
    assert result["late"] < CHANCE + 0.1
