"""`MapMemory`: visited and salient tiles of the current map, as a crop around the player."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import torch
from tensordict import NestedKey, TensorDictBase
from torchrl.data import Bounded, Composite

from pokered_rl.emulator import ActionSet
from pokered_rl.envs.memory import EmulatorMemory
from pokered_rl.envs.ram_frame import PROGRESS_LABELS, RamFrame, any_of, label_ranges
from pokered_rl.envs.tile_memory import StoryEvents, TileMemory
from pokered_rl.envs.transforms.base import RamTransform
from pokered_rl.errors import ConfigError
from pokered_rl.game import RamLayout

__all__ = ["MapMemory", "Saliency"]

_Flags = npt.NDArray[np.bool_]
_Ints = npt.NDArray[np.int64]


class Saliency:
    """Levels of the second plane of :class:`MapMemory`; a tile keeps the highest one it was given."""

    NOTHING = 0
    #: A step onto the tile failed, or the tile lies beyond the edge of the map.
    BLOCKED = 1
    #: A opened a text while the player faced the tile.
    TEXT = 2
    #: A change of maps began or ended on the tile.
    PASSAGE = 3


#: Planes of the tile memory: visit level, saliency, number of visits.
_LEVELS, _MARKS, _COUNTS = 0, 1, 2
#: Visits -> level: 0, 1, 2-4, 5 and more.
_LEVEL_OF_COUNT = np.digitize(np.arange(256), [1, 2, 5]).astype(np.uint8)
_MARK_AFTER_VISIT = np.array([Saliency.NOTHING, Saliency.NOTHING, Saliency.TEXT, Saliency.PASSAGE], np.uint8)
_STEP_X = np.array([0, 0, -1, 1])  # by facing: down, up, left, right
_STEP_Y = np.array([1, -1, 0, 0])
_FACING_OF_ACTION = {"down": 0, "up": 1, "left": 2, "right": 3}


class MapMemory(RamTransform):
    """Remembers visits and salient tiles of every map and shows the surroundings of the player.

    Doors are learned from use (both ends of a change of maps, except from one outdoor map to the next), texts from
    pressing A, obstacles from running into them. No tables are used, so it works on any hack.

    Reads:
        ``ram`` uint8 [*, R]; ``action`` int64 [*], the action taken.

    Writes:
        ``map_memory`` uint8 [*, 2, 2 radius + 1, 2 radius + 1], values 0..3, which fit 2 bits. The player stands in
        the middle, up is north. Plane 0 is the visit level (0 never, 1 once, 2 two to four times, 3 more often),
        plane 1 the :class:`Saliency` level. A visit is an arrival: standing still does not count.

    Resets:
        The emulators in ``_reset``, unless ``persistent``.

    Args:
        radius: Tiles shown in each direction.
        persistent: Keep the memory across episodes.
        renewing_events: Bits of the events after each of which the visits are forgotten; saliency stays.
        actions: Names of the action numbers.
        in_keys: RAM and action.
        out_keys: The crop.
        ram_layout: See :class:`RamTransform`.

    Raises:
        ConfigError: ``radius`` is not positive.

    Example:
        >>> import torch
        >>> from tensordict import TensorDict
        >>> from pokered_rl.envs import MapMemory
        >>> memory = MapMemory(radius=2)
        >>> memory(TensorDict({"ram": torch.zeros(1, 8319, dtype=torch.uint8)}, [1]))["map_memory"].shape
        torch.Size([1, 2, 5, 5])
    """

    OUT_KEYS: ClassVar = ("map_memory",)
    labels: ClassVar[tuple[str, ...]] = RamFrame.LABELS
    memory: _Walk

    def __init__(
        self,
        *,
        radius: int = 10,
        persistent: bool = False,
        renewing_events: Sequence[int] = (),
        actions: ActionSet | None = None,
        in_keys: Sequence[NestedKey] | None = None,
        out_keys: Sequence[NestedKey] | None = None,
        ram_layout: RamLayout | None = None,
    ) -> None:
        super().__init__(in_keys=in_keys, out_keys=out_keys, ram_layout=ram_layout)
        if radius < 1:
            raise ConfigError(f"radius must be >= 1, got {radius}")
        self.radius = radius
        self.persistent = persistent
        self.renewing_events = tuple(renewing_events)
        self.carries_memory = not persistent
        names = (actions or ActionSet()).names
        #: Direction that each action asks for, -1 for none.
        self._facing_of_action = np.array([_FACING_OF_ACTION.get(name, -1) for name in names])
        self._a = names.index("a") if "a" in names else -1

    @property
    def ram_ranges(self) -> tuple[tuple[int, int], ...]:
        """Address ranges (start, stop) that the transform reads."""
        return label_ranges({*self.labels, *(PROGRESS_LABELS if self.renewing_events else ())})

    def _allocate(self, num_emulators: int) -> EmulatorMemory:
        return _Walk(num_emulators, self.radius, self.renewing_events)

    def _start(self, frame: RamFrame, emulators: _Flags) -> None:
        walk = self.memory
        if not self.persistent:
            walk.tiles.clear(emulators)
        walk.tiles.enter(frame)
        if walk.story is not None:
            walk.story.start(frame, emulators)
        walk.visit(frame.x, frame.y, emulators & frame.on_map)
        walk.remember(frame)

    def _advance(self, frame: RamFrame, action: npt.NDArray[np.int64] | None) -> None:
        walk, tiles = self.memory, self.memory.tiles
        x, y = frame.x, frame.y
        if walk.story is not None and (went_on := walk.story.advance(frame)) is not None:
            tiles.fill(went_on, [_LEVELS, _COUNTS])
        changed = frame.map_id != walk.map
        arrived = (x != walk.x) | (y != walk.y) | changed
        if action is not None and any_of(~arrived):
            self._mark_ahead(frame, action, ~arrived)
        if any_of(arrived):
            arrived &= frame.on_map
            passed = changed & arrived & ~(frame.outside & walk.outside) & (walk.map >= 0)
            if any_of(passed):
                tiles.cells[tiles.index(walk.x, walk.y, _MARKS)[passed]] = Saliency.PASSAGE  # on the map left
            tiles.enter(frame)
            if any_of(passed):
                passed &= tiles.inside(x, y)
                tiles.cells[tiles.index(x, y, _MARKS)[passed]] = Saliency.PASSAGE
            walk.visit(x, y, arrived)
        walk.remember(frame)

    def _write(self, frame: RamFrame, out: TensorDictBase) -> None:
        self._put(out, self.out_keys[0], self.memory.crop(frame.x, frame.y), frame)

    def _mark_ahead(self, frame: RamFrame, action: npt.NDArray[np.int64], stayed: _Flags) -> None:
        """Mark the tile in front where the action ran into it, or opened a text by looking at it."""
        walk, tiles = self.memory, self.memory.tiles
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
        """Add the crop."""
        side = 2 * self.radius + 1
        self._add_spec(
            observation_spec,
            self.out_keys[0],
            lambda lead: Bounded(0, 3, shape=(*lead, 2, side, side), dtype=torch.uint8),
        )
        return observation_spec


class _Walk(EmulatorMemory):
    """Maps of the emulators, and where the players were one step ago.

    Apart from the transform because setting an attribute of an ``nn.Module`` costs 1.5 us, and this sets six a step.
    """

    NOT_SAVED: ClassVar = frozenset({"_line", "_offsets", "_right", "_bottom"})

    def __init__(self, num_emulators: int, radius: int, renewing_events: Sequence[int]) -> None:
        self.story = StoryEvents(num_emulators=num_emulators, events=renewing_events) if renewing_events else None
        self.tiles = TileMemory(
            num_emulators=num_emulators, planes=3, margin=radius, margin_values=(0, Saliency.BLOCKED, 0)
        )
        self.map = np.full(num_emulators, -1, np.int64)
        self.x = np.zeros(num_emulators, np.int64)
        self.y = np.zeros(num_emulators, np.int64)
        self.facing = np.zeros(num_emulators, np.int64)
        self.outside = np.zeros(num_emulators, bool)
        #: bool [E], no text and no battle.
        self.quiet = np.zeros(num_emulators, bool)
        self._line = np.arange(2 * radius + 1)
        self._aimed = -1  # version of the tile memory that the attributes below were computed for
        self._offsets: _Ints = np.zeros(0, np.int64)
        self._right: _Ints = self._offsets
        self._bottom: _Ints = self._offsets

    def visit(self, x: _Ints, y: _Ints, emulators: _Flags) -> None:
        """Count an arrival on (x, y) in ``emulators``."""
        tiles = self.tiles
        emulators = emulators & tiles.inside(x, y)
        here = tiles.index(x, y)[emulators]
        plane = tiles.plane_size[emulators]
        cells = tiles.cells
        counts = here + _COUNTS * plane
        count = np.minimum(cells[counts], 254) + 1
        cells[counts] = count
        cells[here] = _LEVEL_OF_COUNT[count]
        marks = here + _MARKS * plane
        # A person stood on a tile that was blocked, or a door there has opened.
        cells[marks] = _MARK_AFTER_VISIT[cells[marks]]

    def remember(self, frame: RamFrame) -> None:
        """Keep where the players are."""
        self.map, self.x, self.y = np.where(frame.on_map, frame.map_id, -1), frame.x, frame.y
        self.facing, self.outside = frame.facing, frame.outside
        self.quiet = ~frame.text_open & (frame.in_battle == 0)

    def crop(self, x: _Ints, y: _Ints) -> npt.NDArray[np.uint8]:
        """Return the surroundings of (x, y), uint8 [E, 2, side, side]."""
        tiles = self.tiles
        if self._aimed != tiles.version:
            self._aim()
        # The margin is as wide as the radius: the corner of the crop around (x, y) is cell (x, y) of the block.
        line: _Ints = np.minimum(y, self._bottom)
        column: _Ints = np.minimum(x, self._right)
        corner = tiles.base + line * tiles.stride + column
        crop: npt.NDArray[np.uint8] = tiles.cells.take(self._offsets + corner[:, None, None, None])
        return crop

    def _aim(self) -> None:
        """Compute the cells of a crop relative to its corner, which depend on the sizes of the maps only."""
        tiles = self.tiles
        planes = np.arange(2) * tiles.plane_size[:, None]  # [E, 2]
        lines = planes[:, :, None] + self._line * tiles.stride[:, None, None]  # [E, 2, side]
        self._offsets = lines[..., None] + self._line  # [E, 2, side, side]
        self._right, self._bottom = (tiles.width_steps - 1).clip(0), (tiles.height_steps - 1).clip(0)
        self._aimed = tiles.version
