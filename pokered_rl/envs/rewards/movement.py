"""Terms about movement: new places pay, time, idling and walking in circles cost."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from pokered_rl.envs.memory import EmulatorMemory
from pokered_rl.envs.ram_frame import RamFrame, any_of
from pokered_rl.envs.rewards.base import FirstTimes, Flags, RewardStep, RewardTerm
from pokered_rl.errors import ConfigError
from pokered_rl.game import CartridgeProfile

__all__ = ["Frontier", "Idle", "MapStay", "NewMaps", "NewTiles", "Novelty", "Revisit", "ScreenNovelty", "Steps"]


class NewTiles(RewardTerm):
    """Pays for the first visit of a tile in the episode, more beside unvisited tiles and far from the entrance.

    value = [tile never visited in the episode] * (1 + neighbour * u / 4 + distance * d / (d + 10)), where u of the four
    tiles beside it lie on the map and were never visited, and d is the Manhattan distance in steps from the tile where
    the map was first entered.

    Args:
        weight: Factor.
        neighbour: Largest bonus for unvisited neighbours.
        distance: Largest bonus for distance.
    """

    name = "new_tiles"
    default_weight = 0.02

    def __init__(self, *, weight: float | None = None, neighbour: float = 0.2, distance: float = 0.2) -> None:
        super().__init__(weight=weight)
        self.neighbour = neighbour
        self.distance = distance

    def _value(self, step: RewardStep) -> npt.NDArray[Any]:
        new = step.tiles.new_tile
        if not any_of(new):
            return np.zeros(len(new))
        value = np.ones(len(new))
        if self.neighbour:
            value += self.neighbour / 4 * step.tiles.unvisited_neighbours()
        if self.distance:
            distance = step.tiles.distance_from_entry()
            value += self.distance * distance / (distance + 10)
        return value * new


class NewMaps(RewardTerm):
    """Pays 1 for each map that is entered for the first time in the episode; the start map is known."""

    name = "new_maps"
    default_weight = 0.5

    def _value(self, step: RewardStep) -> npt.NDArray[Any]:
        return step.tiles.new_map


class Frontier(RewardTerm):
    """Pays for a new maximum of the distance from the start of the episode, in steps of the world map.

    d = Manhattan distance between the player and the start of the episode in global coordinates, an indoor map having
    those of its entrance; value = max(0, d_t - max_{s<t} d_s). Maps without global coordinates add nothing.

    Args:
        weight: Factor.
        profile: Whose maps; None takes Red's.
    """

    name = "frontier"
    default_weight = 0.005

    def __init__(self, *, weight: float | None = None, profile: CartridgeProfile | None = None) -> None:
        super().__init__(weight=weight)
        self._maps = _WorldMap(profile or CartridgeProfile.get("red"))

    def _allocate(self, num_emulators: int) -> None:
        self._from_x = np.zeros(num_emulators, np.int64)
        self._from_y = np.zeros(num_emulators, np.int64)
        self._placed = np.zeros(num_emulators, bool)
        self._best = np.zeros(num_emulators, np.int64)

    def _start(self, frame: RamFrame, emulators: Flags) -> None:
        x, y, known = self._maps.locate(frame)
        self._from_x[emulators], self._from_y[emulators] = x[emulators], y[emulators]
        self._placed[emulators] = known[emulators]
        self._best[emulators] = 0

    def _value(self, step: RewardStep) -> npt.NDArray[Any]:
        if not any_of(step.tiles.arrived):
            return np.zeros(step.now.num_emulators)
        x, y, known = self._maps.locate(step.now)
        known = known & step.tiles.arrived  # the others did not move, or are outside of their map
        late = known & ~self._placed  # the episode began on a map without coordinates
        if any_of(late):
            self._from_x[late], self._from_y[late] = x[late], y[late]
            self._placed |= late
        distance = (np.abs(x - self._from_x) + np.abs(y - self._from_y)) * known
        best = self._best
        self._best = np.maximum(best, distance)
        return self._best - best


class ScreenNovelty(RewardTerm):
    """Pays 1 for each view of the map that is seen for the first time in the episode.

    A view is the tile map without letters and boxes: neither text, nor animation, nor sprites count, nor battles, whose
    animations could be farmed. Every step outdoors shifts the view, so this resembles ``new_tiles``, but it also
    rewards doors that open and trees that are cut.
    """

    name = "screen_novelty"
    default_weight = 0.0
    labels = ("wTileMap",)

    def _allocate(self, num_emulators: int) -> None:
        self._seen = FirstTimes(num_emulators=num_emulators, size=1 << 16)

    def _views(self, frame: RamFrame) -> tuple[npt.NDArray[np.uint64], Flags]:
        return frame.scene_hash, frame.on_map & (frame.in_battle == 0) & ~frame.text_open

    def _start(self, frame: RamFrame, emulators: Flags) -> None:
        self._seen.clear(emulators)
        views, valid = self._views(frame)
        self._seen.first(views, valid & emulators)

    def _value(self, step: RewardStep) -> npt.NDArray[Any]:
        views, valid = self._views(step.now)
        return self._seen.first(views, valid).astype(np.float64)


class Novelty(RewardTerm):
    """Pays 1 / sqrt(N) for entering a cell for the first time in the episode, N counted over the whole run.

    A cell is a square of ``tile_size`` tiles of a map; N is the number of episodes that entered it so far, this one
    included, of all emulators of the worker. The counts outlive episodes and are saved and restored with the run, so
    what is seldom reached keeps its value while the way to it loses its own (Bellemare et al. 2016).

    Args:
        weight: Factor.
        tile_size: Width and height of a cell in tiles.

    Raises:
        ConfigError: ``tile_size`` is below 1.
    """

    name = "novelty"
    outlives_episodes = True
    default_weight = 0.0

    def __init__(self, *, weight: float | None = None, tile_size: int = 3) -> None:
        super().__init__(weight=weight)
        if tile_size < 1:
            raise ConfigError(f"tile_size of the reward term novelty must be >= 1, got {tile_size}")
        self.tile_size = tile_size

    def _allocate(self, num_emulators: int) -> None:
        self._seen = FirstTimes(num_emulators=num_emulators)
        self._counts = _CellCounts()

    def _enter(self, frame: RamFrame, active: Flags) -> npt.NDArray[np.float64]:
        value = np.zeros(frame.num_emulators)
        cell = frame.map_id << 16 | frame.y // self.tile_size << 8 | frame.x // self.tile_size
        for index in np.flatnonzero(self._seen.first(cell, active & frame.on_map)).tolist():
            value[index] = self._counts.add(int(cell[index])) ** -0.5
        return value

    def _start(self, frame: RamFrame, emulators: Flags) -> None:
        self._seen.clear(emulators)
        self._enter(frame, emulators)

    def _value(self, step: RewardStep) -> npt.NDArray[Any]:
        arrived = step.tiles.arrived
        return self._enter(step.now, arrived) if any_of(arrived) else np.zeros(len(arrived))


class Steps(RewardTerm):
    """value = -1 for every agent step."""

    name = "steps"
    default_weight = 0.0002

    def _value(self, step: RewardStep) -> npt.NDArray[Any]:
        return np.full(step.now.num_emulators, -1.0)


class Idle(RewardTerm):
    """value = -1 for each further step after ``patience`` steps without any change.

    No change: same map, tile and facing, and the same tile map (letters included, the blinking arrow not). With
    ``stay``, also for each further step after so many on one tile, in a battle after so many in which nobody's HP
    changed, whatever the screen shows: texts and menus that open again and again are changes, too.

    Args:
        weight: Factor.
        patience: Idle steps in a row that cost nothing.
        stay: Steps on one tile, or in a battle without an effect, that cost nothing; None for any number.
    """

    name = "idle"
    default_weight = 0.002
    labels = ("wTileMap", "wBattleMonHP", "wEnemyMonHP")

    def __init__(self, *, weight: float | None = None, patience: int = 4, stay: int | None = None) -> None:
        super().__init__(weight=weight)
        self.patience = patience
        self.stay = stay

    def _allocate(self, num_emulators: int) -> None:
        self._idle = np.zeros(num_emulators, np.int64)
        if self.stay is not None:
            self._stayed = np.zeros(num_emulators, np.int64)

    def _start(self, frame: RamFrame, emulators: Flags) -> None:
        self._idle[emulators] = 0
        if self.stay is not None:
            self._stayed[emulators] = 0

    def _value(self, step: RewardStep) -> npt.NDArray[Any]:
        now, before = step.now, step.before
        same = (now.facing == before.facing) & ~now.screen_changed(before) & ~step.tiles.arrived
        self._idle = (self._idle + 1) * same
        idles = self._idle > self.patience
        if self.stay is not None:
            hit = [now.u16(label) != before.u16(label) for label in ("wBattleMonHP", "wEnemyMonHP")]
            moves = step.tiles.arrived | ((now.in_battle > 0) & np.logical_or(*hit))
            self._stayed = (self._stayed + 1) * ~moves
            idles |= self._stayed > self.stay
        return idles * -1.0


class Revisit(RewardTerm):
    """value = -min(n - 1, cap) / cap on arrival at a tile for the n-th time in the episode.

    Args:
        weight: Factor.
        cap: Number of earlier visits from which on the cost is full.
    """

    name = "revisit"
    default_weight = 0.002

    def __init__(self, *, weight: float | None = None, cap: int = 10) -> None:
        super().__init__(weight=weight)
        self.cap = cap

    def _value(self, step: RewardStep) -> npt.NDArray[Any]:
        tiles = step.tiles
        return -np.minimum(tiles.visits - 1, self.cap) / self.cap * tiles.arrived


class MapStay(RewardTerm):
    """value = -1 for each step after ``patience`` steps on one map without a new tile.

    Args:
        weight: Factor.
        patience: Steps that cost nothing.
    """

    name = "map_stay"
    default_weight = 0.0005

    def __init__(self, *, weight: float | None = None, patience: int = 256) -> None:
        super().__init__(weight=weight)
        self.patience = patience

    def _allocate(self, num_emulators: int) -> None:
        self._steps = np.zeros(num_emulators, np.int64)

    def _start(self, frame: RamFrame, emulators: Flags) -> None:
        self._steps[emulators] = 0

    def _value(self, step: RewardStep) -> npt.NDArray[Any]:
        same = ~(step.tiles.new_tile | (step.now.map_id != step.before.map_id))
        self._steps = (self._steps + 1) * same
        return (self._steps > self.patience) * -1.0


class _CellCounts(EmulatorMemory):
    """How many episodes entered each cell; belongs to all emulators, so an emulator's state has nothing of it."""

    def __init__(self) -> None:
        self._counts: dict[int, int] = {}

    def add(self, cell: int) -> int:
        """Count an episode that enters ``cell``; return how many did."""
        count = self._counts[cell] = self._counts.get(cell, 0) + 1
        return count

    def state_dict(self) -> dict[str, Any]:
        """Return cells and counts, int64 [2, number of cells]."""
        return {"counts": torch.tensor([list(self._counts), list(self._counts.values())], dtype=torch.int64)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore :meth:`state_dict`."""
        self._counts = dict(state["counts"].T.tolist())


class _WorldMap:
    """Global coordinates of the maps of a cartridge, as arrays by map id.

    Args:
        profile: Whose maps.
    """

    def __init__(self, profile: CartridgeProfile) -> None:
        self._x = np.zeros(256, np.int64)
        self._y = np.zeros(256, np.int64)
        self._outdoor = np.zeros(256, np.int64)
        self._known = np.zeros(256, bool)
        for entry in profile.maps:
            if entry.global_origin is not None:
                self._x[entry.id], self._y[entry.id] = entry.global_origin
                self._outdoor[entry.id] = entry.outdoor
                self._known[entry.id] = True

    def locate(self, frame: RamFrame) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], Flags]:
        """Return global x and y of each player in steps, int64 [E], and whether the map has coordinates, bool [E].

        Outdoors those of the player's tile, indoors those of the entrance of the building.
        """
        maps = frame.map_id
        outdoor = self._outdoor[maps]
        return self._x[maps] + outdoor * frame.x, self._y[maps] + outdoor * frame.y, self._known[maps]
