"""Supervision: a worker that dies, raises or hangs is replaced; the others go on.

Each worker has a thread in the learner's process, which starts it, receives its batches and restarts it.
"""

import atexit
import logging
import signal
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any, Protocol

from pokered_rl.collectors.worker import WorkerMessage
from pokered_rl.collectors.worker_pool import WorkerError, WorkerPool, error_of
from pokered_rl.errors import ConfigError, PokeredError
from pokered_rl.signals import STOP_SIGNALS

__all__ = ["SupervisedPool", "Worker"]

_log = logging.getLogger(__name__)

#: Seconds before the first, second, ... restart of a worker that fails again and again.
_BACKOFF_SECONDS = (0.0, 1.0, 5.0, 20.0, 60.0)
#: Tries of a worker that never delivers a batch: the cause is then one that a restart does not cure.
_FIRST_TRIES = 3
#: Limit of the first batch: a worker imports torch, starts its emulators and boots the game before it.
_STARTUP_SECONDS = 180.0
#: How long `close` waits for a worker to end by itself.
SHUTDOWN_SECONDS = 6.0
#: How long a checkpoint waits for the workers' states: many times a batch, short beside the time before a deadline.
_STATE_SECONDS = 60.0
_POLL_SECONDS = 0.2
#: Losses closer together than this have one cause, such as the death of the process that workers are forked from.
_SAME_CAUSE_SECONDS = 2.0


class Worker(Protocol):
    """One running worker, as its thread sees it."""

    def receive(self) -> WorkerMessage:
        """Wait for the next message; raise when the worker is gone."""

    def close(self) -> None:
        """End the worker."""


class SupervisedPool(WorkerPool):
    """Workers outside of this process; threads insert their batches as they come, :meth:`collect` waits for one.

    A subclass implements ``_open``, which starts a worker, and ``_kill_worker``, which ends one that hangs.

    Args:
        worker_timeout_seconds: A worker that sends no batch for this long counts as hung and is replaced.
        max_restarts_per_hour: More replacements than this end the run with :class:`WorkerError`; workers lost at the
            same moment count as one.
        options: See :class:`WorkerPool`.
    """

    acts_by_itself = True

    def __init__(
        self, *, worker_timeout_seconds: float = 300.0, max_restarts_per_hour: int = 20, **options: Any
    ) -> None:
        super().__init__(**options)
        if worker_timeout_seconds <= 0:
            raise ConfigError(f"worker_timeout_seconds must be > 0, got {worker_timeout_seconds}")
        self.worker_timeout_seconds = worker_timeout_seconds
        self.max_restarts_per_hour = max_restarts_per_hour
        #: Workers that raised, were killed, or hung, and were replaced.
        self.restarts = {"raised": 0, "died": 0, "hung": 0}
        self._threads: list[_WorkerThread] = []
        self._restart_times: deque[float] = deque()
        self._fatal: PokeredError | None = None
        self._arrived = threading.Event()
        self._snapshots: dict[int, tuple[int, dict[str, Any]]] = {}
        self._stop = threading.Event()
        self._collecting_states = False

    def start(self) -> None:
        """Start the workers (several seconds, in parallel); :meth:`collect` does it when needed."""
        if self._threads:
            return
        self._prepare()
        atexit.register(self.close)
        self._threads = [_WorkerThread(self, index) for index in range(self.num_workers)]
        for thread in self._threads:
            thread.start()
        threading.Thread(target=self._watch, name="worker-watch", daemon=True).start()

    def collect(self) -> None:
        """Wait until a batch has been inserted, or for a fifth of a second."""
        self.start()
        self.check()
        self._arrived.wait(_POLL_SECONDS)
        self._arrived.clear()
        self.check()

    def check(self) -> None:
        """Raise the error of a worker's thread, if there is one; cheap."""
        if self._fatal is not None:
            raise self._fatal

    def halt(self) -> None:
        """Let every worker send its state with its next batch and end."""
        if self._threads:
            self._collect_states(halt=True)

    def state_dict(self) -> dict[str, Any]:
        """Return everything that the next batch depends on, except the weights.

        Workers send their states with their current batch, so this waits for one batch of each. A worker
        that does not answer in time has no state: its episodes do not go on in the next job.
        """
        if self._threads and not self.control.halted:
            self._collect_states(halt=False)
        request = self.control.state_request
        with self.sink.lock:
            answers = {worker: saved for worker, (number, saved) in self._snapshots.items() if number == request}
            return self._state(answers)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from :meth:`state_dict`; the workers restore their states when they start."""
        if self._threads:
            raise RuntimeError("the workers are running: call load_state_dict before the first batch")
        super().load_state_dict(state)

    def stats(self) -> dict[str, float]:
        """Return metrics, see :meth:`WorkerPool.stats`, and how many workers are alive and were restarted."""
        alive = sum(thread.is_running for thread in self._threads)
        return super().stats() | {
            "workers_alive": float(alive),
            **{f"restarts_{reason}": float(count) for reason, count in self.restarts.items()},
        }

    def close(self) -> None:
        """End all workers, waiting for each at most some seconds."""
        self._stop.set()
        deadline = time.monotonic() + SHUTDOWN_SECONDS + 2
        while any(thread.is_alive() for thread in self._threads) and time.monotonic() < deadline:
            starting = [thread for thread in self._threads if thread.is_alive() and not thread.has_state]
            for thread in starting:
                self._kill_worker(thread.worker)  # it has nothing to finish
            if starting:
                self._abort_start()
            time.sleep(0.05)
        self.kill()
        self._threads = []
        atexit.unregister(self.close)

    def kill(self) -> None:
        """End all workers at once."""
        for worker in range(self.num_workers):
            self._kill_worker(worker)

    def _prepare(self) -> None:
        """Prepare the process; called once before the first worker starts."""

    def _open(self, worker: int) -> Worker:
        """Start a worker and wait until it is ready."""
        raise NotImplementedError

    def _abort_start(self) -> None:
        """End workers that are starting and cannot be named yet; called until there are none."""

    def _kill_worker(self, worker: int) -> None:
        """End a worker at once; called from any thread, also when there is none."""
        raise NotImplementedError

    def _collect_states(self, *, halt: bool) -> None:
        request = self.control.request_state(halt=halt)
        self._collecting_states = True
        deadline = time.monotonic() + min(_STATE_SECONDS, self.worker_timeout_seconds)
        try:
            while time.monotonic() < deadline:
                waiting = [
                    thread
                    for thread in self._threads
                    if thread.has_state and self._snapshots.get(thread.worker, (0, None))[0] < request
                ]
                if not waiting or self._fatal is not None:
                    return
                time.sleep(0.01)
        finally:
            self._collecting_states = False

    def _received(self, worker: int, message: WorkerMessage) -> None:
        with self.sink.lock:
            self._receive(worker, message)
            if message.state is not None:
                self._snapshots[worker] = (message.state_request, self._saved_worker(worker, message.state))
        self._arrived.set()

    def _may_continue(self) -> bool:
        """Wait while the learner is too far behind; False when it is time to end."""
        limiter = self.sink.limiter
        while not self._stop.is_set():
            if self._collecting_states or limiter is None or limiter.wait_until_can_insert(_POLL_SECONDS):
                return True
        return False

    def _lost(self, worker: int, reason: str, error: BaseException) -> None:
        """Count a lost worker, end its episodes, and decide whether the run can go on."""
        with self.sink.lock:
            self.sink.cut(worker)
            self._states.pop(worker, None)
            self._snapshots.pop(worker, None)
            self._incarnations[worker] += 1
            self.restarts[reason] += 1
            now = time.monotonic()
            if not self._restart_times or now - self._restart_times[-1] > _SAME_CAUSE_SECONDS:
                self._restart_times.append(now)
            while self._restart_times and now - self._restart_times[0] > 3600:
                self._restart_times.popleft()
            recent = len(self._restart_times)
        _log.warning("worker %d %s and is replaced (%d in this hour): %s", worker, reason, recent, error)
        if recent > self.max_restarts_per_hour:
            self._end_with(
                WorkerError(
                    f"{recent} workers were lost within an hour, collector.max_restarts_per_hour is "
                    f"{self.max_restarts_per_hour}; the last one: {error}"
                )
            )

    def _end_with(self, error: PokeredError) -> None:
        self._fatal = self._fatal or error
        self._arrived.set()

    def _watch(self) -> None:
        """Kill workers that hang; their threads then notice and restart them."""
        while not self._stop.wait(_POLL_SECONDS):
            for thread in list(self._threads):
                if thread.overdue(self.worker_timeout_seconds):
                    thread.hung = True
                    self._kill_worker(thread.worker)


class _WorkerThread(threading.Thread):
    """Start one worker, receive its batches, and restart it when it is lost."""

    def __init__(self, workers: SupervisedPool, worker: int) -> None:
        super().__init__(name=f"worker-{worker}", daemon=True)
        self.workers = workers
        self.worker = worker
        self.is_running = True
        self.hung = False
        self._starting = True
        self._waiting_since: float | None = None

    @property
    def has_state(self) -> bool:
        """Whether its worker has delivered a batch, so that its state is not the one that it was started with."""
        return self.is_running and not self._starting

    def overdue(self, timeout_seconds: float) -> bool:
        """Whether its process has been silent for too long."""
        since = self._waiting_since
        limit = max(_STARTUP_SECONDS, timeout_seconds) if self._starting else timeout_seconds
        return since is not None and time.monotonic() - since > limit

    def wait_on(self) -> None:
        """Restart the time limit: the worker waits for something else, such as room in a cluster."""
        self._waiting_since = time.monotonic()

    def run(self) -> None:
        """Run the worker until the pool is closed, halted, or cannot go on."""
        # The worker process inherits the blocked signals. Ctrl-C and schedulers send them to all processes of a job;
        # the learner handles them and lets its workers send their states.
        signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
        failures = 0
        delivered = False
        workers = self.workers
        cause: Exception
        try:
            while not workers._stop.is_set() and workers._fatal is None:
                batches = 0
                try:
                    for _ in self._batches():
                        batches += 1
                    return
                except PokeredError as error:
                    if not isinstance(error, WorkerError):
                        workers._end_with(error)  # wrong ROM, invalid start state: a restart would fail again
                        return
                    reason, cause = "raised", error
                except Exception as error:  # noqa: BLE001 - counted, reported, and limited
                    reason, cause = ("hung" if self.hung else "died"), error
                if workers._stop.is_set() or workers.control.halted:
                    return
                self._starting = True  # until then nobody waits for its state
                try:
                    workers._lost(self.worker, reason, cause)
                except PokeredError as error:  # its last sequences cannot be stored: another job has the run
                    workers._end_with(error)
                    return
                delivered |= batches > 0
                if not delivered and failures + 1 >= _FIRST_TRIES:
                    problem = str(cause).partition("\n")[0] or type(cause).__name__
                    workers._end_with(
                        WorkerError(
                            f"worker {self.worker} has not delivered a batch in {_FIRST_TRIES} tries, it {reason} each"
                            f" time: {problem}; what it printed stands above, and with"
                            " collector.backend=inline the same happens in this process"
                        )
                    )
                    return
                failures = 0 if batches > 10 else failures + 1
                workers._stop.wait(_BACKOFF_SECONDS[min(failures, len(_BACKOFF_SECONDS) - 1)])
        finally:
            self.is_running = False

    def _batches(self) -> Iterator[None]:
        """Start a worker and yield after each of its batches, until it is time to end."""
        workers = self.workers
        self.hung, self._starting = False, True
        self._waiting_since = time.monotonic()
        opened: Worker | None = None
        try:
            opened = workers._open(self.worker)
            while True:
                self._waiting_since = time.monotonic()
                message = opened.receive()
                self._waiting_since = None
                if message.error is not None:
                    raise error_of(message.error)
                workers._received(self.worker, message)
                self._starting = False
                yield
                if message.state is not None and workers.control.halted:
                    return
                if not workers._may_continue():
                    return
        finally:
            self._waiting_since = None
            if opened is not None:
                opened.close()
            workers._kill_worker(self.worker)
