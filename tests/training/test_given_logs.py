"""A run that is given logs: demonstrations in its batches, an archive along them, and what is said about it."""

from __future__ import annotations

import csv
import json
import os
import signal
from pathlib import Path

import numpy as np
import pytest
import torch

from pokered_rl.cli import main as cli
from pokered_rl.emulator import Cartridge
from pokered_rl.envs import StateArchive, make_env
from pokered_rl.episodes import EpisodeLog, find_logs, verify
from pokered_rl.errors import ConfigError
from pokered_rl.training import Callback, Experiment
from pokered_rl.training.checkpoint import CheckpointStore
from tiny_run import TINY

DEMONSTRATED = ("demonstrations.ratio=0.5", "demonstrations.margin_weight=0.1", "demonstrations.pretrain_updates=6")


def own_env(*arguments, **keywords):
    return make_env(*arguments, **keywords)


class SignalAtUpdate(Callback):
    """Sends this process a SIGTERM after an update."""

    def __init__(self, updates: int) -> None:
        self.updates = updates

    def should_stop(self, trainer):
        if trainer.updates >= self.updates:
            os.kill(os.getpid(), signal.SIGTERM)


@pytest.fixture
def shown(finished: Path) -> str:
    """The option that gives a run the logs of another one."""
    return f"demonstrations.logs=[{finished}]"


def test_a_run_learns_from_logs_before_it_plays_and_says_so(train, runs, shown, capsys) -> None:
    assert train("run.name=b", shown, *DEMONSTRATED, "run.evaluation_episodes=1") == 0
    said = capsys.readouterr().out
    assert "demonstrations: 8 logs by policy, 200 steps, 36 sequences" in said
    assert "it learned with demonstrations.logs: " in said
    with (runs / "b/metrics/train.csv").open() as file:
        learned = [row for row in csv.DictReader(file) if row["demonstration_share"]]
    assert float(learned[0]["demonstration_share"]) > 0.5  # the updates before playing have nothing else
    assert float(learned[0]["loss_margin"]) > 0
    assert 0 <= float(learned[0]["demonstration_agreement"]) <= 1
    assert cli(["evaluate", str(runs / "b"), "--episodes", "1", "--steps", "4", "--json", str(runs / "e.json")]) == 0
    assert "it learned with demonstrations.logs: " in capsys.readouterr().out
    assert list(json.loads((runs / "e.json").read_text())["agent"]["given_logs"]) == ["demonstrations.logs"]


def test_interruptions_leave_no_trace_in_a_run_with_demonstrations(train, runs, shown) -> None:
    options = (shown, *DEMONSTRATED, "runtime.deterministic=true", "run.target_total_steps=200")
    assert train("run.name=straight", *options) == 0
    for updates in (3, 9):  # in the updates before anything is played, and later
        assert train("run.name=stopped", *options, callbacks=[SignalAtUpdate(updates)]) == 75
    assert train("run.name=stopped", *options) == 0
    states = [CheckpointStore(runs / name / "checkpoints").newest() for name in ("straight", "stopped")]
    straight, stopped = (each.state() for each in states)
    assert straight["learner"]["updates"] > 12
    assert straight["mixed"]["updates"] == straight["learner"]["updates"] == stopped["learner"]["updates"]
    for name, value in straight["learner"]["loss"].items():
        assert torch.equal(value, stopped["learner"]["loss"][name]), name
    assert torch.equal(straight["mixed"]["generator"], stopped["mixed"]["generator"])
    trees = [np.fromfile(each.path / "demonstrations/sampler/sumtree.memmap", np.float32) for each in states]
    assert np.array_equal(*trees)


def test_a_job_replays_no_log_again_unless_the_reward_is_another(train, runs, shown) -> None:
    summary = runs / "b/demonstrations/demonstrations.json"
    assert train("run.name=b", shown, *DEMONSTRATED, "run.target_total_steps=40") == 0
    first = (summary.stat().st_mtime_ns, json.loads(summary.read_text())["fingerprint"])
    assert train("run.name=b", shown, *DEMONSTRATED, "run.target_total_steps=60") == 0
    assert (summary.stat().st_mtime_ns, json.loads(summary.read_text())["fingerprint"]) == first
    assert train("run.name=b", shown, *DEMONSTRATED, "run.target_total_steps=80", "reward.weights.new_tiles=3") == 0
    assert json.loads(summary.read_text())["fingerprint"] != first[1]


def test_states_along_logs_begin_the_archive_with_what_transforms_remember(train, runs, finished, capsys) -> None:
    options = ("curriculum.enabled=true", f"curriculum.from_logs=[{finished}]", "run.target_total_steps=40")
    assert train("run.name=b", *options) == 0
    assert "the archive begins with " in capsys.readouterr().out
    assert "states along 8 logs" in json.loads((runs / "b/curriculum/from_logs.json").read_text())["text"]
    archive = StateArchive(folder=runs / "b/curriculum")
    archive.load()
    cells = [cell for cell in archive.cells.values() if any("-a-" not in name for name in cell.states)]
    deep = max(cells, key=lambda cell: cell.depth_steps)
    assert 0 < deep.depth_steps <= 40
    start = archive.start_in(deep)
    assert start is not None
    assert "MapMemory" in start.memory
    assert not (runs / "b/.curriculum_from_logs").exists()


def test_the_quick_start_learns_from_the_bundled_logs_on_their_own_cartridge_only(tmp_path) -> None:
    [folder] = Experiment("quickstart").config.demonstrations.logs
    logs = [EpisodeLog.load(path) for path in find_logs([folder])]
    assert len(logs) == 5
    for log in logs:
        assert {"starter", "pebble_lane"} <= {milestone.name for milestone in log.milestones}
        assert verify(log) >= 2
    other = tmp_path / "other.gb"
    rom = bytearray(Cartridge.bundled().path.read_bytes())
    at = next(at for at in range(0x8000, len(rom)) if rom[at] != rom[at + 1])
    rom[at], rom[at + 1] = rom[at + 1], rom[at]  # the checksum stays
    other.write_bytes(rom)
    overrides = [f"env.cartridge={other}", "env.allow_unknown=true"]
    assert Experiment("quickstart", overrides=overrides).config.demonstrations.logs == []
    assert Experiment("quickstart", make_env=own_env).config.demonstrations.logs == []


def test_an_own_environment_is_trained_in_without_the_bundled_logs_and_the_run_says_so(runs, capsys) -> None:
    tiny = [override for override in TINY if not override.startswith("demonstrations")]
    overrides = [*tiny, f"run.folder={runs}", "run.name=own", "collector.backend=inline", "run.target_total_steps=40"]
    Experiment("quickstart", overrides=overrides, make_env=own_env).run()
    said = capsys.readouterr().out
    assert "the bundled logs are of the library's environment, this run brings its own make_env" in said
    assert "it learned with" not in said


def test_logs_that_cannot_be_used_refuse_the_run(runs, finished) -> None:
    for key in ("demonstrations.logs", "curriculum.from_logs"):
        overrides = [f"run.folder={runs}", "run.name=b", f"{key}=[{finished}]", "env.hold_frames=5"]
        experiment = Experiment(
            "quickstart", overrides=[*overrides, "curriculum.enabled=true", "collector.backend=inline"]
        )
        with pytest.raises(
            ConfigError, match=rf"{key}: none of the 8 logs can be used; the first: .* another timing"
        ) as e:
            experiment.run()
        assert f"set {key}=[] to go on without them" in str(e.value)
        assert not (runs / "b").exists()
