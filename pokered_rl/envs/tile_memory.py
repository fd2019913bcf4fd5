"""Byte grids of the maps that each emulator has entered: the store behind map memory and the tile rewards.

Every (row, map) owns one block of cells in a flat array, allocated when the row first enters the map. All rows are
read and written with single NumPy gathers; Python runs per row only when a row changes its map.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from pokered_rl.envs.ram_frame import any_of
from pokered_rl.errors import CheckpointError

__all__ = ["TileMemory"]

_Index = npt.NDArray[np.int64]

#: Coordinates are single bytes in the game's memory, so no map is larger.
_MAX_SIDE = 255


class TileMemory:
    """Grids of ``planes`` bytes a tile, one for each map that a row has entered.

    A block is ``[planes, height + 2 margin, width + 2 margin]``; the margin lets a crop around any tile be gathered
    without clipping. Memory grows with the area of the maps entered and is reused after `clear`.

    Args:
        num_rows: number of emulators E.
        planes: bytes kept for each tile.
        margin: tiles around each map, in steps.
        margin_values: value of the margin in each plane; inner cells start at 0.

    Attributes:
        cells: uint8, flat, all blocks. Replaced when it grows: do not keep it.
        base: int64 [E], index of cell (0, 0) of plane 0 of the current map's block, margin included.
        stride: int64 [E], cells a line.
        plane_size: int64 [E], cells a plane.
        width, height: int64 [E], size of the current map in steps; 0 before the first `enter`.
    """

    def __init__(self, *, num_rows: int, planes: int, margin: int = 0, margin_values: tuple[int, ...] = ()) -> None:
        if num_rows < 1:
            raise ValueError(f"num_rows must be >= 1, got {num_rows}")
        if planes < 1:
            raise ValueError(f"planes must be >= 1, got {planes}")
        self.num_rows = num_rows
        self.planes = planes
        self.margin = margin
        self._margin_values = margin_values or (0,) * planes
        self.cells = np.zeros(1 << 14, np.uint8)
        self._used = 1  # cell 0 belongs to no map: rows that have entered none point at it
        self._blocks: list[dict[int, tuple[int, int, int]]] = [{} for _ in range(num_rows)]
        self._free: dict[int, list[int]] = {}
        self.map_id = np.full(num_rows, -1, np.int64)
        self.base = np.zeros(num_rows, np.int64)
        self.stride = np.zeros(num_rows, np.int64)
        self.plane_size = np.zeros(num_rows, np.int64)
        self.width = np.zeros(num_rows, np.int64)
        self.height = np.zeros(num_rows, np.int64)

    def enter(self, map_id: _Index, width: _Index, height: _Index) -> bool:
        """Makes ``map_id`` [E] the current map of each row; returns whether any row changed its map or its size.

        A map that turns out larger than at its first visit (its size may lag behind its id while a map loads) grows;
        one that turns out smaller keeps its block.
        """
        stale = (self.map_id != map_id) | (width > self.width) | (height > self.height)
        if not any_of(stale):
            return False
        for row in np.flatnonzero(stale):
            self._enter(int(row), int(map_id[row]), int(width[row]), int(height[row]))
        return True

    def _enter(self, row: int, map_id: int, width: int, height: int) -> None:
        width, height = min(max(width, 1), _MAX_SIDE), min(max(height, 1), _MAX_SIDE)
        known = self._blocks[row].get(map_id)
        if known is None:
            block = (self._allocate(width, height), width, height)
            self._blocks[row][map_id] = block
        elif width > known[1] or height > known[2]:
            block = self._grow(known, max(width, known[1]), max(height, known[2]))
            self._blocks[row][map_id] = block
        else:
            block = known
        self._point(row, map_id, block)

    def _point(self, row: int, map_id: int, block: tuple[int, int, int]) -> None:
        base, width, height = block
        self.map_id[row] = map_id
        self.base[row] = base
        self.stride[row] = width + 2 * self.margin
        self.plane_size[row] = (width + 2 * self.margin) * (height + 2 * self.margin)
        self.width[row], self.height[row] = width, height

    def _size(self, width: int, height: int) -> int:
        return self.planes * (width + 2 * self.margin) * (height + 2 * self.margin)

    def _allocate(self, width: int, height: int) -> int:
        size = self._size(width, height)
        free = self._free.get(size)
        if free:
            base = free.pop()
        else:
            base = self._used
            self._used += size
            if self._used > self.cells.size:
                grown = np.zeros(max(2 * self.cells.size, self._used), np.uint8)
                grown[: self.cells.size] = self.cells
                self.cells = grown
        block = self._view((base, width, height), margin=True)
        for plane, value in enumerate(self._margin_values):
            block[plane] = value
        self._view((base, width, height))[:] = 0
        return base

    def _view(self, block: tuple[int, int, int], *, margin: bool = False) -> npt.NDArray[np.uint8]:
        """The block as a writable array [planes, height, width], without its margin unless ``margin``."""
        base, width, height = block
        m = self.margin
        shape = (self.planes, height + 2 * m, width + 2 * m)
        whole = self.cells[base : base + self._size(width, height)].reshape(shape)
        return whole if margin or m == 0 else whole[:, m:-m, m:-m]

    def _grow(self, block: tuple[int, int, int], width: int, height: int) -> tuple[int, int, int]:
        old = self._view(block).copy()
        self._release(block)
        grown = (self._allocate(width, height), width, height)
        self._view(grown)[:, : block[2], : block[1]] = old
        return grown

    def _release(self, block: tuple[int, int, int]) -> None:
        self._free.setdefault(self._size(block[1], block[2]), []).append(block[0])

    def clear(self, rows: npt.NDArray[np.bool_]) -> None:
        """Forgets every map of the rows selected by ``rows`` (bool [E])."""
        for row in np.flatnonzero(rows):
            for block in self._blocks[row].values():
                self._release(block)
            self._blocks[row] = {}
        self.map_id[rows] = -1
        for pointer in (self.base, self.stride, self.plane_size, self.width, self.height):
            pointer[rows] = 0

    def index(self, x: _Index, y: _Index, plane: int = 0) -> _Index:
        """Index into `cells` of tile (``x``, ``y``), int64 [E], on each row's current map; no bounds are checked.

        Tiles up to ``margin`` steps outside of the map are valid.
        """
        index: _Index = self.base + (y + self.margin) * self.stride + (x + self.margin)
        return index + plane * self.plane_size if plane else index

    def inside(self, x: _Index, y: _Index) -> npt.NDArray[np.bool_]:
        """True where tile (``x``, ``y``) lies on the row's current map."""
        inside: npt.NDArray[np.bool_] = (x >= 0) & (y >= 0) & (x < self.width) & (y < self.height)
        return inside

    def state_dict(self) -> dict[str, Any]:
        """Returns tensors only: ``blocks`` int64 [K, 4] (row, map, width, height), ``cells`` uint8, ``map_id`` [E]."""
        entries = [(row, map_id, b) for row, maps in enumerate(self._blocks) for map_id, b in maps.items()]
        cells = [self._view(block).reshape(-1) for _, _, block in entries]
        return {
            "blocks": torch.tensor([[row, m, b[1], b[2]] for row, m, b in entries], dtype=torch.int64).reshape(-1, 4),
            "cells": torch.from_numpy(np.concatenate(cells) if cells else np.zeros(0, np.uint8)),
            "map_id": torch.from_numpy(self.map_id.copy()),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores what `state_dict` returned.

        Raises:
            CheckpointError: the state was saved with another number of rows.
        """
        if len(state["map_id"]) != self.num_rows:
            raise CheckpointError(
                f"tile memory was saved for {len(state['map_id'])} emulators, this environment has {self.num_rows}"
            )
        self.clear(np.ones(self.num_rows, bool))
        cells, used = state["cells"].numpy(), 0
        for row, map_id, width, height in state["blocks"].tolist():
            block = (self._allocate(width, height), width, height)
            self._blocks[row][map_id] = block
            size = self.planes * width * height
            self._view(block)[:] = cells[used : used + size].reshape(self.planes, height, width)
            used += size
        for row, map_id in enumerate(state["map_id"].tolist()):
            if map_id >= 0:
                self._point(row, map_id, self._blocks[row][map_id])
