"""A run that is stopped three times ends bit-identical to one that was never stopped."""

import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from tensordict import TensorDict

from pokered_rl.training import Callback
from pokered_rl.training.checkpoint import Checkpoint, CheckpointStore

pytestmark = pytest.mark.faults

DETERMINISTIC = (
    "runtime.deterministic=true",
    "collector.exploration=epsilon_z",
    "run.target_total_steps=280",
    "collector.warmup_steps=60",
)


def _final_state(run: Path) -> dict[str, Any]:
    newest = CheckpointStore(run / "checkpoints").newest()
    assert newest is not None
    return newest.state()


def _differences(left: Any, right: Any, path: str = "") -> list[str]:
    if isinstance(left, torch.Tensor):
        return [] if torch.equal(left, right) else [path]
    if isinstance(left, dict):
        if set(left) != set(right):
            return [f"{path}: other keys"]
        return [found for key in left for found in _differences(left[key], right[key], f"{path}/{key}")]
    if isinstance(left, list | tuple):
        if len(left) != len(right):
            return [f"{path}: other length"]
        return [found for i in range(len(left)) for found in _differences(left[i], right[i], f"{path}/{i}")]
    return [] if left == right else [f"{path}: {left!r} and {right!r}"]


class SignalAt(Callback):
    """Sends this process a real SIGTERM when the run has reached a step."""

    def __init__(self, steps: int) -> None:
        self.steps = steps

    def should_stop(self, trainer):
        if trainer.steps >= self.steps:
            os.kill(os.getpid(), signal.SIGTERM)


def test_three_interruptions_leave_no_trace(train, runs):
    assert train("run.name=straight", *DETERMINISTIC) == 0

    # In the filling of the replay, in an episode of the learning phase, and in another one.
    for steps in (60, 140, 220):
        assert train("run.name=stopped", *DETERMINISTIC, callbacks=[SignalAt(steps)]) == 75
    assert train("run.name=stopped", *DETERMINISTIC) == 0

    straight, stopped = _final_state(runs / "straight"), _final_state(runs / "stopped")
    assert straight["learner"]["updates"] > 10
    for part in ("learner", "limiter", "random"):
        assert _differences(straight[part], stopped[part]) == [], part
    assert _differences(straight["workers"]["sink"], stopped["workers"]["sink"]) == []

    left, right = (TensorDict.load_memmap(runs / name / "replay") for name in ("straight", "stopped"))
    stored = straight["workers"]["sink"]["sequences"]
    assert stored > 30
    assert _differences(left[:stored].to_dict(), right[:stored].to_dict()) == []
    for name in ("straight", "stopped"):
        assert len(list((runs / name / "episode_logs").glob("*.episode"))) >= 6


def test_run_of_the_version_before_goes_on_with_new_episodes(train, runs, monkeypatch, capsys):
    assert train("run.name=a", *DETERMINISTIC, callbacks=[SignalAt(140)]) == 75
    state = Checkpoint.state

    def state_of_the_version_before(checkpoint):
        tree = state(checkpoint)
        for worker in tree["workers"]["workers"].values():
            del worker["unsent"]
            worker["sink"] = {"sequences": {}, "running": None}
        return tree | {"format": 1}

    monkeypatch.setattr(Checkpoint, "state", state_of_the_version_before)
    assert train("run.name=a", *DETERMINISTIC) == 0
    assert "of the version before: its open episodes do not go on" in capsys.readouterr().out
    monkeypatch.undo()
    assert _final_state(runs / "a")["workers"]["sink"]["steps"] == 280
    monkeypatch.setattr(Checkpoint, "state", lambda checkpoint: state(checkpoint) | {"format": 3})
    assert train("run.name=a", *DETERMINISTIC, "run.target_total_steps=300") == 1
    assert "has format 3, this version reads 1 and 2" in capsys.readouterr().err
