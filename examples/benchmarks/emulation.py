"""Rows of emulation: the pool and the environment against the bare emulator.

Ours and the limit play the same actions from the same state, a few steps each in turn, so that whatever else the
machine does meets both; the ratio is the median over these pairs.
"""

import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from tensordict import TensorDictBase

from pokered_rl.emulator import ActionSet, Cartridge, EmulatorPool, SaveState
from pokered_rl.envs import make_env
from pokered_rl.game import RamLayout

from .bare import BareEmulators, playable_state, scripted_actions
from .pairs import Row

_Actions = NDArray[np.int64]
#: Emulated steps of one turn, all emulators together, and pairs that are not counted.
_STEPS_OF_A_TURN = 96
_WARM_UP_PAIRS = 2


class _Limit:
    """Bare emulators on the given number of threads."""

    def __init__(self, cartridge: Cartridge, state: SaveState, *, emulators: int, threads: int) -> None:
        self._bare = BareEmulators(cartridge, emulators)
        self._bare.load(state)
        self._executor = ThreadPoolExecutor(threads) if threads > 1 else None
        self._rows = [range(first, emulators, threads) for first in range(threads)]

    def seconds(self, actions: _Actions, waits: NDArray[np.int32] | None) -> float:
        """Time for the actions [T, E]."""
        if self._executor is None:
            return self._bare.play(actions, waits)
        start = time.perf_counter()
        list(self._executor.map(partial(self._bare.play, actions, waits), self._rows))
        return time.perf_counter() - start

    def close(self) -> None:
        """Stop the emulators."""
        self._bare.close()
        if self._executor is not None:
            self._executor.shutdown()


def _turns(emulators: int, seconds: float):
    """Actions [T, E] of one turn after the other until the time is up, at least seven of them."""
    steps = max(3, _STEPS_OF_A_TURN // emulators)
    end, turn = time.perf_counter() + seconds, 0
    while turn < _WARM_UP_PAIRS + 5 or time.perf_counter() < end:
        yield turn >= _WARM_UP_PAIRS, scripted_actions(steps, emulators, num_actions=len(ActionSet()), seed=turn)
        turn += 1


def _pool_row(cartridge: Cartridge, state: SaveState, *, emulators: int, threads: int, seconds: float) -> Row:
    limit = _Limit(cartridge, state, emulators=emulators, threads=threads)
    row = Row([], [], "steps/s")
    layout = RamLayout.of("wCurMap", "wYCoord", "wXCoord")
    pool = EmulatorPool(
        cartridge, num_emulators=emulators, num_threads=threads, wait_while_busy=False, ram_layout=layout
    )
    with pool:
        pool.reset(range(emulators), [state] * emulators)
        for counts, actions in _turns(emulators, seconds):
            start = time.perf_counter()
            for chosen in actions:
                pool.step(chosen)
            ours = time.perf_counter() - start
            bare = limit.seconds(actions, None)
            if counts:
                row.ours.append(actions.size / ours)
                row.limit.append(actions.size / bare)
    limit.close()
    return row


def emulator(*, quick: bool) -> Row:
    """`EmulatorPool` against bare `tick` loops: same cartridge, threads, actions and frames, one frame drawn."""
    cartridge = Cartridge.find()
    state = playable_state(cartridge)
    seconds = 6.0 if quick else 20.0
    row = _pool_row(cartridge, state, emulators=8, threads=1, seconds=seconds)
    row.parts["E=8, 2 threads"] = _pool_row(cartridge, state, emulators=8, threads=2, seconds=seconds)
    return row


def _env_row(cartridge: Cartridge, state: SaveState, *, emulators: int, threads: int, seconds: float) -> Row:
    env = make_env(
        cartridge=cartridge,
        num_emulators=emulators,
        num_threads=threads,
        start_states=state,
        max_episode_steps=None,  # a reset would be ours alone
    )
    limit = _Limit(cartridge, state, emulators=emulators, threads=threads)
    row = Row([], [], "frames/s")
    tensordict = env.reset()
    for counts, actions in _turns(emulators, seconds):
        played = []
        start = time.perf_counter()
        for chosen in torch.from_numpy(actions):
            tensordict["action"] = chosen
            stepped, tensordict = env.step_and_maybe_reset(tensordict)
            played.append(stepped)
        ours = time.perf_counter() - start
        # The limit plays the same actions and waits the same frames.
        waits = np.stack([step["next", "wait_frames"].squeeze(-1).numpy() for step in played])
        bare = limit.seconds(actions, waits)
        frames = 24 * actions.size + int(waits.sum())
        if counts:
            row.ours.append(frames / ours)
            row.limit.append(frames / bare)
    env.close()
    limit.close()
    return row


def transforms_ms(cartridge: Cartridge, state: SaveState, *, steps: int) -> dict[str, float]:
    """Milliseconds that all default transforms together take for a step of 8 emulators, medians over the steps.

    ``in_a_step``: right after the emulation, which has driven code and data out of the processor's caches.
    ``alone``: the same steps again without the emulation, each the fastest of five times.
    """
    env = make_env(cartridge=cartridge, num_emulators=8, start_states=state, max_episode_steps=None)
    played: list[tuple[TensorDictBase, TensorDictBase]] = []

    def seconds(before: TensorDictBase, after: TensorDictBase) -> float:
        start = time.perf_counter()
        for transform in env.transform:
            transform._step(before, after)
        return time.perf_counter() - start

    before, in_a_step = env.reset(), []
    for chosen in torch.from_numpy(scripted_actions(steps, 8, num_actions=len(ActionSet()))):
        before["action"] = chosen
        after = env.base_env.step(before)["next"]
        played.append((before, after.copy()))
        in_a_step.append(seconds(before, after))
        before = after
    alone = [min(times) for times in zip(*([seconds(b, a.copy()) for b, a in played] for _ in range(5)), strict=True)]
    env.close()
    return {
        "in_a_step": round(1e3 * statistics.median(in_a_step), 3),
        "alone": round(1e3 * statistics.median(alone), 3),
    }


def env(*, quick: bool) -> Row:
    """The environment with its default transforms against bare `tick` loops of the same frames (E=8, one thread)."""
    cartridge = Cartridge.find()
    state = playable_state(cartridge)
    seconds = 6.0 if quick else 20.0
    row = _env_row(cartridge, state, emulators=8, threads=1, seconds=seconds)
    for emulators, threads in ((8, 2), (1, 1), (1, 2), (32, 1), (32, 2)):
        part = _env_row(cartridge, state, emulators=emulators, threads=threads, seconds=seconds * 0.7)
        row.parts[f"E={emulators}, {threads} thread{'s' * (threads > 1)}"] = part
    row.extra["transforms_ms"] = transforms_ms(cartridge, state, steps=100 if quick else 400)
    return row
