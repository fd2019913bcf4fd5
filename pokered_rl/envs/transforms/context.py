"""`ContextFeatures`: place, progress, party, screen, memory and last action as a short vector."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch
from tensordict import NestedKey, TensorDictBase
from torchrl.data import Bounded, Composite

from pokered_rl.emulator import ActionSet
from pokered_rl.envs.memory import EmulatorMemory, StepMemory
from pokered_rl.envs.ram_frame import PROGRESS_LABELS, GameProgress, RamFrame, any_of, label_ranges
from pokered_rl.envs.transforms.base import RamTransform
from pokered_rl.game import ITEMS, SCREEN_RANGES, CartridgeProfile, MapKind, RamLayout, ScreenKind

__all__ = ["ContextFeatures"]

_BATTLE_KINDS = ("none", "wild", "trainer", "safari", "lost")
_OUTCOMES = ("moved", "turned", "changed_map", "opened_text", "closed_text", "screen_changed", "nothing")
_MOVED, _TURNED, _CHANGED_MAP, _OPENED_TEXT, _CLOSED_TEXT, _SCREEN_CHANGED, _NOTHING = range(len(_OUTCOMES))
#: Passages count 1, texts 1 / 4096, so one sum counts both.
_SALIENT = np.array([0, 0, 1 / 4096, 1], np.float32)
_FACINGS = ("down", "up", "left", "right")
_SECTORS = ("up", "down", "left", "right")
_LOG_MONEY_SCALE = np.log1p(999_999.0)
#: Types by their number in RAM (pokered, constants/type_constants.asm).
_TYPES = dict(enumerate(("normal", "fighting", "flying", "poison", "ground", "rock")))
_TYPES |= {7: "bug", 8: "ghost"}
_TYPES |= dict(enumerate(("fire", "water", "grass", "electric", "psychic", "ice", "dragon"), 20))
_STATUSES = ("asleep", "poisoned", "burned", "frozen", "paralyzed")
#: Bits of the status byte that each of them is.
_STATUS_BITS = np.array([0b111, 1 << 3, 1 << 4, 1 << 5, 1 << 6])
#: Offsets in a record of the party: status, types, moves, PP.
_STATUS, _TYPE, _MOVE, _PP = 4, slice(5, 7), slice(8, 12), slice(29, 33)


class ContextFeatures(RamTransform):
    """Computes a vector of numbers in [0, 1] (291 on Sprout, 462 on Red), anew in every step.

    HP is left out, ours and the enemy's: the features are the target of an auxiliary reconstruction, and a number that
    changes throughout every battle would dominate it.

    Reads:
        ``ram`` uint8 [*, R]; ``action``, the action taken; ``map_memory`` uint8 [*, 2, D, D] (without it the
        ``memory_*`` features are 0), so put this behind :class:`MapMemory`; ``wait_frames`` (without it ``wait`` is 0).

    Writes:
        ``context`` float32 [*, C]; :attr:`names` holds the name of each feature:

        * ``x``, ``y``: position over the size of the map; ``global_x``, ``global_y``: over the size of the world (0 on
          maps without coordinates); ``map_bit_0`` .. ``map_bit_7``: the map's number in binary; ``outdoor``;
          ``region_*``: :class:`~pokered_rl.game.MapKind` one-hot; ``facing_*``
        * ``badge_0`` .. ``badge_7``; ``story``: share of the named event flags that are set; ``finished``;
          ``event_*``: each event of the story (:attr:`~pokered_rl.game.CartridgeProfile.story_events`);
          ``item_*``: key item in the bag; ``bag``: share of its 20 slots; ``pokedex_owned``, ``pokedex_seen`` over 151;
          ``money``: log(1 + money) / log(1,000,000)
        * ``party_size`` over 6; ``level_0`` .. ``level_5``, ``level_max`` over 100; of each member ``type_0_*``: its
          types; ``status_0_*``: asleep, poisoned, burned, frozen, paralyzed; ``pp_0_0`` .. ``pp_0_3``: PP left of each
          move over its maximum, 0 without a move
        * ``screen_*``: :class:`~pokered_rl.game.ScreenKind` one-hot; ``battle_*`` one-hot
        * ``memory_visits``: visit level of this tile over 3; ``memory_known_*``: visited share of the crop's upper,
          lower, left, right half; ``memory_passages``, ``memory_texts``: salient tiles in the crop, n / (n + 4)
        * ``action_*``: the last action one-hot, all 0 at the start; ``outcome_*``: what it changed, one-hot
        * ``wait``: frames waited in the last step, n / (n + 60)

    Resets:
        The last action and outcome of the emulators in ``_reset``.

    Args:
        profile: Names of maps and events; None takes Red's.
        actions: Names of the action numbers.
        in_keys: RAM, action, map memory, frames waited.
        out_keys: The vector.
        ram_layout: See :class:`RamTransform`.

    Example:
        >>> from tensordict import TensorDict
        >>> from pokered_rl.envs import ContextFeatures
        >>> context = ContextFeatures()
        >>> td = context(TensorDict({"ram": torch.zeros(1, 8319, dtype=torch.uint8)}, [1]))
        >>> td["context"].shape[-1] == len(context.names)
        True
    """

    IN_KEYS: ClassVar = ("ram", "action", "map_memory", "wait_frames")
    OUT_KEYS: ClassVar = ("context",)
    labels: ClassVar[tuple[str, ...]] = (*RamFrame.LABELS, *PROGRESS_LABELS, "wTileMap", "wBattleType")
    memory: _LastStep

    def __init__(
        self,
        *,
        profile: CartridgeProfile | None = None,
        actions: ActionSet | None = None,
        in_keys: Sequence[NestedKey] | None = None,
        out_keys: Sequence[NestedKey] | None = None,
        ram_layout: RamLayout | None = None,
    ) -> None:
        super().__init__(in_keys=in_keys, out_keys=out_keys, ram_layout=ram_layout)
        self.profile = profile or CartridgeProfile.get("red")
        actions = actions or ActionSet()
        self._num_actions = len(actions)
        self._key_items = np.zeros(256, np.int64)
        key_items = [item for item in self.profile.key_items if item in ITEMS]
        self._key_items[key_items] = np.arange(1, len(key_items) + 1)  # 0: not a key item
        self._named = np.zeros(320, np.uint8)
        for bit in self.profile.events:
            self._named[bit // 8] |= 1 << (bit % 8)
        self._num_named = max(len(self.profile.events), 1)

        groups: dict[str, list[str]] = {
            "place": ["x", "y", "global_x", "global_y", *(f"map_bit_{i}" for i in range(8)), "outdoor"],
            "region": [f"region_{kind.name.lower()}" for kind in MapKind],
            "facing": [f"facing_{name}" for name in _FACINGS],
            "progress": [
                *(f"badge_{i}" for i in range(8)),
                "story",
                "finished",
                *(f"event_{self.profile.events.name(bit).lower()}" for bit in self.profile.story_events),
                *(f"item_{ITEMS.name(item).lower()}" for item in key_items),
                "bag",
                "pokedex_owned",
                "pokedex_seen",
                "money",
                "party_size",
                *(f"level_{i}" for i in range(6)),
                "level_max",
                *(f"type_{member}_{name}" for member in range(6) for name in _TYPES.values()),
                *(f"status_{member}_{name}" for member in range(6) for name in _STATUSES),
                *(f"pp_{member}_{move}" for member in range(6) for move in range(4)),
            ],
            "screen": [f"screen_{kind.name.lower()}" for kind in ScreenKind],
            "battle": [f"battle_{name}" for name in _BATTLE_KINDS],
            "memory": [
                "memory_visits",
                *(f"memory_known_{name}" for name in _SECTORS),
                "memory_passages",
                "memory_texts",
            ],
            "action": [f"action_{name}" for name in actions.names],
            "outcome": [f"outcome_{name}" for name in _OUTCOMES],
            "wait": ["wait"],
        }
        #: Name of each feature, in order.
        self.names: tuple[str, ...] = tuple(name for group in groups.values() for name in group)
        self._at: dict[str, int] = {}
        for group, members in groups.items():
            self._at[group] = sum(len(groups[other]) for other in self._at)
            assert self.names[self._at[group]] == members[0]
        self._num_key_items = len(key_items)
        self._tables()

    def _tables(self) -> None:
        """Make the look-up tables."""
        maps = self.profile.maps
        world = np.maximum(np.array(maps.global_size), 1)
        # By map: origin over the size of the world, one step over it (0 indoors), bits, outdoor (filled later), region.
        self._places = np.zeros((256, 4 + 8 + 1 + len(MapKind)), np.float32)
        self._places[:, 4:12] = (np.arange(256)[:, None] >> np.arange(8)) & 1
        self._places[np.arange(256), 13 + maps.kinds(torch.arange(256)).numpy()] = 1
        for entry in maps:
            if entry.global_origin is not None:
                self._places[entry.id, :2] = np.array(entry.global_origin) / world
                self._places[entry.id, 2:4] = entry.outdoor / world
        self._screens = np.eye(256, len(ScreenKind), dtype=np.float32)
        self._facings = np.eye(4, dtype=np.float32)
        self._battles = np.zeros(256, np.int64)
        self._battles[[1, 2, 255]] = 1, 2, _BATTLE_KINDS.index("lost")
        self._one_hot_battle = np.eye(len(_BATTLE_KINDS), dtype=np.float32)
        self._one_hot_outcome = np.eye(len(_OUTCOMES) + 1, len(_OUTCOMES), dtype=np.float32)
        self._one_hot_action = np.eye(self._num_actions + 1, self._num_actions, dtype=np.float32)
        self._story_bits = np.array(self.profile.story_events, np.int64)
        self._one_hot_type = np.zeros((256, len(_TYPES)), bool)
        self._one_hot_type[list(_TYPES), range(len(_TYPES))] = True
        # By move and the two bits that count the PP-ups: each adds a fifth, at most 7 (pokered, AddBonusPP).
        self._most_pp = np.ones((256, 4))
        for move in self.profile.moves:
            self._most_pp[move.id] = np.maximum(move.pp + np.arange(4) * min(move.pp // 5, 7), 1)
        self._sectors = np.zeros((0, 4), np.float32)  # made when the size of the crop is known

    @property
    def ram_ranges(self) -> tuple[tuple[int, int], ...]:
        """Address ranges (start, stop) that the transform reads."""
        return tuple(sorted({*label_ranges(self.labels), *SCREEN_RANGES}))

    def _allocate(self, num_emulators: int) -> EmulatorMemory:
        return _LastStep(num_emulators)

    def _start(self, frame: RamFrame, emulators: npt.NDArray[np.bool_]) -> None:
        last = self.memory
        last.action = np.where(emulators, -1, last.action)
        last.outcome = np.where(emulators, -1, last.outcome)

    def _advance(self, frame: RamFrame, action: npt.NDArray[np.int64] | None) -> None:
        last = self.memory
        if action is not None:
            last.action = action.copy()
        if last.before is not None:
            last.outcome = self._outcomes(frame, last.before)

    def _outcomes(self, now: RamFrame, before: RamFrame) -> npt.NDArray[np.int64]:
        """Return the index into `_OUTCOMES` of what the step changed; of several the one assigned last here."""
        outcome = np.full(now.num_emulators, _NOTHING)
        outcome[now.screen_changed(before) | (now.screen_kind != before.screen_kind)] = _SCREEN_CHANGED
        outcome[now.facing != before.facing] = _TURNED
        text = now.text_open != before.text_open
        if any_of(text):
            outcome[text] = np.where(now.text_open, _OPENED_TEXT, _CLOSED_TEXT)[text]
        outcome[(now.x != before.x) | (now.y != before.y)] = _MOVED
        outcome[now.map_id != before.map_id] = _CHANGED_MAP
        return outcome

    def _write(self, frame: RamFrame, out: TensorDictBase) -> None:
        at, last = self._at, self.memory
        vector = np.zeros((frame.num_emulators, len(self.names)), np.float32)
        vector[:, :2] = np.minimum(frame.position / np.maximum(frame.size_steps, 1), 1.0).T
        place = self._places.take(frame.map_id, 0)  # [E, 4 + 8 + 1 + regions]
        vector[:, 2:4] = np.minimum(place[:, :2] + place[:, 2:4] * frame.position.T, 1.0)
        vector[:, 4 : at["facing"]] = place[:, 4:]
        vector[:, 12] = frame.outside
        vector[:, at["facing"] : at["progress"]] = self._facings.take(frame.facing, 0)
        if frame.progress is not last.progress:
            last.progress = frame.progress
            last.progress_features = self._progress_features(frame.progress)
        vector[:, at["progress"] : at["screen"]] = last.progress_features
        vector[:, at["screen"] : at["battle"]] = self._screens.take(frame.screen_kind, 0)
        vector[:, at["battle"] : at["memory"]] = self._battle_features(frame)
        memory = out.get(self.in_keys[2], None)
        if memory is not None:
            vector[:, at["memory"] : at["action"]] = self._memory_features(memory)
        # -1 picks the last line of both tables, which is all 0.
        vector[:, at["action"] : at["outcome"]] = self._one_hot_action.take(last.action, 0)
        vector[:, at["outcome"] : at["wait"]] = self._one_hot_outcome.take(last.outcome, 0)
        wait = out.get(self.in_keys[3], None)
        if wait is not None:
            frames = wait.numpy(force=True).reshape(-1)
            vector[:, at["wait"]] = frames / (frames + 60)
        last.before = frame
        self._put(out, self.out_keys[0], vector, frame)

    def _battle_features(self, frame: RamFrame) -> npt.NDArray[np.float32]:
        kind = self._battles.take(frame.in_battle)
        if frame.any_battle:
            safari = (kind == 1) & (frame.u8("wBattleType") == 2)
            kind[safari] = _BATTLE_KINDS.index("safari")
        return self._one_hot_battle.take(kind, 0)

    def _progress_features(self, progress: GameProgress) -> npt.NDArray[np.float32]:
        held = np.zeros((len(progress.money), self._num_key_items + 1), np.float32)
        np.put_along_axis(held, self._key_items[progress.bag_items[:, :, 0] & 255], 1.0, axis=1)
        story = np.unpackbits(progress.event_bytes & self._named, axis=1).sum(1) / self._num_named
        levels = np.minimum(progress.party_level / 100.0, 1.0)
        columns = [
            (progress.badge_bits[:, None] >> np.arange(8)) & 1,
            story[:, None],
            (progress.hall_of_fame > 0)[:, None],
            progress.event_bytes[:, self._story_bits >> 3] >> (self._story_bits & 7) & 1,
            held[:, 1:],
            (progress.bag_items[:, :, 0] > 0).mean(1)[:, None],
            progress.pokedex_owned[:, None] / 151.0,
            progress.pokedex_seen[:, None] / 151.0,
            np.log1p(progress.money)[:, None] / _LOG_MONEY_SCALE,
            progress.party_count[:, None] / 6.0,
            levels,
            levels.max(1, keepdims=True),
            *self._party_features(progress.party_records),
        ]
        return np.concatenate(columns, 1, dtype=np.float32)

    def _party_features(self, records: npt.NDArray[np.uint8]) -> list[npt.NDArray[Any]]:
        """Return types, statuses and shares of PP of the party's records [E, 6, 44], [E, ...] each."""
        moves, pp = records[:, :, _MOVE], records[:, :, _PP]
        members = records[:, :, :1] > 0  # by species: the type of an empty place would be normal
        features = (
            self._one_hot_type[records[:, :, _TYPE]].any(2) & members,
            (records[:, :, _STATUS, None] & _STATUS_BITS) > 0,
            np.minimum((pp & 63) / self._most_pp[moves, pp >> 6], 1.0) * (moves > 0),
        )
        return [each.reshape(len(records), -1) for each in features]

    def _memory_features(self, memory: torch.Tensor) -> npt.NDArray[np.float32]:
        cells = memory.shape[-1] * memory.shape[-2]
        crop: npt.NDArray[np.uint8] = memory.numpy(force=True).reshape(-1, 2, cells)
        if self._sectors.shape[0] != cells:
            side = int(cells**0.5)
            radius = side // 2
            halves = np.zeros((4, side, side), np.float32)
            halves[0, :radius], halves[1, radius + 1 :] = 1, 1
            halves[2, :, :radius], halves[3, :, radius + 1 :] = 1, 1
            self._sectors = halves.reshape(4, -1).T.copy()  # [cells, 4]
            self._sector_cells = np.float32(max(radius * side, 1))
        features = np.empty((len(crop), 7), np.float32)
        features[:, 0] = crop[:, 0, cells // 2] / 3.0
        # Whole numbers up to the division: a product with fractions is rounded depending on the size of the batch.
        features[:, 1:5] = ((crop[:, 0] > 0).astype(np.float32) @ self._sectors) / self._sector_cells
        salient = _SALIENT.take(crop[:, 1]).sum(1)
        passages = np.floor(salient)
        texts = (salient - passages) * 4096
        features[:, 5] = passages / (passages + 4.0)
        features[:, 6] = texts / (texts + 4.0)
        return features

    def transform_observation_spec(self, observation_spec: Composite) -> Composite:
        """Add the vector."""
        size = len(self.names)
        self._add_spec(
            observation_spec,
            self.out_keys[0],
            lambda lead: Bounded(0.0, 1.0, shape=(*lead, size), dtype=torch.float32),
        )
        return observation_spec


class _LastStep(StepMemory):
    """Last action and outcome, apart from the module, whose attributes are slow to set."""

    NOT_SAVED: ClassVar = frozenset({"progress_features"})

    def __init__(self, num_emulators: int) -> None:
        #: int64 [E], -1 when the episode has just begun.
        self.action = np.full(num_emulators, -1, np.int64)
        self.outcome = np.full(num_emulators, -1, np.int64)
        #: What ``progress_features`` float32 [E, n] were computed from.
        self.progress: GameProgress | None = None
        self.progress_features = np.zeros((num_emulators, 0), np.float32)
