"""Where the batches of all workers end: sequences are built and inserted, steps and episodes counted."""

import threading
from collections import deque
from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from tensordict import TensorDict, TensorDictBase

from pokered_rl.collectors.worker import WorkerMessage
from pokered_rl.data import RateLimiter, SequenceBuilder

__all__ = ["EpisodeResult", "ExperienceSink"]

#: Emulators that began together end together: a batch of every worker of a large run may bring so many.
_RECENT_EPISODES = 20_000
#: Of these a checkpoint holds the latest.
_SAVED_EPISODES = 100


class _Replay(Protocol):
    def extend(self, sequences: TensorDictBase) -> torch.Tensor: ...


class EpisodeResult(tuple[int, int, float, int]):
    """One finished episode: worker, emulator, return (sum of rewards, not discounted) and length in steps."""

    __slots__ = ()

    worker = property(lambda self: self[0])
    emulator = property(lambda self: self[1])
    total_reward = property(lambda self: self[2])
    steps = property(lambda self: self[3])


class ExperienceSink:
    """Takes worker messages from any thread; everything in here happens under one lock.

    Args:
        builder: makes sequences of batches.
        replay: anything with `extend(sequences)`.
        limiter: is told what was inserted; None counts nothing.
    """

    def __init__(self, *, builder: SequenceBuilder, replay: _Replay, limiter: RateLimiter | None = None) -> None:
        self.builder = builder
        self.replay = replay
        self.limiter = limiter
        self.lock = threading.RLock()
        self.steps = 0
        self.episodes = 0
        self.sequences = 0
        #: The latest finished episodes, oldest first.
        self.recent: deque[EpisodeResult] = deque(maxlen=_RECENT_EPISODES)
        self._running: dict[int, NDArray[np.float64]] = {}  # [2, E]: return and length of the open episodes

    def add(self, worker: int, message: WorkerMessage) -> None:
        """Builds sequences of a batch and inserts them."""
        assert message.batch is not None
        with self.lock:
            self._insert(self.builder.extend(message.batch, worker=worker))
            self.steps += message.frames
            self._measure_episodes(worker, message.batch)

    def cut(self, worker: int) -> None:
        """Ends the open episodes of a lost worker; what is known of them is inserted."""
        with self.lock:
            self._insert(self.builder.cut(worker))
            self._running.pop(worker, None)

    def worker_state_dict(self, worker: int) -> dict[str, Any]:
        """Open sequences and running returns of one worker."""
        running = self._running.get(worker)
        return {
            "sequences": self.builder.worker_state_dict(worker),
            "running": None if running is None else torch.from_numpy(running.copy()),
        }

    def load_worker_state_dict(self, worker: int, state: Mapping[str, Any]) -> None:
        """Puts back what `worker_state_dict` returned."""
        self.builder.load_worker_state_dict(worker, state["sequences"])
        if state["running"] is not None:
            self._running[worker] = state["running"].numpy().copy()

    def state_dict(self) -> dict[str, Any]:
        """Counters and recent episodes."""
        return {
            "steps": self.steps,
            "episodes": self.episodes,
            "sequences": self.sequences,
            "counts": dict(self.builder.counts),
            "recent": [list(result) for result in self.finished_since(self.episodes - _SAVED_EPISODES)],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continues from `state_dict`."""
        self.steps, self.episodes, self.sequences = state["steps"], state["episodes"], state["sequences"]
        self.builder.counts.update(state["counts"])
        self.recent.extend(EpisodeResult(result) for result in state["recent"])

    def finished_since(self, count: int) -> list[EpisodeResult]:
        """The episodes that were finished after the first ``count`` ones, oldest first, as far as `recent` reaches."""
        with self.lock:
            new = min(len(self.recent), max(0, self.episodes - count))
            return [self.recent[index - new] for index in range(new)]

    def _insert(self, sequences: TensorDict | None) -> None:
        if sequences is None or not len(sequences):
            return
        self.replay.extend(sequences)
        self.sequences += len(sequences)
        if self.limiter is not None:
            self.limiter.inserted(len(sequences))

    def _measure_episodes(self, worker: int, batch: TensorDictBase) -> None:
        steps = batch.get("steps")
        reward = steps.get("reward").double().cumsum(1).numpy()  # [E, T]
        done = (steps.get("terminated") | steps.get("truncated")).numpy()
        envs, time = reward.shape
        running = self._running.setdefault(worker, np.zeros((2, envs)))
        # What the batch added before the open episode began is taken off again.
        for emulator, step in np.argwhere(done):
            total, length = running[:, emulator] + (reward[emulator, step], step + 1)
            self.recent.append(EpisodeResult((worker, int(emulator), float(total), int(length))))
            running[:, emulator] = (-reward[emulator, step], -(step + 1))
        running += np.stack([reward[:, -1], np.full(envs, time)])
        self.episodes += int(done.sum())
