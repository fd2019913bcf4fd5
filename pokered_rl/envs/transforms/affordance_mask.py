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
from pokered_rl.envs.frame import RamFrame, hash_bytes, label_ranges
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
        self._columns: tuple[RamLayout, npt.NDArray[np.int64], int] | None = None
        self._spec: TensorSpec | None = None

    @property
    def ram_ranges(self) -> tuple[tuple[int, int], ...]:
        """Address ranges (start, stop) that the transform reads."""
        return tuple(sorted({*label_ranges(self.labels), *SCREEN_RANGES}))

    def _allocate(self, num_rows: int) -> None:
        self._episode = np.zeros(num_rows, np.uint64)
        self._row = np.arange(num_rows, dtype=np.uint64)
        self._signature = np.zeros(num_rows, np.uint64)
        self._state = np.zeros(num_rows, np.uint64)
        self._slot = np.full(num_rows, -1, np.int64)

    def _hashes(self, frame: RamFrame) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint64]]:
        """Hash of the situation, and of all that counts as an effect, uint64 [E] each."""
        if self._columns is None or self._columns[0] != frame.layout:
            labels = (*self._SIGNATURE, *self._EFFECTS)
            columns = [
                column
                for label in labels
                for start, stop in label_ranges([label])
                for column in range(frame.layout.column(start), frame.layout.column(start) + stop - start)
            ]
            self._columns = (frame.layout, np.array(columns), len(self._SIGNATURE))
        values = frame.bytes[:, self._columns[1]]
        split = self._columns[2]
        kind = frame.screen_kind.astype(np.uint64) + np.uint64(1)
        signature = frame.text_hash ^ (hash_bytes(values[:, :split]) * np.uint64(31)) ^ (kind * _GOLDEN)
        return signature, signature ^ (hash_bytes(values[:, split:]) * np.uint64(17))

    def _start(self, frame: RamFrame, rows: npt.NDArray[np.bool_], out: TensorDictBase) -> None:
        if not self.persistent:
            self._episode[rows] += np.uint64(1)
        self._write(frame, out)

    def _advance(
        self, frame: RamFrame, action: npt.NDArray[np.int64] | None, out: TensorDictBase, tensordict: TensorDictBase
    ) -> None:
        if self.learned and action is not None:
            slot, state = self._slot, self._state
            self._write(frame, out, before=(slot, state, action))
        else:
            self._write(frame, out)

    def _learn(
        self, slot: npt.NDArray[np.int64], unchanged: npt.NDArray[np.bool_], action: npt.NDArray[np.int64]
    ) -> None:
        """Counts a failure of ``action`` in the situations it was taken in, or clears its count."""
        rows = (slot >= 0) & ~self._is_noop[action]
        if not rows.any():
            return
        slot, action, unchanged = slot[rows], action[rows], unchanged[rows]
        failures = self.memory.failures
        failures[slot] *= np.float32(self.decay)
        np.add.at(failures, (slot[unchanged], action[unchanged]), np.float32(1))
        failures[slot[~unchanged], action[~unchanged]] = 0

    def _write(
        self,
        frame: RamFrame,
        out: TensorDictBase,
        before: tuple[npt.NDArray[np.int64], npt.NDArray[np.uint64], npt.NDArray[np.int64]] | None = None,
    ) -> None:
        rules = frame.usable_buttons[:, self._buttons] | self._is_noop  # [E, A]
        allowed = rules
        if self.learned:
            menus = self._kinds[frame.screen_kind]
            if menus.any() or (self._slot >= 0).any():
                signature, state = self._hashes(frame)
                if before is not None:
                    slot, old, action = before
                    self._learn(slot, state == old, action)
                self._state = state
                self._slot = np.full(frame.num_rows, -1, np.int64)
                if menus.any():
                    keys = signature if self.persistent else signature ^ (self._episode * _GOLDEN + self._row)
                    self._slot[menus] = self.memory.slots(keys[menus])
                    allowed = self._without_failures(rules)
        if not allowed.any(1).all():
            allowed = allowed | ~allowed.any(1, keepdims=True)
        mask = torch.from_numpy(allowed).reshape(*frame.lead, allowed.shape[1])
        out.set(self.out_keys[0], mask)
        spec = self._action_spec()
        if spec is not None:
            spec.update_mask(mask.clone())

    def _without_failures(self, rules: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
        known = np.expand_dims(self._slot >= 0, 1)
        failed: npt.NDArray[np.bool_] = (self.memory.failures[self._slot] >= self.fail_threshold - 0.5) & known
        if self._b is not None:
            failed[:, self._b] = False
        allowed = rules & ~failed
        stuck = ~(allowed & ~self._is_noop).any(1, keepdims=True)
        return np.where(stuck, rules, allowed)

    def _action_spec(self) -> TensorSpec | None:
        """The leaf of the environment's action spec, looked up once."""
        if self._spec is None:
            container = self.container
            if container is None:
                return None
            self._spec = container.full_action_spec[self.action_key]
        return self._spec

    def set_container(self, container: Transform | EnvBase) -> None:
        """Attaches the transform; the action spec is asked for again."""
        super().set_container(container)
        self._spec = None

    def empty_cache(self) -> None:
        """Called when the environment's specs are rebuilt."""
        super().empty_cache()
        self._spec = None

    def transform_observation_spec(self, observation_spec: Composite) -> Composite:
        """Adds the mask."""
        n = len(self.actions)
        self._add_spec(observation_spec, self.out_keys[0], lambda lead: Binary(n, shape=(*lead, n), dtype=torch.bool))
        return observation_spec

    def get_extra_state(self) -> dict[str, Any]:
        """The memory, and in which situation each row is."""
        state: dict[str, Any] = {"num_rows": self.num_rows, "memory": self.memory.state_dict()}
        if self.num_rows:
            rows = [self._episode.view(np.int64), self._state.view(np.int64), self._slot]
            state["rows"] = torch.from_numpy(np.stack(rows))
        return state

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Restores `get_extra_state`."""
        self.memory.load_state_dict(state["memory"])
        self.num_rows = state["num_rows"]
        if self.num_rows:
            self._allocate(self.num_rows)
            episode, states, slot = (row.copy() for row in state["rows"].numpy())
            self._episode, self._state, self._slot = episode.view(np.uint64), states.view(np.uint64), slot
