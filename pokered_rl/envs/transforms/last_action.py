"""`LastActionReward`: the previous action and reward as inputs of a recurrent network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from tensordict import NestedKey, TensorDictBase
from torchrl.data import Categorical, Composite, Unbounded
from torchrl.envs import Transform

from pokered_rl.emulator import ActionSet
from pokered_rl.envs.transforms.base import choose_keys, put
from pokered_rl.errors import ConfigError

__all__ = ["LastActionReward"]


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
