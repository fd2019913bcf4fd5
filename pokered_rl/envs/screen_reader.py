"""`read_screen` for a handful of emulators: the plan of `pokered_rl.game.screens`, carried out in NumPy.

The rules and the tables are the game's. Only the arithmetic is repeated here, because 25 tensor operations on eight
rows cost 140 us and the same NumPy operations 48 us; a test holds the two equal on every kind of screen.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from pokered_rl.game import RamLayout
from pokered_rl.game.screen_rules import TILE_MENU_CURSOR
from pokered_rl.game.screens import _plan

__all__ = ["read_screen_rows"]


class _Rows:
    def __init__(self, layout: RamLayout, stack: bool | None) -> None:
        plan: Any = _plan(layout, torch.device("cpu"), stack)
        for name, value in vars(plan).items():
            setattr(self, name, value.numpy() if isinstance(value, torch.Tensor) else value)

    def __getattr__(self, name: str) -> Any:  # for the type checker: the fields are those of the plan
        raise AttributeError(name)

    def read(self, ram: npt.NDArray[np.uint8]) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.bool_]]:
        """As `_Plan.read` and `_Plan.usable`."""
        x = ram.take(self._columns, 1) + self._offsets
        holds = self._holds.take(x[:, : self._num_bytes])
        values = x[:, self._num_bytes :].astype(np.float64) @ self._compared + self._constants
        tile = values[:, -1:]
        column = np.minimum(np.maximum(tile, self._tiles.start), self._tiles.stop - 1)
        menu = (np.take_along_axis(ram, column.astype(np.int64), 1) == TILE_MENU_CURSOR) & (column == tile)
        waits: Any = False
        if self._stack is not None:
            words = np.ascontiguousarray(ram[:, self._stack]).view(np.int16)  # [E, 64]
            waits = (words[:, :, None] == self._returns).any(1)
        found = np.empty((len(ram), self._weights.shape[0]), np.float32)
        first, last = holds.shape[1], holds.shape[1] + values.shape[1] - 1
        found[:, :first] = holds
        found[:, first:last] = values[:, :-1] > 0
        found[:, last : last + 1] = menu
        found[:, last + 1 :] = waits
        matches = found @ self._weights > self._needed
        rule = matches[:, : self._num_rules].argmax(1)
        acts = matches[:, self._num_rules :].astype(np.float32) @ self._buttons > 0
        keys = np.where(self._watched[rule], acts, self._fixed[rule]) & ~(holds[:, -8:] > 0)
        keys |= ~keys.any(1, keepdims=True)
        return self.kinds[rule], keys


_rows = lru_cache(maxsize=64)(_Rows)


def read_screen_rows(
    ram: npt.NDArray[np.uint8], layout: RamLayout, *, stack: bool | None = None
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.bool_]]:
    """Kind of screen, uint8 [E], and usable buttons, bool [E, 8]; arguments as for `read_screen`, ``ram`` uint8 [E, R].

    Raises:
        KeyError: the layout lacks something that the rules read.
    """
    return _rows(layout, stack).read(ram)
