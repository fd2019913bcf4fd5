"""`AffordanceMask`: which actions can have an effect, by the game's rules and by experience."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch
from tensordict import NestedKey, TensorDictBase
from torchrl.data import Binary, Composite, TensorSpec
from torchrl.envs import EnvBase, Transform

from pokered_rl.emulator import ActionSet
from pokered_rl.envs.ram_frame import RamFrame, any_of, label_ranges
from pokered_rl.envs.transforms.base import RamTransform
from pokered_rl.envs.transforms.failure_memory import FailureMemory
from pokered_rl.game import SCREEN_RANGES, RamLayout, ScreenKind

__all__ = ["AffordanceMask"]

#: Screens in which failures are learned: menus and text that wait for a button. Never the overworld.
_LEARNED_KINDS = (
    ScreenKind.TEXT_WAITING,
    ScreenKind.YES_NO,
    ScreenKind.START_MENU,
    ScreenKind.LIST,
    ScreenKind.QUANTITY,
    ScreenKind.PARTY,
    ScreenKind.BATTLE_LEFT,
    ScreenKind.BATTLE_RIGHT,
    ScreenKind.MOVE_LIST,
    ScreenKind.NAMING,
    ScreenKind.OPTIONS,
    ScreenKind.OTHER_MENU,
)
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_ODD = np.uint64(0xD1B54A32D192ED03)
_KIND_HASH = np.arange(1, 257, dtype=np.uint64) * _GOLDEN


class AffordanceMask(RamTransform):
    """Masks actions that cannot have an effect now, in the entry and in the environment's action spec.

    Two sources:

    * the rules of `pokered_rl.game.usable_buttons`: keys that the game does not look at in this screen;
    * a learned memory: in menus and text, an action that left the user interface as it was ``fail_threshold`` times
      is masked in that situation. A situation is a signature of screen kind, menu variables and the letters on the
      screen (not pixels, not the map behind). Each return to the situation multiplies its counts by ``decay``, so a
      masked action is tried again some time (it is masked while its count is at least ``fail_threshold - 0.5``);
      one effect clears its count. B is never masked by the memory, being the way out, nor the last button left.

    The no-op is never masked. When nothing else would be allowed and there is no no-op, everything is.

    Reads:
        ``ram`` uint8 [*, R]; ``action`` int64 [*] or one-hot.

    Writes:
        ``action_mask`` bool [*, A], True = allowed. Inside an environment also the mask of the action spec
        (Categorical or OneHot), which ``rand_action`` and TorchRL's exploration modules respect.

    Resets:
        With ``persistent`` the memory is kept and shared by all emulators of the environment; without it each episode
        of each row learns anew.

    Args:
        actions: what the action numbers mean.
        learned: use the memory; False leaves the rules alone.
        fail_threshold: failures after which an action is masked.
        decay: factor on the counts of a situation at each return to it.
        persistent: keep the memory across episodes.
        capacity: situations remembered; the least recently seen are forgotten first.
        ram_key, action_key, ram_layout: see `RamTransform`.
        out_key: where the mask goes.

    Raises:
        ValueError: a threshold below 1 or a decay outside of (0, 1].

    Example:
        >>> from tensordict import TensorDict
        >>> from pokered_rl.envs import AffordanceMask
        >>> mask = AffordanceMask()
        >>> ram = torch.zeros(1, 8319, dtype=torch.uint8)
        >>> mask(TensorDict({"ram": ram}, [1]))["action_mask"].shape
        torch.Size([1, 8])
    """

    labels: ClassVar[tuple[str, ...]] = (
        *RamFrame.LABELS,
        "wTileMap",
        "wTopMenuItemY",
        "wTopMenuItemX",
        "wCurrentMenuItem",
        "wMaxMenuItem",
        "wMenuWatchedKeys",
        "wListScrollOffset",
        "wMenuItemToSwap",
        "wListMenuID",
        "wTextBoxID",
        "wItemQuantity",
        "wNumBagItems",
        "wPlayerMoney",
        "wOptions",
        "wBattleMonHP",
        "wEnemyMonHP",
    )
    #: Bytes that an action in a menu may change without changing a letter on the screen.
    _SIGNATURE: ClassVar[tuple[str, ...]] = (
        "wTopMenuItemY",
        "wTopMenuItemX",
        "wCurrentMenuItem",
        "wMaxMenuItem",
        "wMenuWatchedKeys",
        "wListScrollOffset",
        "wMenuItemToSwap",
        "wListMenuID",
        "wTextBoxID",
        "wItemQuantity",
    )
    _EFFECTS: ClassVar[tuple[str, ...]] = (
        "wCurMap",
        "wXCoord",
        "wYCoord",
        "wIsInBattle",
        "wFontLoaded",
        "wNumBagItems",
        "wPlayerMoney",
        "wOptions",
        "wBattleMonHP",
        "wEnemyMonHP",
    )

    def __init__(
        self,
        *,
        actions: ActionSet | None = None,
        learned: bool = True,
        fail_threshold: int = 3,
        decay: float = 0.995,
        persistent: bool = False,
        capacity: int = 4096,
        ram_key: NestedKey = "ram",
        action_key: NestedKey = "action",
        out_key: NestedKey = "action_mask",
        ram_layout: RamLayout | None = None,
    ) -> None:
        super().__init__(out_keys=[out_key], ram_key=ram_key, action_key=action_key, ram_layout=ram_layout)
        if fail_threshold < 1:
            raise ValueError(f"fail_threshold must be >= 1, got {fail_threshold}")
        if not 0 < decay <= 1:
            raise ValueError(f"decay must be in (0, 1], got {decay}")
        self.actions = actions or ActionSet()
        self.learned = learned
        self.fail_threshold = fail_threshold
        self.decay = decay
        self.persistent = persistent
        self.memory = FailureMemory(capacity=capacity, num_actions=len(self.actions))
        buttons = np.array(self.actions.button_indices)
        self._buttons = np.maximum(buttons, 0)
        self._is_noop = buttons < 0
        self._b = self.actions.index("b") if "b" in self.actions.names else None
        self._kinds = np.zeros(256, bool)
        self._kinds[[int(kind) for kind in _LEARNED_KINDS]] = True
        self._may_be_empty = not self._is_noop.any()
        self._known_columns: tuple[RamLayout, npt.NDArray[np.int64], npt.NDArray[np.uint64]] | None = None
        self._spec_mask: tuple[TensorSpec | None, torch.Tensor | None] = (None, None)

    @property
    def ram_ranges(self) -> tuple[tuple[int, int], ...]:
        """Address ranges (start, stop) that the transform reads."""
        return tuple(sorted({*label_ranges(self.labels), *SCREEN_RANGES}))

    def _allocate(self, num_rows: int) -> None:
        self._past = _Past(num_rows)

    def _columns(self, layout: RamLayout) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.uint64]]:
        """Columns of `_SIGNATURE` and `_EFFECTS`, and what each counts in the two hashes, uint64 [n, 2]."""
        if self._known_columns is None or self._known_columns[0] is not layout:
            signature, effects = (
                [address for label in labels for span in label_ranges([label]) for address in range(*span)]
                for labels in (self._SIGNATURE, self._EFFECTS)
            )
            columns = np.array(layout.columns(signature + effects))
            weights = np.zeros((len(columns), 2), np.uint64)
            weights[: len(signature), 0] = _KIND_HASH[1 : len(signature) + 1] * _ODD
            weights[len(signature) :, 1] = _KIND_HASH[100 : len(effects) + 100] * _ODD
            self._known_columns = (layout, columns, weights)
        return self._known_columns[1:]

    def _hashes(self, frame: RamFrame) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint64]]:
        """Hash of the situation, and of all that counts as an effect, uint64 [E] each."""
        columns, weights = self._columns(frame.layout)
        hashed = frame.bytes.take(columns, 1).astype(np.uint64) @ weights  # [E, 2]
        signature = frame.text_hash ^ _KIND_HASH.take(frame.screen_kind) ^ hashed[:, 0]
        return signature, signature ^ hashed[:, 1]

    def _start(self, frame: RamFrame, rows: npt.NDArray[np.bool_], out: TensorDictBase) -> None:
        if not self.persistent:
            self._past.episode[rows] += np.uint64(1)
        self._write(frame, out, None)

    def _advance(
        self, frame: RamFrame, action: npt.NDArray[np.int64] | None, out: TensorDictBase, tensordict: TensorDictBase
    ) -> None:
        self._write(frame, out, action)

    def _write(self, frame: RamFrame, out: TensorDictBase, action: npt.NDArray[np.int64] | None) -> None:
        allowed = frame.usable_buttons.take(self._buttons, 1)  # [E, A]
        allowed |= self._is_noop
        if self.learned:
            in_menu = self._kinds.take(frame.screen_kind)
            any_menu = any_of(in_menu)
            if any_menu or self._past.any_menu:
                allowed = self._experience(frame, in_menu, allowed, action)
            self._past.any_menu = any_menu
        if self._may_be_empty:
            allowed |= ~allowed.any(1, keepdims=True)
        mask = self._put(out, self.out_keys[0], allowed, frame)
        self._tell_spec(mask)

    def _experience(
        self,
        frame: RamFrame,
        in_menu: npt.NDArray[np.bool_],
        rules: npt.NDArray[np.bool_],
        action: npt.NDArray[np.int64] | None,
    ) -> npt.NDArray[np.bool_]:
        """Learns from what the action did, and returns what is left of ``rules`` by experience, bool [E, A]."""
        past = self._past
        signature, state = self._hashes(frame)
        if action is not None and past.any_menu:
            self._learn(past.slot, state == past.state, action)
        past.state = state
        keys = signature if self.persistent else signature ^ (past.episode * _GOLDEN + past.row)
        past.slot = np.full(frame.num_rows, -1, np.int64)
        if not any_of(in_menu):
            return rules
        past.slot[in_menu] = self.memory.slots(keys[in_menu])
        failed = self.memory.failures[past.slot] >= self.fail_threshold - 0.5
        failed &= (past.slot >= 0)[:, None]
        if not any_of(failed):
            return rules
        if self._b is not None:
            failed[:, self._b] = False
        allowed = rules & ~failed
        stuck = ~(allowed & ~self._is_noop).any(1, keepdims=True)
        return np.where(stuck, rules, allowed)

    def _learn(
        self, slot: npt.NDArray[np.int64], unchanged: npt.NDArray[np.bool_], action: npt.NDArray[np.int64]
    ) -> None:
        """Counts a failure of ``action`` in the situations it was taken in, or clears its count."""
        rows = (slot >= 0) & ~self._is_noop[action]
        if not any_of(rows):
            return
        slot, action, unchanged = slot[rows], action[rows], unchanged[rows]
        failures = self.memory.failures
        failures[slot] *= np.float32(self.decay)
        failures[slot[~unchanged], action[~unchanged]] = 0
        if any_of(unchanged):
            np.add.at(failures, (slot[unchanged], action[unchanged]), np.float32(1))

    def _tell_spec(self, mask: torch.Tensor) -> None:
        """Brings the mask of the environment's action spec up to date."""
        spec, known = self._spec_mask
        if spec is None:
            container = self.container
            if container is None:
                return
            spec = container.full_action_spec[self.action_key]
        if known is None or spec.mask is None or spec.mask.data_ptr() != known.data_ptr():
            # A tensor of our own, written in place from now on: `update_mask` costs 15 us, a copy 1 us.
            known = mask.clone()
            spec.update_mask(known)
            self._spec_mask = (spec, known)
        else:
            known.copy_(mask)

    def set_container(self, container: Transform | EnvBase) -> None:
        """Attaches the transform; the action spec is asked for again."""
        super().set_container(container)
        self._spec_mask = (None, None)

    def empty_cache(self) -> None:
        """Called when the environment's specs are rebuilt."""
        super().empty_cache()
        self._spec_mask = (None, None)

    def transform_observation_spec(self, observation_spec: Composite) -> Composite:
        """Adds the mask."""
        n = len(self.actions)
        self._add_spec(observation_spec, self.out_keys[0], lambda lead: Binary(n, shape=(*lead, n), dtype=torch.bool))
        return observation_spec

    def get_extra_state(self) -> dict[str, Any]:
        """The memory, and in which situation each row is."""
        state: dict[str, Any] = {"num_rows": self.num_rows, "memory": self.memory.state_dict()}
        if self.num_rows:
            past = self._past
            state["rows"] = torch.from_numpy(
                np.stack([past.episode.view(np.int64), past.state.view(np.int64), past.slot])
            )
        return state

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Restores `get_extra_state`."""
        self.memory.load_state_dict(state["memory"])
        self.num_rows = state["num_rows"]
        if self.num_rows:
            self._allocate(self.num_rows)
            past = self._past
            episode, states, slot = (row.copy() for row in state["rows"].numpy())
            past.episode, past.state, past.slot = episode.view(np.uint64), states.view(np.uint64), slot
            past.any_menu = bool((slot >= 0).any())


class _Past:
    """Where each row was one step ago (apart from the module, whose attributes are slow to set).

    Attributes:
        episode: uint64 [E], number of the episode, part of the key unless the memory is persistent.
        row: uint64 [E], the row's own number.
        state: uint64 [E], hash of all that counts as an effect.
        slot: int64 [E], slot of the situation in the memory, -1 outside of menus.
        any_menu: whether a row was in a menu or text.
    """

    def __init__(self, num_rows: int) -> None:
        self.episode = np.zeros(num_rows, np.uint64)
        self.row = np.arange(num_rows, dtype=np.uint64)
        self.state = np.zeros(num_rows, np.uint64)
        self.slot = np.full(num_rows, -1, np.int64)
        self.any_menu = False
