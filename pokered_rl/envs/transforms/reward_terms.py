"""`RewardTerms`: the reward as a sum of named terms; `LastActionReward`: what was done and paid, as an input."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch
from tensordict import NestedKey, TensorDict, TensorDictBase, unravel_key
from torchrl.data import Categorical, Composite, Unbounded
from torchrl.envs import Transform

from pokered_rl.emulator import ActionSet
from pokered_rl.envs.memory import EmulatorMemory, StepMemory
from pokered_rl.envs.ram_frame import PROGRESS_LABELS, RamFrame, label_ranges
from pokered_rl.envs.rewards import RewardStep, RewardTerm, make_terms
from pokered_rl.envs.tile_memory import TileTracker
from pokered_rl.envs.transforms.base import RamTransform, choose_keys, put
from pokered_rl.errors import ConfigError
from pokered_rl.game import SCREEN_RANGES, RamLayout

__all__ = ["LastActionReward", "RewardTerms"]

_log = logging.getLogger(__name__)


class RewardTerms(RamTransform):
    """Computes the reward from RAM before and after each step.

    Reads:
        ``ram`` uint8 [*, R] of this step and (remembered) of the last one; ``action``.

    Writes:
        ``reward`` float32 [*, 1], the weighted sum of all terms, in place of the environment's. ``("reward_terms",
        name)`` float32 [*, 1] for each term, weight included, so they add up to the reward; zeros after a reset.

    Resets:
        All terms of the emulators in ``_reset``: each episode pays anew.

    Args:
        terms: The terms; None makes the preset ``balanced`` (:func:`pokered_rl.envs.rewards.make_terms`).
        write_terms: Write the single terms as well.
        renewing_events: Bits of the events after each of which all tiles are new again to the terms.
        in_keys: RAM and action.
        out_keys: The sum and the terms; a key beside ``reward`` gives the environment a second reward.
        ram_layout: See :class:`RamTransform`.

    Raises:
        ConfigError: Two terms share a name.

    Example:
        >>> from tensordict import TensorDict
        >>> from pokered_rl.envs import RewardTerms
        >>> from pokered_rl.envs.rewards import NewTiles, Steps
        >>> reward = RewardTerms(terms=[NewTiles(weight=1.0), Steps(weight=0.5)])
        >>> td = reward(TensorDict({"ram": torch.zeros(1, 8319, dtype=torch.uint8)}, [1]))  # the episode starts
        >>> reward(td)["reward"]  # the player stands still
        tensor([[-0.5000]])
    """

    OUT_KEYS: ClassVar = ("reward", "reward_terms")
    carries_memory = True
    memory: _Memory

    def __init__(
        self,
        *,
        terms: Iterable[RewardTerm] | None = None,
        write_terms: bool = True,
        renewing_events: Sequence[int] = (),
        in_keys: Sequence[NestedKey] | None = None,
        out_keys: Sequence[NestedKey] | None = None,
        ram_layout: RamLayout | None = None,
    ) -> None:
        super().__init__(in_keys=in_keys, out_keys=out_keys, ram_layout=ram_layout)
        self.terms = tuple(make_terms() if terms is None else terms)
        self.term_names = tuple(term.name for term in self.terms)
        if len(set(self.term_names)) != len(self.terms):
            raise ConfigError(f"reward terms must have distinct names, got {', '.join(self.term_names)}")
        self.write_terms = write_terms
        self.renewing_events = tuple(renewing_events)
        keys = choose_keys("out_keys", out_keys, self.OUT_KEYS)
        self._reward_key, self._terms_key = keys
        self.out_keys = keys if write_terms else keys[:1]
        self._not_finite: Counter[str] = Counter()
        self._weights = np.array([[term.weight for term in self.terms]], np.float32)

    @property
    def ram_ranges(self) -> tuple[tuple[int, int], ...]:
        """Address ranges (start, stop) that the terms read."""
        labels = (label for term in self.terms for label in term.labels)
        screen = SCREEN_RANGES if any(term.reads_screen for term in self.terms) else ()
        return tuple(sorted({*label_ranges({*RamFrame.LABELS, *PROGRESS_LABELS, *labels}), *screen}))

    @property
    def last_values(self) -> npt.NDArray[np.float32]:
        """Weighted values of the last step, float32 [E, number of terms]; replaced, not changed, by the next one."""
        return self.memory.values

    def _allocate(self, num_emulators: int) -> EmulatorMemory:
        return _Memory(num_emulators, self.terms, self.renewing_events)

    def _start(self, frame: RamFrame, emulators: npt.NDArray[np.bool_]) -> None:
        memory = self.memory
        memory.tiles.start(frame, emulators)
        for term in self.terms:
            term.begin(frame, emulators)
        memory.before = frame
        memory.values = np.where(emulators[:, None], np.float32(0), memory.values)

    def _advance(self, frame: RamFrame, action: npt.NDArray[np.int64] | None) -> None:
        memory = self.memory
        memory.tiles.advance(frame)
        before = memory.before if memory.before is not None else frame
        step = RewardStep(now=frame, before=before, action=action, tiles=memory.tiles)
        happened = step.happened
        values = np.zeros((frame.num_emulators, len(self.terms)), np.float32)
        for column, term in enumerate(self.terms):
            if happened[term.only_with]:
                values[:, column] = term.evaluate(step)
        values *= self._weights
        if not np.isfinite(values.sum()):
            self._report(values)
        memory.values, memory.before = values, frame

    def _report(self, values: npt.NDArray[np.float32]) -> None:
        """Say which terms are not finite, each at its first and at every thousandth time; a weight of 0 is 0."""
        values[:, self._weights[0] == 0] = 0
        for emulator, column in np.argwhere(~np.isfinite(values)):
            name = self.term_names[column]
            self._not_finite[name] += 1
            if self._not_finite[name] % 1000 == 1:
                _log.warning(
                    "the reward term %s gave %s on emulator %d of this worker (time %d); stored sequences with it are"
                    " left out: correct the term, or set reward.weights.%s=0",
                    *(name, values[emulator, column], emulator, self._not_finite[name], name),
                )

    def _write(self, frame: RamFrame, out: TensorDictBase) -> None:
        if not self.write_terms:
            return
        table = torch.from_numpy(self.last_values.T.copy()).reshape(len(self.terms), *frame.lead, 1)
        columns = dict(zip(self.term_names, table.unbind(0), strict=True))
        # The checks of the public constructor cost 25 us; shapes are right by construction.
        terms = TensorDict._new_unsafe(columns, batch_size=out.batch_size, device=out.device)
        put(out, self._terms_key, terms)

    def _put_sum(self, out: TensorDictBase) -> TensorDictBase:
        self._put(out, self._reward_key, self.last_values.sum(1, keepdims=True), self._frame(out))
        return out

    def _step(self, tensordict: TensorDictBase, next_tensordict: TensorDictBase) -> TensorDictBase:
        return self._put_sum(super()._step(tensordict, next_tensordict))

    def forward(self, tensordict: TensorDictBase) -> TensorDictBase:
        """Make one step of every emulator, outside of an environment; where an episode begins, the reward is 0."""
        return self._put_sum(super().forward(tensordict))

    def transform_observation_spec(self, observation_spec: Composite) -> Composite:
        """Add the terms."""
        if self.write_terms:
            for name in self.term_names:
                self._add_spec(
                    observation_spec,
                    unravel_key((self._terms_key, name)),
                    lambda lead: Unbounded(shape=(*lead, 1), dtype=torch.float32),
                )
        return observation_spec

    def transform_reward_spec(self, reward_spec: Composite) -> Composite:
        """Add the sum unless it replaces the environment's own reward."""
        if self._reward_key not in reward_spec.keys(True, True):
            shape = (*reward_spec.shape, 1)
            reward_spec[self._reward_key] = Unbounded(shape=shape, dtype=torch.float32, device=reward_spec.device)
        return reward_spec


class _Memory(StepMemory):
    """Tiles, terms and values of the last step, apart from the module, whose attributes are slow to set."""

    NOT_SAVED: ClassVar = frozenset({"values"})

    def __init__(self, num_emulators: int, terms: tuple[RewardTerm, ...], renewing_events: Sequence[int]) -> None:
        self.tiles = TileTracker(num_emulators=num_emulators, renewing_events=renewing_events)
        #: float32 [E, number of terms], weighted.
        self.values = np.zeros((num_emulators, len(terms)), np.float32)
        self._terms = terms
        for term in terms:
            term.prepare(num_emulators)

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "terms": {term.name: term.state_dict() for term in self._terms}}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the memory; a term of which not all was saved, as with another option, begins its episode now."""
        super().load_state_dict(state)
        for term in self._terms:
            if term.is_in(state["terms"]):
                term.load_state_dict(state["terms"][term.name])
            elif self.before is not None:
                term.begin(self.before, np.ones(len(self.values), bool))

    def emulator_state(self, index: int) -> dict[str, Any]:
        terms = {term.name: term.emulator_state(index) for term in self._terms}
        return {**super().emulator_state(index), "terms": terms}

    def load_emulator_state(self, index: int, state: Mapping[str, Any]) -> None:
        super().load_emulator_state(index, state)
        for term in self._terms:
            if term.is_in(state["terms"]):
                term.load_emulator_state(index, state["terms"][term.name])


class LastActionReward(Transform):
    """Adds the previous action and reward to the observation (R2D2, Kapturowski et al. 2019, section 2.3).

    Reads:
        ``action`` int64 [*] (or one-hot bool [*, A]) and ``reward`` float32 [*, 1] of the step just made.

    Writes:
        ``last_action`` int64 [*]: the action of the last step, A ("none") at the start of an episode, so an embedding
        needs A + 1 entries. ``last_reward`` float32 [*, 1], 0 at the start.

    Resets:
        The emulators in ``_reset``. There is no memory: both values come from the step itself.

    Place it behind :class:`RewardTerms`, or it shows the environment's own reward.

    Args:
        num_actions: A; None takes it from the environment.
        in_keys: Action and reward.
        out_keys: Last action and last reward.

    Raises:
        ConfigError: ``num_actions`` is below 1.

    Example:
        >>> from tensordict import TensorDict
        >>> from pokered_rl.envs import LastActionReward
        >>> last = LastActionReward(num_actions=8)
        >>> td = TensorDict({"action": torch.tensor([3]), "reward": torch.tensor([[0.5]])}, [1])
        >>> last(td)["last_action"], last(td)["last_reward"]
        (tensor([3]), tensor([[0.5000]]))
    """

    IN_KEYS: ClassVar = ("action", "reward")
    OUT_KEYS: ClassVar = ("last_action", "last_reward")

    def __init__(
        self,
        *,
        num_actions: int | None = None,
        in_keys: Sequence[NestedKey] | None = None,
        out_keys: Sequence[NestedKey] | None = None,
    ) -> None:
        super().__init__(
            in_keys=choose_keys("in_keys", in_keys, self.IN_KEYS),
            out_keys=choose_keys("out_keys", out_keys, self.OUT_KEYS),
        )
        if num_actions is not None and num_actions < 1:
            raise ConfigError(f"num_actions must be >= 1, got {num_actions}")
        self._num_actions = num_actions

    @property
    def num_actions(self) -> int:
        """A, the value of ``last_action`` at the start of an episode."""
        if self._num_actions is None:
            container = self.container
            if container is None:
                self._num_actions = len(ActionSet())
            else:
                self._num_actions = int(container.full_action_spec[self.in_keys[0]].space.n)
        return self._num_actions

    def _index(self, action: torch.Tensor, reward: torch.Tensor) -> torch.Tensor:
        one_hot = action.ndim == reward.ndim and action.shape[-1] == self.num_actions and self.num_actions > 1
        return action.to(torch.uint8).argmax(-1) if one_hot else action.clone()

    def _step(self, tensordict: TensorDictBase, next_tensordict: TensorDictBase) -> TensorDictBase:
        reward = next_tensordict.get(self.in_keys[1])
        put(next_tensordict, self.out_keys[0], self._index(tensordict.get(self.in_keys[0]), reward))
        put(next_tensordict, self.out_keys[1], reward.clone())
        return next_tensordict

    def _reset(self, tensordict: TensorDictBase, tensordict_reset: TensorDictBase) -> TensorDictBase:
        # TorchRL merges these only into the emulators of `_reset`.
        shape = tensordict_reset.batch_size
        tensordict_reset.set(self.out_keys[0], torch.full(shape, self.num_actions, dtype=torch.int64))
        tensordict_reset.set(self.out_keys[1], torch.zeros(*shape, 1))
        return tensordict_reset

    def _call(self, next_tensordict: TensorDictBase) -> TensorDictBase:
        return self.forward(next_tensordict)

    def forward(self, tensordict: TensorDictBase) -> TensorDictBase:
        """Copy the entries of a step given as one tensordict; emulators in ``is_init`` begin an episode."""
        reward = tensordict.get(self.in_keys[1])
        action = self._index(tensordict.get(self.in_keys[0]), reward)
        init: Any = tensordict.get("is_init", None)
        if init is not None:
            action = torch.where(init.reshape(action.shape), self.num_actions, action)
            reward = torch.where(init.reshape(reward.shape), 0.0, reward)
        tensordict.set(self.out_keys[0], action)
        tensordict.set(self.out_keys[1], reward.clone())
        return tensordict

    def transform_observation_spec(self, observation_spec: Composite) -> Composite:
        """Add both entries."""
        lead = tuple(observation_spec.shape)
        device = observation_spec.device
        observation_spec[self.out_keys[0]] = Categorical(self.num_actions + 1, shape=lead, device=device)
        observation_spec[self.out_keys[1]] = Unbounded(shape=(*lead, 1), dtype=torch.float32, device=device)
        return observation_spec
