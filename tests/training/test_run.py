import csv
import errno
import json
import os
import re
import resource
import shutil
import sys
from pathlib import Path

import pytest
import torch

from pokered_rl.errors import ConfigError
from pokered_rl.training import Callback, StopReason
from pokered_rl.training.checkpoint import load_tensors
from pokered_rl.training.checkpointing import Checkpointing
from pokered_rl.training.config import Resume
from pokered_rl.training.learner import Learner, LearnerError
from pokered_rl.training.run_folder import RunFolder


class StopAt(Callback):
    """Ends the run as soon as it has this many steps."""

    def __init__(self, steps: int, reason: StopReason) -> None:
        self.steps, self.reason = steps, reason

    def should_stop(self, trainer):
        return self.reason if trainer.steps >= self.steps else None


def _progress(run: Path) -> dict:
    return json.loads((run / "progress.json").read_text())


def test_finished_run_is_readable(finished):
    progress = _progress(finished)
    assert progress["complete"]
    assert progress["last_stop"] == "target reached"
    # Batches of 2 emulators x 10 steps: both targets, 140 and 200, are multiples of 20.
    assert progress["steps"] == progress["checkpoint_steps"] == 200
    assert progress["updates"] > 5
    # 2 emulators x 100 steps in episodes of 40: two whole ones each.
    assert progress["episodes"] == 4
    assert load_tensors(finished / "online_params.pt")["updates"] == progress["updates"]
    begin, end = [json.loads(line) for line in (finished / "jobs.jsonl").read_text().splitlines()[:2]]
    assert begin["packages"]["torchrl"]
    assert len(begin["cartridge"]["sha1"]) == 40
    assert (end["reason"], end["status"], end["steps"]) == ("target reached", 0, 140)
    assert not (finished / "run.lock").exists()


@pytest.mark.parametrize(
    "name", ["checkpoints", "replay", "episode_logs", "best", "curriculum", "metrics", "jobs.jsonl"]
)
def test_link_in_the_place_of_a_part_of_the_run_is_refused_by_name(tmp_path, name):
    folder = RunFolder(tmp_path / "a")
    folder.path.mkdir()
    (tmp_path / "outside").mkdir()
    (folder.path / "notes").symlink_to(tmp_path / "outside")  # not a place that a job writes to
    folder.check_resume(Resume.auto)
    (folder.path / name).symlink_to(tmp_path / "outside")
    with pytest.raises(ConfigError, match=rf"{name} is a symbolic link"):
        folder.check_resume(Resume.auto)


def test_second_job_went_on_where_the_first_had_stopped(finished):
    assert _progress(finished)["jobs"] == 2
    assert [path.name[:12] for path in sorted((finished / "checkpoints").iterdir())] == ["000000000140", "000000000200"]
    with (finished / "metrics" / "episodes.csv").open() as file:
        rows = list(csv.DictReader(file))
    # Each emulator made 70 steps in the first job: its second episode ended in the second job, at its full length.
    assert [(row["job"], row["length"]) for row in rows] == [("1", "40"), ("1", "40"), ("2", "40"), ("2", "40")]


def test_next_job_says_what_changed_and_overwrites_no_log(finished, train, capsys):
    logs = {path: path.read_bytes() for path in (finished / "episode_logs").glob("*.episode")}
    assert logs
    assert train("run.target_total_steps=260", "learner.learning_rate=0.002") == 0
    shown = capsys.readouterr().out
    assert "at step 200" in shown
    assert "learner.learning_rate: 0.001 -> 0.002" in shown
    assert _progress(finished)["steps"] == 260
    assert {path: path.read_bytes() for path in logs} == logs
    assert len(list((finished / "episode_logs").glob("*.episode"))) > len(logs)


def test_complete_run_called_again_is_still_complete_and_can_be_compared(finished, train, capsys):
    assert train("run.evaluation_episodes=2") == 0
    assert _progress(finished)["steps"] == 200
    evaluation = json.loads((finished / "evaluation.json").read_text())
    assert len(evaluation["trained"]["coverage"]) == len(evaluation["random"]["coverage"]) == 2
    shown = capsys.readouterr().out
    assert re.search(r"policy +┃ +tiles +┃ +return", shown)
    assert re.search(r"│ random +│", shown)


def test_damaged_newest_checkpoint_costs_only_itself(finished, train, capsys):
    state = (
        finished / "checkpoints" / sorted(path.name for path in (finished / "checkpoints").iterdir())[-1] / "state.pt"
    )
    state.write_bytes(state.read_bytes()[:1000])
    with pytest.warns(UserWarning, match=f"{state.parent.name} is damaged"):
        assert train("run.target_total_steps=180") == 0
    assert "at step 140" in capsys.readouterr().out
    assert _progress(finished)["steps"] == 180


def test_lost_replay_is_refused_unless_it_may_be_refilled(finished, train, capsys):
    shutil.rmtree(finished / "replay")
    assert train("run.target_total_steps=220") == 1
    assert "replay.on_loss=refill" in capsys.readouterr().err
    assert train("run.target_total_steps=220", "replay.on_loss=refill") == 0
    assert "the learner waits until 8 sequences are there" in capsys.readouterr().out
    assert _progress(finished)["steps"] == 220


def test_damaged_rows_of_the_replay_are_found_before_the_first_step(finished, train, capsys):
    flags = finished / "replay" / "flags.memmap"
    flags.write_bytes(flags.read_bytes()[:10])
    assert train("run.target_total_steps=220") == 1
    message = capsys.readouterr().err
    assert "flags.memmap" in message
    assert "replay.on_loss=refill" in message


def test_damaged_description_of_the_rows_is_refused_and_can_be_refilled(finished, train, capsys):
    description = finished / "replay" / "meta.json"
    description.write_bytes(description.read_bytes()[:30])
    assert train("run.target_total_steps=220") == 1
    message = capsys.readouterr().err
    assert "meta.json" in message
    assert "Traceback" not in message
    assert train("run.target_total_steps=220", "replay.on_loss=refill") == 0


def test_disk_that_cannot_hold_the_replay_refuses_to_start(train, runs, capsys, monkeypatch):
    def refuse(descriptor: int, offset: int, size: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "posix_fallocate", refuse)
        assert train() == 1
    message = capsys.readouterr().err
    assert "the replay needs" in message
    assert "replay.scratch_folder" in message
    assert not (runs / "a").exists(), "a refused start leaves nothing behind"
    assert train() == 0, "with room it starts"


def test_disk_that_fills_up_ends_the_job_and_the_last_checkpoint_stands(finished, train, capsys):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)

    class FullDisk(Callback):
        def on_batch(self, trainer, num_steps):
            if trainer.steps >= 240:
                # No file can grow beyond this size any more.
                resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))

    try:
        assert train("run.target_total_steps=100_000", callbacks=[FullDisk()]) == 1
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    shown = capsys.readouterr()
    assert "File too large" in shown.err
    assert "Traceback" not in shown.err
    assert not (finished / "run.lock").exists()
    assert train("run.target_total_steps=260") == 0
    assert "at step 200" in capsys.readouterr().out


def test_fixed_key_cannot_change_between_jobs(finished, train, capsys):
    assert train("network.num_quantiles=7") == 1
    message = capsys.readouterr().err
    assert message.startswith("error: network.num_quantiles was 5")
    assert "run.init_from=" in message


@pytest.mark.parametrize("source", ["folder", "file"])
def test_new_run_can_start_from_the_weights_of_another(finished, train, source):
    path = finished if source == "folder" else finished / "online_params.pt"
    assert train("run.name=b", f"run.init_from={path}", "run.target_total_steps=20") == 0
    before, after = (load_tensors(finished.parent / name / "online_params.pt") for name in "ab")
    assert after["updates"] == 0, "20 steps are no experience to learn from: the weights are those that were loaded"
    assert all(torch.equal(before["params"][name], value) for name, value in after["params"].items())


def test_job_without_a_checkpoint_starts_from_the_published_weights_of_its_run(finished, train, capsys):
    before = load_tensors(finished / "online_params.pt")
    shutil.rmtree(finished / "checkpoints")
    assert train("run.target_total_steps=20", "run.init_from=nowhere") == 0
    assert f"starting with the weights of {finished / 'online_params.pt'}" in capsys.readouterr().out
    after = load_tensors(finished / "online_params.pt")
    assert after["updates"] == 0, "20 steps are no experience to learn from: the weights are those that were loaded"
    assert all(torch.equal(before["params"][name], value) for name, value in after["params"].items())


@pytest.mark.parametrize(("target_update", "every"), [("hard", 4), ("soft", 3)])
def test_weights_are_published_with_hard_target_copies_or_every_few_updates(
    train, runs, monkeypatch, target_update, every
):
    published = []
    publish = Checkpointing.publish

    def note(checkpointing, trainer) -> None:
        published.append(trainer.updates)
        publish(checkpointing, trainer)

    monkeypatch.setattr(Checkpointing, "publish", note)
    rates = ("learner.target_update_interval=4", "learner.publish_every_updates=3")
    assert train(f"learner.target_update={target_update}", *rates) == 0
    updates = _progress(runs / "a")["updates"]
    assert updates > 2 * every
    assert published == [*range(every, updates + 1, every), updates], "and always at the end"


def test_best_results_and_counters_are_those_of_all_jobs(finished, train):
    progress = _progress(finished)
    assert train("run.target_total_steps=300") == 0
    after = _progress(finished)
    with (finished / "metrics" / "episodes.csv").open() as file:
        returns = [float(row["return"]) for row in csv.DictReader(file) if row["start"] == "power-on"]
    assert after["best"]["return"] == pytest.approx(max(returns), rel=1e-5), "of all jobs"
    assert after["best"]["length"] == 40
    assert after["jobs"] == 3
    # 2 emulators x 150 steps in episodes of 40: three whole ones each.
    assert after["episodes"] == 6
    assert after["wall_seconds"] > progress["wall_seconds"]
    with (finished / "metrics" / "train.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["job"]) for row in rows] == sorted(int(row["job"]) for row in rows)
    assert {row["job"] for row in rows} == {"1", "2", "3"}


def test_number_of_episodes_ends_the_run_with_status_0(train, runs):
    assert train("run.total_episodes=2", "run.target_total_steps=100_000") == 0
    progress = _progress(runs / "a")
    assert progress["episodes"] == 2
    assert progress["last_stop"] == "number of episodes reached"


def test_job_out_of_time_asks_to_be_run_again_only_if_it_advanced(train, runs):
    assert train("run.max_runtime_seconds=1", "run.target_total_steps=100_000") == 1
    assert _progress(runs / "a")["steps"] == 0
    late = StopAt(40, StopReason.deadline)
    assert train("run.target_total_steps=100_000", "logging.every_seconds=0.001", callbacks=[late]) == 75
    progress = _progress(runs / "a")
    assert not progress["complete"]
    assert progress["checkpoint_steps"] == progress["steps"] >= 40


@pytest.mark.parametrize(("resume", "exists"), [("must", False), ("never", True)])
def test_resume_option_refuses_what_it_did_not_expect(request, train, capsys, resume, exists):
    if exists:
        request.getfixturevalue("finished")
    assert train(f"run.resume={resume}") == 1
    assert f"run.resume={resume}" in capsys.readouterr().err


def test_another_cartridge_under_the_same_name_is_refused(finished, train, capsys):
    progress = json.loads((finished / "progress.json").read_text())
    (finished / "progress.json").write_text(json.dumps(progress | {"cartridge_sha1": "0" * 40}))
    assert train("run.target_total_steps=220") == 1
    assert "was played on another cartridge (SHA-1 0000" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("env.cartridge={folder}/gone.gb", ["gone.gb"]),
        ("env.cartridge={folder}/short.gb", ["short.gb", "1000 bytes"]),
        ("env.start_states=[{folder}/broken.state]", ["broken.state"]),
        ("reward.weights.new_tile=1", ["'new_tile'", "new_tiles"]),
        ("runtime.device=gpu", ["runtime.device", "'gpu'"]),
        ("runtime.device=mps", ["runtime.device", "auto, cpu, cuda or cuda:N"]),
        ("run.init_from={folder}/nowhere", ["run.init_from", "nowhere"]),
        # The priorities alone of a trillion transitions fit into no memory.
        ("replay.capacity_transitions=1_000_000_000_000", ["replay.capacity_transitions", "lower it"]),
    ],
)
def test_what_cannot_work_is_named_and_ends_with_status_1(train, tmp_path, capsys, override, words):
    (tmp_path / "short.gb").write_bytes(b"x" * 1000)
    (tmp_path / "broken.state").write_bytes(b"not a save state")
    assert train(override.format(folder=tmp_path)) == 1
    _, mark, message = capsys.readouterr().err.partition("error: ")
    assert mark
    assert "Traceback" not in message
    for word in words:
        assert word in message


def test_ray_backend_without_ray_says_what_to_install(train, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    assert train("collector.backend=ray", "collector.num_workers=1") == 1
    assert "pip install 'pokered_rl[ray]'" in capsys.readouterr().err


def test_learner_that_fails_ends_the_run_with_its_last_good_weights(finished, train, capsys, monkeypatch):
    step = Learner.step

    def failing(learner: Learner) -> None:
        if learner.updates >= before + 2:
            raise LearnerError("loss or gradient is not finite")
        step(learner)

    before = _progress(finished)["updates"]
    monkeypatch.setattr(Learner, "step", failing)
    assert train("run.target_total_steps=100_000") == 1
    assert "error: loss or gradient is not finite" in capsys.readouterr().err
    progress = _progress(finished)
    assert progress["last_stop"].startswith("LearnerError")
    assert not progress["complete"]
    assert progress["updates"] == load_tensors(finished / "online_params.pt")["updates"] == before + 2
    assert progress["checkpoint_steps"] == progress["steps"] > 200
