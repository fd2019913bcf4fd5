"""What a run says of itself: no finished episode is left out, however many finish at once."""

import csv
from pathlib import Path
from types import SimpleNamespace

import torch
from rich.console import Console
from tensordict import TensorDict

from pokered_rl.collectors.sink import ExperienceSink
from pokered_rl.data import SequenceBuilder, SequenceLayout
from pokered_rl.training.display import Display, RunView
from pokered_rl.training.metrics import MetricsWriter
from pokered_rl.training.report import Reporter
from pokered_rl.training.run_folder import Progress, RunFolder


def _finish(sink: ExperienceSink, returns: torch.Tensor, *, worker: int) -> None:
    """A batch of a worker in which every emulator ends an episode of one step."""
    reward = returns[:, None]
    ended = torch.ones_like(reward, dtype=torch.bool)
    steps = TensorDict({"reward": reward, "terminated": ended, "truncated": ~ended}, batch_size=reward.shape)
    sink._measure_episodes(worker, TensorDict({"steps": steps}, batch_size=[]))


def test_every_episode_gets_its_row_though_all_emulators_end_together(tmp_path: Path):
    builder = SequenceBuilder(layout=SequenceLayout(burn_in_steps=0, unroll_steps=2, n_step=1))
    sink = ExperienceSink(builder=builder, replay=None)
    view = RunView("a", 1, target_steps=10_000)
    metrics = MetricsWriter(tmp_path / "metrics")
    reporter = Reporter(
        folder=RunFolder(tmp_path),
        progress=Progress(run="a", jobs=1),
        metrics=metrics,
        display=Display(view, refresh_seconds=1e9, line_seconds=1e9, console=Console(quiet=True)),
        view=view,
        every_seconds=1e9,
        seconds_left=lambda: 1.0,
        replay_capacity=10,
    )
    workers = SimpleNamespace(sink=sink, steps=0)
    trainer = SimpleNamespace(
        workers=workers,
        learner=SimpleNamespace(updates=0),
        replay=[],
        limiter=SimpleNamespace(min_fill_sequences=1, credit=1.0),
    )
    for worker, returns in enumerate((torch.arange(300.0), torch.arange(300.0, 450.0))):
        _finish(sink, returns, worker=worker)
        workers.episodes = sink.episodes
        reporter.tick(trainer)
    metrics.close()
    with (tmp_path / "metrics" / "episodes.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["return"]) for row in rows] == list(range(450))
    assert reporter.progress.best["return"] == 449


def test_episodes_that_finish_while_others_are_noted_are_noted_next():
    builder = SequenceBuilder(layout=SequenceLayout(burn_in_steps=0, unroll_steps=2, n_step=1))
    sink = ExperienceSink(builder=builder, replay=None)
    _finish(sink, torch.arange(3.0), worker=0)
    noted = sink.episodes
    _finish(sink, torch.arange(10.0, 12.0), worker=1)
    assert [episode.total_reward for episode in sink.finished_since(noted)] == [10.0, 11.0]
