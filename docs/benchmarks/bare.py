"""The limit of acting: PyBoy's `tick` in a loop."""

import io
import multiprocessing
import os
import time
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from pyboy import PyBoy
from pyboy.utils import WindowEvent

from pokered_rl.emulator import ActionSet, ActionTiming, Cartridge, Emulator, SaveState, boot

_NAMES = {name: f"ARROW_{name.upper()}" for name in ("up", "down", "left", "right")}


def scripted_actions(steps: int, emulators: int, *, num_actions: int, seed: int = 0) -> NDArray[np.int64]:
    """A fixed stream of actions, [steps, emulators]."""
    return np.random.default_rng(seed).integers(0, num_actions, (steps, emulators))


def playable_state(cartridge: Cartridge) -> SaveState:
    """The state right after booting to the playable start."""
    with Emulator(cartridge) as emulator:
        return boot(emulator)


class BareEmulators:
    """PyBoy instances that play a stream of actions from a state, with the frames of our pool."""

    def __init__(self, cartridge: Cartridge, count: int) -> None:
        rom = cartridge.path.read_bytes()
        self.boys = [
            PyBoy(io.BytesIO(rom), window="null", sound_emulated=False, cgb=False, log_level="CRITICAL")
            for _ in range(count)
        ]
        for boy in self.boys:
            boy.set_emulation_speed(0)
        names = [_NAMES.get(name, f"BUTTON_{name.upper()}") for name in ActionSet().names]
        self._press = [getattr(WindowEvent, f"PRESS_{name}", None) for name in names]
        self._release = [getattr(WindowEvent, f"RELEASE_{name}", None) for name in names]

    def load(self, *states: SaveState) -> None:
        """Load states into the emulators, one for each, or one for all."""
        for index, boy in enumerate(self.boys):
            boy.load_state(io.BytesIO(states[index % len(states)].pyboy))

    def play(
        self,
        actions: NDArray[np.int64],
        wait_frames: NDArray[np.integer] | None = None,
        chosen: Sequence[int] | None = None,
        timing: ActionTiming | None = None,
    ) -> float:
        """Return the seconds of the stream [T, E] on the given emulators: hold, release, run, draw the last frame."""
        timing = timing or ActionTiming()
        indices = range(len(self.boys)) if chosen is None else chosen
        rest = timing.frames_per_action - timing.hold_frames - 1
        waits = np.zeros_like(actions) if wait_frames is None else wait_frames
        start = time.perf_counter()
        for actions_now, waiting in zip(actions.tolist(), waits.tolist(), strict=True):
            for index in indices:
                boy, action = self.boys[index], actions_now[index]
                if self._press[action] is not None:
                    boy.send_input(self._press[action])
                boy.tick(timing.hold_frames, False)
                if self._release[action] is not None:
                    boy.send_input(self._release[action])
                boy.tick(rest + waiting[index], False)
                boy.tick(1, True)
        return time.perf_counter() - start

    def close(self) -> None:
        """Stop them without saving anything."""
        for boy in self.boys:
            boy.stop(save=False)


_worker: BareEmulators
_actions: NDArray[np.int64]


def _start_worker(emulators: int, state_bytes: bytes) -> None:
    global _worker, _actions
    _worker = BareEmulators(Cartridge.find(), emulators)
    _worker.load(SaveState.from_bytes(state_bytes))
    _actions = scripted_actions(10_000, emulators, num_actions=len(ActionSet()), seed=os.getpid())


def _play_for(seconds: float) -> float:
    """Agent steps a second of this process's emulators, random actions, nothing reset in between."""
    global _actions
    steps, start = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - start) < seconds:
        chunk, _actions = _actions[:5], np.roll(_actions, -5, axis=0)
        _worker.play(chunk)
        steps += chunk.size
    return steps / elapsed


class BareProcesses:
    """One process of bare emulators on every core."""

    def __init__(self, cartridge: Cartridge, *, processes: int, emulators: int) -> None:
        self.processes = processes
        context = multiprocessing.get_context("spawn")
        arguments = (emulators, playable_state(cartridge).to_bytes())
        self._pool = context.Pool(processes, _start_worker, arguments)
        self.steps_per_second(0.2)  # all of them have started

    def steps_per_second(self, seconds: float) -> float:
        """Agent steps a second of all processes together."""
        return sum(self._pool.map(_play_for, [seconds] * self.processes, chunksize=1))

    def close(self) -> None:
        """End the processes."""
        self._pool.terminate()
        self._pool.join()
