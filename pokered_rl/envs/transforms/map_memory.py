"""`MapMemory`: where the player has been and what was found there, as a crop around the player."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch
from tensordict import NestedKey, TensorDictBase
from torchrl.data import Bounded, Composite

from pokered_rl.emulator import ActionSet
from pokered_rl.envs.frame import RamFrame
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
        side = 2 * radius + 1
        self._offsets = np.arange(side)
        self._planes = np.arange(2)

    def _allocate(self, num_rows: int) -> None:
        self._tiles = TileMemory(
            num_rows=num_rows, planes=3, margin=self.radius, margin_values=(0, Saliency.BLOCKED, 0)
        )
        self._map = np.full(num_rows, -1, np.int64)
        self._x = np.zeros(num_rows, np.int64)
        self._y = np.zeros(num_rows, np.int64)
        self._facing = np.zeros(num_rows, np.int64)
        self._outside = np.zeros(num_rows, bool)
        self._quiet = np.zeros(num_rows, bool)

    def _start(self, frame: RamFrame, rows: npt.NDArray[np.bool_], out: TensorDictBase) -> None:
        if not self.persistent:
            self._tiles.clear(rows)
        x, y = self._locate(frame)
        self._visit(x, y, rows)
        self._remember(frame)
        self._write(x, y, frame, out)

    def _advance(
        self, frame: RamFrame, action: npt.NDArray[np.int64] | None, out: TensorDictBase, tensordict: TensorDictBase
    ) -> None:
        if action is not None:
            self._mark_ahead(frame, action)
        left = self._tiles.index(self._x, self._y, _MARKS)  # before the map changes
        x, y = self._locate(frame)
        changed = frame.map_id != self._map
        if changed.any():
            passed = changed & ~(frame.outside & self._outside) & (self._map >= 0)
            arrived = passed & self._tiles.inside(x, y)
            self._tiles.cells[left[passed]] = Saliency.PASSAGE
            self._tiles.cells[self._tiles.index(x, y, _MARKS)[arrived]] = Saliency.PASSAGE
        self._visit(x, y, changed | (x != self._x) | (y != self._y))
        self._remember(frame)
        self._write(x, y, frame, out)

    def _locate(self, frame: RamFrame) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        self._tiles.enter(frame.map_id, frame.width, frame.height)
        return frame.x, frame.y

    def _visit(self, x: npt.NDArray[np.int64], y: npt.NDArray[np.int64], rows: npt.NDArray[np.bool_]) -> None:
        """Counts an arrival on (x, y) in ``rows``."""
        rows = rows & self._tiles.inside(x, y)
        if not rows.any():
            return
        here = self._tiles.index(x, y)[rows]
        plane = self._tiles.plane_size[rows]
        cells = self._tiles.cells
        count = np.minimum(cells[here + _COUNTS * plane], 254) + 1
        cells[here + _COUNTS * plane] = count
        cells[here] = _LEVEL_OF_COUNT[count]
        marks = here + _MARKS * plane
        cells[marks[cells[marks] == Saliency.BLOCKED]] = Saliency.NOTHING  # it was a person, or a door that opened

    def _mark_ahead(self, frame: RamFrame, action: npt.NDArray[np.int64]) -> None:
        """Marks the tile in front where the action ran into it, or opened a text by looking at it."""
        stayed = (frame.map_id == self._map) & (frame.x == self._x) & (frame.y == self._y)
        stayed &= self._quiet & (frame.facing == self._facing)
        text = frame.text_open
        bumped = stayed & ~text & (self._facing_of_action[action] == frame.facing) & (frame.in_battle == 0)
        spoke = stayed & text & (action == self._a)
        ahead = bumped | spoke
        if not ahead.any():
            return
        x, y = self._x + _STEP_X[self._facing], self._y + _STEP_Y[self._facing]
        ahead &= self._tiles.inside(x, y)
        cells = self._tiles.cells
        where = self._tiles.index(x, y, _MARKS)[ahead]
        cells[where] = np.maximum(cells[where], np.where(spoke, Saliency.TEXT, Saliency.BLOCKED)[ahead])

    def _remember(self, frame: RamFrame) -> None:
        self._map, self._x, self._y = frame.map_id.copy(), frame.x.copy(), frame.y.copy()
        self._facing, self._outside = frame.facing, frame.outside
        self._quiet = ~frame.text_open & (frame.in_battle == 0)

    def _write(self, x: npt.NDArray[np.int64], y: npt.NDArray[np.int64], frame: RamFrame, out: TensorDictBase) -> None:
        tiles = self._tiles
        x = np.clip(x, 0, np.maximum(tiles.width - 1, 0))
        y = np.clip(y, 0, np.maximum(tiles.height - 1, 0))
        corner = tiles.base + y * tiles.stride + x  # of the crop: the margin is as wide as the radius
        planes = corner[:, None] + self._planes * tiles.plane_size[:, None]  # [E, 2]
        lines = planes[:, :, None] + self._offsets * tiles.stride[:, None, None]  # [E, 2, side]
        crop = tiles.cells.take(lines[..., None] + self._offsets, mode="clip")  # [E, 2, side, side]
        out.set(self.out_keys[0], torch.from_numpy(crop).reshape(*frame.lead, *crop.shape[1:]))

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
        return {
            "num_rows": self.num_rows,
            "tiles": self._tiles.state_dict(),
            "where": torch.from_numpy(np.stack([self._map, self._x, self._y, self._facing])),
            "flags": torch.from_numpy(np.stack([self._outside, self._quiet])),
        }

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Restores `get_extra_state`."""
        self.num_rows = state["num_rows"]
        if self.num_rows == 0:
            return
        self._allocate(self.num_rows)
        self._tiles.load_state_dict(state["tiles"])
        self._map, self._x, self._y, self._facing = (row.copy() for row in state["where"].numpy())
        self._outside, self._quiet = (row.copy() for row in state["flags"].numpy())
