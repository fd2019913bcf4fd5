"""The rows of a worker's open episodes, kept until the last sequence that contains them has been sent."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tensordict import TensorDict
from torch import Tensor

__all__ = ["ROW_STRIDE", "OpenRows"]

_Ints = NDArray[np.int64]

#: A row is named by emulator and position in one number: emulator * ROW_STRIDE + position.
ROW_STRIDE = 1 << 40


class OpenRows:
    """A ring of rows per emulator of one worker, addressed by positions that only grow.

    Args:
        num_emulators: E, emulators of the worker.
    """

    def __init__(self, num_emulators: int) -> None:
        self.num_emulators = num_emulators
        self.capacity = 0  # C
        self.rows: dict[str, Tensor] = {}  # each [E, C, ...]
        self.write: _Ints = np.zeros(num_emulators, np.int64)  # position of the next row
        self.origin: _Ints = np.zeros(num_emulators, np.int64)  # position of the open episode's step 0
        self.next_sequence: _Ints = np.zeros(num_emulators, np.int64)  # its first sequence not yet sent
        self.is_open: NDArray[np.bool_] = np.zeros(num_emulators, np.bool_)
        self.states: dict[str, Tensor] = {}  # each [n, H], recurrent states of some rows
        self.state_rows: _Ints = np.zeros(0, np.int64)  # [n] emulator * ROW_STRIDE + position
        #: Complete sequences of open episodes, for a builder that sends whole episodes.
        self.pending: list[list[TensorDict]] = [[] for _ in range(num_emulators)]

    def flat_index(self, emulator: _Ints, position: _Ints) -> Tensor:
        """Index int64 [*] of rows into a ring seen as [E * C, ...]."""
        return torch.from_numpy(emulator * self.capacity + position % self.capacity)

    def write_rows(self, index: Tensor, values: Mapping[str, Tensor]) -> None:
        """Writes values [n, ...] at the flat index [n]."""
        for key, value in values.items():
            self.rows[key].view(-1, *value.shape[1:])[index] = value

    def reserve(self, capacity: int, like: Mapping[str, Tensor]) -> None:
        """Makes room for `capacity` rows an emulator; rows written so far keep their positions.

        Args:
            capacity: rows an emulator must hold.
            like: one tensor [n, ...] for every entry of a row.
        """
        if capacity <= self.capacity and self.rows:
            return
        old_capacity, old_rows = self.capacity, self.rows
        self.capacity = max(capacity, old_capacity)
        self.rows = {
            key: torch.zeros(self.num_emulators, self.capacity, *value.shape[1:], dtype=value.dtype)
            for key, value in like.items()
        }
        if not old_capacity:
            return
        position = self.write[:, None] - 1 - np.arange(old_capacity)  # [E, old C]
        emulator = np.broadcast_to(np.arange(self.num_emulators)[:, None], position.shape)
        source = torch.from_numpy((emulator * old_capacity + position % old_capacity).ravel())
        target = self.flat_index(emulator.ravel(), position.ravel())
        for key, rows in old_rows.items():
            shape = rows.shape[2:]
            self.rows[key].view(-1, *shape)[target] = rows.view(-1, *shape)[source]

    def state_dict(self, oldest: _Ints) -> dict[str, Any]:
        """Rows from position `oldest` [E] on, and all bookkeeping."""
        emulator, position = _spans(oldest, self.write)
        index = self.flat_index(emulator, position)
        return {
            "rows": {key: rows.flatten(0, 1)[index] for key, rows in self.rows.items()},
            "lengths": torch.from_numpy(self.write - oldest),
            "write": torch.from_numpy(self.write.copy()),
            "origin": torch.from_numpy(self.origin.copy()),
            "next_sequence": torch.from_numpy(self.next_sequence.copy()),
            "is_open": torch.from_numpy(self.is_open.copy()),
            "states": {key: value.clone() for key, value in self.states.items()},
            "state_rows": torch.from_numpy(self.state_rows.copy()),
            "pending": [[dict(item.items()) for item in items] for items in self.pending],
        }

    @classmethod
    def from_state_dict(cls, state: Mapping[str, Any]) -> "OpenRows":
        """Inverse of `state_dict`."""
        lengths = state["lengths"].numpy()
        rows = cls(len(lengths))
        rows.write = state["write"].numpy().copy()
        rows.origin = state["origin"].numpy().copy()
        rows.next_sequence = state["next_sequence"].numpy().copy()
        rows.is_open = state["is_open"].numpy().copy()
        rows.states = {key: value.clone() for key, value in state["states"].items()}
        rows.state_rows = state["state_rows"].numpy().copy()
        rows.pending = [
            [TensorDict(item, batch_size=[len(item["mask"])]) for item in items] for items in state["pending"]
        ]
        rows.reserve(max(1, int(lengths.max())), state["rows"])
        rows.write_rows(rows.flat_index(*_spans(rows.write - lengths, rows.write)), state["rows"])
        return rows


def _spans(first: _Ints, last: _Ints) -> tuple[_Ints, _Ints]:
    """Emulator and position of every row in [first, last), emulator by emulator."""
    lengths = last - first
    emulator = np.repeat(np.arange(len(lengths)), lengths)
    offset = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    return emulator, first[emulator] + offset
