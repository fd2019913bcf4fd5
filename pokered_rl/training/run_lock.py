"""One job at a time in a run folder."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import socket
import threading
import time
import uuid
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pokered_rl.atomic import LockToken, read_lock
from pokered_rl.errors import PokeredError, RunLostError
from pokered_rl.training.callbacks import Callback

if TYPE_CHECKING:
    from pokered_rl.training.runtime import StopReason
    from pokered_rl.training.trainer import Trainer

__all__ = ["RunLock", "RunLockedError"]

#: A lock without this many heartbeats is stale.
_STALE_HEARTBEATS = 6
#: A job that could neither read nor write its lock for this many heartbeats counts it as lost.
_LOST_HEARTBEATS = 5
#: Bytes of a lock: every heartbeat writes the same number in place, which needs no room on a full disk.
_LOCK_BYTES = 1024


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


def _process_table() -> str | None:
    """Name the table of processes that this one is in: boot and PID namespace; None where there is no ``/proc``.

    Containers may have the host's name and process ids of their own, in which another container's ids say nothing.
    """
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return None


class RunLock(Callback):
    """Hold ``run.lock``: the process that works in a run folder, and the time of its last heartbeat.

    Within one process table a lock is stale when its process is gone; elsewhere (another host or container, a system
    without ``/proc``) it is stale when six heartbeats in a row are missing. A stale lock is taken over with a warning.

    A job that was paused, or whose disk was away, may find that another one has taken over: :meth:`check` raises then,
    and so does everything that is about to change a file of the run (:func:`pokered_rl.atomic.check_lock`).

    Args:
        folder: The run folder; it is made if it does not exist.
        heartbeat_seconds: Seconds between two heartbeats.

    Raises:
        RunLockedError: On entering, when a living job holds the lock.
    """

    def __init__(self, folder: Path, *, heartbeat_seconds: float = 10.0) -> None:
        self._path = folder.resolve() / "run.lock"
        self._heartbeat_seconds = heartbeat_seconds
        self._me: dict[str, Any] = {
            "host": socket.gethostname(),
            "process_table": _process_table(),
            "pid": os.getpid(),
            "process_start": _process_start(os.getpid()),
            "token": uuid.uuid4().hex,
            "slurm_job": os.environ.get("SLURM_JOB_ID"),
            "heartbeat_seconds": heartbeat_seconds,
        }
        #: What workers check before they write.
        self.token = LockToken(self._path, self._me["token"], heartbeat_seconds)
        #: How the lock was made: ``hard link``, or ``exclusive creation`` on a disk without hard links.
        self.made_by = ""
        self._lost: RunLostError | None = None
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> RunLock:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        while not self._create():
            self._take_over_if_stale()
        self.token.guard(self._path.parent)
        self._thread = threading.Thread(target=self._beat, name="run-lock", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        self.token.release()
        with contextlib.suppress(OSError):
            if self._lost is None and read_lock(self._path, tries=1).get("token") == self._me["token"]:
                self._remove(self._me["token"])

    def should_stop(self, trainer: Trainer) -> StopReason | None:
        """Raise if the run is no longer this job's."""
        self.check()
        return None

    def check(self) -> None:
        """Check that this job still holds the lock; reads the file if no heartbeat has done so lately.

        Raises:
            RunLostError: Another job has taken over, or the lock was out of reach for so long that one may have.
        """
        if self._lost is not None:
            raise self._lost
        with contextlib.suppress(OSError):  # out of reach: the heartbeats decide for how long that may last
            self.token.check()

    def _create(self) -> bool:
        # A hard link appears whole or not at all, and fails if the name is taken: no reader sees half a lock.
        staging = self._path.with_name(f".run.lock.{self._me['token']}")
        staging.write_bytes(self._content())
        try:
            os.link(staging, self._path)
            self.made_by = "hard link"
        except FileExistsError:
            # A network drive may report the failure of a repetition of what had succeeded.
            return staging.stat().st_nlink > 1
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES):
                raise
            return self._create_exclusively()
        finally:
            staging.unlink(missing_ok=True)
        return True

    def _create_exclusively(self) -> bool:
        """Make the lock where the disk has no hard links."""
        try:
            descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        except FileExistsError:
            return False
        with os.fdopen(descriptor, "wb") as file:
            file.write(self._content())
            file.flush()
            os.fsync(file.fileno())
        # Another job may have found the lock before it was whole, and have taken it over.
        time.sleep(0.2)
        self.made_by = "exclusive creation"
        return bool(read_lock(self._path).get("token") == self._me["token"])

    def _content(self) -> bytes:
        text = json.dumps(self._me | {"heartbeat": round(time.time(), 3)}, indent=1)
        return text.encode().ljust(_LOCK_BYTES - 1) + b"\n"

    def _take_over_if_stale(self) -> None:
        try:
            holder = read_lock(self._path)
            age = time.time() - (float(holder["heartbeat"]) if "heartbeat" in holder else self._path.stat().st_mtime)
        except FileNotFoundError:
            return  # gone meanwhile: the next try tells
        except OSError as error:  # a network drive replaces the file under its reader, or is away
            raise RunLockedError(
                f"{self._path} cannot be read ({error}), so a job may be at work there; try again, or delete it if"
                " there is none"
            ) from error
        who = f"process {holder.get('pid')} on {holder.get('host')}"
        if holder and self._is_held(holder, age):
            raise RunLockedError(
                f"{self._path.parent} is in use by {who} (last heartbeat {age:.0f} s ago); stop that job, or give"
                " this one another run.name"
            )
        if self._remove(holder.get("token")):
            warnings.warn(f"took over the lock of {who}, which is gone (last heartbeat {age:.0f} s ago)", stacklevel=3)

    def _is_held(self, holder: dict[str, Any], age: float) -> bool:
        same = all(holder.get(name) == self._me[name] for name in ("host", "process_table"))
        if same and holder["process_table"] is not None:
            return bool(_process_start(int(holder["pid"])) == holder.get("process_start"))
        return age < _STALE_HEARTBEATS * float(holder.get("heartbeat_seconds", self._heartbeat_seconds))

    def _remove(self, token: Any) -> bool:
        """Remove the lock if it still has this token; return whether it did."""
        # Whoever renames the file first has it; a lock that changed meanwhile is put back.
        doomed = self._path.with_name(f".run.lock.stale.{self._me['token']}")
        try:
            self._path.rename(doomed)
        except FileNotFoundError:
            return False
        if read_lock(doomed, tries=1).get("token") != token:
            doomed.rename(self._path)
            return False
        doomed.unlink()
        return True

    def _beat(self) -> None:
        reached = time.monotonic()
        while not self._stop.wait(self._heartbeat_seconds):
            try:
                self.token.check(now=True)
                reached = time.monotonic()
                self._renew()
            except RunLostError as error:
                self._lost = error
                return
            except OSError as error:  # a full disk, a network drive that is away: the next beat may pass
                if time.monotonic() - reached > _LOST_HEARTBEATS * self._heartbeat_seconds:
                    self._lost = RunLostError(
                        f"{self._path} was out of reach for {time.monotonic() - reached:.0f} s ({error}), so another"
                        " job may have taken the run over: this one stops and writes nothing more; start it again"
                    )
                    return

    def _renew(self) -> None:
        """Write the time of this heartbeat into the very file that was checked.

        Renaming a new file over it could undo a take-over that happens in between.
        """
        descriptor = os.open(self._path, os.O_RDWR | getattr(os, "O_NOFOLLOW", 0))
        try:
            if json.loads(os.pread(descriptor, 2 * _LOCK_BYTES, 0)).get("token") == self._me["token"]:
                os.pwrite(descriptor, self._content(), 0)
                os.fsync(descriptor)
        except ValueError as error:
            raise OSError(errno.EIO, f"the lock cannot be parsed: {error}") from error
        finally:
            os.close(descriptor)
