"""Base of the reward terms, and the step that they evaluate."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch

from pokered_rl.envs.memory import EmulatorMemory, SparseMemory
from pokered_rl.envs.ram_frame import RamFrame, any_of
from pokered_rl.envs.tile_memory import TileTracker

__all__ = ["FirstTimes", "ProgressTerm", "RewardStep", "RewardTerm", "hashed_slot"]

Floats = npt.NDArray[np.float32]
Flags = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]


@dataclass
class RewardStep:
    """One step of E emulators."""

    #: RAM after the step.
    now: RamFrame
    #: RAM before the step.
    before: RamFrame
    #: int64 [E], None when it is not known.
    action: Ints | None
    #: Arrivals, first visits and first maps of this step.
    tiles: TileTracker

    @cached_property
    def happened(self) -> dict[str, bool]:
        """For each value of :attr:`RewardTerm.only_with`, whether such a term can have a value other than 0."""
        return {
            "": True,
            "progress": self.now.progress is not self.before.progress,
            "battle": self.now.any_battle or self.before.any_battle,
            "battle_change": any_of(self.now.in_battle != self.before.in_battle),
        }


class RewardTerm(EmulatorMemory):
    """One summand of the reward: weight times a value computed from RAM before and after a step.

    A subclass sets :attr:`name`, :attr:`default_weight` and :attr:`labels` and implements :meth:`_value`. Arrays
    [E, ...] made in :meth:`_allocate` are its memory: they are saved and restored with the environment.

    Args:
        weight: Factor; None takes the class's default.

    Example:
        A term that pays for steps to the north:

        >>> from pokered_rl.envs import RewardTerms
        >>> from pokered_rl.envs.rewards import RewardTerm
        >>> class Northwards(RewardTerm):
        ...     name, default_weight = "northwards", 0.1
        ...     def _value(self, step):
        ...         same_map = step.now.map_id == step.before.map_id
        ...         return same_map * (step.before.y - step.now.y)
        >>> transform = RewardTerms(terms=[Northwards(weight=0.5)])
    """

    #: Key of the term in ``("reward_terms", name)`` and in configs.
    name: ClassVar[str]
    #: Weight when none is given.
    default_weight: ClassVar[float] = 0.0
    #: The term is evaluated only in steps in which this happened; its value is 0 otherwise. ``"progress"``:
    #: :attr:`RamFrame.progress` changed; ``"battle"``: a battle is or was on; ``"battle_change"``: one began or ended.
    only_with: ClassVar[str] = ""
    #: Whether its value depends on earlier episodes: it cannot be computed again from one log.
    outlives_episodes: ClassVar[bool] = False
    #: Entries of the RAM map that the term reads beyond `RamFrame.LABELS`.
    labels: ClassVar[tuple[str, ...]] = ()
    #: Whether the term reads :attr:`RamFrame.screen_kind`.
    reads_screen: ClassVar[bool] = False

    def __init__(self, *, weight: float | None = None) -> None:
        self.weight = self.default_weight if weight is None else float(weight)
        self._made: frozenset[str] = frozenset()

    def _allocate(self, num_emulators: int) -> None:
        """Make memory for E = ``num_emulators`` emulators."""

    def prepare(self, num_emulators: int) -> None:
        """Call :meth:`_allocate` and note what it made: that, and only that, is saved."""
        known = set(vars(self)) - self._made
        self._allocate(num_emulators)
        self._made = frozenset(set(vars(self)) - known)

    def begin(self, frame: RamFrame, emulators: Flags) -> None:
        """Begin an episode in ``emulators`` (bool [E]); ``frame`` shows all of them."""
        self._start(frame, emulators)

    def evaluate(self, step: RewardStep) -> npt.NDArray[Any]:
        """Return the unweighted value of the step, [E]."""
        return self._value(step) if step.happened[self.only_with] else np.zeros(step.now.num_emulators)

    def _start(self, frame: RamFrame, emulators: Flags) -> None:
        """Begin an episode in ``emulators`` (bool [E]); ``frame`` shows all of them."""

    def _value(self, step: RewardStep) -> npt.NDArray[Any]:
        """Return the unweighted value of the step for each emulator, [E]."""
        raise NotImplementedError

    def is_in(self, saved: Mapping[str, Mapping[str, Any]]) -> bool:
        """Return whether memories by name of the term hold all that this one remembers."""
        return self.name in saved and self._parts().keys() <= saved[self.name].keys()

    def _parts(self) -> dict[str, Any]:
        return {key: part for key, part in super()._parts().items() if key in self._made}


class ProgressTerm(RewardTerm):
    """A term that pays for a quantity's growth beyond its maximum in the episode.

    value_t = max(0, q_t - max_{s<t} q_s), q_0 being the quantity at the start, so going back and forth pays nothing.
    """

    def _allocate(self, num_emulators: int) -> None:
        self._best = np.zeros(num_emulators)

    def _start(self, frame: RamFrame, emulators: Flags) -> None:
        self._best[emulators] = self._quantity(frame)[emulators]

    def _quantity(self, frame: RamFrame) -> npt.NDArray[Any]:
        """Return the quantity q, [E]."""
        raise NotImplementedError

    def _value(self, step: RewardStep) -> npt.NDArray[Any]:
        quantity = self._quantity(step.now)
        gain = np.maximum(quantity - self._best, 0)
        self._best = np.maximum(self._best, quantity)
        return gain


class FirstTimes(SparseMemory):
    """Remembers which keys each emulator has seen, in a fixed table of hashed flags.

    Two keys share a flag with probability (keys seen) / ``size``: a first time may be missed, but is never paid twice.

    Args:
        num_emulators: E.
        size: Flags of each emulator, a power of two.
    """

    def __init__(self, *, num_emulators: int, size: int = 1 << 14) -> None:
        self.num_emulators = num_emulators
        self._seen = np.zeros((num_emulators, size), bool)
        self._all = np.arange(num_emulators)

    def clear(self, emulators: Flags) -> None:
        """Forget everything that ``emulators`` have seen."""
        self._seen[emulators] = False

    def first(self, keys: npt.NDArray[Any], active: Flags) -> Flags:
        """Return which of the ``active`` emulators see their key for the first time; it counts as seen from now on."""
        slot = hashed_slot(keys, self._seen.shape[1])
        fresh: Flags = active & ~self._seen[self._all, slot]
        self._seen[self._all[fresh], slot[fresh]] = True
        return fresh

    def emulator_state(self, index: int) -> dict[str, Any]:
        """Return the flags of one emulator that are set."""
        return {"seen": torch.from_numpy(np.flatnonzero(self._seen[index]))}

    def load_emulator_state(self, index: int, state: Mapping[str, Any]) -> None:
        """Set the flags that :meth:`emulator_state` returned, and no others."""
        self._seen[index] = False
        self._seen[index, state["seen"].numpy()] = True


def hashed_slot(keys: npt.NDArray[Any], size: int) -> Ints:
    """Return the slot of each key in a table of ``size`` slots, a power of two."""
    mixed = keys.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    slot: Ints = ((mixed >> np.uint64(32)) & np.uint64(size - 1)).astype(np.int64)
    return slot
