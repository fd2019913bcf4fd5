"""`MapMemory`: where the player has been and what was found there, as a crop around the player."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch
from tensordict import NestedKey, TensorDictBase
from torchrl.data import Bounded, Composite

from pokered_rl.emulator import ActionSet
from pokered_rl.envs.ram_frame import RamFrame, any_of
from pokered_rl.envs.tile_memory import TileMemory
from pokered_rl.envs.transforms.base import RamTransform
from pokered_rl.game import RamLayout

__all__ = ["MapMemory", "Saliency"]


class Saliency:
    """Levels of the second plane of `MapMemory`; a tile keeps the highest that it was given."""

    NOTHING = 0
    #: A step that failed, or a tile beyond the edge of the map.
    BLOCKED = 1
    #: A opened a text while the player faced the tile: a person, a sign, a machine.
    TEXT = 2
    #: A door, staircase or hole: where a change of maps began or ended.
    PASSAGE = 3


_VISITS, _MARKS, _COUNTS = 0, 1, 2
#: Visits -> level: 0, 1, 2-4, 5 and more.
_LEVEL_OF_COUNT = np.digitize(np.arange(256), [1, 2, 5]).astype(np.uint8)
_MARK_AFTER_VISIT = np.array([Saliency.NOTHING, Saliency.NOTHING, Saliency.TEXT, Saliency.PASSAGE], np.uint8)
_STEP_X = np.array([0, 0, -1, 1])  # by facing: down, up, left, right
_STEP_Y = np.array([1, -1, 0, 0])
_FACING_OF_ACTION = {"down": 0, "up": 1, "left": 2, "right": 3}


class MapMemory(RamTransform):
    """Remembers visits and salient tiles of every map and shows the surroundings of the player.

    Reads:
        ``ram`` uint8 [*, R]; ``action`` int64 [*], the action taken.

    Writes:
        ``map_memory`` uint8 [*, 2, 2 radius + 1, 2 radius + 1], values 0..3, so that 2 bits a cell hold it. The player
        stands in the middle, up is north. Plane 0 is the visit level (0 never, 1 once, 2 two to four times, 3 more
        often), plane 1 the `Saliency` level (1 blocked or beyond the map's edge, 2 text, 3 door or stairs). A visit is
        an arrival: standing still does not count.

    Resets:
        The rows in ``_reset``, unless ``persistent``.

    Doors are learned from use (both ends of a change of maps; walking from one outdoor map into the next is none),
    texts from pressing A, obstacles from running into them; nothing is taken from tables, so it works on any hack.

    Args:
        radius: tiles shown in each direction.
        persistent: keep the memory across episodes.
        actions: what the action numbers mean.
        ram_key, action_key, ram_layout: see `RamTransform`.
        out_key: where the crop goes.

    Raises:
        ValueError: radius is not positive.

    Example:
        >>> from tensordict import TensorDict
        >>> from pokered_rl.envs import MapMemory
        >>> memory = MapMemory(radius=2)
        >>> ram = torch.zeros(1, 8319, dtype=torch.uint8)
        >>> memory(TensorDict({"ram": ram}, [1]))["map_memory"][0, 0]
        tensor([[0, 0, 0, 0, 0],
                [0, 0, 0, 0, 0],
                [0, 0, 1, 0, 0],
                [0, 0, 0, 0, 0],
                [0, 0, 0, 0, 0]], dtype=torch.uint8)
    """

    labels: ClassVar[tuple[str, ...]] = RamFrame.LABELS

    def __init__(
        self,
        *,
        radius: int = 10,
        persistent: bool = False,
        actions: ActionSet | None = None,
        ram_key: NestedKey = "ram",
        action_key: NestedKey = "action",
        out_key: NestedKey = "map_memory",
        ram_layout: RamLayout | None = None,
    ) -> None:
        super().__init__(out_keys=[out_key], ram_key=ram_key, action_key=action_key, ram_layout=ram_layout)
        if radius < 1:
            raise ValueError(f"radius must be >= 1, got {radius}")
        self.radius = radius
        self.persistent = persistent
        names = (actions or ActionSet()).names
        #: action -> facing it asks for, -1 for none
        self._facing_of_action = np.array([_FACING_OF_ACTION.get(name, -1) for name in names])
        self._a = names.index("a") if "a" in names else -1

    def _allocate(self, num_rows: int) -> None:
        self._walk = _Walk(num_rows, self.radius)

    def _start(self, frame: RamFrame, rows: npt.NDArray[np.bool_], out: TensorDictBase) -> None:
        walk = self._walk
        if not self.persistent:
            walk.tiles.clear(rows)
        walk.enter(frame)
        self._visit(frame.x, frame.y, rows)
        walk.remember(frame)
        self._put(out, self.out_keys[0], walk.crop(frame.x, frame.y), frame)

    def _advance(
        self, frame: RamFrame, action: npt.NDArray[np.int64] | None, out: TensorDictBase, tensordict: TensorDictBase
    ) -> None:
        walk, tiles = self._walk, self._walk.tiles
        x, y = frame.x, frame.y
        moved = (x != walk.x) | (y != walk.y)
        changed = frame.map_id != walk.map
        arrived = moved | changed
        if action is not None and any_of(~arrived):
            self._mark_ahead(frame, action, ~arrived)
        if any_of(arrived):
            if any_of(changed):
                passed = changed & ~(frame.outside & walk.outside) & (walk.map >= 0)
                tiles.cells[tiles.index(walk.x, walk.y, _MARKS)[passed]] = Saliency.PASSAGE  # before the map changes
                walk.enter(frame)
                passed &= tiles.inside(x, y)
                tiles.cells[tiles.index(x, y, _MARKS)[passed]] = Saliency.PASSAGE
            else:
                walk.enter(frame)
            self._visit(x, y, arrived)
        walk.remember(frame)
        self._put(out, self.out_keys[0], walk.crop(x, y), frame)

    def _visit(self, x: npt.NDArray[np.int64], y: npt.NDArray[np.int64], rows: npt.NDArray[np.bool_]) -> None:
        """Counts an arrival on (x, y) in ``rows``."""
        tiles = self._walk.tiles
        rows = rows & tiles.inside(x, y)
        here = tiles.index(x, y)[rows]
        plane = tiles.plane_size[rows]
        cells = tiles.cells
        counts = here + _COUNTS * plane
        count = np.minimum(cells[counts], 254) + 1
        cells[counts] = count
        cells[here] = _LEVEL_OF_COUNT[count]
        marks = here + _MARKS * plane
        # Where it was blocked there was a person, or a door that has opened.
        cells[marks] = _MARK_AFTER_VISIT[cells[marks]]

    def _mark_ahead(self, frame: RamFrame, action: npt.NDArray[np.int64], stayed: npt.NDArray[np.bool_]) -> None:
        """Marks the tile in front where the action ran into it, or opened a text by looking at it."""
        walk, tiles = self._walk, self._walk.tiles
        text = frame.text_open
        stayed = stayed & walk.quiet & (frame.facing == walk.facing)
        bumped = ~text & (self._facing_of_action[action] == frame.facing) & (frame.in_battle == 0)
        spoke = text & (action == self._a)
        ahead = stayed & (bumped | spoke)
        if not any_of(ahead):
            return
        x, y = walk.x + _STEP_X[walk.facing], walk.y + _STEP_Y[walk.facing]
        ahead &= tiles.inside(x, y)
        where = tiles.index(x, y, _MARKS)[ahead]
        found = np.where(spoke, Saliency.TEXT, Saliency.BLOCKED)[ahead]
        tiles.cells[where] = np.maximum(tiles.cells[where], found)

    def transform_observation_spec(self, observation_spec: Composite) -> Composite:
        """Adds the crop."""
        side = 2 * self.radius + 1
        self._add_spec(
            observation_spec,
            self.out_keys[0],
            lambda lead: Bounded(0, 3, shape=(*lead, 2, side, side), dtype=torch.uint8),
        )
        return observation_spec

    def get_extra_state(self) -> dict[str, Any]:
        """The maps of all rows and where the rows stand, as tensors and numbers."""
        if self.num_rows == 0:
            return {"num_rows": 0}
        walk = self._walk
        return {
            "num_rows": self.num_rows,
            "tiles": walk.tiles.state_dict(),
            "where": torch.from_numpy(np.stack([walk.map, walk.x, walk.y, walk.facing])),
            "flags": torch.from_numpy(np.stack([walk.outside, walk.quiet])),
        }

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Restores `get_extra_state`."""
        self.num_rows = state["num_rows"]
        if self.num_rows == 0:
            return
        self._allocate(self.num_rows)
        walk = self._walk
        walk.tiles.load_state_dict(state["tiles"])
        walk.map, walk.x, walk.y, walk.facing = (row.copy() for row in state["where"].numpy())
        walk.outside, walk.quiet = (row.copy() for row in state["flags"].numpy())
        walk.aim()


class _Walk:
    """The memory of `MapMemory`: the maps, and where each row was one step ago.

    Kept apart from the transform because setting an attribute of an ``nn.Module`` costs 1.5 us, and this sets six in
    every step.
    """

    def __init__(self, num_rows: int, radius: int) -> None:
        self.tiles = TileMemory(num_rows=num_rows, planes=3, margin=radius, margin_values=(0, Saliency.BLOCKED, 0))
        self.map = np.full(num_rows, -1, np.int64)
        self.x = np.zeros(num_rows, np.int64)
        self.y = np.zeros(num_rows, np.int64)
        self.facing = np.zeros(num_rows, np.int64)
        self.outside = np.zeros(num_rows, bool)
        self.quiet = np.zeros(num_rows, bool)
        self._line = np.arange(2 * radius + 1)
        self.aim()

    def enter(self, frame: RamFrame) -> None:
        """Makes the maps of ``frame`` the current ones."""
        if self.tiles.enter(frame.map_id, frame.width, frame.height):
            self.aim()

    def aim(self) -> None:
        """Works out where the cells of a crop lie relative to its corner, which only the size of the map decides."""
        planes = np.arange(2) * self.tiles.plane_size[:, None]  # [E, 2]
        lines = planes[:, :, None] + self._line * self.tiles.stride[:, None, None]  # [E, 2, side]
        self._offsets: npt.NDArray[np.int64] = lines[..., None] + self._line  # [E, 2, side, side]
        self._right: npt.NDArray[np.int64] = (self.tiles.width - 1).clip(0)
        self._bottom: npt.NDArray[np.int64] = (self.tiles.height - 1).clip(0)

    def remember(self, frame: RamFrame) -> None:
        """Keeps where the rows are."""
        self.map, self.x, self.y = frame.map_id, frame.x, frame.y
        self.facing, self.outside = frame.facing, frame.outside
        self.quiet = ~frame.text_open & (frame.in_battle == 0)

    def crop(self, x: npt.NDArray[np.int64], y: npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
        """The surroundings of (x, y), uint8 [E, 2, side, side]."""
        tiles = self.tiles
        # The margin is as wide as the radius: the corner of the crop around (x, y) is cell (x, y) of the block.
        row: npt.NDArray[np.int64] = np.minimum(y, self._bottom)
        column: npt.NDArray[np.int64] = np.minimum(x, self._right)
        corner = tiles.base + row * tiles.stride + column
        where = self._offsets + corner[:, None, None, None]
        crop: npt.NDArray[np.uint8] = tiles.cells.take(where)
        return crop
