"""Several emulators stepped together on a few threads."""

import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pokered_rl.emulator.actions import ActionSet, ActionTiming
from pokered_rl.emulator.cartridge import Cartridge
from pokered_rl.emulator.emulator import Emulator
from pokered_rl.emulator.readers import SCREEN_SHAPES, ScreenSize, pack_red
from pokered_rl.emulator.savestate import SaveState
from pokered_rl.errors import ConfigError
from pokered_rl.game.ram_map import FULL_LAYOUT, RamLayout
from pokered_rl.game.screens import BusyRule

__all__ = ["EmulatorPool", "PoolStep"]

#: Frames between two checks. The overworld polls the pad every second frame, menus every third or fourth.
WAIT_CHUNK_FRAMES = 4


class PoolStep(NamedTuple):
    """What a step returns, in new arrays.

    Attributes:
        pixels: uint8 [E, 72, 20] (half) or [E, 144, 40] (full), packed 2-bit shades.
        ram: uint8 [E, R], the ranges of the pool's layout.
        wait_frames: int32 [E], frames beyond ``frames_per_action`` during which the game ignored input.
    """

    pixels: NDArray[np.uint8]
    ram: NDArray[np.uint8]
    wait_frames: NDArray[np.int32]


class EmulatorPool:
    """E emulators of one cartridge, one step of each per call.

    A step presses the action's button for ``hold_frames``, releases it, and runs until ``frames_per_action`` frames
    have passed. With ``wait_while_busy`` it then goes on, a few frames at a time, while the game ignores the pad
    (walking, warps, fades, scripts, battle animations), at most ``max_wait_frames``, so that every step begins where an
    action can have an effect. The check runs one frame before the end; the frame after it is the last one and the only
    one drawn. Emulators are independent: the same states and actions give the same RAM for any number of threads.

    Args:
        cartridge: What to play.
        num_emulators: E.
        num_threads: Threads that step emulators; PyBoy releases the GIL while it runs. 1 steps in the calling thread.
        actions: What the action indices mean.
        timing: Frames of a step.
        screen: Size of the pictures.
        wait_while_busy: Whether to wait.
        max_wait_frames: Longest wait in one step (4 seconds of play by default).
        ram_layout: RAM ranges to read in each step.

    Raises:
        CartridgeError: The ROM is missing or has changed.
        ConfigError: A number is out of range.
    """

    def __init__(
        self,
        cartridge: Cartridge,
        *,
        num_emulators: int,
        num_threads: int = 1,
        actions: ActionSet | None = None,
        timing: ActionTiming | None = None,
        screen: ScreenSize = "half",
        wait_while_busy: bool = True,
        max_wait_frames: int = 240,
        ram_layout: RamLayout = FULL_LAYOUT,
    ) -> None:
        if num_emulators < 1:
            raise ConfigError(f"num_emulators must be >= 1, got {num_emulators}")
        if num_threads < 1:
            raise ConfigError(f"num_threads must be >= 1, got {num_threads}")
        if max_wait_frames < 0:
            raise ConfigError(f"max_wait_frames must be >= 0, got {max_wait_frames}")
        self.cartridge = cartridge
        self.actions = actions if actions is not None else ActionSet()
        self._buttons = self.actions.button_indices
        self.timing = timing if timing is not None else ActionTiming()
        self.ram_layout = ram_layout
        self._max_wait_frames = max_wait_frames if wait_while_busy else 0
        self._emulators = tuple(Emulator(cartridge, screen=screen) for _ in range(num_emulators))
        self._is_busy = BusyRule(stack_words=cartridge.profile.stack_words)
        self.screen_shape = SCREEN_SHAPES[screen]
        # Pictures are gathered here, one byte a pixel, and packed for all emulators at once.
        self._red = np.empty((num_emulators, self.screen_shape[0], 4 * self.screen_shape[1]), dtype=np.uint8)
        self._durations = [0.0] * num_emulators
        self._begun = [False] * num_emulators
        self._locks = [threading.Lock() for _ in range(num_emulators)]
        # The calling thread steps too, so one thread fewer is needed.
        helpers = min(num_threads, num_emulators) - 1
        self._num_helpers = helpers
        self._executor = ThreadPoolExecutor(helpers, thread_name_prefix="emulator") if helpers else None
        # All frames but the last one, in two halves if there are helper threads; the first has the press.
        free_frames = self.timing.frames_per_action - 1
        middle = max(self.timing.hold_frames, self.timing.frames_per_action // 2)
        self._first_frames = middle if helpers else free_frames
        self._second_frames = free_frames - self._first_frames

    @property
    def num_emulators(self) -> int:
        """E."""
        return len(self._emulators)

    @property
    def emulators(self) -> tuple[Emulator, ...]:
        """The emulators, in order."""
        return self._emulators

    def step(self, actions: Sequence[int] | NDArray[np.integer]) -> PoolStep:
        """Run one step of every emulator.

        Args:
            actions: Action index of each emulator, [E]; an array, a tensor or a sequence.

        Raises:
            ValueError: Not E indices of the action set.
        """
        action_indices: list[int] = actions.tolist() if hasattr(actions, "tolist") else list(actions)
        count = len(self._emulators)
        if len(action_indices) != count or min(action_indices) < 0 or max(action_indices) >= len(self._buttons):
            raise ValueError(f"actions must be {count} indices in 0..{len(self._buttons) - 1}, got {action_indices}")
        ram = np.empty((count, self.ram_layout.size), dtype=np.uint8)
        wait_frames = np.empty(count, dtype=np.int32)
        if self._executor is None:
            for index, action in enumerate(action_indices):
                self._run_first_half(index, action)
                self._run_second_half(index, wait_frames)
            self._read(range(count), ram)
            return PoolStep(pack_red(self._red), ram, wait_frames)
        self._begun = [False] * count
        # A fixed split leaves two threads idle for a tenth of the time. So the emulators are handed out one by one
        # (`next` on a list iterator is atomic) and in two halves, those first that took longest in the last step: a
        # menu costs three times as much as a walk.
        order = sorted(range(count), key=self._durations.__getitem__, reverse=True)
        halves = iter(order + order)
        others: list[Future[None]] = [
            self._executor.submit(self._run_halves, halves, action_indices, ram, wait_frames)
            for _ in range(self._num_helpers)
        ]
        try:
            self._run_halves(halves, action_indices, ram, wait_frames)
        finally:
            wait(others)
        for other in others:
            other.result()
        return PoolStep(pack_red(self._red), ram, wait_frames)

    def observe(self, indices: Sequence[int] | None = None) -> PoolStep:
        """Observe without running a frame; ``wait_frames`` are 0.

        Args:
            indices: Emulators to observe, in the order of the result; None for all.
        """
        chosen = range(len(self._emulators)) if indices is None else indices
        ram = np.empty((len(chosen), self.ram_layout.size), dtype=np.uint8)
        for place, index in enumerate(chosen):
            self._emulators[index].read_ram_into(self.ram_layout, ram[place])
            self._emulators[index].read_red_into(self._red[index])
        return PoolStep(pack_red(self._red[list(chosen)]), ram, np.zeros(len(chosen), dtype=np.int32))

    def reset(self, indices: Sequence[int], states: Sequence[SaveState]) -> PoolStep:
        """Load a state into each of the given emulators; the others are unchanged.

        Args:
            indices: Emulators to reset.
            states: One state for each.

        Returns:
            Their observations, in the order of ``indices``.

        Raises:
            SaveStateError: A state belongs to another cartridge or PyBoy version, or is damaged.
            ValueError: Not as many states as emulators.
        """
        if len(indices) != len(states):
            raise ValueError(f"reset needs one state for each of {len(indices)} emulators, got {len(states)}")
        for index, state in zip(indices, states, strict=True):
            self._emulators[index].load_state(state)
        return self.observe(indices)

    def save_states(self, indices: Sequence[int] | None = None) -> list[SaveState]:
        """Return the state of each given emulator, of all without an argument."""
        chosen = range(len(self._emulators)) if indices is None else indices
        return [self._emulators[index].save_state() for index in chosen]

    def ram_hash(self, index: int) -> str:
        """Return the SHA-256 (hex) of the full RAM image of one emulator."""
        return self._emulators[index].ram_hash()

    def close(self) -> None:
        """Stop threads and emulators; nothing is written. Closing twice does nothing."""
        if self._executor is not None:
            self._executor.shutdown()
        for emulator in self._emulators:
            emulator.close()

    def __enter__(self) -> "EmulatorPool":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _run_halves(
        self, indices: Iterator[int], actions: list[int], ram: NDArray[np.uint8], wait_frames: NDArray[np.int32]
    ) -> None:
        """Run the next half of the step of each emulator in ``indices``, which names each twice."""
        done = []
        for index in indices:
            with self._locks[index]:  # the other half may still be running elsewhere
                began = time.perf_counter()
                if not self._begun[index]:
                    self._begun[index] = True
                    self._run_first_half(index, actions[index])
                    self._durations[index] = time.perf_counter() - began
                else:
                    self._run_second_half(index, wait_frames)
                    self._durations[index] += time.perf_counter() - began
                    done.append(index)
        self._read(done, ram)

    def _run_first_half(self, index: int, action: int) -> None:
        emulator = self._emulators[index]
        button = self._buttons[action]
        if button < 0:
            emulator.tick(self._first_frames)
        else:
            emulator.press(button)
            emulator.tick(self.timing.hold_frames)
            emulator.release(button)
            emulator.tick(self._first_frames - self.timing.hold_frames)

    def _run_second_half(self, index: int, wait_frames: NDArray[np.int32]) -> None:
        emulator = self._emulators[index]
        if self._second_frames:
            emulator.tick(self._second_frames)
        wait_frames[index] = self._wait(emulator)
        emulator.tick(1, render=True)

    def _read(self, indices: Sequence[int], ram: NDArray[np.uint8]) -> None:
        """Read RAM and screens of finished emulators together, which keeps the code in the cache."""
        for index in indices:
            self._emulators[index].read_ram_into(self.ram_layout, ram[index])
        for index in indices:
            self._emulators[index].read_red_into(self._red[index])

    def _wait(self, emulator: Emulator) -> int:
        waited = 0
        while waited < self._max_wait_frames and self._is_busy(emulator.memory):
            frames = min(WAIT_CHUNK_FRAMES, self._max_wait_frames - waited)
            emulator.tick(frames)
            waited += frames
        return waited
