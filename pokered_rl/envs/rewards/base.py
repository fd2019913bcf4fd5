"""What a reward term is, and what it can look at."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch

from pokered_rl.envs.ram_frame import RamFrame, any_of
from pokered_rl.envs.rewards.tiles import TileTracker

__all__ = ["FirstTimes", "ProgressTerm", "RewardStep", "RewardTerm"]

Floats = npt.NDArray[np.float32]
Flags = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]


@dataclass
class RewardStep:
    """One step of E emulators.

    Attributes:
        now: the memory after the step.
        before: the memory before it.
        action: int64 [E], None when it is not known.
        tiles: arrivals, first visits and first maps of this step.
    """

    now: RamFrame
    before: RamFrame
    action: Ints | None
    tiles: TileTracker

    @cached_property
    def happened(self) -> dict[str, bool]:
        """For each value of `RewardTerm.only_with`, whether such a term can have a value other than 0."""
        return {
            "": True,
            "progress": self.now.progress is not self.before.progress,
            "battle": self.now.any_battle or self.before.any_battle,
            "battle_change": any_of(self.now.in_battle != self.before.in_battle),
        }


class RewardTerm:
    """One summand of the reward: weight times a value computed from the memory before and after a step.

    A subclass sets `name`, `default_weight` and `labels` and implements `_value`. Arrays made in `_allocate` are its
    memory: they are saved and restored with the environment.

    Args:
        weight: factor; None takes the class's default.

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
    #: ``"progress"``: the value is 0 unless `RamFrame.progress` changed; ``"battle"``: unless there is or was a battle;
    #: ``"battle_change"``: unless a battle began or ended. The term is then not even asked.
    only_with: ClassVar[str] = ""
    #: Entries of the RAM map that the term reads beyond `RamFrame.LABELS`.
    labels: ClassVar[tuple[str, ...]] = ()

    def __init__(self, *, weight: float | None = None) -> None:
        self.weight = self.default_weight if weight is None else float(weight)
        self._memory: set[str] = {"_memory"}

    def _allocate(self, num_rows: int) -> None:
        """Makes memory for E = ``num_rows`` emulators."""

    def prepare(self, num_rows: int) -> None:
        """Calls `_allocate` and notes what it made: that, and only that, is saved."""
        known = set(vars(self)) - self._memory
        self._allocate(num_rows)
        self._memory = set(vars(self)) - known

    def begin(self, frame: RamFrame, rows: Flags) -> None:
        """An episode begins in ``rows`` (bool [E]); ``frame`` shows all rows."""
        self._start(frame, rows)

    def evaluate(self, step: RewardStep) -> npt.NDArray[Any]:
        """The unweighted value of the step, [E]."""
        return self._value(step) if step.happened[self.only_with] else np.zeros(step.now.num_rows)

    def _start(self, frame: RamFrame, rows: Flags) -> None:
        """An episode begins in ``rows`` (bool [E]); ``frame`` shows all rows."""

    def _value(self, step: RewardStep) -> npt.NDArray[Any]:
        """The unweighted value of the step, a number for each row, [E]."""
        raise NotImplementedError

    def state_dict(self) -> dict[str, Any]:
        """The arrays that `_allocate` made, as tensors, and the states of other objects that it made."""
        state: dict[str, Any] = {}
        for key in sorted(self._memory - {"_memory"}):
            value = getattr(self, key)
            if isinstance(value, np.ndarray):
                state[key] = torch.from_numpy(value.view(np.int64) if value.dtype == np.uint64 else value).clone()
            else:
                state[key] = value.state_dict()
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores what `state_dict` returned, after `prepare`."""
        for key in self._memory - {"_memory"}:
            value = getattr(self, key)
            if isinstance(value, np.ndarray):
                value[...] = state[key].numpy().view(value.dtype)
            else:
                value.load_state_dict(state[key])


class ProgressTerm(RewardTerm):
    """A term that pays for a quantity's growth beyond the most it ever was in the episode.

    value_t = max(0, q_t - max_{s<t} q_s), q_0 being the quantity at the start, so going back and forth pays nothing.
    """

    def _allocate(self, num_rows: int) -> None:
        self._best = np.zeros(num_rows)

    def _start(self, frame: RamFrame, rows: Flags) -> None:
        self._best[rows] = self._quantity(frame)[rows]

    def _quantity(self, frame: RamFrame) -> npt.NDArray[Any]:
        """The quantity q, [E]."""
        raise NotImplementedError

    def _value(self, step: RewardStep) -> npt.NDArray[Any]:
        quantity = self._quantity(step.now)
        gain = np.maximum(quantity - self._best, 0)
        self._best = np.maximum(self._best, quantity)
        return gain


class FirstTimes:
    """Remembers which of many things each row has seen, in a fixed table of hashed flags.

    Two things share a flag with probability (things seen) / ``size``: a first time may go unnoticed, never be paid
    twice.

    Args:
        num_rows: E.
        size: flags of each row, a power of two.
    """

    def __init__(self, *, num_rows: int, size: int = 1 << 14) -> None:
        self._seen = np.zeros((num_rows, size), bool)
        self._rows = np.arange(num_rows)
        self._mask = np.uint64(size - 1)

    def clear(self, rows: Flags) -> None:
        """Forgets everything that ``rows`` have seen."""
        self._seen[rows] = False

    def slot(self, keys: npt.NDArray[Any]) -> Ints:
        """The flag of each key, int64 [E]."""
        mixed = keys.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        slot: Ints = ((mixed >> np.uint64(32)) & self._mask).astype(np.int64)
        return slot

    def first(self, keys: npt.NDArray[Any], active: Flags) -> Flags:
        """True in the rows of ``active`` that see their key for the first time; it counts as seen from now on."""
        slot = self.slot(keys)
        fresh: Flags = active & ~self._seen[self._rows, slot]
        self._seen[self._rows[fresh], slot[fresh]] = True
        return fresh

    def state_dict(self) -> dict[str, torch.Tensor]:
        """Rows and columns of the flags that are set."""
        return {"seen": torch.from_numpy(np.argwhere(self._seen))}

    def load_state_dict(self, state: dict[str, torch.Tensor]) -> None:
        """Restores what `state_dict` returned."""
        self._seen[:] = False
        rows, columns = state["seen"].numpy().T
        self._seen[rows, columns] = True
