"""`FailureMemory`: a bounded table from user-interface signatures to how often each action failed there."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from pokered_rl.errors import CheckpointError

__all__ = ["FailureMemory"]

_Keys = npt.NDArray[np.uint64]
_Slots = npt.NDArray[np.int64]


class FailureMemory:
    """A set-associative table, as in a processor's cache: 8 slots a set, the least recently used one makes room.

    All look-ups of a step are a handful of array operations, whatever the number of rows.

    Args:
        capacity: slots; rounded up to a power of two of at least 8.
        num_actions: A.

    Attributes:
        failures: float32 [capacity, A].
    """

    WAYS = 8

    def __init__(self, *, capacity: int, num_actions: int) -> None:
        if capacity < 1:
            raise ValueError(f"capacity must be >= 1, got {capacity}")
        self.capacity = max(self.WAYS, 1 << (capacity - 1).bit_length())
        self._sets = self.capacity // self.WAYS
        self._ways = np.arange(self.WAYS)
        self._keys = np.zeros(self.capacity, np.uint64)  # 0: empty
        self._used = np.zeros(self.capacity, np.int64)
        self._clock = 0
        self.failures = np.zeros((self.capacity, num_actions), np.float32)

    def slots(self, keys: _Keys) -> _Slots:
        """The slot of each key, int64 [n]; unknown keys get one, with no failures.

        -1 where two new keys of one call compete for a slot and this one lost.
        """
        keys = np.maximum(keys, np.uint64(1))
        first = ((keys >> np.uint64(40)).astype(np.int64) & (self._sets - 1)) * self.WAYS
        ways = first[:, None] + self._ways  # [n, 8]
        found = self._keys[ways] == keys[:, None]
        hit = found.any(1)
        slots: _Slots = first + found.argmax(1)
        self._clock += 1
        if not hit.all():
            slots[~hit] = first[~hit] + self._used[ways[~hit]].argmin(1)
            self._keys[slots[~hit]] = keys[~hit]
            self.failures[slots[~hit]] = 0
            slots = np.where(self._keys[slots] == keys, slots, -1)
        self._used[slots[slots >= 0]] = self._clock
        return slots

    def __len__(self) -> int:
        return int(np.count_nonzero(self._keys))

    def state_dict(self) -> dict[str, Any]:
        """The used slots, as tensors."""
        slots = np.flatnonzero(self._keys)
        return {
            "capacity": self.capacity,
            "clock": self._clock,
            "slots": torch.from_numpy(slots),
            "keys": torch.from_numpy(self._keys[slots].view(np.int64)),
            "used": torch.from_numpy(self._used[slots]),
            "failures": torch.from_numpy(self.failures[slots]),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores what `state_dict` returned.

        Raises:
            CheckpointError: capacity or number of actions differ.
        """
        saved = (state["capacity"], state["failures"].shape[1])
        mine = (self.capacity, self.failures.shape[1])
        if saved != mine:
            raise CheckpointError(f"failure memory has (capacity, actions) {mine}, the saved one has {saved}")
        self._keys[:], self._used[:], self.failures[:] = 0, 0, 0
        slots = state["slots"].numpy()
        self._keys[slots] = state["keys"].numpy().view(np.uint64)
        self._used[slots] = state["used"].numpy()
        self.failures[slots] = state["failures"].numpy()
        self._clock = state["clock"]
