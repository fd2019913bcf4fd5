"""`TileTracker`: where the players have been in this episode, shared by the reward terms about movement."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from pokered_rl.envs.ram_frame import RamFrame, any_of
from pokered_rl.envs.tile_memory import TileMemory

__all__ = ["TileTracker"]

_Flags = npt.NDArray[np.bool_]
_Ints = npt.NDArray[np.int64]


class TileTracker:
    """Visits of tiles and maps, brought up to date once a step.

    Args:
        num_rows: E.

    Attributes:
        arrived: bool [E], the player came to another tile or map in this step.
        new_tile: bool [E], for the first time in the episode.
        new_map: bool [E], the map was entered for the first time in the episode.
        visits: int64 [E], arrivals on the tile so far, this one included, at most 255.
        entry_x, entry_y: int64 [E], where the current map was first entered in the episode.
        steps_without_news: int64 [E], steps since the last new tile.
    """

    def __init__(self, *, num_rows: int) -> None:
        self.memory = TileMemory(num_rows=num_rows, planes=1, margin=1, margin_values=(255,))
        self._map = np.full(num_rows, -1, np.int64)
        self._x = np.zeros(num_rows, np.int64)
        self._y = np.zeros(num_rows, np.int64)
        self._rows = np.arange(num_rows)
        self._maps_seen = np.zeros((num_rows, 256), bool)
        self._entries = np.zeros((num_rows, 256, 2), np.uint8)
        self.arrived: _Flags = np.zeros(num_rows, bool)
        self.new_tile: _Flags = np.zeros(num_rows, bool)
        self.new_map: _Flags = np.zeros(num_rows, bool)
        self.visits = np.zeros(num_rows, np.int64)
        self.steps_without_news = np.zeros(num_rows, np.int64)

    def start(self, frame: RamFrame, rows: _Flags) -> None:
        """An episode begins in ``rows``: the tile and map under the player count as visited."""
        self.memory.clear(rows)
        self._maps_seen[rows] = False
        self.memory.enter(frame.map_id, frame.width, frame.height)
        self._count(frame, rows)
        self.steps_without_news[rows] = 0

    def advance(self, frame: RamFrame) -> None:
        """Takes in a step."""
        self.memory.enter(frame.map_id, frame.width, frame.height)
        moved = (frame.x != self._x) | (frame.y != self._y) | (frame.map_id != self._map)
        self._count(frame, moved)
        self.steps_without_news += 1
        self.steps_without_news[self.new_tile] = 0

    def _count(self, frame: RamFrame, rows: _Flags) -> None:
        x, y = frame.x, frame.y
        self._map, self._x, self._y = frame.map_id, x, y
        rows = rows & self.memory.inside(x, y)  # a coordinate is 255 for an instant at the northern edge
        self.arrived = rows
        if not any_of(rows):
            self.new_tile = self.new_map = np.zeros_like(rows)
            return
        here = self.memory.index(x, y)
        cells = self.memory.cells
        count = cells[here]
        self.new_tile = rows & (count == 0)
        count = np.minimum(count, 254) + 1
        cells[here[rows]] = count[rows]
        self.visits = count.astype(np.int64)
        self.new_map = rows & ~self._maps_seen[self._rows, self._map]
        if any_of(self.new_map):
            new, maps = self._rows[self.new_map], self._map[self.new_map]
            self._maps_seen[new, maps] = True
            self._entries[new, maps, 0] = x[self.new_map]
            self._entries[new, maps, 1] = y[self.new_map]

    def unvisited_neighbours(self) -> _Ints:
        """Of the four tiles beside the player, how many lie on the map and were never visited, int64 [E]."""
        here = self.memory.index(self._x, self._y)
        stride = self.memory.stride
        beside = np.stack([here - 1, here + 1, here - stride, here + stride])  # the margin makes all of them valid
        free: _Ints = (self.memory.cells.take(beside, mode="clip") == 0).sum(0)
        return free

    def distance_from_entry(self) -> _Ints:
        """Manhattan distance in steps to the tile where the current map was first entered, int64 [E]."""
        entry = self._entries[self._rows, self._map].astype(np.int64)
        distance: _Ints = np.abs(self._x - entry[:, 0]) + np.abs(self._y - entry[:, 1])
        return distance

    def state_dict(self) -> dict[str, Any]:
        """Everything but the flags of the step."""
        arrays = {key: torch.from_numpy(getattr(self, key).copy()) for key in self._SAVED}
        return {"memory": self.memory.state_dict(), **arrays}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores what `state_dict` returned."""
        self.memory.load_state_dict(state["memory"])
        for key in self._SAVED:
            setattr(self, key, state[key].numpy().copy())

    _SAVED = ("_map", "_x", "_y", "_maps_seen", "_entries", "visits", "steps_without_news")
