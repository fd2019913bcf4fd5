"""Terms about places: what was never seen in the episode pays, what was seen does not."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from pokered_rl.envs.frame import RamFrame
from pokered_rl.envs.rewards.base import FirstTimes, Flags, RewardStep, RewardTerm
from pokered_rl.game import CartridgeProfile

__all__ = ["Frontier", "NewMaps", "NewTiles", "ScreenNovelty"]


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
        if not new.any():
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
        return step.tiles.new_map.astype(np.float64)


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
        self._origin = np.zeros((num_rows, 2), np.int64)
        self._placed = np.zeros(num_rows, bool)
        self._best = np.zeros(num_rows, np.int64)

    def _start(self, frame: RamFrame, rows: Flags) -> None:
        place, known = self._maps.locate(frame)
        self._origin[rows] = place[rows]
        self._placed[rows] = known[rows]
        self._best[rows] = 0

    def _value(self, step: RewardStep) -> npt.NDArray[Any]:
        place, known = self._maps.locate(step.now)
        late = known & ~self._placed  # the episode began on a map without coordinates
        if late.any():
            self._origin[late] = place[late]
            self._placed |= late
        distance = np.where(known, np.abs(place - self._origin).sum(1), 0)
        gain = np.maximum(distance - self._best, 0)
        self._best = np.maximum(self._best, distance)
        return gain


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
        self._origin = np.zeros((256, 2), np.int64)
        self._outdoor = np.zeros((256, 1), np.int64)
        self.known = np.zeros(256, bool)
        for entry in profile.maps:
            place = entry.global_origin
            if place is not None:
                self._origin[entry.id] = place
                self._outdoor[entry.id] = entry.outdoor
                self.known[entry.id] = True

    def locate(self, frame: RamFrame) -> tuple[npt.NDArray[np.int64], Flags]:
        """Global (x, y) of each player in steps, int64 [E, 2], and whether the map has coordinates, bool [E].

        Outdoors the player's own tile, indoors the entrance of the building.
        """
        maps = frame.map_id
        here = np.stack([frame.x, frame.y], 1)
        return self._origin[maps] + self._outdoor[maps] * here, self.known[maps]
