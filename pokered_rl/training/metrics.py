"""Write metrics to CSV files and to TorchRL's loggers."""

from __future__ import annotations

import csv
import math
import time
from collections.abc import Callable, Mapping, Sequence
from io import FileIO
from pathlib import Path

import numpy as np
import numpy.typing as npt
from torchrl.record.loggers import Logger

from pokered_rl.atomic import check_lock, write_atomically
from pokered_rl.collectors import EpisodeResult
from pokered_rl.training.callbacks import Callback
from pokered_rl.training.evaluation import Evaluation
from pokered_rl.training.loggers import log_picture, log_video, takes_pictures
from pokered_rl.training.run_folder import Progress
from pokered_rl.training.runtime import StopReason
from pokered_rl.training.statistics import EpisodeStatistics, episode_columns
from pokered_rl.training.trainer import Trainer

__all__ = ["CsvTable", "Metrics", "evaluation_columns"]

Value = float | int | str


class CsvTable:
    """A CSV file that grows by rows, over several jobs.

    A column that appears later is added to the header, and earlier rows leave it empty. Every row is flushed, so a
    killed job loses at most the row that it was writing; a truncated row is dropped by the next job.

    Args:
        path: The file; rows of earlier jobs stay.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._columns: list[str] = []
        self._file: FileIO | None = None
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_file():
            self._drop_unfinished_row()
            with path.open(newline="") as file:
                self._columns = next(csv.reader(file), [])

    def append(self, row: Mapping[str, Value]) -> None:
        """Write one row."""
        new = [name for name in row if name not in self._columns]
        if new:
            self._add_columns(new)
        if self._file is None:
            # Without a buffer: what a full disk did not take would be written again, and fail again, on closing.
            self._file = self._path.open("ab", buffering=0)
        check_lock(self._path)
        rest = _line([_shown(row.get(name, "")) for name in self._columns])
        while rest:
            rest = rest[self._file.write(rest) :]

    def mark_abandoned(self, steps: int) -> int:
        """Set ``abandoned`` in the rows past a checkpoint's step count, which are played again; return their number."""
        if not self._path.is_file():
            return 0
        with self._path.open(newline="") as file:
            rows = list(csv.DictReader(file))
        past = [row for row in rows if not row.get("abandoned") and int(row["steps"] or 0) > steps]
        if not past:
            return 0
        if "abandoned" not in self._columns:
            self._add_columns(["abandoned"])
        for row in past:
            row["abandoned"] = "1"
        self._write_all([[row.get(name) or "" for name in self._columns] for row in rows])
        return len(past)

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _drop_unfinished_row(self) -> None:
        content = self._path.read_bytes()
        if content and not content.endswith(b"\n"):
            write_atomically(self._path, content[: content.rfind(b"\n") + 1])

    def _add_columns(self, names: Sequence[str]) -> None:
        self.close()
        rows: list[list[str]] = []
        if self._path.is_file():
            with self._path.open(newline="") as file:
                rows = list(csv.reader(file))[1:]
        self._columns += names
        self._write_all([[*row, *[""] * (len(self._columns) - len(row))] for row in rows])

    def _write_all(self, rows: Sequence[Sequence[str]]) -> None:
        self.close()
        write_atomically(self._path, b"".join(_line(row) for row in (self._columns, *rows)))


def _shown(value: Value) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _line(cells: Sequence[str]) -> bytes:
    return (",".join(_quoted(cell) for cell in cells) + "\r\n").encode()


def _quoted(cell: str) -> str:
    return '"' + cell.replace('"', '""') + '"' if any(mark in cell for mark in ',"\r\n') else cell


def evaluation_columns(policy: str, result: Evaluation) -> dict[str, Value]:
    """Return an evaluation as columns of a table: means and rates, ``_low`` and ``_high`` the ends of their intervals.

    A milestone has columns once an episode has reached it.
    """
    reached = list(dict.fromkeys(name for each in result.milestones for name in each))
    summary = result.summary(reached)
    columns: dict[str, Value] = {"policy": policy, "episodes": summary["episodes"]}

    def add(name: str, value: float, interval: tuple[float, float] | None) -> None:
        columns[name] = value
        if interval is not None:
            columns[f"{name}_low"], columns[f"{name}_high"] = interval

    for column, name in (("return", "return"), ("tiles", "coverage"), ("length", "length")):
        add(column, summary[name]["mean"], summary[name]["interval"])
    columns["milestones"] = result.mean_milestones
    for name, milestone in summary["milestones"].items():
        add(f"rate_{name}", milestone["rate"], milestone["interval"])
        columns[f"median_step_{name}"] = milestone["median_step"]
    return columns


class Metrics(Callback):
    """Write ``train.csv``, ``episodes.csv`` and ``evaluation.csv``; every figure goes to the loggers, too.

    ``train.csv`` has a row every few seconds, ``episodes.csv`` one for each finished episode, ``evaluation.csv`` one
    for each evaluation of a policy. All begin with ``job``, ``steps`` and ``wall_seconds`` (over all jobs). A job that
    resumes from a checkpoint starts at that checkpoint's step count; rows that a killed job had written past it are
    played again and get a 1 in the column ``abandoned``.

    Args:
        folder: The run's ``metrics`` folder.
        progress: Job, time and rates.
        every_seconds: Seconds between two rows of ``train.csv``.
        statistics: Its means and rates become columns of ``train.csv``; called before this callback.
        draw_coverage: Draws its visits, uint8 [height, width, 3]; None draws none.
        coverage_every_seconds: Seconds between two of these pictures.
        evaluation_video: Path of the video of an evaluation, by its steps; sent if it is there.
        open_loggers: Opens TorchRL's loggers at the step count ``resume_step``
            (:func:`pokered_rl.training.loggers.make_loggers`); they get ``train/NAME``, ``episode/NAME`` and
            ``evaluation/NAME`` at the run's step count, and are closed with the files.
    """

    def __init__(
        self,
        folder: Path,
        progress: Progress,
        *,
        every_seconds: float,
        statistics: EpisodeStatistics | None = None,
        draw_coverage: Callable[[Mapping[int, int]], npt.NDArray[np.uint8]] | None = None,
        coverage_every_seconds: float = 600.0,
        evaluation_video: Callable[[int], Path] | None = None,
        open_loggers: Callable[..., Sequence[Logger]] | None = None,
    ) -> None:
        self._train = CsvTable(folder / "train.csv")
        self._episodes = CsvTable(folder / "episodes.csv")
        self._evaluations = CsvTable(folder / "evaluation.csv")
        self._statistics = statistics if statistics is not None else EpisodeStatistics()
        self._draw_coverage = draw_coverage
        self._coverage_every_seconds = coverage_every_seconds
        self._evaluation_video = evaluation_video
        self._drawn_at = -math.inf
        #: The last row of ``train.csv`` with means over updates.
        self.latest: dict[str, Value] = {}
        self._progress = progress
        self._every_seconds = every_seconds
        self._open_loggers = open_loggers
        self._loggers: Sequence[Logger] = ()
        self._written_at = time.monotonic()

    def on_start(self, trainer: Trainer) -> None:
        """Mark the rows that are played again, and open the loggers."""
        for table in (self._train, self._episodes, self._evaluations):
            table.mark_abandoned(trainer.steps)
        if self._open_loggers is not None:
            self._loggers = self._open_loggers(resume_step=trainer.steps)
        self._written_at = time.monotonic()

    def on_batch(self, trainer: Trainer, num_steps: int) -> None:
        """Write a row when it is time for one."""
        self._write_if_due(trainer)

    def on_update(self, trainer: Trainer) -> None:
        """Write a row when it is time for one."""
        self._write_if_due(trainer)

    def on_episode(self, trainer: Trainer, episode: EpisodeResult) -> None:
        """Write the episode's row."""
        row = self._begin_row(trainer) | {"worker": episode.worker, "emulator": episode.emulator}
        row |= episode_columns(episode)
        self._episodes.append(row)
        self._log("episode", row)

    def on_evaluation(self, trainer: Trainer, results: Mapping[str, Evaluation]) -> None:
        """Write a row for each policy."""
        for name, result in results.items():
            row = self._begin_row(trainer) | {"steps": result.at_steps} | evaluation_columns(name, result)
            self._evaluations.append(row)
            figures = {key: value for key, value in row.items() if key not in ("job", "steps", "wall_seconds")}
            self._log(
                "evaluation", {f"{name}_{key}": value for key, value in figures.items()} | {"steps": row["steps"]}
            )

        steps = results["trained"].at_steps
        if self._evaluation_video is not None and (video := self._evaluation_video(steps)).is_file():
            for logger in self._loggers:
                log_video(logger, "evaluation/episode", video, step=steps)

    def on_end(self, trainer: Trainer, stop: StopReason | Exception) -> None:
        """Write the last row and close everything."""
        try:
            self._write(trainer)
        finally:
            self._train.close()
            self._episodes.close()
            self._evaluations.close()
            for logger in self._loggers:
                experiment = logger.experiment
                close = getattr(experiment, "finish", None) or getattr(experiment, "close", None)
                if close is not None:
                    close()

    def _write_if_due(self, trainer: Trainer) -> None:
        if time.monotonic() - self._written_at >= self._every_seconds:
            self._write(trainer)

    def _write(self, trainer: Trainer) -> None:
        self._written_at = time.monotonic()
        row: dict[str, Value] = self._begin_row(trainer) | {
            "updates": trainer.updates,
            "episodes": trainer.episodes,
            "steps_per_second": self._progress.steps_per_second,
            "updates_per_second": self._progress.updates_per_second,
            "replay_sequences": len(trainer.replay),
        }
        row |= {f"recent_{name}": value for name, value in self._statistics.means().items()}
        row |= {f"rate_{name}": value for name, value in self._statistics.rates().items()}
        row |= trainer.workers.stats() | trainer.learner.means() | trainer.learner.diagnostics()
        self._train.append(row)
        self._log("train", row)
        if "mean_q" in row or not self.latest:
            self.latest = row
        self._draw_if_due(trainer)

    def _draw_if_due(self, trainer: Trainer) -> None:
        """Send a picture of the coverage now and then, to loggers that take pictures."""
        now, visits = time.monotonic(), self._statistics.visits
        if self._draw_coverage is None or not visits or now - self._drawn_at < self._coverage_every_seconds:
            return
        if any(takes_pictures(logger) for logger in self._loggers):
            self._drawn_at = now
            picture = self._draw_coverage(visits)
            for logger in self._loggers:
                log_picture(logger, "episode/coverage", picture, step=trainer.steps)

    def _begin_row(self, trainer: Trainer) -> dict[str, Value]:
        progress = self._progress
        return {"job": progress.jobs, "steps": trainer.steps, "wall_seconds": progress.wall_seconds}

    def _log(self, prefix: str, row: Mapping[str, Value]) -> None:
        if not self._loggers:
            return
        metrics = {
            f"{prefix}/{name}": float(value)
            for name, value in row.items()
            if name not in {"job", "steps"} and not isinstance(value, str)
        }
        for logger in self._loggers:
            logger.log_metrics(metrics, step=int(row["steps"]))
