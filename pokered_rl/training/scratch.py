"""The replay's rows on a node's scratch disk: fetched when a job begins, copied back when it ends and time permits."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from pokered_rl.data import matching_rows

__all__ = ["ScratchRows"]

_CHUNK_BYTES = 16 << 20
#: Written once to learn how fast the run folder's disk is, before there is anything to copy.
_PROBE_BYTES = 32 << 20
#: Copying may be slower than the probe said: every node of a cluster writes at the end of its job.
_CAUTION = 1.5


class ScratchRows:
    """Moves the rows between a node's scratch disk and the run folder.

    A copy is staged under another name and renamed when it is complete. Whether its rows are those of the checkpoint
    is told by their serial numbers when they are opened, so an older copy does no harm.

    Args:
        scratch: Where the rows lie during a job.
        home: Where the copy lies, in the run folder.
        max_seconds: Longest time that copying back may take; 0 never copies.
        clock: Seconds.
    """

    def __init__(
        self, *, scratch: Path, home: Path, max_seconds: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._scratch = scratch
        self._home = home
        self._max_seconds = max_seconds
        self._clock = clock
        #: Bytes a second into the run folder; None before `measure`.
        self.bytes_per_second: float | None = None

    def fetch(self, saved: Path) -> int:
        """Bring the copy to the scratch disk if it has more of a checkpoint's rows than lie there already.

        Args:
            saved: The replay's state in the checkpoint.

        Returns:
            How many rows came with it; 0 when nothing was copied.
        """
        copied = matching_rows(self._home, saved)
        if copied <= matching_rows(self._scratch, saved):
            return 0
        staging = self._scratch.with_name(f".{self._scratch.name}.writing")
        shutil.rmtree(staging, ignore_errors=True)
        shutil.copytree(self._home, staging)
        shutil.rmtree(self._scratch, ignore_errors=True)
        staging.rename(self._scratch)
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

    def seconds_needed(self, share: float) -> float:
        """Time to keep free at the end of the job, 0 if copying would take longer than it may.

        Args:
            share: Part of the rows that is filled, 0 to 1.
        """
        if not self._max_seconds or self.bytes_per_second is None:
            return 0.0
        seconds = _CAUTION * self._bytes(share) / self.bytes_per_second
        return seconds if seconds <= self._max_seconds else 0.0

    def bring_back(self, *, share: float, seconds_left: float) -> str:
        """Copy the filled rows to the run folder; gives up as soon as the measured speed says that time is too short.

        Args:
            share: Part of the rows that is filled, 0 to 1.
            seconds_left: Seconds until the scheduler ends this job; infinite where nobody does.

        Returns:
            What happened, for the user.
        """
        seconds = min(self._max_seconds, seconds_left)
        total, done, began = self._bytes(share), 0, self._clock()
        text = f"the replay's {total / 1e9:.3g} GB on {self._scratch}"
        if seconds <= 0:
            return f"{text} are lost with this node's disk: there is no time to copy them back"
        staging = self._home.with_name(f".{self._home.name}.writing")
        shutil.rmtree(staging, ignore_errors=True)
        for source in self._files():
            target = staging / source.relative_to(self._scratch)
            target.parent.mkdir(parents=True, exist_ok=True)
            with source.open("rb") as rows, target.open("wb") as copy:
                for chunk in _chunks(rows, _filled_bytes(source, share)):
                    copy.write(chunk)
                    done += len(chunk)
                    spent = self._clock() - began
                    if spent + (total - done) * spent / done > seconds:
                        copy.close()
                        shutil.rmtree(staging, ignore_errors=True)
                        return (
                            f"{text} are lost with this node's disk: at {done / spent / 1e6:.0f} MB/s copying them back"
                            f" takes {total * spent / done:.0f} s, there are {seconds:.0f} s"
                        )
                copy.truncate(source.stat().st_size)
                copy.flush()
                os.fsync(copy.fileno())
        shutil.rmtree(self._home, ignore_errors=True)
        staging.rename(self._home)
        spent = max(1e-6, self._clock() - began)
        return f"{text} were copied back to {self._home} ({done / spent / 1e6:.0f} MB/s)"

    def _files(self) -> list[Path]:
        return sorted(path for path in self._scratch.rglob("*") if path.is_file())

    def _bytes(self, share: float) -> int:
        return sum(_filled_bytes(path, share) for path in self._files())


def _filled_bytes(path: Path, share: float) -> int:
    """Rows are filled from the front; what describes them is needed whole."""
    size = path.stat().st_size
    return min(size, int(size * share + 0.5)) if path.suffix == ".memmap" else size


def _chunks(file: BinaryIO, size: int) -> Iterator[bytes]:
    while size > 0 and (chunk := file.read(min(size, _CHUNK_BYTES))):
        size -= len(chunk)
        yield chunk
