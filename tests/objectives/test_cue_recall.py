"""Memory is learned, stored states are what it is learned from: `examples/cue_recall.py`, whole."""

import importlib.util
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.long, pytest.mark.timeout(1800)]
CHANCE = 0.25


@pytest.fixture(scope="module")
def cue_recall():
    path = Path(__file__).parents[2] / "examples" / "cue_recall.py"
    spec = importlib.util.spec_from_file_location("cue_recall_example", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_an_lstm_with_stored_states_answers_early_and_late_questions(cue_recall, seed):
    result = cue_recall.train("stored_state", seed)
    assert result["early"] > 0.95
    assert result["late"] > 0.95


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_replay_from_zero_states_does_not_learn_late_questions(cue_recall, seed):
    assert cue_recall.train("zero_start", seed)["late"] < 0.6


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_without_an_lstm_the_answers_are_guesses(cue_recall, seed):
    result = cue_recall.train("no_lstm", seed)
    assert result["early"] < CHANCE + 0.1
    assert result["late"] < CHANCE + 0.1
