"""Rows of acting: pool, environment and collector against the bare emulator, and against the usual arrangements."""

import contextlib
import multiprocessing
import os
import signal
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import psutil
import torch
from numpy.typing import NDArray

from pokered_rl.collectors import ProcessActors
from pokered_rl.emulator import ActionSet, Cartridge, Emulator, EmulatorPool, SaveState, boot
from pokered_rl.envs import make_env
from pokered_rl.game import RamLayout
from pokered_rl.training.build import build
from pokered_rl.training.config import Config, NetworkSize
from pokered_rl.training.run_folder import RunFolder

from .bare import BareEmulators, scripted_actions
from .pairs import Row

Actions = NDArray[np.int64]


def playable_state(cartridge: Cartridge) -> SaveState:
    """The state right after booting to the playable start."""
    with Emulator(cartridge) as emulator:
        return boot(emulator)


def _bare_seconds(
    bare: BareEmulators, state: SaveState, actions: Actions, waits: Actions | None, threads: int
) -> float:
    bare.load(state)
    if threads == 1:
        return bare.play(actions, waits)
    count = actions.shape[1]
    with ThreadPoolExecutor(threads) as executor:
        start = time.perf_counter()
        list(executor.map(partial(bare.play, actions, waits), [range(i, count, threads) for i in range(threads)]))
        return time.perf_counter() - start


def _pool_row(cartridge: Cartridge, state: SaveState, emulators: int, threads: int, steps: int, rounds: int) -> Row:
    actions = scripted_actions(steps, emulators, num_actions=len(ActionSet()))
    bare = BareEmulators(cartridge, emulators)
    row = Row([], [], "steps/s")
    layout = RamLayout.of("wCurMap", "wYCoord", "wXCoord")
    pool = EmulatorPool(
        cartridge, num_emulators=emulators, num_threads=threads, wait_while_busy=False, ram_layout=layout
    )
    with pool:
        for index in range(rounds + 1):
            pool.reset(range(emulators), [state] * emulators)
            start = time.perf_counter()
            for chosen in actions:
                pool.step(chosen)
            ours = time.perf_counter() - start
            limit = _bare_seconds(bare, state, actions, None, threads)
            if index:  # the first round warms up
                row.ours.append(actions.size / ours)
                row.limit.append(actions.size / limit)
    bare.close()
    return row


def emulator(*, quick: bool) -> Row:
    """`EmulatorPool` against bare `tick` loops: same cartridge, threads, actions and frames, one frame drawn."""
    cartridge = Cartridge.find()
    state = playable_state(cartridge)
    size = {"steps": 30 if quick else 60, "rounds": 5 if quick else 9}
    row = _pool_row(cartridge, state, 8, 1, **size)
    row.parts["E=8, 2 threads"] = _pool_row(cartridge, state, 8, 2, **size)
    return row


def _env_row(cartridge: Cartridge, state: SaveState, emulators: int, threads: int, steps: int, rounds: int) -> Row:
    actions = torch.from_numpy(scripted_actions(steps, emulators, num_actions=len(ActionSet())))
    env = make_env(cartridge=cartridge, num_emulators=emulators, num_threads=threads, start_states=state)
    bare = BareEmulators(cartridge, emulators)
    row = Row([], [], "frames/s")
    for index in range(rounds + 1):
        tensordict = env.reset()
        waits = np.zeros((steps, emulators), np.int64)
        start = time.perf_counter()
        for step, chosen in enumerate(actions):
            tensordict["action"] = chosen.clone()
            stepped, tensordict = env.step_and_maybe_reset(tensordict)
            waits[step] = stepped["next", "wait_frames"].squeeze(-1).numpy()
        ours = time.perf_counter() - start
        # The limit plays the same actions and waits the same frames from the same state.
        limit = _bare_seconds(bare, state, actions.numpy(), waits, threads)
        frames = 24 * actions.numel() + int(waits.sum())
        if index:
            row.ours.append(frames / ours)
            row.limit.append(frames / limit)
    env.close()
    bare.close()
    return row


def env(*, quick: bool) -> Row:
    """The environment with its default transforms against bare `tick` loops of the same frames (E=8, one thread)."""
    cartridge = Cartridge.find()
    state = playable_state(cartridge)
    steps, rounds = (30, 5) if quick else (60, 9)
    row = _env_row(cartridge, state, 8, 1, steps, rounds)
    for emulators, threads in ((1, 1), (32, 1), (8, 2), (32, 2)):
        part = _env_row(cartridge, state, emulators, threads, steps if emulators < 32 else steps // 2, rounds)
        row.parts[f"E={emulators}, {threads} thread{'s' * (threads > 1)}"] = part
    return row


_worker: BareEmulators


def _start_bare_worker(emulators: int, state_bytes: bytes) -> None:
    global _worker
    cartridge = Cartridge.find()
    _worker = BareEmulators(cartridge, emulators)
    _worker.load(SaveState.from_bytes(state_bytes))


def _play_bare(actions: Actions) -> float:
    return _worker.play(actions)


class BareProcesses:
    """One process of bare emulators on every core."""

    def __init__(self, cartridge: Cartridge, *, processes: int, emulators: int) -> None:
        self.processes, self.emulators = processes, emulators
        context = multiprocessing.get_context("spawn")
        arguments = (emulators, playable_state(cartridge).to_bytes())
        self._pool = context.Pool(processes, _start_bare_worker, arguments)
        self._round = 0

    def steps_per_second(self, steps: int) -> float:
        """Agent steps a second of all processes together, random actions, nothing reset in between."""
        self._round += 1
        seeds = range(self._round * self.processes, (self._round + 1) * self.processes)
        streams = [scripted_actions(steps, self.emulators, num_actions=len(ActionSet()), seed=seed) for seed in seeds]
        start = time.perf_counter()
        self._pool.map(_play_bare, streams, chunksize=1)
        return steps * self.emulators * self.processes / (time.perf_counter() - start)

    def close(self) -> None:
        """End the processes."""
        self._pool.terminate()
        self._pool.join()


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextlib.contextmanager
def playing_actors(size: str, *, workers: int, emulators: int) -> Iterator[ProcessActors]:
    """Worker processes that act with a network of the given size, every step 24 frames, all actions random."""
    config = Config()
    config.network.size = NetworkSize(size)
    config.network.hidden_size = 128 if size == "tiny" else 512
    config.env.wait_while_busy = False
    config.env.log_every_episodes = 1_000_000
    config.collector.num_workers = workers
    config.collector.emulators_per_worker = emulators
    config.collector.epsilon_base = 1.0
    config.collector.epsilon_alpha = 0.0
    config.replay.capacity_transitions = 40_000
    config.replay.min_fill_sequences = 10**9  # nothing is learned, so nothing is held back
    with tempfile.TemporaryDirectory() as folder:
        config.run.folder = folder
        with build(config, RunFolder(Path(folder) / "benchmark")) as parts:
            parts.allocate()
            actors = parts.actors
            assert isinstance(actors, ProcessActors)
            while actors.steps < 2 * workers * emulators * actors.steps_per_batch:
                actors.collect()
            yield actors


def actor_rate(actors: ProcessActors, seconds: float) -> float:
    """Steps a second between two arrivals of a batch, at least ``seconds`` apart."""
    actors.collect()
    first, start = actors.steps, time.perf_counter()
    while (elapsed := time.perf_counter() - start) < seconds:
        actors.collect()
    return (actors.steps - first) / elapsed


@contextlib.contextmanager
def _stopped(pids: list[int]) -> Iterator[None]:
    """Hold processes, so that they take no core while something else is measured."""
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


def _collector(size: str, *, quick: bool, emulators: int = 16) -> Row:
    cartridge = Cartridge.find()
    seconds, rounds = (5.0, 3) if quick else (8.0, 5)
    bare = BareProcesses(cartridge, processes=cores(), emulators=emulators)
    before = {process.pid for process in psutil.Process().children(recursive=True)}
    row = Row([], [], "steps/s")
    with playing_actors(size, workers=cores(), emulators=emulators) as actors:
        workers = [process.pid for process in psutil.Process().children(recursive=True) if process.pid not in before]
        for _ in range(rounds):
            row.ours.append(actor_rate(actors, seconds))
            with _stopped(workers):
                row.limit.append(bare.steps_per_second(int(seconds * 60)))
        private = [psutil.Process(pid).memory_full_info().uss for pid in workers]
        row.notes["private_mib_per_worker"] = round(max(private) / 2**20)
    bare.close()
    return row


def collector_tiny(*, quick: bool) -> Row:
    """`MultiAsyncCollector` workers on all cores, `tiny` network acting, against bare emulators on all cores."""
    return _collector("tiny", quick=quick)


def collector_base(*, quick: bool) -> Row:
    """The same with the `base` network."""
    return _collector("base", quick=quick)
