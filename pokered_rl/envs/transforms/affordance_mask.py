"""`AffordanceMask`: which actions can have an effect, by the game's rules and by experience."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch
from tensordict import NestedKey, TensorDictBase
from torchrl.data import Binary, Composite, TensorSpec
from torchrl.envs import EnvBase, Transform

from pokered_rl.emulator import ActionSet
from pokered_rl.envs.memory import EmulatorMemory, to_array, to_tensor
from pokered_rl.envs.ram_frame import RamFrame, any_of, label_ranges
from pokered_rl.envs.transforms.base import RamTransform
from pokered_rl.errors import CheckpointError, ConfigError
from pokered_rl.game import SCREEN_RANGES, RamLayout, ScreenKind

__all__ = ["AffordanceMask", "FailureMemory"]

_Hashes = npt.NDArray[np.uint64]
_Slots = npt.NDArray[np.int64]
_Flags = npt.NDArray[np.bool_]

#: Screens in which failures are learned: menus and waiting texts, never the overworld.
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
    """Masks actions that cannot have an effect, in the entry and in the environment's action spec.

    Two sources:

    * the rules of :func:`pokered_rl.game.usable_buttons`: buttons that the game does not read on this screen;
    * a learned memory: in menus and text, an action that left the user interface unchanged ``fail_threshold`` times is
      masked in that situation. A step during which the game ignored the buttons for a while (``wait_frames``) had an
      effect, also if a text or an animation has passed and the same menu is back. A situation is a hash of screen kind,
      menu variables and the letters on the screen (not of pixels, nor of the map behind). Each return to the situation
      multiplies its counts by ``decay``, so a masked action is tried again later (it is masked while its count is at
      least ``fail_threshold - 0.5``); one effect clears its count. The memory never masks B, which leaves menus, nor
      the last button left.

    The no-op is never masked. When nothing else would be allowed and there is no no-op, everything is.

    Reads:
        ``ram`` uint8 [*, R]; ``action`` int64 [*] or one-hot; ``wait_frames`` [*, 1], 0 without it.

    Writes:
        ``action_mask`` bool [*, A], True = allowed. Inside an environment also the mask of the action spec
        (Categorical or OneHot), which ``rand_action`` and TorchRL's exploration modules respect.

    Resets:
        With ``persistent`` the memory is kept and shared by all emulators of the environment; without it each episode
        of each emulator starts with an empty one.

    Args:
        actions: Names of the action numbers.
        learned: Use the memory; False uses the rules only.
        fail_threshold: Failures after which an action is masked.
        decay: Factor on the counts of a situation at each return to it.
        persistent: Keep the memory across episodes.
        capacity: Situations remembered; the least recently seen are replaced first.
        in_keys: RAM, action, frames waited.
        out_keys: The mask.
        ram_layout: See :class:`RamTransform`.

    Raises:
        ConfigError: A threshold or capacity below 1, or a decay outside of (0, 1].

    Example:
        >>> from tensordict import TensorDict
        >>> from pokered_rl.envs import AffordanceMask
        >>> mask = AffordanceMask()
        >>> ram = torch.zeros(1, 8319, dtype=torch.uint8)
        >>> mask(TensorDict({"ram": ram}, [1]))["action_mask"].shape
        torch.Size([1, 8])
    """

    IN_KEYS: ClassVar = ("ram", "action", "wait_frames")
    OUT_KEYS: ClassVar = ("action_mask",)
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
    #: What tells a situation from others, beside kind and letters of the screen.
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
    #: What an action in a menu may change without changing a letter on the screen.
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

    memory: _MenuMemory

    def __init__(
        self,
        *,
        actions: ActionSet | None = None,
        learned: bool = True,
        fail_threshold: int = 3,
        decay: float = 0.995,
        persistent: bool = False,
        capacity: int = 4096,
        in_keys: Sequence[NestedKey] | None = None,
        out_keys: Sequence[NestedKey] | None = None,
        ram_layout: RamLayout | None = None,
    ) -> None:
        super().__init__(in_keys=in_keys, out_keys=out_keys, ram_layout=ram_layout)
        if fail_threshold < 1:
            raise ConfigError(f"fail_threshold must be >= 1, got {fail_threshold}")
        if not 0 < decay <= 1:
            raise ConfigError(f"decay must be in (0, 1], got {decay}")
        self.actions = actions or ActionSet()
        self.learned = learned
        self.fail_threshold = fail_threshold
        self.decay = decay
        self.persistent = persistent
        self.carries_memory = learned and not persistent
        self.failures = FailureMemory(capacity=capacity, num_actions=len(self.actions))
        buttons = np.array(self.actions.button_indices)
        self._buttons = np.maximum(buttons, 0)
        self._is_noop = buttons < 0
        self._b = self.actions.index("b") if "b" in self.actions.names else None
        self._kinds = np.zeros(256, bool)
        self._kinds[[int(kind) for kind in _LEARNED_KINDS]] = True
        self._may_be_empty = not self._is_noop.any()
        self._known_columns: tuple[RamLayout, npt.NDArray[np.int64], _Hashes] | None = None
        self._spec_mask: tuple[TensorSpec | None, torch.Tensor | None] = (None, None)

    @property
    def ram_ranges(self) -> tuple[tuple[int, int], ...]:
        """Address ranges (start, stop) that the transform reads."""
        return tuple(sorted({*label_ranges(self.labels), *SCREEN_RANGES}))

    def _allocate(self, num_emulators: int) -> EmulatorMemory:
        return _MenuMemory(num_emulators)

    def _columns(self, layout: RamLayout) -> tuple[npt.NDArray[np.int64], _Hashes]:
        """Return the columns of `_SIGNATURE` and `_EFFECTS`, and their weights in the two hashes, uint64 [n, 2]."""
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

    def _hashes(self, frame: RamFrame) -> tuple[_Hashes, _Hashes]:
        """Return the hash of the situation, and of all that counts as an effect, uint64 [E] each."""
        known = self.memory.hashes
        if known is None or known[0] is not frame:
            columns, weights = self._columns(frame.layout)
            hashed = frame.bytes.take(columns, 1).astype(np.uint64) @ weights  # [E, 2]
            signature = frame.text_hash ^ _KIND_HASH.take(frame.screen_kind) ^ hashed[:, 0]
            known = self.memory.hashes = (frame, signature, signature ^ hashed[:, 1])
        return known[1:]

    def _start(self, frame: RamFrame, emulators: _Flags) -> None:
        if not self.persistent:
            self.memory.episode[emulators] += np.uint64(1)

    def _advance(self, frame: RamFrame, action: npt.NDArray[np.int64] | None) -> None:
        self.memory.action = action if self.learned and self.memory.any_menu else None

    def _count(self, frame: RamFrame, action: npt.NDArray[np.int64], waited: torch.Tensor | None) -> None:
        """Count the actions without effect that led to ``frame``."""
        memory = self.memory
        known = (memory.slot >= 0) & ~self._is_noop[action]
        if not any_of(known):
            return
        unchanged = self._hashes(frame)[1] == memory.state
        if waited is not None:
            unchanged &= waited.numpy(force=True).reshape(-1) == 0
        self.failures.count(memory.slot[known], action[known], unchanged[known], decay=self.decay)

    def _write(self, frame: RamFrame, out: TensorDictBase) -> None:
        allowed = frame.usable_buttons.take(self._buttons, 1)  # [E, A]
        allowed |= self._is_noop
        if self.learned:
            if self.memory.action is not None:
                self._count(frame, self.memory.action, out.get(self.in_keys[2], None))
                self.memory.action = None
            in_menu = self._kinds.take(frame.screen_kind)
            any_menu = any_of(in_menu)
            if any_menu or self.memory.any_menu:
                allowed = self._by_experience(frame, in_menu, allowed)
            self.memory.any_menu = any_menu
        if self._may_be_empty:
            allowed |= ~allowed.any(1, keepdims=True)
        self._update_spec(self._put(out, self.out_keys[0], allowed, frame))

    def _by_experience(self, frame: RamFrame, in_menu: _Flags, rules: _Flags) -> _Flags:
        """Look up the situations of this step; return what the memory leaves of ``rules``, bool [E, A]."""
        memory = self.memory
        signature, memory.state = self._hashes(frame)
        memory.slot = np.full(frame.num_emulators, -1, np.int64)
        if not any_of(in_menu):
            return rules
        owners = memory.owners(persistent=self.persistent)
        memory.slot[in_menu] = self.failures.slots(signature[in_menu], owners[in_menu])
        failed = self.failures.counts[memory.slot] >= self.fail_threshold - 0.5
        failed &= (memory.slot >= 0)[:, None]
        if not any_of(failed):
            return rules
        if self._b is not None:
            failed[:, self._b] = False
        allowed = rules & ~failed
        stuck = ~(allowed & ~self._is_noop).any(1, keepdims=True)
        return np.where(stuck, rules, allowed)

    def _update_spec(self, mask: torch.Tensor) -> None:
        """Update the mask of the environment's action spec."""
        spec, known = self._spec_mask
        if spec is None:
            container = self.container
            if container is None:
                return
            spec = container.full_action_spec[self.in_keys[1]]
        if known is None or spec.mask is None or spec.mask.data_ptr() != known.data_ptr():
            # A tensor of our own, written in place from now on: `update_mask` costs 15 us, a copy 1 us.
            known = mask.clone()
            spec.update_mask(known)
            self._spec_mask = (spec, known)
        else:
            known.copy_(mask)

    def set_container(self, container: Transform | EnvBase) -> None:
        """Attach the transform to an environment."""
        super().set_container(container)
        self._spec_mask = (None, None)

    def empty_cache(self) -> None:
        """Forget the action spec; called when the environment's specs are rebuilt."""
        super().empty_cache()
        self._spec_mask = (None, None)

    def transform_observation_spec(self, observation_spec: Composite) -> Composite:
        """Add the mask."""
        n = len(self.actions)
        self._add_spec(observation_spec, self.out_keys[0], lambda lead: Binary(n, shape=(*lead, n), dtype=torch.bool))
        return observation_spec

    def emulator_state(self, index: int) -> dict[str, Any]:
        """Return the situations of an emulator's episode in which an action failed; none if all episodes share them."""
        if self.persistent:
            return {}
        signatures, counts = self.failures.of_owner(int(self.memory.owners(persistent=False)[index]))
        return {"signatures": to_tensor(signatures), "counts": to_tensor(counts)}

    def load_emulator_state(self, index: int, state: Mapping[str, Any]) -> None:
        """Give an emulator, whose episode has just begun, what :meth:`emulator_state` returned in the same state."""
        if not self.persistent:
            owner = self.memory.owners(persistent=False)[index : index + 1]
            for signature, counts in zip(to_array(state["signatures"], np.uint64), state["counts"], strict=True):
                self.failures.counts[self.failures.slots(signature[None], owner)] = counts

    def get_extra_state(self) -> dict[str, Any]:
        """Return the counts, and the situation of each emulator."""
        return {**super().get_extra_state(), "failures": self.failures.state_dict()}

    def set_extra_state(self, state: Mapping[str, Any]) -> None:
        """Restore :meth:`get_extra_state`."""
        super().set_extra_state(state)
        self.failures.load_state_dict(state["failures"])
        if self.num_emulators:
            self.memory.any_menu = bool((self.memory.slot >= 0).any())


class _MenuMemory(EmulatorMemory):
    """The situation of each emulator one step ago, apart from the module, whose attributes are slow to set."""

    NOT_SAVED: ClassVar = frozenset({"_all"})

    def __init__(self, num_emulators: int) -> None:
        self._all = np.arange(num_emulators, dtype=np.uint64)
        #: uint64 [E], number of the episode.
        self.episode = np.zeros(num_emulators, np.uint64)
        #: uint64 [E], hash of all that counts as an effect.
        self.state = np.zeros(num_emulators, np.uint64)
        #: int64 [E], slot of the situation in the :class:`FailureMemory`, -1 outside of menus.
        self.slot = np.full(num_emulators, -1, np.int64)
        #: int64 [E], the actions of a step until they are counted; None where none was in a menu.
        self.action: npt.NDArray[np.int64] | None = None
        #: Whether any emulator was in a menu or text.
        self.any_menu = False
        #: The last frame and its hashes.
        self.hashes: tuple[RamFrame, _Hashes, _Hashes] | None = None

    def owners(self, *, persistent: bool) -> _Hashes:
        """Return what the entries of each emulator's episode are told apart by, uint64 [E]; 0 if all share theirs."""
        return np.zeros_like(self._all) if persistent else self.episode * _GOLDEN + self._all


class FailureMemory:
    """A bounded table that counts, for each owner and situation, how often each action failed.

    When it is full, the least recently used situation is replaced.

    Args:
        capacity: Situations; more than a step has emulators.
        num_actions: A.

    Raises:
        ConfigError: ``capacity`` is below 1.
    """

    def __init__(self, *, capacity: int, num_actions: int) -> None:
        if capacity < 1:
            raise ConfigError(f"capacity must be >= 1, got {capacity}")
        self.capacity = capacity
        #: Slot of each owner and signature, the least recently used first.
        self._slots: OrderedDict[tuple[int, int], int] = OrderedDict()
        #: float32 [capacity, A].
        self.counts = np.zeros((capacity, num_actions), np.float32)

    def slots(self, signatures: _Hashes, owners: _Hashes) -> _Slots:
        """Return the slot of each situation, int64 [n]; an unknown one gets a slot with no failures."""
        return np.array([self._slot(key) for key in zip(owners.tolist(), signatures.tolist(), strict=True)])

    def _slot(self, key: tuple[int, int]) -> int:
        slot = self._slots.get(key)
        if slot is None:
            full = len(self._slots) == self.capacity
            slot = self._slots.popitem(last=False)[1] if full else len(self._slots)
            self._slots[key] = slot
            self.counts[slot] = 0
        else:
            self._slots.move_to_end(key)
        return slot

    def of_owner(self, owner: int) -> tuple[_Hashes, npt.NDArray[np.float32]]:
        """Return the situations of an owner with failures, uint64 [n], and their counts, float32 [n, A]."""
        found = [(key[1], slot) for key, slot in self._slots.items() if key[0] == owner and self.counts[slot].any()]
        return np.array([signature for signature, _ in found], np.uint64), self.counts[[slot for _, slot in found]]

    def count(self, slots: _Slots, actions: _Slots, failed: _Flags, *, decay: float) -> None:
        """Decay the counts of ``slots``; add a failure of each action that failed, clear the counts of the others."""
        self.counts[slots] *= np.float32(decay)
        self.counts[slots[~failed], actions[~failed]] = 0
        if any_of(failed):
            np.add.at(self.counts, (slots[failed], actions[failed]), np.float32(1))

    def __len__(self) -> int:
        return len(self._slots)

    def state_dict(self) -> dict[str, Any]:
        """Return the used slots, as tensors, the least recently used first."""
        slots = list(self._slots.values())
        return {
            "capacity": self.capacity,
            "keys": to_tensor(np.array(list(self._slots), np.uint64).reshape(-1, 2)),
            "slots": torch.tensor(slots, dtype=torch.int64),
            "counts": to_tensor(self.counts[slots]),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore :meth:`state_dict`.

        Raises:
            CheckpointError: Capacity or number of actions differ.
        """
        saved = (state["capacity"], state["counts"].shape[1])
        mine = (self.capacity, self.counts.shape[1])
        if saved != mine:
            raise CheckpointError(f"failure memory has (capacity, actions) {mine}, the saved one has {saved}")
        keys, slots = to_array(state["keys"], np.uint64).tolist(), state["slots"].tolist()
        self._slots = OrderedDict(
            ((owner, signature), slot) for (owner, signature), slot in zip(keys, slots, strict=True)
        )
        self.counts[slots] = state["counts"].numpy()
