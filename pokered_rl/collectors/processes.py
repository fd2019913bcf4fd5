"""Worker pool in processes on this machine.

TorchRL's ``MultiAsyncCollector`` starts the processes, one collector a worker. A collector of several workers ends all
of them when one dies, does not notice one that hangs, and drops the batch of one that waits for more than a second,
which would break its episodes.
"""

import atexit
import contextlib
import multiprocessing
import multiprocessing.forkserver
import os
import shutil
import signal
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
from torchrl.collectors import MultiAsyncCollector

from pokered_rl.collectors.supervision import SHUTDOWN_SECONDS, SupervisedPool, Worker
from pokered_rl.collectors.worker import (
    WorkerMessage,
    WorkerSpec,
    collector_in_process,
    prepare_process,
    unpack_message,
)
from pokered_rl.errors import ConfigError

__all__ = ["ProcessPool"]

#: A socket's path has at most 104 (macOS) or 108 (Linux) bytes; multiprocessing adds two names of about 20.
_LONGEST_TEMPDIR = 60
_PRELOADED = ["pokered_rl.collectors.worker", "pokered_rl.envs", "pokered_rl.modules"]


class ProcessPool(SupervisedPool):
    """W worker processes with E emulators each.

    Args:
        start_method: "forkserver" forks workers from a server that has imported everything once; with "spawn" each
            worker imports and holds its own libraries. Sets multiprocessing's global method, as importing TorchRL does.
        options: See :class:`SupervisedPool` and :class:`WorkerPool`.

    Example:
        >>> with ProcessPool(make_envs=[...], policy=policy, **options) as workers:  # doctest: +SKIP
        ...     while workers.steps < 100_000:
        ...         workers.collect()
    """

    def __init__(self, *, start_method: Literal["forkserver", "spawn"] = "forkserver", **options: Any) -> None:
        super().__init__(**options)
        if start_method not in ("forkserver", "spawn"):
            raise ConfigError(f"start_method must be 'forkserver' or 'spawn', got {start_method!r}")
        self._start_method = start_method

    def _prepare(self) -> None:
        _hide_main_without_file()
        _shorten_socket_paths()
        available = multiprocessing.get_all_start_methods()
        method = self._start_method if self._start_method in available else "spawn"
        # TorchRL takes the global method for its workers, and has set it to "spawn" when it was imported.
        multiprocessing.set_start_method(method, force=True)
        if method == "forkserver":
            multiprocessing.set_forkserver_preload(_PRELOADED)

    def _open(self, worker: int) -> Worker:
        return _ProcessWorker(self.worker_spec(worker), num_steps=self.emulators_per_worker * self.steps_per_batch)

    def _abort_start(self) -> None:
        # The server still imports, or its child has not said yet which worker it is. Both end with their last batch
        # or with this process, but only after their imports, and not in silence.
        server: Any = multiprocessing.forkserver._forkserver
        pid = server._forkserver_pid
        if pid is not None:
            for each in (*_children(pid), pid):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(each, signal.SIGKILL)

    def _kill_worker(self, worker: int) -> None:
        pid = self.control.pid(worker)
        if pid:
            self.control.forget(worker)
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def _children(pid: int) -> list[int]:
    """Return the processes that a process has started and that live (Linux; elsewhere none are known)."""
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except (OSError, ValueError):
        return []


class _ProcessWorker:
    """A ``MultiAsyncCollector`` with one worker."""

    def __init__(self, spec: WorkerSpec, *, num_steps: int) -> None:
        self._collector = MultiAsyncCollector(
            [_no_environment],
            policy=None,
            collector_class=partial(collector_in_process, spec=spec),
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
        return unpack_message(next(self._batches)["message"])

    def close(self) -> None:
        threads = torch.get_num_threads()
        self._collector.shutdown(timeout=SHUTDOWN_SECONDS, raise_on_error=False)
        torch.set_num_threads(threads)  # which the shutdown of a collector raises


def _hide_main_without_file() -> None:
    """Keep workers from importing a main program that came from standard input; they need nothing from it."""
    main: Any = sys.modules["__main__"]
    if not Path(getattr(main, "__file__", None) or __file__).is_file():
        del main.__file__


def _shorten_socket_paths() -> None:
    """Let multiprocessing put its sockets into a folder with a short name where TMPDIR is too long for them."""
    config: Any = multiprocessing.current_process()._config  # type: ignore[attr-defined]
    if config.get("tempdir") is None and len(os.fsencode(tempfile.gettempdir())) > _LONGEST_TEMPDIR:
        for folder in ("/tmp", "/var/tmp", "/dev/shm", str(Path.cwd())):
            if len(folder) <= _LONGEST_TEMPDIR and os.access(folder, os.W_OK | os.X_OK):
                config["tempdir"] = tempfile.mkdtemp(prefix="pymp-", dir=folder)
                atexit.register(shutil.rmtree, config["tempdir"], ignore_errors=True)
                return


def _no_environment() -> Any:
    raise AssertionError("the worker builds its environment from its WorkerSpec")
