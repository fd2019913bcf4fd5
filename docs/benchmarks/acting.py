"""Rows of acting: worker processes with a network against the bare emulator on every core."""

import contextlib
import os
import signal
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import psutil

from bare import BareProcesses
from pairs import Row
from pokered_rl.collectors import ProcessPool
from pokered_rl.emulator import Cartridge
from pokered_rl.resources import available_cpus
from pokered_rl.training import Experiment
from pokered_rl.training.config import Config, NetworkSize
from pokered_rl.training.trainer import Trainer


class PlayingPool:
    """Worker processes that act with a network, all actions random, every step 24 frames; nothing is learned.

    Batches are processed as in training: workers build sequences, which are written to a replay on disk.
    """

    def __init__(self, workers: ProcessPool, pids: list[int]) -> None:
        self.workers = workers
        #: Their processes.
        self.pids = pids
        self._arrivals: dict[int, list[tuple[float, int]]] = defaultdict(list)
        #: Bytes of the last sequences over the agent steps that they bring; pickling adds next to nothing.
        self.bytes_per_step = 0.0
        add, period_steps = workers.sink.add, workers.worker_spec(0).builder.layout.period_steps

        def noted(message: Any) -> None:
            add(message)
            experience = message.experience
            self._arrivals[message.worker].append((time.perf_counter(), experience.num_steps))
            if (sequences := experience.sequences) is not None:
                self.bytes_per_step = sequences.bytes() / (len(sequences) * period_steps)

        workers.sink.add = noted  # type: ignore[method-assign]

    def wait_for(self, batches: int) -> None:
        """Wait until every worker has sent this many batches."""
        self._arrivals.clear()
        while not self._all_sent(batches):
            self.workers.collect()

    def steps_per_second(self, seconds: float) -> float:
        """Return steps per second, from the first to the last batch of each worker in about this time."""
        self._arrivals.clear()
        start = time.perf_counter()
        while time.perf_counter() - start < seconds or not self._all_sent(3):
            self.workers.collect()
        total = 0.0
        for batches in self._arrivals.values():
            total += sum(frames for _, frames in batches[1:]) / (batches[-1][0] - batches[0][0])
        return total

    def _all_sent(self, batches: int) -> bool:
        sent = self._arrivals.values()
        return len(sent) == self.workers.num_workers and all(len(times) >= batches for times in sent)


def acting_config(size: str, *, emulators: int | None = None) -> Config:
    """Return the default config with a network size, a small replay, one log in a million episodes and no learning."""
    config = Config()
    config.network.size = NetworkSize(size)
    config.network.hidden_size = 128 if size == "tiny" else config.network.hidden_size
    config.env.log_every_episodes = 1_000_000
    if emulators is not None:
        config.collector.emulators_per_worker = emulators
    config.replay.capacity_transitions = 40_000
    config.replay.min_fill_sequences = config.learner.batch_size
    return config


@contextlib.contextmanager
def built(config: Config) -> Iterator[Trainer]:
    """Build the components of a run in a temporary folder; nothing will be learned."""
    with tempfile.TemporaryDirectory() as folder:
        config.run.folder = folder
        with Experiment(config).build() as trainer:
            trainer.limiter.min_fill_sequences = 10**9  # so that nothing is held back
            trainer.replay.allocate(trainer.example)
            yield trainer


@contextlib.contextmanager
def playing_pool(size: str, *, workers: int, emulators: int | None = None, batches: int = 3) -> Iterator[PlayingPool]:
    """Start workers, with the config's number of emulators or another one, and wait for some batches of each."""
    config = acting_config(size, emulators=emulators)
    config.env.wait_while_busy = False
    config.collector.num_workers = workers
    config.collector.worker_timeout_seconds = 3_600.0  # they are stopped while others play
    config.collector.epsilon_base = 1.0
    config.collector.epsilon_alpha = 0.0
    others = children()
    with built(config) as trainer:
        assert isinstance(trainer.workers, ProcessPool)
        playing = PlayingPool(trainer.workers, [])
        playing.wait_for(batches)
        playing.pids = sorted(children() - others)
        yield playing


def children() -> set[int]:
    """Return the process ids of the workers below this process, whatever started them.

    Python's own servers are left out, because they must not be stopped: the resource tracker, and the fork server.
    """
    found = psutil.Process().children(recursive=True)
    parents = set()
    for process in found:
        with contextlib.suppress(psutil.NoSuchProcess):
            parents.add(process.ppid())
    result = set()
    for process in found:
        with contextlib.suppress(psutil.NoSuchProcess):  # zombies included
            if process.pid not in parents and not any("resource_tracker" in part for part in process.cmdline()):
                result.add(process.pid)
    return result


@contextlib.contextmanager
def stopped(pids: list[int]) -> Iterator[None]:
    """Hold processes, so that they take no core while something else is measured."""
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


@contextlib.contextmanager
def running(pids: list[int]) -> Iterator[None]:
    """Let stopped processes run."""
    for pid in pids:
        os.kill(pid, signal.SIGCONT)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)


def _collector(size: str, *, quick: bool) -> Row:
    cartridge = Cartridge.find()
    seconds, rounds = (5.0, 2) if quick else (8.0, 6)
    row = Row([], [], "steps/s")
    with playing_pool(size, workers=available_cpus()) as playing:
        emulators = playing.workers.emulators_per_worker
        bare = BareProcesses(cartridge, processes=available_cpus(), emulators=emulators)
        for _ in range(rounds):
            row.ours.append(playing.steps_per_second(seconds))
            with stopped(playing.pids):
                row.limit.append(bare.steps_per_second(seconds / 2))
        bare.close()
        processes = [psutil.Process(playing.workers.control.pid(worker)) for worker in range(available_cpus())]
        private = [process.memory_full_info().uss for process in processes]
        row.notes["workers"], row.notes["emulators_per_worker"] = available_cpus(), emulators
        row.notes["private_mib_per_worker"] = round(max(private) / 2**20)
    return row


def collector_tiny(*, quick: bool) -> Row:
    """`MultiAsyncCollector` workers on all cores, `tiny` network acting, against bare emulators on all cores."""
    return _collector("tiny", quick=quick)


def collector_base(*, quick: bool) -> Row:
    """The same with the `base` network."""
    return _collector("base", quick=quick)
