"""Worker pool on a Ray cluster.

Each worker is a Ray actor around the collector of the other pools: batches, saved states, exploration and supervision
are the same. TorchRL's ``RayCollector`` neither saves the workers' states nor replaces a single worker.
"""

import contextlib
import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pokered_rl.collectors.supervision import SHUTDOWN_SECONDS, SupervisedPool, Worker
from pokered_rl.collectors.worker import (
    Exploration,
    WorkerCollector,
    WorkerMessage,
    WorkerSpec,
    pack_error,
    unpack_message,
)
from pokered_rl.collectors.worker_pool import WorkerError
from pokered_rl.errors import ConfigError

__all__ = ["RayPool"]

_log = logging.getLogger(__name__)

_POLL_SECONDS = 0.2
#: A worker that waits this long for room in the cluster logs a warning.
_PATIENCE_SECONDS = 30.0


class RayPool(SupervisedPool):
    """W workers with E emulators each, anywhere in a Ray cluster.

    Published weights go into Ray's object store once; each node fetches them once. A worker whose node is lost is
    restarted as soon as there is room anywhere; until then the others go on.

    Args:
        address: Of the cluster ("auto": the one that this machine belongs to); None joins the one that this process is
            connected to, or starts one on this machine.
        worker_resources: What a worker asks of its node, for example ``{"num_cpus": 1, "memory": 2e9}``.
        options: See :class:`SupervisedPool` and :class:`WorkerPool`.

    Raises:
        ConfigError: Ray is not installed; from ``start``: there is no cluster to join, or none can be started here.
    """

    def __init__(
        self, *, address: str | None = None, worker_resources: Mapping[str, Any] | None = None, **options: Any
    ) -> None:
        try:
            import ray
        except ImportError as error:
            raise ConfigError("collector.backend=ray needs Ray: pip install 'pokered_rl[ray]'") from error
        super().__init__(**options)
        self._ray = ray
        self._address = address
        self._worker_resources = dict(worker_resources or {"num_cpus": 1})
        self._handles: dict[int, Any] = {}
        self._weights: tuple[int, int, Any] = (0, -1, None)
        #: Node (Ray's id) that each worker runs on.
        self.nodes: dict[int, str] = {}

    def set_weights(self, network: nn.Module, *, version: int | None = None) -> bool:
        """See :meth:`WorkerPool.set_weights`."""
        changed = super().set_weights(network, version=version)
        if changed and self._handles:
            self._store_weights()
        return changed

    def _prepare(self) -> None:
        if not self._ray.is_initialized():
            os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # compute nodes have no internet to report to
            # Ray's 15 lets the workers of a cluster on this machine starve as soon as anything else is busy.
            os.environ.setdefault("RAY_worker_niceness", "0")
            with _signal_handlers_kept():
                try:
                    self._ray.init(address=self._address, log_to_driver=False, include_dashboard=False)
                except (ConnectionError, ValueError, RuntimeError, OSError) as error:
                    problem = next(iter(str(error).strip().splitlines()), type(error).__name__)
                    if self._address is None:
                        raise ConfigError(
                            f"collector.backend=ray: Ray cannot be started on this machine ({problem}); its logs are in"
                            " /tmp/ray/session_latest/logs; collector.backend=processes needs no Ray"
                        ) from error
                    raise ConfigError(
                        f"collector.ray_address={self._address}: there is no Ray cluster to join ({problem}); start one"
                        " with `ray start --head`, or leave the address out to start one on this machine"
                    ) from error
        self._store_weights()

    def _store_weights(self) -> None:
        weights, version, number = self.control.copy_weights()
        self._weights = (version, number, self._ray.put(weights.numpy()))

    def _open(self, worker: int) -> Worker:
        return _RayWorker(self, worker)

    def _place(self, worker: int, handle: Any) -> None:
        """Wait until a worker has a process on some node; this time does not count as hanging."""
        began, warned = time.monotonic(), False
        asked = handle.node.remote()
        while not self._ray.wait([asked], timeout=_POLL_SECONDS)[0]:
            if self._stop.is_set():
                raise WorkerError("ended before there was room in the cluster")
            self._threads[worker].wait_on()
            if not warned and time.monotonic() - began > _PATIENCE_SECONDS:
                warned = True
                _log.warning(
                    "worker %d has no place in the cluster yet, it asks for %s; the others go on",
                    worker,
                    self._worker_resources,
                )
        self.nodes[worker] = self._ray.get(asked)

    def _kill_worker(self, worker: int) -> None:
        handle = self._handles.pop(worker, None)
        if handle is not None:
            self._ray.kill(handle)

    def _order(self) -> dict[str, Any]:
        """Return what a worker must know before its next batch."""
        version, number, weights = self._weights
        return {
            "version": version,
            "number": number,
            "weights": [weights],  # in a list, Ray passes the reference on; the worker fetches it when it is new
            "global_steps": self.control.global_steps,
            "state_request": self.control.state_request,
            "halted": self.control.halted,
            "watch": self.control.watch,
        }


class _RemoteControl:
    """Replace :class:`SharedControl` on another machine: hold what the latest order said."""

    def __init__(self) -> None:
        self.version = 0
        self.global_steps = 0
        self.state_request = 0
        self.halted = False
        self.watch = 0
        self._number = -1
        self._weights: Any = None

    def take(self, order: Mapping[str, Any]) -> None:
        self.global_steps, self.state_request = order["global_steps"], order["state_request"]
        self.halted, self.watch = order["halted"], order["watch"]
        if order["version"] != self.version:
            import ray

            self._weights = ray.get(order["weights"][0])
            self.version, self._number = order["version"], order["number"]

    def read_weights(self, flat: Tensor) -> tuple[int, int]:
        flat.copy_(torch.from_numpy(np.array(self._weights)))  # Ray's arrays are read-only
        return self.version, self._number


@contextlib.contextmanager
def _signal_handlers_kept() -> Iterator[None]:
    """Restore the handlers that ``ray.init`` overwrites: SIGTERM would end the learner before it has saved."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _steps_of(control: _RemoteControl) -> int:
    return control.global_steps


class _RemoteWorker:
    """The Ray actor; it starts its emulators with the first batch, so that ``node`` answers at once."""

    def __init__(self, spec: WorkerSpec, num_steps: int) -> None:
        self._spec, self._num_steps = spec, num_steps
        self._control = _RemoteControl()
        self._collector: WorkerCollector | None = None
        self._batches: Iterator[Any] = iter(())

    def _start(self) -> None:
        spec = self._spec
        torch.set_num_threads(1)
        torch.manual_seed(spec.seed)
        if spec.lock is not None:
            folder = spec.lock.path.parent
            if not folder.is_dir():
                raise ConfigError(f"there is no {folder} on {socket.gethostname()}: every node needs the run folder")
            spec.lock.guard(folder)
        spec.control = self._control
        if spec.exploration is not None:
            spec.exploration = Exploration(
                spec.exploration.epsilon,
                warmup_steps=spec.exploration.warmup_steps,
                global_steps=partial(_steps_of, self._control),
            )
        self._collector = WorkerCollector(spec=spec, frames_per_batch=self._num_steps, total_frames=-1)
        self._batches = iter(self._collector)

    def collect(self, order: Mapping[str, Any]) -> bytes:
        self._control.take(order)
        if self._collector is None:
            try:
                self._start()
            except Exception as error:  # noqa: BLE001 - sent to the learner, which decides
                return pack_error(self._spec.index, error)
        message: bytes = next(self._batches)["message"]
        return message

    def node(self) -> str:
        import ray

        return str(ray.get_runtime_context().get_node_id())

    def close(self) -> None:
        if self._collector is not None:
            self._collector.shutdown()


class _RayWorker:
    """The learner's end of one Ray actor; one batch is always requested in advance."""

    def __init__(self, workers: RayPool, worker: int) -> None:
        ray = workers._ray
        self._workers = workers
        spec = workers.worker_spec(worker)
        spec.control = None  # shared memory does not travel
        if spec.exploration is not None:
            spec.exploration = Exploration(
                spec.exploration.epsilon, warmup_steps=spec.exploration.warmup_steps, global_steps=int
            )
        remote = ray.remote(_RemoteWorker).options(scheduling_strategy="SPREAD", **workers._worker_resources)
        steps = workers.emulators_per_worker * workers.steps_per_batch
        self._handle = remote.remote(spec, steps)
        workers._handles[worker] = self._handle
        workers._place(worker, self._handle)
        self._next: Any = self._handle.collect.remote(workers._order())

    def receive(self) -> WorkerMessage:
        message = unpack_message(self._workers._ray.get(self._next))
        ended = message.error is not None or (message.state is not None and self._workers.control.halted)
        if not ended:
            self._next = self._handle.collect.remote(self._workers._order())
        return message

    def close(self) -> None:
        ray = self._workers._ray
        # One that is gone, or hangs, is killed next.
        with contextlib.suppress(ray.exceptions.RayError, TimeoutError):
            ray.get(self._handle.close.remote(), timeout=SHUTDOWN_SECONDS)
