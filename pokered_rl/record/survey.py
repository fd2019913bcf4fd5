"""Where the agent was, read from logs: visits of every map step, when each was first reached, and what it looks like.

The look of a map is put together from what was on screen while the agent stood in it, so it needs no art of the game
and shows what was seen and nothing else.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch
from tensordict import TensorDict

from pokered_rl.emulator import ActionSet, Cartridge
from pokered_rl.envs import AffordanceMask, required_layout
from pokered_rl.episodes import EpisodeLog, EpisodePlayer, cartridge_for
from pokered_rl.game import GameMaps, RamLayout, ScreenKind, screen_kind, usable_buttons
from pokered_rl.observations import unpack_shades

__all__ = ["Cell", "EpisodeTrace", "MapSurvey", "survey", "trace"]

_PLACE = RamLayout.of("wCurMap", "wYCoord", "wXCoord", "wCurrentMapHeight2", "wCurrentMapWidth2")
#: Size of a map step on screen in pixels, and the step of the screen on which the player stands.
_CELL = 16
_PLAYER_COLUMN, _PLAYER_ROW = 4, 4
_COLUMNS, _ROWS = 10, 9

Cell = tuple[int, int, int]
"""Map id, column, row."""


@dataclass(frozen=True, kw_only=True)
class EpisodeTrace:
    """The way of one episode. T steps.

    Attributes:
        log: the episode.
        places: int64 [T + 1, 3], map id, column and row of the player at the start and after each step.
        sizes: map id to width and height in map steps, as the game had them.
        kinds: uint8 [T + 1], `ScreenKind` of what was on screen.
        usable: bool [T + 1, A], which of the log's actions could have an effect by the rules of the game.
        allowed: bool [T + 1, A], what an `AffordanceMask` with its defaults left of them: less what it had learned.
        screens: uint8 [T + 1, 144, 40], packed pictures; None when they were not asked for.
    """

    log: EpisodeLog
    places: npt.NDArray[np.int64]
    sizes: dict[int, tuple[int, int]]
    kinds: npt.NDArray[np.uint8]
    usable: npt.NDArray[np.bool_]
    allowed: npt.NDArray[np.bool_]
    screens: npt.NDArray[np.uint8] | None = None

    @property
    def cells(self) -> set[Cell]:
        """The map steps that were visited."""
        return {(int(m), int(x), int(y)) for m, x, y in np.unique(self.places, axis=0)}


def trace(log: EpisodeLog, *, cartridge: Cartridge | None = None, screens: bool = False) -> EpisodeTrace:
    """Replays a log and notes the way.

    Args:
        log: the episode.
        cartridge: the cartridge it was played on; found by default.
        screens: keep the picture after each step.

    Raises:
        EpisodeLogError: the log cannot be played, or its replay is not the recorded episode.
    """
    cartridge = cartridge if cartridge is not None else cartridge_for(log)
    actions, stack = ActionSet(log.header.actions), cartridge.profile.stack_words
    mask = AffordanceMask(actions=actions)
    layout = RamLayout.merged([*required_layout([mask], stack=stack).ranges, *_PLACE.ranges])
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
    tensor = torch.from_numpy(ram)
    buttons = np.array(actions.button_indices)
    by_rules = usable_buttons(tensor, layout, stack=stack).numpy()[:, np.maximum(buttons, 0)]  # [T + 1, A]
    return EpisodeTrace(
        log=log,
        places=np.stack([map_id, x, y], axis=1),
        sizes={int(m): (int(width[map_id == m][-1]), int(height[map_id == m][-1])) for m in np.unique(map_id)},
        kinds=screen_kind(tensor, layout, stack=stack).numpy(),
        usable=by_rules | (buttons < 0),  # nothing forbids the no-op
        allowed=_allowed(AffordanceMask(actions=actions, ram_layout=layout), tensor, log),
        screens=pictures,
    )


def _allowed(mask: AffordanceMask, ram: torch.Tensor, log: EpisodeLog) -> npt.NDArray[np.bool_]:
    """The mask of every step, bool [T + 1, A], from ``ram`` uint8 [T + 1, R]."""
    taken = torch.from_numpy(log.actions.astype(np.int64))
    allowed = np.empty((log.steps + 1, len(log.header.actions)), bool)
    for step in range(log.steps + 1):
        seen = TensorDict({"ram": ram[step : step + 1]}, batch_size=[1])
        if step:
            seen["action"] = taken[step - 1 : step]
        allowed[step] = mask(seen)["action_mask"][0].numpy()
    return allowed


@dataclass(kw_only=True)
class MapSurvey:
    """What many episodes together saw of the world.

    Attributes:
        maps: the maps of the cartridge.
        visits: cell to the number of agent steps that began, or episodes that ended, on it.
        first_visit: cell to the global step at which it was first reached.
        episodes: number of episodes taken in.
    """

    maps: GameMaps
    visits: Counter[Cell] = field(default_factory=Counter)
    first_visit: dict[Cell, int] = field(default_factory=dict)
    episodes: int = 0
    _sizes: dict[int, tuple[int, int]] = field(default_factory=dict, repr=False)
    _looks: dict[Cell, Counter[bytes]] = field(default_factory=lambda: defaultdict(Counter), repr=False)

    def add(self, traced: EpisodeTrace) -> None:
        """Takes in one episode."""
        self.episodes += 1
        start = traced.log.header.global_step
        for step, place in enumerate(traced.places.tolist()):
            cell = (place[0], place[1], place[2])
            self.visits[cell] += 1
            if start + step < self.first_visit.get(cell, 2**63):
                self.first_visit[cell] = start + step
        for map_id, (width, height) in traced.sizes.items():
            old_width, old_height = self._sizes.get(map_id, (0, 0))
            self._sizes[map_id] = max(width, old_width), max(height, old_height)
        if traced.screens is not None:
            self._look(traced, traced.screens)

    def merge(self, other: MapSurvey) -> None:
        """Takes in what another survey of the same cartridge saw, for episodes replayed in several processes."""
        self.episodes += other.episodes
        self.visits.update(other.visits)
        for cell, step in other.first_visit.items():
            self.first_visit[cell] = min(step, self.first_visit.get(cell, step))
        for map_id, (width, height) in other._sizes.items():
            old_width, old_height = self._sizes.get(map_id, (0, 0))
            self._sizes[map_id] = max(width, old_width), max(height, old_height)
        for cell, looks in other._looks.items():
            self._looks[cell].update(looks)

    def _look(self, traced: EpisodeTrace, screens: npt.NDArray[np.uint8]) -> None:
        standing = np.flatnonzero(traced.kinds == ScreenKind.OVERWORLD)
        # The same place shows the same map: a few looks at each tell the people who walk about from the floor.
        looked: Counter[Cell] = Counter()
        for step in standing.tolist():
            map_id, x, y = traced.places[step].tolist()
            looked[map_id, x, y] += 1
            if looked[map_id, x, y] > 3:
                continue
            width, height = self.size(map_id)
            tiles = screens[step].reshape(_ROWS, _CELL, _COLUMNS, _CELL // 4).swapaxes(1, 2)  # [9, 10, 16, 4]
            for row in range(_ROWS):
                for column in range(_COLUMNS):
                    cell_x, cell_y = x + column - _PLAYER_COLUMN, y + row - _PLAYER_ROW
                    hidden = column == _PLAYER_COLUMN and row in (_PLAYER_ROW, _PLAYER_ROW - 1)  # by the player
                    if not hidden and 0 <= cell_x < width and 0 <= cell_y < height:
                        self._looks[map_id, cell_x, cell_y][tiles[row, column].tobytes()] += 1

    @property
    def map_ids(self) -> list[int]:
        """The maps that were visited, in the order in which they were first reached."""
        first: dict[int, int] = {}
        for (map_id, _, _), step in self.first_visit.items():
            first[map_id] = min(step, first.get(map_id, step))
        return sorted(first, key=lambda map_id: (first[map_id], map_id))

    def size(self, map_id: int) -> tuple[int, int]:
        """Width and height of a map in map steps: from the tables, else as the game said, else as far as was seen."""
        if map_id in self.maps and self.maps[map_id].width_steps:
            return self.maps[map_id].width_steps, self.maps[map_id].height_steps
        return self._sizes.get(map_id, (0, 0))

    def visit_counts(self, map_id: int) -> npt.NDArray[np.int64]:
        """int64 [height, width]: agent steps that began on each step of a map."""
        return self._grid(map_id, self.visits, 0)

    def first_visits(self, map_id: int) -> npt.NDArray[np.int64]:
        """int64 [height, width]: global step at which each step of a map was first reached, -1 for never."""
        return self._grid(map_id, self.first_visit, -1)

    def _grid(self, map_id: int, values: dict[Cell, int], nothing: int) -> npt.NDArray[np.int64]:
        width, height = self.size(map_id)
        grid = np.full((height, width), nothing, np.int64)
        for (cell_map, x, y), value in values.items():
            if cell_map == map_id and x < width and y < height:  # on the way through an edge they lie outside
                grid[y, x] = value
        return grid

    def background(self, map_id: int) -> npt.NDArray[np.int8]:
        """int8 [16 * height, 16 * width]: shades (0 black .. 3 white) of a map as it was seen, -1 where it was not.

        Each step of the map shows what was seen there most often.
        """
        width, height = self.size(map_id)
        picture = np.full((height, _CELL, width, _CELL), -1, np.int8)
        for (cell_map, x, y), looks in self._looks.items():
            if cell_map == map_id and x < width and y < height:
                packed = np.frombuffer(looks.most_common(1)[0][0], np.uint8).reshape(_CELL, _CELL // 4)
                picture[y, :, x] = unpack_shades(packed)
        return picture.reshape(height * _CELL, width * _CELL)


def survey(logs: Iterable[EpisodeLog], *, cartridge: Cartridge | None = None, screens: bool = True) -> MapSurvey:
    """Replays logs and collects where they went.

    Args:
        logs: episodes of one cartridge, at least one.
        cartridge: the cartridge they were played on; found by default.
        screens: collect the looks of the maps too (takes longer: every step has to be drawn).

    Raises:
        EpisodeLogError: a log cannot be played, or its replay is not the recorded episode.
    """
    result: MapSurvey | None = None
    for log in logs:
        cartridge = cartridge if cartridge is not None else cartridge_for(log)
        if result is None:
            result = MapSurvey(maps=cartridge.profile.maps)
        result.add(trace(log, cartridge=cartridge, screens=screens))
    if result is None:
        raise ValueError("logs must hold at least one episode, got none")
    return result
