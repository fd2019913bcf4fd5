"""Terms about places: what was never seen in the episode pays, what was seen does not."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from pokered_rl.envs.ram_frame import RamFrame, any_of
from pokered_rl.envs.rewards.base import FirstTimes, Flags, RewardStep, RewardTerm
from pokered_rl.game import CartridgeProfile

__all__ = ["Frontier", "NewMaps", "NewTiles", "ScreenNovelty", "WorldMap"]


class NewTiles(RewardTerm):
    """Pays for the first visit of a tile in the episode, more beside unknown ground and far from the door.

    value = [tile never visited in the episode] * (1 + neighbour * u / 4 + distance * d / (d + 10)), where u of the four
    tiles beside it lie on the map and were never visited, and d is the Manhattan distance in steps from where the map
    was first entered.

    Args:
        weight: factor.
        neighbour: largest bonus for unknown neighbours.
        distance: largest bonus for distance.
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
    """Pays for getting farther from the start than ever in the episode, in steps of the world map.

    d = Manhattan distance between the player and the start of the episode in global coordinates, an indoor map lying
    where its entrance does; value = max(0, d_t - max_{s<t} d_s). Maps without global coordinates add nothing.

    Args:
        weight: factor.
        profile: whose maps; None takes Red's.
    """

    name = "frontier"
    default_weight = 0.005

    def __init__(self, *, weight: float | None = None, profile: CartridgeProfile | None = None) -> None:
        super().__init__(weight=weight)
        self._maps = WorldMap(profile or CartridgeProfile.get("red"))

    def _allocate(self, num_rows: int) -> None:
        self._from_x = np.zeros(num_rows, np.int64)
        self._from_y = np.zeros(num_rows, np.int64)
        self._placed = np.zeros(num_rows, bool)
        self._best = np.zeros(num_rows, np.int64)

    def _start(self, frame: RamFrame, rows: Flags) -> None:
        x, y, known = self._maps.locate(frame)
        self._from_x[rows], self._from_y[rows] = x[rows], y[rows]
        self._placed[rows] = known[rows]
        self._best[rows] = 0

    def _value(self, step: RewardStep) -> npt.NDArray[Any]:
        if not any_of(step.tiles.arrived):
            return np.zeros(step.now.num_rows)
        x, y, known = self._maps.locate(step.now)
        known = known & step.tiles.arrived  # the others stand where they stood, or outside of their map
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

    A view is the tile map without letters and boxes: neither text, nor animation, nor sprites count. Only outside of
    battles, so that animations cannot be farmed. Every step outdoors shifts the view, so this resembles `new_tiles`;
    it also sees doors that open and trees that are cut.
    """

    name = "screen_novelty"
    default_weight = 0.0
    labels = ("wTileMap",)

    def _allocate(self, num_rows: int) -> None:
        self._seen = FirstTimes(num_rows=num_rows, size=1 << 16)

    def _views(self, frame: RamFrame) -> tuple[npt.NDArray[np.uint64], Flags]:
        return frame.scene_hash, (frame.in_battle == 0) & ~frame.text_open

    def _start(self, frame: RamFrame, rows: Flags) -> None:
        self._seen.clear(rows)
        views, valid = self._views(frame)
        self._seen.first(views, valid & rows)

    def _value(self, step: RewardStep) -> npt.NDArray[Any]:
        views, valid = self._views(step.now)
        return self._seen.first(views, valid).astype(np.float64)


class WorldMap:
    """Global coordinates of every map of a cartridge, as arrays by map id.

    Args:
        profile: whose maps.
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
        """Global column and row of each player in steps, int64 [E], and whether the map has a place, bool [E].

        Outdoors the player's own tile, indoors the entrance of the building.
        """
        maps = frame.map_id
        outdoor = self._outdoor[maps]
        return self._x[maps] + outdoor * frame.x, self._y[maps] + outdoor * frame.y, self._known[maps]
