"""Where the agent was: visits of every map step, when each was first reached, and the picture of the maps.

The picture of a map is composed of the screens that were shown while the agent stood in it: it needs no graphics of the
game and shows only what was seen.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch
from tensordict import TensorDict

from pokered_rl.emulator import ActionSet, Cartridge
from pokered_rl.envs import AffordanceMask, required_layout
from pokered_rl.episodes import EpisodeLog, EpisodePlayer, cartridge_for
from pokered_rl.errors import ConfigError
from pokered_rl.game import RamLayout, ScreenKind, screen_kind, usable_buttons
from pokered_rl.record.pictures import Cell, MapPictures

__all__ = ["Cell", "EpisodeTrace", "MapSurvey", "survey", "trace"]

_PLACE = RamLayout.of("wCurMap", "wYCoord", "wXCoord", "wCurrentMapHeight2", "wCurrentMapWidth2")
_FACING = RamLayout.of("wSpritePlayerStateData1FacingDirection")
#: What the game notes as facing, and the step that way: down, up, left, right.
_WAYS = {0: ("down", 0, 1), 4: ("up", 0, -1), 8: ("left", -1, 0), 12: ("right", 1, 0)}


@dataclass(frozen=True, kw_only=True)
class EpisodeTrace:
    """The places and screens of one episode of T steps, at its start and after each step."""

    #: The episode.
    log: EpisodeLog
    #: int64 [T + 1, 3], map id, x and y of the player.
    places: npt.NDArray[np.int64]
    #: Places into which the player tried to walk in vain: walls, and people.
    bumps: frozenset[Cell] = frozenset()
    #: Map id to width and height in map steps, as in the RAM of the game.
    sizes: dict[int, tuple[int, int]]
    #: uint8 [T + 1], :class:`~pokered_rl.game.ScreenKind` of the screen.
    kinds: npt.NDArray[np.uint8]
    #: bool [T + 1, A], which of the log's actions could have an effect by the rules of the game.
    usable: npt.NDArray[np.bool_]
    #: bool [T + 1, A], which of them an :class:`~pokered_rl.envs.AffordanceMask` with its defaults allowed.
    allowed: npt.NDArray[np.bool_]
    #: uint8 [T + 1, 144, 40], packed pictures; None when they were not asked for.
    screens: npt.NDArray[np.uint8] | None = None

    @property
    def cells(self) -> set[Cell]:
        """The map steps that were visited."""
        return {(int(m), int(x), int(y)) for m, x, y in np.unique(self.places, axis=0)}


def trace(log: EpisodeLog, *, cartridge: Cartridge | None = None, screens: bool = False) -> EpisodeTrace:
    """Replay a log and collect places and screens.

    Args:
        log: The episode.
        cartridge: The cartridge it was played on; found by default.
        screens: Keep the picture after each step.

    Raises:
        EpisodeLogError: The log cannot be played, or its replay is not the recorded episode.
    """
    cartridge = cartridge if cartridge is not None else cartridge_for(log)
    actions, stack = ActionSet(log.header.actions), cartridge.profile.stack_words
    mask = AffordanceMask(actions=actions)
    layout = RamLayout.merged([*required_layout([mask], stack=stack).ranges, *_PLACE.ranges, *_FACING.ranges])
    ram = np.empty((log.steps + 1, layout.size), np.uint8)
    pictures = np.empty((log.steps + 1, 144, 40), np.uint8) if screens else None
    with EpisodePlayer(log, cartridge=cartridge, screen="full") as player:
        for step in range(log.steps + 1):
            if step:
                player.play_step(render=screens)
            player.emulator.read_ram_into(layout, ram[step])
            if pictures is not None:
                pictures[step] = player.emulator.pixels()
    columns = [layout.column(address) for start, stop in _PLACE.ranges for address in range(start, stop)]
    map_id, y, x, height, width = ram[:, columns].astype(np.int64).T
    places = np.stack([map_id, x, y], axis=1)
    tensor = torch.from_numpy(ram)
    kinds = screen_kind(tensor, layout, stack=stack).numpy()
    facing = ram[:, layout.column(_FACING.ranges[0][0])]
    buttons = np.array(actions.button_indices)
    by_rules = usable_buttons(tensor, layout, stack=stack).numpy()[:, np.maximum(buttons, 0)]  # [T + 1, A]
    return EpisodeTrace(
        log=log,
        places=places,
        bumps=_bumps(log, places, facing, kinds == ScreenKind.OVERWORLD),
        sizes={int(m): (int(width[map_id == m][-1]), int(height[map_id == m][-1])) for m in np.unique(map_id)},
        kinds=kinds,
        usable=by_rules | (buttons < 0),  # nothing forbids the no-op
        allowed=_allowed(AffordanceMask(actions=actions, ram_layout=layout), tensor, log),
        screens=pictures,
    )


def _bumps(
    log: EpisodeLog, places: npt.NDArray[np.int64], facing: npt.NDArray[np.uint8], standing: npt.NDArray[np.bool_]
) -> frozenset[Cell]:
    """Return where the player stood, faced and pressed a direction, and stayed."""
    still = standing[:-1] & standing[1:] & (places[:-1] == places[1:]).all(1) & (facing[:-1] == facing[1:])
    found = set()
    for step in np.flatnonzero(still).tolist():
        name, right, down = _WAYS.get(int(facing[step]), ("", 0, 0))
        if log.header.actions[log.actions[step]] == name:
            map_id, x, y = places[step].tolist()
            found.add((map_id, x + right, y + down))
    return frozenset(found)


def _allowed(mask: AffordanceMask, ram: torch.Tensor, log: EpisodeLog) -> npt.NDArray[np.bool_]:
    """Return the mask of every step, bool [T + 1, A], from ``ram`` uint8 [T + 1, R]."""
    taken = torch.from_numpy(log.actions.astype(np.int64))
    waited = torch.from_numpy(log.wait_frames.astype(np.int32)[:, None])
    allowed = np.empty((log.steps + 1, len(log.header.actions)), bool)
    for step in range(log.steps + 1):
        seen = TensorDict({"ram": ram[step : step + 1]}, batch_size=[1])
        if step:
            seen["action"] = taken[step - 1 : step]
            seen["wait_frames"] = waited[step - 1 : step]
        allowed[step] = mask(seen)["action_mask"][0].numpy()
    return allowed


@dataclass(kw_only=True)
class MapSurvey(MapPictures):
    """The union of many episodes: visits, walls, sizes and pictures of the maps."""

    #: Cell to the number of agent steps that began, or episodes that ended, on it.
    visits: Counter[Cell] = field(default_factory=Counter)
    #: Cell to the global step at which it was first reached.
    first_visit: dict[Cell, int] = field(default_factory=dict)
    #: Places into which somebody tried to walk in vain.
    bumps: set[Cell] = field(default_factory=set)
    #: Number of episodes.
    episodes: int = 0

    def add(self, traced: EpisodeTrace) -> None:
        """Add one episode."""
        self.episodes += 1
        start = traced.log.header.global_step
        for step, (map_id, x, y) in enumerate(traced.places.tolist()):
            cell = map_id, x, y
            self.visits[cell] += 1
            self.first_visit[cell] = min(start + step, self.first_visit.get(cell, start + step))
        self.bumps |= traced.bumps
        self.enlarge(traced.sizes)
        if traced.screens is not None:
            self._look(traced, traced.screens)

    def merge(self, other: MapSurvey) -> None:
        """Add another survey of the same cartridge, such as one of another process."""
        self.episodes += other.episodes
        self.visits.update(other.visits)
        for cell, step in other.first_visit.items():
            self.first_visit[cell] = min(step, self.first_visit.get(cell, step))
        self.bumps |= other.bumps
        self.add_looks(other)

    def _look(self, traced: EpisodeTrace, screens: npt.NDArray[np.uint8]) -> None:
        standing = np.flatnonzero(traced.kinds == ScreenKind.OVERWORLD)
        # The same place shows the same map: three looks from each tell moving people from the floor.
        looked: Counter[Cell] = Counter()
        for step in standing.tolist():
            map_id, x, y = traced.places[step].tolist()
            looked[map_id, x, y] += 1
            if looked[map_id, x, y] <= 3:
                self.look((map_id, x, y), screens[step])

    @property
    def map_ids(self) -> list[int]:
        """Visited maps, in the order in which they were first reached."""
        first: dict[int, int] = {}
        for (map_id, _, _), step in self.first_visit.items():
            first[map_id] = min(step, first.get(map_id, step))
        return sorted(first, key=lambda map_id: (first[map_id], map_id))

    def walls(self, map_id: int) -> list[int]:
        """Return the steps of a map that nobody could enter, as ``y * width + x``: bumped into and never visited."""
        width, height = self.size(map_id)
        cells = ((x, y) for m, x, y in self.bumps - self.visits.keys() if m == map_id)
        return sorted(y * width + x for x, y in cells if 0 <= x < width and 0 <= y < height)

    def visit_counts(self, map_id: int) -> npt.NDArray[np.int64]:
        """Return the agent steps that began on each step of a map, int64 [height, width]."""
        return self._grid(map_id, self.visits, 0)

    def first_visits(self, map_id: int) -> npt.NDArray[np.int64]:
        """Return the global step at which each step of a map was first reached, -1 for never, int64 [height, width]."""
        return self._grid(map_id, self.first_visit, -1)

    def _grid(self, map_id: int, values: dict[Cell, int], nothing: int) -> npt.NDArray[np.int64]:
        width, height = self.size(map_id)
        grid = np.full((height, width), nothing, np.int64)
        for (cell_map, x, y), value in values.items():
            if cell_map == map_id and x < width and y < height:  # on the way through an edge they lie outside
                grid[y, x] = value
        return grid


def survey(logs: Iterable[EpisodeLog], *, cartridge: Cartridge | None = None, screens: bool = True) -> MapSurvey:
    """Replay logs and return the survey of all of them.

    Args:
        logs: Episodes of one cartridge, at least one.
        cartridge: The cartridge they were played on; found by default.
        screens: Collect the pictures of the maps too; it takes longer, because every step is rendered.

    Raises:
        ConfigError: There is no episode.
        EpisodeLogError: A log cannot be played, or its replay is not the recorded episode.
    """
    result: MapSurvey | None = None
    for log in logs:
        cartridge = cartridge if cartridge is not None else cartridge_for(log)
        if result is None:
            result = MapSurvey(maps=cartridge.profile.maps)
        result.add(trace(log, cartridge=cartridge, screens=screens))
    if result is None:
        raise ConfigError("logs must hold at least one episode, got none")
    return result
