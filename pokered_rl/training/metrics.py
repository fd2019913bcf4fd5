"""Metrics on disk: CSV files that a spreadsheet opens, and TensorBoard event files."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TextIO

from pokered_rl.training.checkpoint import write_atomically

__all__ = ["CsvTable", "MetricsWriter"]

Value = float | int | str


class CsvTable:
    """A CSV file that grows by rows, over several jobs.

    A column that appears later is added to the header, and earlier rows leave it empty. Every row is flushed, so a
    killed job loses at most the row that it was writing; a row cut short is dropped by the next job.

    Args:
        path: The file; rows of earlier jobs stay.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._columns: list[str] = []
        self._file: TextIO | None = None
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
            self._file = self._path.open("a", newline="")
        csv.writer(self._file).writerow([_shown(row.get(name, "")) for name in self._columns])
        self._file.flush()

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
        padded = [self._columns, *([*row, *[""] * (len(self._columns) - len(row))] for row in rows)]
        text = "".join(",".join(_quoted(cell) for cell in row) + "\r\n" for row in padded)
        write_atomically(self._path, text.encode())


def _shown(value: Value) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _quoted(cell: str) -> str:
    return '"' + cell.replace('"', '""') + '"' if any(mark in cell for mark in ',"\r\n') else cell


class MetricsWriter:
    """``metrics/train.csv``, ``metrics/episodes.csv`` and, if wanted, TensorBoard files under ``metrics/tensorboard``.

    ``train.csv`` has a row every few seconds, ``episodes.csv`` one for each finished episode. Both begin with ``job``,
    ``steps`` and ``wall_seconds`` (over all jobs). A job that resumes from a checkpoint starts at that checkpoint's
    step count; rows that a killed job had written past it stay, told apart by ``job``.

    Args:
        folder: The run's ``metrics`` folder.
        tensorboard: Write event files, too.
        resume_step: Step count at which this job starts; TensorBoard hides what lies after it.
    """

    def __init__(self, folder: Path, *, tensorboard: bool = True, resume_step: int = 0) -> None:
        self._train = CsvTable(folder / "train.csv")
        self._episodes = CsvTable(folder / "episodes.csv")
        self._board = None
        if tensorboard:
            from torch.utils.tensorboard import SummaryWriter

            self._board = SummaryWriter(str(folder / "tensorboard"), purge_step=resume_step or None)

    def train_row(self, row: Mapping[str, Value]) -> None:
        """Write one row of training metrics; it must have ``steps``."""
        self._train.append(row)
        self._to_board("train", row)

    def episode_row(self, row: Mapping[str, Value]) -> None:
        """Write one finished episode; it must have ``steps``."""
        self._episodes.append(row)
        self._to_board("episode", row)

    def _to_board(self, prefix: str, row: Mapping[str, Value]) -> None:
        if self._board is None:
            return
        for name, value in row.items():
            if name not in {"job", "steps"} and not isinstance(value, str):
                self._board.add_scalar(f"{prefix}/{name}", value, int(row["steps"]))

    def close(self) -> None:
        """Flush and close all files."""
        self._train.close()
        self._episodes.close()
        if self._board is not None:
            self._board.close()
