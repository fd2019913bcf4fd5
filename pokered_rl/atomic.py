"""Write files that are either there whole or not at all, and only while this job holds the run's lock."""

from __future__ import annotations

import json
import os
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pokered_rl.errors import RunLostError

__all__ = ["LockToken", "check_lock", "write_atomically"]

#: The locks that guard folders of this process, by the folder's absolute path.
_guards: dict[str, LockToken] = {}
#: Suspending a machine stops the monotonic clock, but not this one.
_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_REALTIME)


def write_atomically(path: Path, content: bytes | memoryview, *, shared: bool = False) -> Path:
    """Write ``content`` to ``path``: a reader finds the old bytes or the new ones, never a part.

    The content goes to ``.NAME.writing`` in the same folder, onto the disk, and is then renamed. That name is the same
    at every try, so what ``kill -9`` left behind is written over by the next one and nothing piles up over the jobs of
    a run. Two writers at once would write into one another's file: where that can happen, ``shared`` gives each its
    own name, and a killed one leaves its file behind.

    Args:
        path: The file; missing folders are made.
        content: Its new content.
        shared: Several processes or threads may write this very path at the same time.

    Returns:
        ``path``.

    Raises:
        OSError: The content could not be written; the old file is as it was, and nothing else is left behind.
        RunLostError: Another job has taken over the run that the file belongs to.
    """
    check_lock(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = f".{os.getpid()}-{threading.get_ident()}" if shared else ""
    staging = path.with_name(f".{path.name}{writer}.writing")
    staging.unlink(missing_ok=True)  # a link that somebody put there is not followed
    try:
        with staging.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        check_lock(path, now=True)
        staging.replace(path)
    except BaseException:
        staging.unlink(missing_ok=True)
        raise
    return path


def check_lock(path: str | os.PathLike[str], *, now: bool = False) -> None:
    """Check that this job still holds the lock of the run that a path lies in; cheap, and true outside of runs.

    Args:
        path: A file or folder that is about to be changed.
        now: Read the lock even if that was done within the last heartbeat.

    Raises:
        RunLostError: Another job has taken the run over.
    """
    if not _guards:
        return
    text = os.path.abspath(path)  # noqa: PTH100 - without a look at the disk
    for folder, token in _guards.items():
        if text.startswith(folder):
            token.check(now=now)


@dataclass
class LockToken:
    """The proof that this job holds a run's lock; picklable, so that worker processes check it, too.

    Args:
        path: The lock's file, absolute.
        token: What this job wrote into it.
        heartbeat_seconds: A token that was checked within this time counts as valid.
    """

    path: Path
    token: str
    heartbeat_seconds: float
    _checked_at: float = field(default=-1e9, repr=False)

    def guard(self, *folders: str | os.PathLike[str]) -> None:
        """Make every writer of this process check this token before it changes something in these folders."""
        self._checked_at = -1e9  # of another machine's clock, perhaps
        for folder in folders:
            for name in {Path(folder).absolute(), Path(folder).resolve()}:
                _guards[f"{name}{os.sep}"] = self

    def release(self) -> None:
        """Undo :meth:`guard`."""
        for folder in [folder for folder, token in _guards.items() if token is self]:
            del _guards[folder]

    def check(self, *, now: bool = False) -> None:
        """Check that the lock still holds this token.

        Args:
            now: Read the file even if that was done within the last heartbeat.

        Raises:
            RunLostError: It holds another one, or is gone.
            OSError: It cannot be read.
        """
        clock = time.clock_gettime(_CLOCK)
        if not now and abs(clock - self._checked_at) < self.heartbeat_seconds:
            return
        holder = read_lock(self.path)
        if holder.get("token") != self.token:
            owner = (
                f"process {holder['pid']} on {holder.get('host')} has taken it over"
                if "pid" in holder
                else "it is gone"
            )
            raise RunLostError(
                f"{self.path} is no longer this job's ({owner}): this job stops and writes nothing more, the run goes"
                " on from its last checkpoint"
            )
        self._checked_at = clock


def read_lock(path: Path, *, tries: int = 5) -> dict[str, Any]:
    """Read a lock; empty where there is none, or none that can be parsed.

    Args:
        path: The file.
        tries: A lock that is missing or being written is read again so often, a tenth of a second apart.

    Raises:
        OSError: The file cannot be read.
    """
    for attempt in range(tries):
        if attempt:
            time.sleep(0.1)
        try:
            content = json.loads(path.read_text())
        except FileNotFoundError:
            continue
        except ValueError:
            continue
        if isinstance(content, dict):
            return content
    return {}
