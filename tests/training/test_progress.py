"""What a run says of itself: no finished episode is left out, however many finish at once."""

import csv
import json
from pathlib import Path
from types import SimpleNamespace

import torch
from tensordict import TensorDict

from pokered_rl.collectors import ExperienceSink
from pokered_rl.collectors.worker import WorkerMessage
from pokered_rl.data import SequenceBuilder, SequenceLayout
from pokered_rl.episodes import EpisodeLog
from pokered_rl.training import StopReason
from pokered_rl.training.metrics import Metrics
from pokered_rl.training.progress import MilestoneWatch, ProgressRecord
from pokered_rl.training.run_folder import Progress, RunFolder
from pokered_rl.training.trainer import Trainer


def _finish(sink: ExperienceSink, returns: torch.Tensor, *, worker: int) -> None:
    """A batch of a worker in which every emulator ends an episode of one step."""
    reward = returns[:, None]
    ended = torch.ones_like(reward, dtype=torch.bool)
    steps = TensorDict({"reward": reward, "terminated": ended, "truncated": ~ended}, batch_size=reward.shape)
    sink._measure_episodes(worker, WorkerMessage(TensorDict({"steps": steps}, batch_size=[])))


def test_every_episode_gets_its_row_though_all_emulators_end_together(tmp_path: Path):
    builder = SequenceBuilder(layout=SequenceLayout(burn_in_steps=0, unroll_steps=2, n_step=1))
    sink = ExperienceSink(builder=builder, replay=None)
    progress = Progress(run="a", jobs=1)
    workers = SimpleNamespace(sink=sink, steps=0, episodes=0, stats=lambda: {"steps_lost": 0.0})
    trainer = Trainer(
        learner=SimpleNamespace(updates=0, means=dict, diagnostics=dict),
        network=None,
        workers=workers,
        replay=[],
        limiter=None,
        sync_every_updates=1,
        folder=tmp_path,
        example=None,
        callbacks=[
            ProgressRecord(RunFolder(tmp_path), progress, every_seconds=1e9),
            Metrics(tmp_path / "metrics", progress, every_seconds=1e9),
        ],
    )
    for worker, returns in enumerate((torch.arange(300.0), torch.arange(300.0, 450.0))):
        _finish(sink, returns, worker=worker)
        workers.episodes = sink.episodes
        trainer.announce()
    trainer.callbacks.end(trainer, StopReason.target)
    with (tmp_path / "metrics" / "episodes.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["return"]) for row in rows] == list(range(450))
    assert json.loads((tmp_path / "progress.json").read_text())["best"]["return"] == 449


def test_episodes_that_finish_while_others_are_noted_are_noted_next():
    builder = SequenceBuilder(layout=SequenceLayout(burn_in_steps=0, unroll_steps=2, n_step=1))
    sink = ExperienceSink(builder=builder, replay=None)
    _finish(sink, torch.arange(3.0), worker=0)
    noted = sink.episodes
    _finish(sink, torch.arange(10.0, 12.0), worker=1)
    assert [episode.total_reward for episode in sink.finished_since(noted)] == [10.0, 11.0]


def test_best_new_episode_is_found_once_and_a_damaged_log_is_no_obstacle(finished, tmp_path: Path):
    log = sorted((finished / "episode_logs").glob("*.episode"))[0]
    folder = tmp_path / "logs"
    folder.mkdir()
    (folder / "0-old.episode").write_bytes(log.read_bytes())
    watch = MilestoneWatch(folder)
    assert watch.new_best(-1) is None, "what was there before is not new"

    (folder / "1-cut.episode").write_bytes(log.read_bytes()[:50])
    (folder / "2-new.episode").write_bytes(log.read_bytes())
    reached = EpisodeLog.load(log).milestones
    expected = (len(reached), reached[-1].name) if reached else None
    assert watch.new_best(-1 if reached else 0) == expected
    assert watch.new_best(-1) is None


def test_missing_folder_holds_nothing(tmp_path: Path):
    assert MilestoneWatch(tmp_path / "gone").new_best(0) is None


def test_the_best_of_many_episodes_that_end_at_once_is_found(tmp_path: Path, monkeypatch):
    def load(path: Path):
        names = ["starter", "rival"][: int(path.stem) // 100]
        return SimpleNamespace(milestones=[SimpleNamespace(name=name) for name in names])

    monkeypatch.setattr("pokered_rl.training.progress.EpisodeLog", SimpleNamespace(load=load))
    watch = MilestoneWatch(tmp_path)
    for number in range(201):
        (tmp_path / f"{number:03}.episode").touch()
    assert watch.new_best(0) == (2, "rival")
    assert watch.new_best(0) is None, "each is looked at once"
