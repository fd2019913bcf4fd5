"""What a run says of itself: no finished episode is left out, however many finish at once."""

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

from pokered_rl.collectors import EpisodeResult, ExperienceSink
from pokered_rl.collectors.experience import Experience
from pokered_rl.collectors.worker import WorkerMessage
from pokered_rl.envs import EpisodeFigures
from pokered_rl.training import StopReason
from pokered_rl.training.metrics import Metrics
from pokered_rl.training.progress import ProgressRecord
from pokered_rl.training.run_folder import Progress, RunFolder
from pokered_rl.training.trainer import Trainer


def _finish(sink: ExperienceSink, returns: Sequence[float], *, worker: int) -> None:
    """A batch of a worker in which every emulator ends an episode of one step."""
    episodes = [EpisodeResult(worker, emulator, each, 1) for emulator, each in enumerate(returns)]
    sink.add(WorkerMessage(Experience(len(episodes), None, 0, [], episodes, (0, 0)), worker=worker))


def test_every_episode_gets_its_row_though_all_emulators_end_together(tmp_path: Path):
    sink = ExperienceSink(replay=None)
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
    for worker, returns in enumerate((range(300), range(300, 450))):
        _finish(sink, returns, worker=worker)
        workers.episodes = sink.episodes
        trainer.announce()
    trainer.callbacks.end(trainer, StopReason.target)
    with (tmp_path / "metrics" / "episodes.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["return"]) for row in rows] == list(range(450))
    assert json.loads((tmp_path / "progress.json").read_text())["best"]["return"] == 449


def test_episodes_that_finish_while_others_are_noted_are_noted_next():
    sink = ExperienceSink(replay=None)
    _finish(sink, [0.0, 1.0, 2.0], worker=0)
    noted = sink.episodes
    _finish(sink, [10.0, 11.0], worker=1)
    assert [episode.total_reward for episode in sink.finished_since(noted)] == [10.0, 11.0]


def _episode(total_reward: float, milestones: dict[str, int], *, cell: str = "") -> EpisodeResult:
    furthest = max(milestones, key=["starter", "rival"].index, default="")
    figures = EpisodeFigures(emulator=0, cell=cell, milestones=milestones, furthest=furthest)
    return EpisodeResult(0, 0, total_reward, 40, figures)


def test_best_figures_are_those_of_episodes_from_power_on(tmp_path: Path):
    progress = Progress(run="a", jobs=1)
    record = ProgressRecord(RunFolder(tmp_path), progress, every_seconds=1e9)
    for episode in (
        _episode(3.0, {"rival": 4}),
        _episode(5.0, {"starter": 2}),
        _episode(99.0, {"starter": 1, "rival": 2}, cell="17"),
    ):
        record.on_episode(None, episode)
    assert progress.best == {"return": 5.0, "length": 40.0, "milestones": 1, "milestone": "rival"}


def test_a_job_after_a_crash_forgets_the_best_of_what_is_played_again(tmp_path: Path):
    progress = Progress(run="a", jobs=1)
    record = ProgressRecord(RunFolder(tmp_path), progress, every_seconds=1e9)
    record.on_episode(None, _episode(3.0, {}))
    saved = record.state_dict()
    record.on_episode(None, _episode(8.0, {"starter": 2}))
    after = ProgressRecord(RunFolder(tmp_path), progress, every_seconds=1e9)
    after.load_state_dict(saved)
    assert progress.best == {"return": 3.0, "length": 40.0}
