"""Terms that pay for the first time of something in an episode; all are off by default."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from pokered_rl.envs.ram_frame import RamFrame, any_of
from pokered_rl.envs.rewards.base import FirstTimes, Flags, ProgressTerm, RewardStep, RewardTerm
from pokered_rl.game import ScreenKind

__all__ = ["FieldMoves", "HiddenItems", "Signs", "Talks", "Warps"]

_BITS_SET = np.array([bin(value).count("1") for value in range(256)])


class _FirstTime(RewardTerm):
    """Pays 1 for each key of :meth:`_keys` that is new in the episode."""

    def _allocate(self, num_emulators: int) -> None:
        self._seen = FirstTimes(num_emulators=num_emulators)

    def _start(self, frame: RamFrame, emulators: Flags) -> None:
        self._seen.clear(emulators)

    def _keys(self, step: RewardStep) -> tuple[npt.NDArray[Any], Flags]:
        """Return a key of each emulator and whether it counts in this step, [E] each."""
        raise NotImplementedError

    def _value(self, step: RewardStep) -> npt.NDArray[Any]:
        keys, done = self._keys(step)
        return self._seen.first(keys, done).astype(np.float64) if any_of(done) else np.zeros(len(done))


class Talks(_FirstTime):
    """Pays 1 for the first talk to each person or object of a map in the episode.

    A talk: a text opens while the player stands still, outside of battles, and a sprite of the map stands on the tile
    in front, or behind a counter. The START menu, which opens the same way, is told apart by its screen.
    """

    name = "talks"
    default_weight = 0.0
    reads_screen = True
    labels = ("wSpriteStateData1", "wSpriteStateData2")
    _people: ClassVar[bool] = True

    def _keys(self, step: RewardStep) -> tuple[npt.NDArray[Any], Flags]:
        now, before = step.now, step.before
        opened = now.text_open & ~before.text_open & (now.in_battle == 0) & (before.in_battle == 0)
        opened &= (now.map_id == before.map_id) & (now.x == before.x) & (now.y == before.y) & now.on_map
        if not any_of(opened):
            return now.map_id, opened
        opened &= now.screen_kind != ScreenKind.START_MENU
        x, y = now.square_in_front
        slot = now.sprite_at(x, y)
        beyond = now.sprite_at(2 * x - now.x, 2 * y - now.y)
        slot = np.where(slot > 0, slot, beyond)
        if self._people:
            return now.map_id << 8 | slot, opened & (slot > 0)
        return now.map_id << 16 | y << 8 | x, opened & (slot == 0)


class Signs(Talks):
    """Pays 1 for the first text of each tile without a person in the episode: signs, machines, shelves.

    A text opens while the player stands still facing the tile, outside of battles; see :class:`Talks`.
    """

    name = "signs"
    _people = False


class Warps(_FirstTime):
    """Pays 1 for the first use of each warp in the episode: doors, stairs, ladders, holes, one way each.

    A warp is identified by wWarpedFromWhichMap and wWarpedFromWhichWarp when the map changes (pokered, WarpFound2); the
    game does not set them at an outdoor edge, when it flies, or after a black-out.
    """

    name = "warps"
    default_weight = 0.0
    labels = ("wWarpedFromWhichWarp", "wWarpedFromWhichMap")

    def _start(self, frame: RamFrame, emulators: Flags) -> None:
        super()._start(frame, emulators)
        self._seen.first(self._warp(frame), emulators)  # what lies in RAM was used before

    def _warp(self, frame: RamFrame) -> npt.NDArray[Any]:
        return frame.u8("wWarpedFromWhichMap").astype(np.int64) << 8 | frame.u8("wWarpedFromWhichWarp")

    def _keys(self, step: RewardStep) -> tuple[npt.NDArray[Any], Flags]:
        return self._warp(step.now), step.now.on_map & (step.now.map_id != step.before.map_id)


class HiddenItems(ProgressTerm):
    """q = hidden items and hidden coins found (bits set in their flags); pays max(0, q_t - max q)."""

    name = "hidden_items"
    default_weight = 0.0
    labels = ("wObtainedHiddenItemsFlags", "wObtainedHiddenCoinsFlags")

    def _quantity(self, frame: RamFrame) -> npt.NDArray[Any]:
        items, coins = (_BITS_SET[frame.block(label)].sum(1) for label in self.labels)
        found: npt.NDArray[Any] = items + coins
        return found


class FieldMoves(_FirstTime):
    """Pays 1 for the first effect of SURF, STRENGTH and FLASH on each map, and for each tree that CUT removes.

    SURF: wWalkBikeSurfState becomes 2. STRENGTH: bit 0 of wStatusFlags1 is set. FLASH: wMapPalOffset returns to 0 on
    the same map. CUT: the tree that the player faced in the overworld is gone when the overworld is back, the player
    not having moved; each tree once in an episode. The flute's effect on a sleeping SNORLAX sets FIGHT_ROUTE12_SNORLAX
    or FIGHT_ROUTE16_SNORLAX, which the term ``events`` pays.
    """

    name = "field_moves"
    default_weight = 0.0
    labels = ("wWalkBikeSurfState", "wStatusFlags1", "wMapPalOffset", "wTileMap")
    reads_screen = True

    def _allocate(self, num_emulators: int) -> None:
        super()._allocate(num_emulators)
        #: Map, line, column and facing of the player before a tree when the map was last seen; -1 before none.
        self._tree = np.full(num_emulators, -1)

    def _start(self, frame: RamFrame, emulators: Flags) -> None:
        super()._start(frame, emulators)
        self._tree = np.where(emulators, np.where(self._map_seen(frame), self._faced(frame), -1), self._tree)

    def _map_seen(self, frame: RamFrame) -> Flags:
        """Return where the tile map shows the map and the player stands still."""
        seen: Flags = (frame.screen_kind == ScreenKind.OVERWORLD) & frame.on_map
        return seen

    def _faced(self, frame: RamFrame) -> npt.NDArray[np.int64]:
        """Return map, line, column and facing where the player faces a tree, -1 elsewhere."""
        return np.where(frame.tree_in_front, _place(frame), -1)

    def _cut(self, frame: RamFrame) -> Flags:
        """Return where the tree that was faced is gone, and remember those that are faced now."""
        seen, faced = self._map_seen(frame), self._faced(frame)
        gone: Flags = seen & (self._tree == _place(frame)) & (faced < 0)
        self._tree = np.where(seen, faced, self._tree)
        return gone

    def _keys(self, step: RewardStep) -> tuple[npt.NDArray[Any], Flags]:
        now, before = step.now, step.before
        same = now.on_map & (now.map_id == before.map_id)
        surfs = (now.u8("wWalkBikeSurfState") == 2) & (before.u8("wWalkBikeSurfState") != 2)
        strong = (now.u8("wStatusFlags1") & ~before.u8("wStatusFlags1") & 1).astype(bool)
        lit = (now.u8("wMapPalOffset") == 0) & (before.u8("wMapPalOffset") != 0)
        move = np.select([surfs, strong, lit], [1, 2, 3], 0)
        cut = self._cut(now)
        x, y = now.square_in_front
        keys = np.where(cut, 1 << 32 | now.map_id << 16 | y << 8 | x, now.map_id << 2 | move)
        return keys, cut | same & (move > 0)


def _place(frame: RamFrame) -> npt.NDArray[np.int64]:
    return frame.map_id << 24 | frame.y << 16 | frame.x << 8 | frame.facing
