"""The replay on a node's scratch disk: fetched when a job begins, copied back when it ends and time permits."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from pokered_rl.atomic import check_lock
from pokered_rl.data import SequenceReplay, matching_sequences
from pokered_rl.errors import CheckpointError
from pokered_rl.training.callbacks import Callback
from pokered_rl.training.runtime import Deadline, StopReason, StopSignals

if TYPE_CHECKING:
    from pokered_rl.training.trainer import Trainer

__all__ = ["ScratchReplay"]

_CHUNK_BYTES = 16 << 20
#: Written once to learn how fast the run folder's disk is, before there is anything to copy.
_PROBE_BYTES = 32 << 20
#: Copying may be slower than the probe said: every node of a cluster writes at the end of its job.
_CAUTION = 1.5


class ScratchReplay(Callback):
    """Move the replay's files between a node's scratch disk and the run folder.

    A copy is staged under another name and renamed when it is complete. Whether its sequences are those of the
    checkpoint is told by their serial numbers when they are opened, so an older copy does no harm.

    Args:
        replay: The replay, whose files lie on the scratch disk during a job.
        home: Where the copy lies, in the run folder.
        max_seconds: Longest time that copying back may take; 0 never copies.
        deadline: Says how long the end of the job may take.
        signals: One that comes while files are copied ends the copying.
        clock: Seconds.
    """

    def __init__(
        self,
        replay: SequenceReplay,
        *,
        home: Path,
        max_seconds: float,
        deadline: Deadline,
        signals: StopSignals | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._replay = replay
        self._scratch = replay.scratch_dir
        self._home = home
        self._max_seconds = max_seconds
        self._deadline = deadline
        self._signals = signals
        self._clock = clock
        #: Bytes a second into the run folder; None before :meth:`measure`.
        self.bytes_per_second: float | None = None

    def on_start(self, trainer: Trainer) -> None:
        """Measure the speed of the run folder's disk."""
        self.measure()

    def on_end(self, trainer: Trainer, stop: StopReason | Exception) -> None:
        """Copy the files back, unless the job failed or was interrupted."""
        if isinstance(stop, StopReason) and stop is not StopReason.interrupted:
            trainer.say(self.bring_back())

    def fetch(self, saved: Path) -> int:
        """Bring the copy to the scratch disk if it has more of a saved replay's sequences than lie there already.

        Returns:
            How many sequences came with it; 0 when nothing was copied.

        Raises:
            CheckpointError: The copy cannot be read, or the scratch disk has no room for it.
        """
        copied = matching_sequences(self._home, saved)
        if copied <= matching_sequences(self._scratch, saved):
            return 0
        staging = _staging(self._scratch)
        try:
            shutil.copytree(self._home, staging, copy_function=_copy)
        except OSError as error:  # copytree's own, which lists what became of each file
            shutil.rmtree(staging, ignore_errors=True)
            raise CheckpointError(
                f"the replay in {self._home} cannot be copied to {self._scratch}: {error}; make room there, or set"
                " replay.scratch_folder to another disk"
            ) from error
        _put_in_place(staging, self._scratch)
        return copied

    def measure(self) -> None:
        """Write a file to the run folder to learn its speed."""
        if not self._max_seconds:
            return
        probe = self._home.with_name(f".{self._home.name}.probe")
        began = self._clock()
        try:
            with probe.open("wb") as file:
                file.write(os.urandom(_PROBE_BYTES))
                file.flush()
                os.fsync(file.fileno())
        finally:
            probe.unlink(missing_ok=True)
        self.bytes_per_second = _PROBE_BYTES / max(1e-6, self._clock() - began)

    def seconds_needed(self) -> float:
        """Return the time to keep free at the end of the job, 0 if copying would take longer than it may."""
        if not self._max_seconds or self.bytes_per_second is None:
            return 0.0
        seconds = _CAUTION * self._filled_bytes() / self.bytes_per_second
        return seconds if seconds <= self._max_seconds else 0.0

    def bring_back(self) -> str:
        """Copy the filled part to the run folder; give up as soon as the measured speed says that time is too short.

        Returns:
            What happened, for the user.
        """
        seconds = min(self._max_seconds, self._deadline.seconds_until_killed)
        text = f"the replay's {self._filled_bytes() / 1e9:.3g} GB on {self._scratch}"
        lost = f"{text} are lost with this node's disk"
        if seconds <= 0:
            return f"{lost}: there is no time to copy them back"
        staging = _staging(self._home)
        try:
            bytes_per_second, seconds_to_copy = self._copy_filled(staging, seconds=seconds)
            if seconds_to_copy > seconds:
                shutil.rmtree(staging, ignore_errors=True)
                return (
                    f"{lost}: at {bytes_per_second / 1e6:.0f} MB/s copying them back takes {seconds_to_copy:.0f} s,"
                    f" there are {seconds:.0f} s"
                )
            _put_in_place(staging, self._home)
        except InterruptedError:
            shutil.rmtree(staging, ignore_errors=True)
            return f"{lost}: copying them back was interrupted"
        except OSError as error:  # the run itself is saved: only the replay did not fit
            shutil.rmtree(staging, ignore_errors=True)
            return f"{lost}: they cannot be copied back to {self._home}: {error}"
        return f"{text} were copied back to {self._home} ({bytes_per_second / 1e6:.0f} MB/s)"

    def _copy_filled(self, target_folder: Path, *, seconds: float) -> tuple[float, float]:
        """Copy until it is clear that ``seconds`` will not do.

        Returns:
            Bytes a second, and the seconds that the whole copy takes at that speed.
        """
        files = _files(self._scratch)
        if not files:
            raise FileNotFoundError(f"{self._scratch} is empty")
        interrupted = self._watch()
        share, total, done, began, spent = self._share, self._filled_bytes(), 0, self._clock(), 0.0
        for source in files:
            target = target_folder / source.relative_to(self._scratch)
            target.parent.mkdir(parents=True, exist_ok=True)
            with source.open("rb") as file, target.open("wb") as copy:
                for position, chunk in _chunks(file, _filled_bytes(source, share)):
                    interrupted()
                    check_lock(target_folder)
                    copy.seek(position)
                    copy.write(chunk)
                    done += len(chunk)
                    spent = self._clock() - began
                    if total * spent / done > seconds:
                        return done / spent, total * spent / done
                copy.truncate(source.stat().st_size)
                copy.flush()
                os.fsync(copy.fileno())
        return done / max(1e-6, self._clock() - began), spent

    def _watch(self) -> Callable[[], None]:
        """Return a function that raises InterruptedError when a signal has come since."""
        signals, before = self._signals, 0 if self._signals is None else self._signals.received

        def interrupted() -> None:
            if signals is not None and signals.received > before:
                raise InterruptedError

        return interrupted

    @property
    def _share(self) -> float:
        """Part of the replay that is filled, 0 to 1."""
        return len(self._replay) / self._replay.capacity_sequences

    def _filled_bytes(self) -> int:
        """Return the bytes on disk of the filled part."""
        share = self._share
        return sum(min(_filled_bytes(path, share), 512 * path.stat().st_blocks) for path in _files(self._scratch))


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


def _staging(folder: Path) -> Path:
    """Return where a new version of a folder is written; remove what a killed job left there."""
    staging = folder.with_name(f".{folder.name}.writing")
    shutil.rmtree(staging, ignore_errors=True)
    return staging


def _put_in_place(staging: Path, folder: Path) -> None:
    """Rename ``staging`` to ``folder``, then remove the old one, which takes time."""
    check_lock(folder, now=True)
    old = folder.with_name(f".{folder.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        folder.rename(old)
    staging.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


def _filled_bytes(path: Path, share: float) -> int:
    """Return the bytes to copy of a file: memory maps are filled from the front, metadata is needed whole."""
    size = path.stat().st_size
    return min(size, int(size * share + 0.5)) if path.suffix == ".memmap" else size


def _chunks(file: BinaryIO, size: int) -> Iterator[tuple[int, bytes]]:
    """Yield position and content of what the first ``size`` bytes hold; holes of a sparse file are passed over."""
    position = 0
    while position < size:
        end = size
        if hasattr(os, "SEEK_DATA"):
            try:
                position = os.lseek(file.fileno(), position, os.SEEK_DATA)
                end = min(size, os.lseek(file.fileno(), position, os.SEEK_HOLE))
            except OSError:  # nothing but a hole is left
                return
        file.seek(position)
        chunk = file.read(min(end - position, _CHUNK_BYTES))
        if not chunk:
            return
        yield position, chunk
        position += len(chunk)


def _copy(source: str, target: str) -> None:
    """Copy a file for ``copytree``; a sparse one stays sparse."""
    with Path(source).open("rb") as file, Path(target).open("wb") as copy:
        size = os.fstat(file.fileno()).st_size
        for position, chunk in _chunks(file, size):
            copy.seek(position)
            copy.write(chunk)
        copy.truncate(size)
