import csv
import io
import resource
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.console import Console
from torchrl.record.loggers import Logger

from pokered_rl.collectors import EpisodeResult
from pokered_rl.envs import EpisodeFigures
from pokered_rl.training import StopReason
from pokered_rl.training.display import Display
from pokered_rl.training.evaluation import Evaluation
from pokered_rl.training.metrics import CsvTable, Metrics
from pokered_rl.training.run_folder import Progress
from pokered_rl.training.runtime import Deadline
from pokered_rl.training.statistics import EpisodeStatistics, episode_columns


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_rows_of_a_second_job_follow_those_of_the_first(tmp_path: Path):
    for job in (1, 2):
        table = CsvTable(tmp_path / "a.csv")
        table.append({"job": job, "steps": job * 10, "loss": 0.5})
        table.close()
    assert [(row["job"], row["steps"]) for row in _rows(tmp_path / "a.csv")] == [("1", "10"), ("2", "20")]


def test_row_that_a_full_disk_did_not_take_is_not_tried_again_on_closing(tmp_path):
    table = CsvTable(tmp_path / "a.csv")
    table.append({"steps": 1})
    before = (tmp_path / "a.csv").read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before), limits[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            table.append({"steps": 2})
        table.close()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert (tmp_path / "a.csv").read_bytes() == before


def test_column_that_appears_later_leaves_earlier_rows_empty(tmp_path: Path):
    table = CsvTable(tmp_path / "a.csv")
    table.append({"steps": 1})
    table.append({"steps": 2, "note": 'a, "b"'})
    table.close()
    assert _rows(tmp_path / "a.csv") == [{"steps": "1", "note": ""}, {"steps": "2", "note": 'a, "b"'}]


def test_row_cut_short_by_a_kill_is_dropped(tmp_path: Path):
    (tmp_path / "a.csv").write_bytes(b"steps,loss\r\n1,0.5\r\n2,0.")
    table = CsvTable(tmp_path / "a.csv")
    table.append({"steps": 3, "loss": 0.25})
    table.close()
    assert [row["steps"] for row in _rows(tmp_path / "a.csv")] == ["1", "3"]


class _Kept(Logger):
    """A logger that keeps what it gets."""

    def __init__(self) -> None:
        self.metrics: list[tuple[int | None, dict]] = []
        self.closed = False
        self.experiment = SimpleNamespace(close=self._close)

    def _close(self) -> None:
        self.closed = True

    def _create_experiment(self):
        raise NotImplementedError

    log_scalar = log_video = log_hparams = log_histogram = __repr__ = None

    def log_metrics(self, metrics, step=None, **kwargs):
        self.metrics.append((step, metrics))


def _trainer(steps: int = 500) -> SimpleNamespace:
    """A run of 500 steps and 7 updates, whose replay of 100 sequences is empty."""

    class Replay(list):
        capacity_sequences = 100

    return SimpleNamespace(
        steps=steps,
        updates=7,
        episodes=2,
        replay=Replay(),
        limiter=SimpleNamespace(min_fill_sequences=10, credit=0.0),
        workers=SimpleNamespace(stats=lambda: {"weight_age_versions": 3.0}),
        learner=SimpleNamespace(means=lambda: {"loss": 1.0}, diagnostics=dict),
    )


def test_training_and_episodes_have_a_file_each_and_go_to_every_logger(tmp_path: Path):
    logger = _Kept()
    progress = Progress(run="a", jobs=1, wall_seconds=4.0)
    metrics = Metrics(tmp_path, progress, every_seconds=1e9, open_loggers=lambda resume_step: [logger])
    trainer = _trainer()
    metrics.on_start(trainer)
    metrics.on_episode(trainer, EpisodeResult(0, 1, 2.0, 40))
    metrics.on_end(trainer, StopReason.target)
    row = _rows(tmp_path / "train.csv")[0]
    assert (row["job"], row["steps"], row["loss"]) == ("1", "500", "1")
    assert _rows(tmp_path / "episodes.csv")[0]["return"] == "2"
    (step, episode), (last_step, train) = logger.metrics
    assert step == last_step == 500
    assert (episode["episode/return"], episode["episode/wall_seconds"]) == (2.0, 4.0)
    assert (train["train/loss"], train["train/weight_age_versions"]) == (1.0, 3.0)
    assert logger.closed


def _figures(**values) -> EpisodeFigures:
    return EpisodeFigures(emulator=1, **values)


def _statistics(trainer) -> EpisodeStatistics:
    """Two episodes from power-on and one from the archive, which does not count."""
    statistics = EpisodeStatistics(["a", "b", "c"])
    for episode in (
        EpisodeResult(0, 1, 1.0, 40, _figures(tiles=10, milestones={"a": 3}, places=(1, 2))),
        EpisodeResult(0, 1, 2.5, 40, _figures(tiles=20, milestones={"b": 9, "a": 4}, places=(1,))),
        EpisodeResult(0, 1, 99.0, 4, _figures(cell="17", tiles=99, milestones={"c": 1})),
    ):
        statistics.on_episode(trainer, episode)
    return statistics


def test_statistics_count_episodes_from_power_on_only():
    statistics = _statistics(_trainer())
    assert len(statistics) == 2
    assert (statistics.means()["return"], statistics.means()["tiles"]) == (1.75, 15.0)
    assert statistics.rates() == {"a": 1.0, "b": 0.5}
    assert statistics.furthest() == ("b", 0.5)
    assert statistics.visits == {1: 2, 2: 1}


def test_restored_statistics_are_the_same_and_the_window_slides():
    statistics = EpisodeStatistics(["a", "b", "c"], window=2)
    statistics.load_state_dict(_statistics(_trainer()).state_dict())
    assert statistics.rates() == {"a": 1.0, "b": 0.5}
    statistics.on_episode(_trainer(), EpisodeResult(0, 1, 4.5, 40, _figures(milestones={"c": 2})))
    assert statistics.rates() == {"a": 0.5, "b": 0.5, "c": 0.5}
    assert statistics.means()["return"] == 3.5


def test_columns_of_an_episode_name_the_furthest_milestone_with_its_step():
    figures = _figures(tiles=20, milestones={"b": 9, "a": 14}, furthest="b", terms={"steps": -0.5}, battles_won=1)
    columns = episode_columns(EpisodeResult(0, 1, 2.5, 40, figures))
    assert (columns["start"], columns["milestones"]) == ("power-on", 2)
    assert (columns["furthest"], columns["furthest_step"], columns["milestone_steps"]) == ("b", 9, "b:9 a:14")
    assert (columns["term_steps"], columns["battles_won"]) == (-0.5, 1)


def test_rows_past_the_checkpoint_of_a_resumed_job_are_marked(tmp_path: Path):
    table = CsvTable(tmp_path / "a.csv")
    for steps in (10, 20, 30):
        table.append({"steps": steps})
    assert [table.mark_abandoned(20), table.mark_abandoned(20)] == [1, 0]
    table.append({"steps": 25})
    table.close()
    assert [(row["steps"], row["abandoned"]) for row in _rows(tmp_path / "a.csv")] == [
        ("10", ""),
        ("20", ""),
        ("30", "1"),
        ("25", ""),
    ]


def test_an_evaluation_has_a_row_for_each_policy_with_the_steps_of_its_weights(tmp_path: Path):
    metrics = Metrics(tmp_path, Progress(run="a", jobs=1), every_seconds=1e9)
    trained = Evaluation([10, 20], [1.0, 3.0], [5, 5], [{"a": 1}, {"a": 3}], at_steps=400)
    metrics.on_evaluation(_trainer(), {"trained": trained, "random": Evaluation([4], [0.5], [5], [{}], at_steps=400)})
    first, second = _rows(tmp_path / "evaluation.csv")
    assert (first["policy"], first["steps"], first["tiles"], first["tiles_low"], first["tiles_high"]) == (
        "trained",
        "400",
        "15",
        "10",
        "20",
    )
    # Wilson's interval of 2 in 2: low = 2 / (2 + 3.8415).
    assert (first["rate_a"], first["median_step_a"], first["milestones"]) == ("1", "3", "1")
    assert float(first["rate_a_low"]) == pytest.approx(0.3424, abs=1e-4)
    assert (second["policy"], second["rate_a"]) == ("random", "")


def _display(out: io.StringIO, *, terminal: bool, statistics: EpisodeStatistics) -> Display:
    progress = Progress(run="a", steps=500, target_total_steps=2_000, updates=7, steps_per_second=10.0)
    return Display(
        progress,
        deadline=Deadline(max_runtime_seconds=60, start=0.0, margin_seconds=0.0, environment={}, clock=lambda: 0.0),
        statistics=statistics,
        line_seconds=3600,
        console=Console(file=out, force_terminal=terminal, width=100),
    )


def test_without_a_terminal_a_plain_line_is_printed_now_and_then():
    out, trainer = io.StringIO(), _trainer()
    statistics = _statistics(trainer)
    display = _display(out, terminal=False, statistics=statistics)
    display.on_start(trainer)
    display.on_batch(trainer, 20)
    display.on_update(trainer)
    lines = out.getvalue().splitlines()
    assert len(lines) == 1, "one line an hour"
    # 1,500 steps at 10 steps/s are 150 s.
    for part in (
        "500/2,000 steps",
        "left 2:30",
        "(job 1:00)",
        "7 updates",
        "replay 0/100",
        "return 1.75, 15.0 tiles",
        "furthest b 50%",
    ):
        assert part in lines[0]


def test_on_a_terminal_the_panel_shows_the_same_figures():
    out, trainer = io.StringIO(), _trainer()
    display = _display(out, terminal=True, statistics=_statistics(trainer))
    display.on_start(trainer)
    display.on_end(trainer, StopReason.target)
    for part in ("500 of 2,000", "2:30 to the target", "0 of 100 sequences", "return 1.75, 15.0 tiles", "b 50%"):
        assert part in out.getvalue()
