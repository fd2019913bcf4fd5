"""Visited tiles: byte grids of the maps that each emulator has entered, and the visits of an episode."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch

from pokered_rl.envs.memory import EmulatorMemory, SparseMemory
from pokered_rl.envs.ram_frame import RamFrame, any_of
from pokered_rl.errors import ConfigError

__all__ = ["StoryEvents", "TileMemory", "TileTracker"]

_Flags = npt.NDArray[np.bool_]
_Ints = npt.NDArray[np.int64]
_Block = tuple[int, int, int]  # first cell, width, height

#: Coordinates are single bytes in the game's memory, so no map is larger.
_MAX_SIDE = 255


class TileMemory(SparseMemory):
    """Grids of ``planes`` bytes a tile, one for each map that an emulator has entered.

    Each (emulator, map) owns one block ``[planes, height + 2 margin, width + 2 margin]`` of a flat array, allocated
    when the emulator first enters the map and reused after :meth:`clear`. All emulators are read and written with
    single NumPy gathers; Python runs for one emulator only when it changes its map. The margin lets a crop around any
    tile be gathered without clipping.

    Args:
        num_emulators: E.
        planes: Bytes kept for each tile.
        margin: Tiles around each map, in steps.
        margin_values: Value of the margin in each plane; inner cells start at 0.

    Raises:
        ConfigError: ``num_emulators`` or ``planes`` is below 1.
    """

    def __init__(
        self, *, num_emulators: int, planes: int, margin: int = 0, margin_values: tuple[int, ...] = ()
    ) -> None:
        if num_emulators < 1:
            raise ConfigError(f"num_emulators must be >= 1, got {num_emulators}")
        if planes < 1:
            raise ConfigError(f"planes must be >= 1, got {planes}")
        self.num_emulators = num_emulators
        self.planes = planes
        self.margin = margin
        self._margin_values = margin_values or (0,) * planes
        #: uint8, all blocks. Replaced when it grows: do not keep it.
        self.cells = np.zeros(1 << 14, np.uint8)
        #: Changes when a current map or its size does.
        self.version = 0
        self._used = 1  # cell 0 belongs to no map: emulators that have entered none point at it
        self._blocks: list[dict[int, _Block]] = [{} for _ in range(num_emulators)]
        self._free: dict[int, list[int]] = {}
        #: int64 [E], current map, -1 before the first :meth:`enter`.
        self.map_id = np.full(num_emulators, -1, np.int64)
        #: int64 [E], index of cell (0, 0) of plane 0 of the current map's block, margin included.
        self.base = np.zeros(num_emulators, np.int64)
        #: int64 [E], cells of a line and of a plane.
        self.stride = np.zeros(num_emulators, np.int64)
        self.plane_size = np.zeros(num_emulators, np.int64)
        #: int64 [E], size of the current map; 0 before the first :meth:`enter`.
        self.width_steps = np.zeros(num_emulators, np.int64)
        self.height_steps = np.zeros(num_emulators, np.int64)

    @property
    def num_cells(self) -> int:
        """Cells allocated so far; those of cleared maps are used again."""
        return self._used

    def enter(self, frame: RamFrame) -> bool:
        """Make the maps of ``frame`` the current ones; return whether any emulator changed its map or its size.

        A map that is larger than at its first visit (its size may lag behind its id while a map loads) grows; one that
        is smaller keeps its block.
        """
        map_id, width, height = frame.map_id, frame.width_steps, frame.height_steps
        stale = (self.map_id != map_id) | (width > self.width_steps) | (height > self.height_steps)
        if not any_of(stale):
            return False
        for index in np.flatnonzero(stale).tolist():
            self._enter(index, int(map_id[index]), int(width[index]), int(height[index]))
        return True

    def _enter(self, index: int, map_id: int, width: int, height: int) -> None:
        width, height = min(max(width, 1), _MAX_SIDE), min(max(height, 1), _MAX_SIDE)
        block = self._blocks[index].get(map_id)
        if block is None:
            block = self._allocate(width, height)
        elif width > block[1] or height > block[2]:
            block = self._grow(block, max(width, block[1]), max(height, block[2]))
        self._blocks[index][map_id] = block
        self._point(index, map_id)

    def _point(self, index: int, map_id: int) -> None:
        base, width, height = self._blocks[index][map_id]
        self.map_id[index] = map_id
        self.base[index] = base
        self.stride[index] = width + 2 * self.margin
        self.plane_size[index] = (width + 2 * self.margin) * (height + 2 * self.margin)
        self.width_steps[index], self.height_steps[index] = width, height
        self.version += 1

    def _size(self, width: int, height: int) -> int:
        return self.planes * (width + 2 * self.margin) * (height + 2 * self.margin)

    def _allocate(self, width: int, height: int) -> _Block:
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
        block = (base, width, height)
        for plane, value in zip(self._view(block, margin=True), self._margin_values, strict=True):
            plane[:] = value
        self._view(block)[:] = 0
        return block

    def _view(self, block: _Block, *, margin: bool = False) -> npt.NDArray[np.uint8]:
        """Return the block as a writable array [planes, height, width], without its margin unless ``margin``."""
        base, width, height = block
        m = self.margin
        shape = (self.planes, height + 2 * m, width + 2 * m)
        whole = self.cells[base : base + self._size(width, height)].reshape(shape)
        return whole if margin or m == 0 else whole[:, m:-m, m:-m]

    def _grow(self, block: _Block, width: int, height: int) -> _Block:
        old = self._view(block).copy()
        self._release(block)
        grown = self._allocate(width, height)
        self._view(grown)[:, : block[2], : block[1]] = old
        return grown

    def _release(self, block: _Block) -> None:
        self._free.setdefault(self._size(block[1], block[2]), []).append(block[0])

    def clear(self, emulators: _Flags) -> None:
        """Forget every map of ``emulators`` (bool [E])."""
        for index in np.flatnonzero(emulators):
            for block in self._blocks[index].values():
                self._release(block)
            self._blocks[index] = {}
        self.map_id[emulators] = -1
        for pointer in (self.base, self.stride, self.plane_size, self.width_steps, self.height_steps):
            pointer[emulators] = 0

    def fill(self, emulators: _Flags, planes: Sequence[int], value: int = 0) -> None:
        """Set ``planes`` of every map of ``emulators`` (bool [E]) to ``value``; margins stay."""
        for index in np.flatnonzero(emulators):
            for block in self._blocks[index].values():
                self._view(block)[list(planes)] = value

    def index(self, x: _Ints, y: _Ints, plane: int = 0) -> _Ints:
        """Return the index into :attr:`cells` of tile (``x``, ``y``) of each emulator's current map, int64 [E].

        No bounds are checked; tiles up to ``margin`` steps outside of the map are valid.
        """
        index: _Ints = self.base + (y + self.margin) * self.stride + (x + self.margin)
        return index + plane * self.plane_size if plane else index

    def inside(self, x: _Ints, y: _Ints) -> _Flags:
        """Return whether tile (``x``, ``y``) lies on each emulator's current map, bool [E]."""
        inside: _Flags = (x >= 0) & (y >= 0) & (x < self.width_steps) & (y < self.height_steps)
        return inside

    def emulator_state(self, index: int) -> dict[str, Any]:
        """Return ``map_id``, ``blocks`` (map, width and height of each) and their ``cells`` uint8 without margins."""
        blocks = self._blocks[index]
        cells = [self._view(block).reshape(-1) for block in blocks.values()]
        return {
            "map_id": int(self.map_id[index]),
            "blocks": [[map_id, width, height] for map_id, (_, width, height) in blocks.items()],
            "cells": torch.from_numpy(np.concatenate(cells) if cells else np.zeros(0, np.uint8)),
        }

    def load_emulator_state(self, index: int, state: Mapping[str, Any]) -> None:
        """Give one emulator the maps that :meth:`emulator_state` returned."""
        self.clear(np.arange(self.num_emulators) == index)
        cells, used = state["cells"].numpy(), 0
        for map_id, width, height in state["blocks"]:
            block = self._blocks[index][map_id] = self._allocate(width, height)
            size = self.planes * width * height
            self._view(block)[:] = cells[used : used + size].reshape(self.planes, height, width)
            used += size
        if state["map_id"] >= 0:
            self._point(index, state["map_id"])


class StoryEvents(EmulatorMemory):
    """Tells when the story goes on: more of the named events than ever before in the episode are set.

    Args:
        num_emulators: E.
        events: Bits of the event flags that count.
    """

    NOT_SAVED: ClassVar = frozenset({"_columns", "_masks"})

    def __init__(self, *, num_emulators: int, events: Sequence[int]) -> None:
        flags = np.zeros(2560, np.uint8)
        flags[list(events)] = 1
        masks = np.packbits(flags, bitorder="little")
        self._columns = np.flatnonzero(masks)
        self._masks = masks[self._columns]
        self._progress: object = None
        #: int64 [E], events set so far.
        self.count = np.zeros(num_emulators, np.int64)

    def _held(self, frame: RamFrame) -> _Ints:
        held = frame.progress.event_bytes[:, self._columns] & self._masks
        count: _Ints = np.unpackbits(held, axis=1).sum(1, dtype=np.int64)
        return count

    def start(self, frame: RamFrame, emulators: _Flags) -> None:
        """Begin an episode in ``emulators`` (bool [E])."""
        self.count = np.where(emulators, self._held(frame), self.count)

    def advance(self, frame: RamFrame) -> _Flags | None:
        """Take in a step; return where the story went on, bool [E], None where nothing can have."""
        if frame.progress is self._progress:
            return None
        self._progress = frame.progress
        before, self.count = self.count, np.maximum(self.count, self._held(frame))
        went_on: _Flags = self.count > before
        return went_on if any_of(went_on) else None


class TileTracker(EmulatorMemory):
    """Visits of tiles and maps in the episode, updated once a step for all reward terms about movement.

    Args:
        num_emulators: E.
        renewing_events: Bits of the events after each of which all tiles count as unvisited again (not the maps).
    """

    NOT_SAVED: ClassVar = frozenset({"_all", "arrived", "new_tile", "new_map"})

    def __init__(self, *, num_emulators: int, renewing_events: Sequence[int] = ()) -> None:
        self._story = StoryEvents(num_emulators=num_emulators, events=renewing_events) if renewing_events else None
        self._memory = TileMemory(num_emulators=num_emulators, planes=1, margin=1, margin_values=(255,))
        self._map = np.full(num_emulators, -1, np.int64)
        self._x = np.zeros(num_emulators, np.int64)
        self._y = np.zeros(num_emulators, np.int64)
        self._all = np.arange(num_emulators)
        self._maps_seen = np.zeros((num_emulators, 256), bool)
        self._entries = np.zeros((num_emulators, 256, 2), np.uint8)
        #: bool [E], the player came to another tile or map in this step.
        self.arrived: _Flags = np.zeros(num_emulators, bool)
        #: bool [E], for the first time in the episode.
        self.new_tile: _Flags = np.zeros(num_emulators, bool)
        #: bool [E], the map was entered for the first time in the episode.
        self.new_map: _Flags = np.zeros(num_emulators, bool)
        #: int64 [E], arrivals on the tile so far, this one included, at most 255.
        self.visits = np.zeros(num_emulators, np.int64)

    def start(self, frame: RamFrame, emulators: _Flags) -> None:
        """Begin an episode in ``emulators``: the tile and map under the player count as visited."""
        self._memory.clear(emulators)
        self._maps_seen[emulators] = False
        if self._story is not None:
            self._story.start(frame, emulators)
        self._count(frame, emulators)

    def advance(self, frame: RamFrame) -> None:
        """Take in a step."""
        if self._story is not None and (went_on := self._story.advance(frame)) is not None:
            self._memory.fill(went_on, [0])
        self._count(frame, (frame.x != self._x) | (frame.y != self._y) | (frame.map_id != self._map))

    def _count(self, frame: RamFrame, arrived: _Flags) -> None:
        self._memory.enter(frame)
        self._map, self._x, self._y = frame.map_id, frame.x, frame.y
        # A coordinate is 255 for an instant at the northern edge.
        self.arrived = arrived = arrived & frame.on_map & self._memory.inside(self._x, self._y)
        if not any_of(arrived):
            self.new_tile = self.new_map = np.zeros_like(arrived)
            return
        here = self._memory.index(self._x, self._y)
        cells = self._memory.cells
        count = cells[here]
        self.new_tile = arrived & (count == 0)
        count = np.minimum(count, 254) + 1
        cells[here[arrived]] = count[arrived]
        self.visits = count.astype(np.int64)
        self.new_map = arrived & ~self._maps_seen[self._all, self._map]
        if any_of(self.new_map):
            new, maps = self._all[self.new_map], self._map[self.new_map]
            self._maps_seen[new, maps] = True
            self._entries[new, maps, 0] = self._x[self.new_map]
            self._entries[new, maps, 1] = self._y[self.new_map]

    def unvisited_neighbours(self) -> _Ints:
        """Return how many of the four tiles beside the player lie on the map and were never visited, int64 [E]."""
        here = self._memory.index(self._x, self._y)
        stride = self._memory.stride
        beside = np.stack([here - 1, here + 1, here - stride, here + stride])  # the margin makes all of them valid
        free: _Ints = (self._memory.cells.take(beside, mode="clip") == 0).sum(0)
        return free

    def distance_from_entry(self) -> _Ints:
        """Return the Manhattan distance in steps to the tile where the map was first entered, int64 [E]."""
        entry = self._entries[self._all, self._map].astype(np.int64)
        distance: _Ints = np.abs(self._x - entry[:, 0]) + np.abs(self._y - entry[:, 1])
        return distance
