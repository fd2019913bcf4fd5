"""Rows of emulation: the pool and the environment against the bare emulator.

Ours and the limit play the same actions from the same states, a few steps each in turn, so that whatever else the
machine does meets both; the ratio is the median over these pairs. What is played is a recorded game (:mod:`streams`);
parts of the rows play its walking alone, and random keys.
"""

import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tensordict import TensorDictBase

from bare import BareEmulators
from pairs import Row
from pokered_rl.emulator import Cartridge, EmulatorPool
from pokered_rl.envs import make_env
from pokered_rl.game import RamLayout
from pokered_rl.training.builders import env_factory
from pokered_rl.training.config import Config
from streams import Stream, mixture, random_keys, recorded, walking

_Actions = NDArray[np.int64]
#: Emulated steps of one turn, all emulators together, and pairs that are not counted.
_STEPS_OF_A_TURN = 96
_WARM_UP_PAIRS = 2
#: What a step writes besides observations.
_STEP_KEYS = ("reward", "done", "terminated", "truncated")


class _Limit:
    """Bare emulators on the given number of threads."""

    def __init__(self, cartridge: Cartridge, stream: Stream, *, threads: int) -> None:
        emulators = len(stream.states)
        self._stream = stream
        self._bare = BareEmulators(cartridge, emulators)
        self._executor = ThreadPoolExecutor(threads) if threads > 1 else None
        self._rows = [range(first, emulators, threads) for first in range(threads)]

    def reset(self) -> None:
        """Load the state of each emulator."""
        self._bare.load(*self._stream.states)

    def seconds(self, actions: _Actions, waits: _Actions) -> float:
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


class _Pool:
    """The pool alone."""

    def __init__(self, cartridge: Cartridge, stream: Stream, *, threads: int) -> None:
        layout = RamLayout.of("wCurMap", "wYCoord", "wXCoord")
        self._states = stream.states
        self._pool = EmulatorPool(cartridge, num_emulators=len(stream.states), num_threads=threads, ram_layout=layout)
        self.close = self._pool.close

    def reset(self) -> None:
        """Load the state of each emulator."""
        self._pool.reset(range(len(self._states)), self._states)

    def play(self, actions: _Actions) -> tuple[float, _Actions]:
        """Return seconds and waiting frames [T, E] of the actions [T, E]."""
        start = time.perf_counter()
        waits = [self._pool.step(chosen).wait_frames for chosen in actions]
        return time.perf_counter() - start, np.stack(waits)


class _Env:
    """The whole environment."""

    def __init__(
        self, cartridge: Cartridge, stream: Stream, *, threads: int, make: Callable[..., Any] = make_env
    ) -> None:
        self._env = make(
            cartridge=cartridge,
            num_emulators=len(stream.states),
            num_threads=threads,
            start_states=stream.start_states,
            max_episode_steps=None,  # a reset would be ours alone
        )
        self.close = self._env.close

    def reset(self) -> None:
        """Load the state of each emulator."""
        self._tensordict = self._env.reset()

    def play(self, actions: _Actions) -> tuple[float, _Actions]:
        """Return seconds and waiting frames [T, E] of the actions [T, E]."""
        played, tensordict = [], self._tensordict
        start = time.perf_counter()
        for chosen in torch.from_numpy(actions):
            tensordict["action"] = chosen
            stepped, tensordict = self._env.step_and_maybe_reset(tensordict)
            played.append(stepped)
        seconds = time.perf_counter() - start
        self._tensordict = tensordict
        return seconds, np.stack([step["next", "wait_frames"].squeeze(-1).numpy() for step in played])


def _row(ours: _Pool | _Env, limit: _Limit, stream: Stream, *, seconds: float) -> Row:
    """Play the stream in turns, ours first; the limit waits the frames that ours waited. At least five pairs count."""
    row = Row([], [], "frames/s")
    length, emulators = stream.actions.shape
    steps = min(length, max(3, _STEPS_OF_A_TURN // emulators))
    end, place, turn = time.perf_counter() + seconds, length, 0
    while turn < _WARM_UP_PAIRS + 5 or time.perf_counter() < end:
        if place + steps > length:
            place = 0
            ours.reset()
            limit.reset()
        part = slice(place, place + steps)
        place += steps
        actions = stream.actions[part]
        taken, waits = ours.play(actions)
        if stream.waits is not None and (waits != stream.waits[part]).any():
            raise SystemExit("the emulators do not play what was recorded")
        bare = limit.seconds(actions, waits)
        if turn >= _WARM_UP_PAIRS:
            frames = 24 * actions.size + int(waits.sum())
            row.ours.append(frames / taken)
            row.limit.append(frames / bare)
        turn += 1
    ours.close()
    limit.close()
    return row


def emulator(*, quick: bool) -> Row:
    """`EmulatorPool` against bare `tick` loops: same cartridge, threads, actions and frames, one frame drawn."""
    cartridge, seconds = Cartridge.find(), 5.0 if quick else 20.0

    def measured(stream: Stream, *, threads: int = 1) -> Row:
        ours = _Pool(cartridge, stream, threads=threads)
        return _row(ours, _Limit(cartridge, stream, threads=threads), stream, seconds=seconds)

    row = measured(recorded(8))
    row.parts["E=8, 2 threads"] = measured(recorded(8), threads=2)
    row.parts["E=8, random keys"] = measured(random_keys(8))
    row.extra["mixture"] = mixture()
    return row


def step_ms(cartridge: Cartridge, stream: Stream, *, steps: int) -> dict[str, float]:
    """Where a step of 8 emulators goes, in milliseconds, medians over the steps.

    ``emulators``, ``environment``, ``transforms`` and ``torchrl`` add up to a step: the pool, what `PokemonRedEnv` does
    around it, all default transforms, and TorchRL's stepping. ``transforms_alone``: the transforms of the same steps
    again without the emulation, which drives their code and data out of the processor's caches; the fastest of five.
    """
    env = make_env(cartridge=cartridge, num_emulators=8, start_states=stream.start_states, max_episode_steps=None)
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
    for chosen in torch.from_numpy(stream.actions[:steps]):
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
    cartridge, seconds = Cartridge.find(), 4.0 if quick else 12.0

    def measured(stream: Stream, *, threads: int = 1, share: float = 1.0, **options: Any) -> Row:
        ours = _Env(cartridge, stream, threads=threads, **options)
        return _row(ours, _Limit(cartridge, stream, threads=threads), stream, seconds=share * seconds)

    row = measured(recorded(8), share=1.5)
    for emulators, threads in ((8, 2), (1, 1), (32, 1), (32, 2)):
        part = measured(recorded(emulators), threads=threads)
        row.parts[f"E={emulators}, {threads} thread{'s' * (threads > 1)}"] = part
    # Without an entry for each single reward term, which the learner does not read.
    row.parts["E=8, 1 thread, as in training"] = measured(recorded(8), make=_as_in_training)
    for emulators in (8, 32):
        row.parts[f"E={emulators}, walking"] = measured(walking(emulators))
        row.parts[f"E={emulators}, random keys"] = measured(random_keys(emulators))
    row.extra["mixture"] = mixture()
    row.extra["step_ms"] = step_ms(cartridge, recorded(8), steps=100 if quick else 350)
    return row


def _as_in_training(*, cartridge: Cartridge, **options: Any) -> Any:
    return env_factory(Config(), cartridge, **options)()
