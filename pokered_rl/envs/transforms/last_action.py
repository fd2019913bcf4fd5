"""`LastActionReward`: what the agent did and got one step ago, as inputs of a recurrent network."""

from __future__ import annotations

from typing import Any

import torch
from tensordict import NestedKey, TensorDictBase
from torchrl.data import Categorical, Composite, Unbounded
from torchrl.envs import Transform

from pokered_rl.emulator import ActionSet
from pokered_rl.envs.transforms.base import put

__all__ = ["LastActionReward"]


class LastActionReward(Transform):
    """Shows the previous action and reward with the observation (R2D2, Kapturowski et al. 2019, section 2.3).

    Reads:
        ``action`` int64 [*] (or one-hot bool [*, A]) and ``reward`` float32 [*, 1] of the step just made.

    Writes:
        ``last_action`` int64 [*]: the action that led here, A ("none") at the start of an episode, so an embedding
        needs A + 1 rows. ``last_reward`` float32 [*, 1], 0 at the start.

    Resets:
        The rows in ``_reset``. There is no memory: both values come from the step itself.

    Place it behind `RewardTerms`, or it shows the environment's own reward.

    Args:
        num_actions: A; None asks the environment.
        action_key, reward_key: what is read.
        out_keys: where action and reward go.

    Example:
        >>> from tensordict import TensorDict
        >>> from pokered_rl.envs import LastActionReward
        >>> last = LastActionReward(num_actions=8)
        >>> td = TensorDict({"action": torch.tensor([3]), "reward": torch.tensor([[0.5]])}, [1])
        >>> last(td)["last_action"], last(td)["last_reward"]
        (tensor([3]), tensor([[0.5000]]))
    """

    def __init__(
        self,
        *,
        num_actions: int | None = None,
        action_key: NestedKey = "action",
        reward_key: NestedKey = "reward",
        out_keys: tuple[NestedKey, NestedKey] = ("last_action", "last_reward"),
    ) -> None:
        super().__init__(in_keys=[action_key, reward_key], out_keys=list(out_keys))
        if num_actions is not None and num_actions < 1:
            raise ValueError(f"num_actions must be >= 1, got {num_actions}")
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
        # Rows that are not reset keep their values: TorchRL merges these only into the rows of `_reset`.
        shape = tensordict_reset.batch_size
        tensordict_reset.set(self.out_keys[0], torch.full(shape, self.num_actions, dtype=torch.int64))
        tensordict_reset.set(self.out_keys[1], torch.zeros(*shape, 1))
        return tensordict_reset

    def _call(self, next_tensordict: TensorDictBase) -> TensorDictBase:
        return self.forward(next_tensordict)

    def forward(self, tensordict: TensorDictBase) -> TensorDictBase:
        """Copies the entries of a step that is given as one tensordict; rows in ``is_init`` start."""
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
        """Adds both entries."""
        lead = tuple(observation_spec.shape)
        device = observation_spec.device
        observation_spec[self.out_keys[0]] = Categorical(self.num_actions + 1, shape=lead, device=device)
        observation_spec[self.out_keys[1]] = Unbounded(shape=(*lead, 1), dtype=torch.float32, device=device)
        return observation_spec
