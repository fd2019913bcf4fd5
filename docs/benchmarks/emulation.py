"""Rows of emulation: the pool and the environment against the bare emulator.

Ours and the limit play the same actions from the same state, a few steps each in turn, so that whatever else the
machine does meets both; the ratio is the median over these pairs.
"""

import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tensordict import TensorDictBase
from torchrl.envs import TransformedEnv

from bare import BareEmulators, playable_state, scripted_actions
from pairs import Row
from pokered_rl.emulator import ActionSet, Cartridge, EmulatorPool, SaveState
from pokered_rl.envs import make_env
from pokered_rl.game import RamLayout
from pokered_rl.training.builders import env_factory
from pokered_rl.training.config import Config

_Actions = NDArray[np.int64]
#: Emulated steps of one turn, all emulators together, and pairs that are not counted.
_STEPS_OF_A_TURN = 96
_WARM_UP_PAIRS = 2
#: What a step writes besides observations.
_STEP_KEYS = ("reward", "done", "terminated", "truncated")


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


def _env_row(env: TransformedEnv, cartridge: Cartridge, state: SaveState, *, threads: int, seconds: float) -> Row:
    emulators = env.batch_size[0]
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


def step_ms(cartridge: Cartridge, state: SaveState, *, steps: int) -> dict[str, float]:
    """Where a step of 8 emulators goes, in milliseconds, medians over the steps.

    ``emulators``, ``environment``, ``transforms`` and ``torchrl`` add up to a step: the pool, what `PokemonRedEnv` does
    around it, all default transforms, and TorchRL's stepping. ``transforms_alone``: the transforms of the same steps
    again without the emulation, which drives their code and data out of the processor's caches; the fastest of five.
    """
    env = make_env(cartridge=cartridge, num_emulators=8, start_states=state, max_episode_steps=None)
    spent = {"pool": 0.0, "base": 0.0, "transforms": 0.0}
    played: list[tuple[TensorDictBase, TensorDictBase]] = []

    def timed(part: str, function: Any) -> Any:
        def call(*arguments: Any) -> Any:
            start = time.perf_counter()
            result = function(*arguments)
            spent[part] = time.perf_counter() - start
            return result

        return call

    pool, base, transforms = env.base_env._pool, env.base_env, env.transform
    transforms_of_a_step = transforms._step
    pool.step, base._step = timed("pool", pool.step), timed("base", base._step)
    transforms._step = timed("transforms", transforms_of_a_step)
    tensordict, samples = env.reset(), []
    for chosen in torch.from_numpy(scripted_actions(steps, 8, num_actions=len(ActionSet()))):
        tensordict["action"] = chosen
        start = time.perf_counter()
        stepped, tensordict = env.step_and_maybe_reset(tensordict)
        whole = time.perf_counter() - start
        around = spent["base"] - spent["pool"]
        samples.append((spent["pool"], around, spent["transforms"], whole - spent["base"] - spent["transforms"]))
        played.append((stepped.exclude("next"), stepped["next"].select(*base.observation_spec.keys(), *_STEP_KEYS)))

    def alone(before: TensorDictBase, after: TensorDictBase) -> float:
        start = time.perf_counter()
        transforms_of_a_step(before, after)
        return time.perf_counter() - start

    again = [min(times) for times in zip(*([alone(b, a.copy()) for b, a in played] for _ in range(5)), strict=True)]
    env.close()
    names = ("emulators", "environment", "transforms", "torchrl")
    medians = dict(zip(names, map(statistics.median, zip(*samples, strict=True)), strict=True))
    medians["transforms_alone"] = statistics.median(again)
    return {name: round(1e3 * value, 3) for name, value in medians.items()}


def env(*, quick: bool) -> Row:
    """The environment with its default transforms against bare `tick` loops of the same frames (E=8, one thread)."""
    cartridge = Cartridge.find()
    state = playable_state(cartridge)
    seconds = 6.0 if quick else 20.0

    def measured(make: Any, *, emulators: int, threads: int, share: float = 0.7) -> Row:
        env = make(
            num_emulators=emulators,
            num_threads=threads,
            start_states=state,
            max_episode_steps=None,  # a reset would be ours alone
        )
        return _env_row(env, cartridge, state, threads=threads, seconds=share * seconds)

    default = partial(make_env, cartridge)
    row = measured(default, emulators=8, threads=1, share=1.0)
    for emulators, threads in ((8, 2), (1, 1), (1, 2), (32, 1), (32, 2)):
        part = measured(default, emulators=emulators, threads=threads)
        row.parts[f"E={emulators}, {threads} thread{'s' * (threads > 1)}"] = part
    # Without an entry for each single reward term, which the learner does not read.
    trained = measured(lambda **changes: env_factory(Config(), cartridge, **changes)(), emulators=8, threads=1)
    row.parts["E=8, 1 thread, as in training"] = trained
    row.extra["step_ms"] = step_ms(cartridge, state, steps=100 if quick else 400)
    return row
