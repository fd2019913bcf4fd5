"""Measure what emulating a frame costs on this machine while several processes emulate."""

import multiprocessing
import signal
import statistics
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Barrier

import numpy as np

from pokered_rl.emulator.boot import boot
from pokered_rl.emulator.cartridge import Cartridge
from pokered_rl.emulator.emulator import Emulator
from pokered_rl.emulator.pool import EmulatorPool

__all__ = ["measure_frame_us"]

#: Emulators of a process: more than a core's cache holds, as in a worker.
_EMULATORS = 8

_together: Barrier


def measure_frame_us(
    *,
    processes: int,
    seconds: float = 1.0,
    timeout_seconds: float = 60.0,
    clock: Callable[[], float] = time.perf_counter,
) -> float:
    """Return what a frame takes, in microseconds, while so many processes emulate at once.

    Each process walks at random with eight emulators of Sprout: such frames cost as much as those of the benchmark of
    costs. The processes start together. They are forked from a process of their own, which imports PyTorch once.

    Args:
        processes: Processes that emulate.
        seconds: Wall time for which they do.
        timeout_seconds: Longest time for all, imports included.
        clock: Seconds of a frame: of the clock by default, of the CPU with ``time.thread_time``.

    Returns:
        The mean over the processes.

    Raises:
        EOFError: A process failed; what failed is on stderr.
        OSError: No process could be started, or (``TimeoutError``) they were not done in time.
    """
    context = multiprocessing.get_context("spawn")
    results, sender = context.Pipe(duplex=False)
    process = context.Process(target=_measure, args=(sender, processes, seconds, timeout_seconds, clock))
    process.start()
    sender.close()
    try:
        if not results.poll(timeout_seconds):
            raise TimeoutError(f"{processes} processes did not emulate within {timeout_seconds:.0f} s")
        return float(results.recv())
    finally:
        process.kill()
        process.join()
        results.close()


def _measure(
    sender: Connection, processes: int, seconds: float, timeout_seconds: float, clock: Callable[[], float]
) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends this process, without a traceback
    context = multiprocessing.get_context("fork")
    barrier = context.Barrier(processes, timeout=timeout_seconds)
    with context.Pool(processes, initializer=_share, initargs=(barrier,)) as pool:
        sender.send(statistics.fmean(pool.starmap(_walk, [(seconds, clock)] * processes, chunksize=1)))


def _share(barrier: Barrier) -> None:
    global _together
    _together = barrier


def _walk(seconds: float, clock: Callable[[], float]) -> float:
    """Return the microseconds of a frame in this process."""
    cartridge, random = Cartridge.bundled(), np.random.default_rng(0)
    with Emulator(cartridge) as emulator:
        start = boot(emulator)
    with EmulatorPool(cartridge, num_emulators=_EMULATORS) as pool:
        pool.reset(range(_EMULATORS), [start] * _EMULATORS)
        keys = [pool.actions.names.index(name) for name in ("up", "down", "left", "right")]

        def frames() -> int:
            return sum(each.frame_count for each in pool.emulators)

        before = frames()
        _together.wait()
        began, end = clock(), time.perf_counter() + seconds
        while time.perf_counter() < end:
            pool.step(random.choice(keys, _EMULATORS))
        return 1e6 * (clock() - began) / (frames() - before)
