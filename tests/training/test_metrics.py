import csv
import io
from pathlib import Path
from types import SimpleNamespace

from rich.console import Console
from torchrl.record.loggers import Logger

from pokered_rl.training.display import Display, RunView
from pokered_rl.training.metrics import CsvTable, MetricsWriter


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_rows_of_a_second_job_follow_those_of_the_first(tmp_path: Path):
    for job in (1, 2):
        table = CsvTable(tmp_path / "a.csv")
        table.append({"job": job, "steps": job * 10, "loss": 0.5})
        table.close()
    assert [(row["job"], row["steps"]) for row in _rows(tmp_path / "a.csv")] == [("1", "10"), ("2", "20")]


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


def test_training_and_episodes_have_a_file_each_and_go_to_every_logger(tmp_path: Path):
    logger = _Kept()
    writer = MetricsWriter(tmp_path, loggers=[logger])
    writer.train_row({"job": 1, "steps": 10, "loss": 1.0, "phase": "learning"})
    writer.episode_row({"job": 1, "steps": 12, "return": 2.0})
    writer.close()
    assert _rows(tmp_path / "train.csv")[0]["loss"] == "1"
    assert _rows(tmp_path / "episodes.csv")[0]["return"] == "2"
    assert logger.metrics == [(10, {"train/loss": 1.0}), (12, {"episode/return": 2.0})]
    assert logger.closed


def _view() -> RunView:
    view = RunView("a", steps=500, target_steps=2_000, updates=7, steps_per_second=10.0, replay_capacity=100)
    view.last_returns.extend([1.0, 2.5])
    return view


def test_without_a_terminal_a_plain_line_is_printed_now_and_then():
    out = io.StringIO()
    display = Display(_view(), line_seconds=3600, console=Console(file=out, force_terminal=False, width=60))
    display.update()
    display.update()
    lines = out.getvalue().splitlines()
    assert len(lines) == 1, "one line an hour"
    # 1,500 steps at 10 steps/s are 150 s.
    for part in ("500/2,000 steps", "left 2:30", "7 updates", "replay 0/100", "returns 1.00 2.50"):
        assert part in lines[0]


def test_on_a_terminal_the_panel_shows_the_same_figures():
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=100)
    with Display(_view(), console=console) as display:
        display.update(force=True)
    for part in ("500 of 2,000", "2:30 to the target", "0 of 100 sequences", "1.00 2.50"):
        assert part in out.getvalue()
