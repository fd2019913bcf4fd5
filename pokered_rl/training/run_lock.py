"""One job at a time in a run folder."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
import time
import uuid
import warnings
from pathlib import Path
from typing import Any

from pokered_rl.atomic import write_atomically
from pokered_rl.errors import PokeredError

__all__ = ["RunLock", "RunLockedError"]


class RunLockedError(PokeredError):
    """Another job works in this run folder."""


def _process_start(pid: int) -> str | None:
    """Return the start time of a process in clock ticks since boot, or None if there is no such process.

    A process id alone is reused; together with its start time it names one process.
    """
    try:
        # Field 22 of /proc/PID/stat (man 5 proc); the name in field 2 may hold blanks and brackets.
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return None


class RunLock:
    """Hold ``run.lock``: the process that works in a run folder, and the time of its last heartbeat.

    On one machine a lock is stale when its process is gone; a lock of another machine is stale when six heartbeats
    in a row are missing. A stale lock is taken over with a warning.

    Args:
        folder: The run folder; it is made if it does not exist.
        heartbeat_seconds: Seconds between two heartbeats.

    Raises:
        RunLockedError: On entering, when a living job holds the lock.
    """

    def __init__(self, folder: Path, *, heartbeat_seconds: float = 10.0) -> None:
        self._path = folder / "run.lock"
        self._heartbeat_seconds = heartbeat_seconds
        self._me: dict[str, Any] = {
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "process_start": _process_start(os.getpid()),
            "token": uuid.uuid4().hex,
            "slurm_job": os.environ.get("SLURM_JOB_ID"),
            "heartbeat_seconds": heartbeat_seconds,
        }
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> RunLock:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        while not self._create():
            self._take_over_if_stale()
        self._thread = threading.Thread(target=self._beat, name="run-lock", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        if (self._read() or {}).get("token") == self._me["token"]:
            self._path.unlink(missing_ok=True)

    def _create(self) -> bool:
        # A hard link appears whole or not at all, and fails if the name is taken: no reader sees half a lock.
        staging = self._path.with_name(f".run.lock.{self._me['token']}")
        staging.write_text(self._content())
        try:
            os.link(staging, self._path)
        except FileExistsError:
            return False
        finally:
            staging.unlink()
        return True

    def _content(self) -> str:
        return json.dumps(self._me | {"heartbeat": time.time()}, indent=1)

    def _read(self) -> dict[str, Any] | None:
        with contextlib.suppress(OSError):
            return _parsed(self._path.read_text())
        return None

    def _take_over_if_stale(self) -> None:
        try:
            holder = _parsed(self._path.read_text())
        except FileNotFoundError:
            return  # gone meanwhile, or replaced by another job's: the next try tells
        except OSError as error:  # a network drive replaces the file under its reader, or is away
            raise RunLockedError(
                f"{self._path} cannot be read ({error}), so a job may be at work there; try again, or delete it if"
                " there is none"
            ) from error
        if holder is None:  # an unreadable lock has no owner
            self._path.unlink(missing_ok=True)
            return
        age = time.time() - float(holder.get("heartbeat", 0.0))
        who = f"process {holder.get('pid')} on {holder.get('host')}"
        if holder.get("host") == self._me["host"]:
            alive = _process_start(int(holder["pid"])) == holder.get("process_start")
        else:
            alive = age < 6 * float(holder.get("heartbeat_seconds", self._heartbeat_seconds))
        if alive:
            raise RunLockedError(
                f"{self._path.parent} is in use by {who} (last heartbeat {age:.0f} s ago); stop that job, or give"
                " this one another run.name"
            )
        # Whoever renames the file first has it; a lock that changed meanwhile is put back.
        doomed = self._path.with_name(f".run.lock.stale.{self._me['token']}")
        try:
            self._path.rename(doomed)
        except FileNotFoundError:
            return
        if json.loads(doomed.read_text()).get("token") != holder.get("token"):
            doomed.rename(self._path)
            return
        doomed.unlink()
        warnings.warn(f"took over the lock of {who}, which is gone (last heartbeat {age:.0f} s ago)", stacklevel=3)

    def _beat(self) -> None:
        while not self._stop.wait(self._heartbeat_seconds):
            if (self._read() or {}).get("token") == self._me["token"]:
                with contextlib.suppress(OSError):  # a full disk, a network drive that is away: the next beat may pass
                    write_atomically(self._path, self._content().encode())


def _parsed(text: str) -> dict[str, Any] | None:
    try:
        content = json.loads(text)
    except ValueError:
        return None
    return content if isinstance(content, dict) else None
