"""Actors in processes of their own on this machine.

Each worker is a `MultiAsyncCollector` of its own. TorchRL ends all workers of a collector when one of them dies and
notices none that hangs; and with several workers it drops the batch of one that waits for more than a second, which
would tear its episodes. With one collector a worker, the loss of one costs itself.
"""

import contextlib
import multiprocessing
import os
import signal
from functools import partial
from typing import Any

import torch
from torchrl.collectors import MultiAsyncCollector

from pokered_rl.collectors.supervision import SHUTDOWN_SECONDS, SupervisedActors, Worker
from pokered_rl.collectors.worker import (
    WorkerMessage,
    WorkerPlan,
    collector_in_process,
    prepare_process,
    read_message,
)

__all__ = ["ProcessActors"]

_PRELOADED = ["pokered_rl.collectors.worker", "pokered_rl.envs", "pokered_rl.modules"]


class ProcessActors(SupervisedActors):
    """W worker processes with E emulators each.

    Args:
        options: see `SupervisedActors` and `Actors`.

    Example:
        >>> with ProcessActors(make_envs=[...], policy=actor, ...) as actors:
        ...     while actors.steps < 100_000:
        ...         actors.collect()
    """

    def _prepare(self) -> None:
        _choose_start_method()

    def _open(self, worker: int) -> Worker:
        return _ProcessWorker(self._plan(worker), num_steps=self.emulators_per_worker * self.steps_per_batch)

    def _kill_worker(self, worker: int) -> None:
        pid = self.control.pid(worker)
        if pid:
            self.control.forget(worker)
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


class _ProcessWorker:
    """A `MultiAsyncCollector` with one worker."""

    def __init__(self, plan: WorkerPlan, *, num_steps: int) -> None:
        self._collector = MultiAsyncCollector(
            [_environment_of_the_plan],
            policy=None,
            collector_class=partial(collector_in_process, plan=plan),
            init_fn=prepare_process,
            frames_per_batch=num_steps,
            total_frames=-1,
            num_threads=torch.get_num_threads(),
            num_sub_threads=1,
            use_buffers=False,
            cat_results="stack",
        )
        # While this process holds the writing end too, a worker killed in the middle of a message is never noticed.
        self._collector.queue_out._writer.close()
        self._batches = iter(self._collector)

    def receive(self) -> WorkerMessage:
        return read_message(next(self._batches))

    def close(self) -> None:
        threads = torch.get_num_threads()
        self._collector.shutdown(timeout=SHUTDOWN_SECONDS, raise_on_error=False)
        torch.set_num_threads(threads)  # which the shutdown of a collector raises


def _choose_start_method() -> None:
    """Workers are forked from a server that has imported everything once, unless the program has chosen otherwise.

    A worker then starts in a tenth of the time that a fresh interpreter takes, and shares the libraries' memory.
    """
    if multiprocessing.get_start_method(allow_none=True) is not None:
        return
    if "forkserver" in multiprocessing.get_all_start_methods():
        multiprocessing.set_start_method("forkserver")
        multiprocessing.set_forkserver_preload(_PRELOADED)


def _environment_of_the_plan() -> Any:
    raise AssertionError("the worker builds its environment from its plan")
