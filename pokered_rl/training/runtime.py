"""Reasons to end a job, and exit statuses: signals, deadline, targets."""

from __future__ import annotations

import atexit
import math
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from enum import Enum, IntEnum
from multiprocessing import resource_tracker
from types import FrameType
from typing import TYPE_CHECKING, Any

from pokered_rl.signals import STOP_SIGNALS
from pokered_rl.training.callbacks import Callback

if TYPE_CHECKING:
    from pokered_rl.training.trainer import Trainer

__all__ = ["Deadline", "ExitStatus", "StopReason", "StopSignals", "Target"]


class ExitStatus(IntEnum):
    """Exit statuses of a training job; any other is an error as well."""

    complete = 0
    error = 1
    #: EX_TEMPFAIL of sysexits.h: the job advanced but the run is not complete; run it again.
    run_again = 75
    #: 128 + SIGINT, as shells report it.
    interrupted = 130


class StopReason(Enum):
    """Why the training loop ended."""

    target = "target reached"
    episodes = "number of episodes reached"
    learned = "learned what evaluation.stop_milestone asks for"
    stuck = "not progressing"
    deadline = "time is up"
    requested = "asked to stop by a signal"
    interrupted = "interrupted"

    @property
    def complete(self) -> bool:
        """Whether the run is complete, so that another job would do nothing."""
        return self in (StopReason.target, StopReason.episodes, StopReason.learned, StopReason.stuck)

    def exit_status(self, *, advanced: bool) -> ExitStatus:
        """Return the status to exit with; ``advanced`` says whether this job made any step.

        A job that ran out of time without a step would do so again: it counts as an error.
        """
        if self.complete:
            return ExitStatus.complete
        if self is StopReason.interrupted:
            return ExitStatus.interrupted
        return ExitStatus.run_again if advanced else ExitStatus.error


class StopSignals(Callback):
    """Stop after the current step on SIGINT, SIGTERM, SIGUSR1 or SIGHUP; SIGHUP only unless it is ignored (``nohup``).

    A second SIGINT ends the process at once: everything on disk is written atomically, so nothing is damaged. Outside
    of the main thread Python delivers no signals, and the context does nothing.

    Args:
        end_now: Called on the second SIGINT before the process exits with status 130, to end its children.
        until_exit: Listen until the process ends, not only until the context does: for a program that has nothing
            else to do. Its interpreter needs a while to end, and a Ctrl-C in that time must not change the status.
    """

    def __init__(self, *, end_now: Callable[[], None] | None = None, until_exit: bool = False) -> None:
        #: Whether the job has begun to play. Before that, a signal ends the program at once: imports, building and
        #: restoring take many seconds, and nothing is lost with them.
        self.has_work_to_save = not until_exit
        #: Signals that have come: what takes long at the end of a job stops when there is another one.
        self.received = 0
        #: Unix time at which this job began.
        self.started_at = time.time()
        #: Ends the children on the second SIGINT.
        self.end_now = end_now
        self._until_exit = until_exit
        self._previous: dict[int, Any] = {}
        self._reason: StopReason | None = None

    @property
    def reason(self) -> StopReason | None:
        """The reason of the first signal that came, or None."""
        return self._reason

    def should_stop(self, trainer: Trainer) -> StopReason | None:
        """Return the reason of the first signal."""
        return self._reason

    def __enter__(self) -> StopSignals:
        if threading.current_thread() is not threading.main_thread():
            return self
        for number in STOP_SIGNALS:
            if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
                self._previous[number] = signal.signal(number, self._receive)
        _start_resource_tracker()
        if self._until_exit:
            # In its last moments the interpreter takes its handlers away, but leaves what is ignored.
            for each in self._previous:
                atexit.register(signal.signal, each, signal.SIG_IGN)
        return self

    def __exit__(self, *exception: object) -> None:
        if self._until_exit:
            self.has_work_to_save = True  # an exit status, that is
            return
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._previous.clear()

    def _receive(self, number: int, frame: FrameType | None) -> None:
        self.received += 1
        if not self.has_work_to_save:
            sys.stderr.write(f"{signal.Signals(number).name} before the job began to play\n")
            raise SystemExit(ExitStatus.interrupted if number == signal.SIGINT else ExitStatus.error)
        if number == signal.SIGINT:
            if self._reason is StopReason.interrupted:
                if self.end_now is not None:
                    self.end_now()
                os._exit(ExitStatus.interrupted)
            self._reason = StopReason.interrupted
        elif self._reason is None:
            self._reason = StopReason.requested


class Target(Callback):
    """Stop when the run is complete.

    Args:
        steps: Agent steps over all jobs.
        episodes: Finished episodes over all jobs; 0 means no limit.
    """

    def __init__(self, *, steps: int, episodes: int = 0) -> None:
        self._steps = steps
        self._episodes = episodes

    def should_stop(self, trainer: Trainer) -> StopReason | None:
        """Compare the counters with the targets."""
        if trainer.steps >= self._steps:
            return StopReason.target
        return StopReason.episodes if self._episodes and trainer.episodes >= self._episodes else None


class Deadline(Callback):
    """Stop in time to save before the job ends.

    The job ends ``max_runtime_seconds`` after its start or at ``SLURM_JOB_END_TIME``, whichever comes first; what its
    end takes and a margin come off that.

    Args:
        max_runtime_seconds: Length of the job.
        start: Unix time at which its process began. An interactive allocation holds many jobs, so the allocation's
            own start does not count; its end does.
        margin_seconds: Left free after saving.
        environment: Environment variables.
        clock: Unix time.
    """

    def __init__(
        self,
        *,
        max_runtime_seconds: float,
        start: float,
        margin_seconds: float,
        environment: Mapping[str, str] = os.environ,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._end = start + max_runtime_seconds
        allocation_end = _unix_time(environment, "SLURM_JOB_END_TIME")
        # The margin guards against the scheduler's kill; a limit that we chose ourselves needs none.
        self._hard_end = allocation_end - margin_seconds if allocation_end is not None else None
        #: Each returns the seconds that one thing takes at the end of the job, such as saving; called each time.
        self.needs: Sequence[Callable[[], float]] = ()
        self._clock = clock

    @property
    def seconds_left(self) -> float:
        """Seconds until saving must begin; negative when it is late."""
        end = self._end if self._hard_end is None else min(self._end, self._hard_end)
        return end - sum(need() for need in self.needs) - self._clock()

    @property
    def seconds_until_killed(self) -> float:
        """Seconds until the scheduler ends this job, margin taken off; infinite where none does."""
        return math.inf if self._hard_end is None else self._hard_end - self._clock()

    def should_stop(self, trainer: Trainer) -> StopReason | None:
        """Return the reason when it is time to save."""
        return StopReason.deadline if self.seconds_left <= 0 else None


def _start_resource_tracker() -> None:
    """Start multiprocessing's tracker of shared memory so that a signal to all processes of a job passes it by.

    Python lets it ignore SIGINT and SIGTERM; a scheduler's SIGUSR1 or a closing terminal's SIGHUP would end it.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1, signal.SIGHUP})
    try:
        resource_tracker.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _unix_time(environment: Mapping[str, str], name: str) -> float | None:
    try:
        return float(environment[name])
    except (KeyError, ValueError):
        return None
