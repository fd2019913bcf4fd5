"""The acting side: epsilon-greedy under the mask, noise of its own for every emulator.

Letters: E emulators, A actions, H hidden units.
"""

import hashlib
import multiprocessing
from functools import partial
from typing import Any

import torch
from tensordict import TensorDictBase
from tensordict.nn import TensorDictModuleBase
from torch import Tensor
from torchrl.data import Composite, Unbounded
from torchrl.envs import ExplorationType, TensorDictPrimer
from torchrl.envs.utils import exploration_type

from pokered_rl.errors import ConfigError
from pokered_rl.modules.heads import HeadNoise
from pokered_rl.modules.recurrent_network import RecurrentQuantileNetwork

__all__ = ["R2D2Policy"]


class R2D2Policy(TensorDictModuleBase):
    """Acts with a recurrent quantile network, as the policy of an environment or a collector.

    Under ``ExplorationType.RANDOM`` (a collector's default) each emulator explores with its own ``epsilon`` and with
    its own sample of the head's noise; under any other type, and outside of one, the action is greedy on mean weights.
    Random actions are uniform over the allowed ones. A mask row that allows nothing counts as all allowed.

    Random numbers come from a generator that lives in the process that acts. It is no buffer, so weight updates do not
    overwrite it, and it is not copied with the policy, so no two workers share their noise: its seed is made of the
    process's torch seed (which is random where nobody has set one) and the process's name.

    Reads: the network's observations [E, ...] and state [E, H]; ``epsilon`` float32 [E, 1]; ``action_mask``
    bool [E, A], optional.
    Writes: ``action`` int64 [E], ``action_value`` float32 [E, A] and the new state under ``next``. The values are those
    that the action was chosen by, noise included.

    The state and epsilon come from a primer: ``env.append_transform(policy.make_primers(epsilon=...))``. Without it the
    agent would forget everything at every step, so a missing state entry raises ``KeyError``.

    Args:
        network: the network; shared, not copied.
        noise_interval_steps: steps that a sample of noise is held. Fortunato et al. 2018 resample at every step with
            DQN and once a rollout with A3C; a plan of a few decisions wants a policy that stays the same that long.
        epsilon_key: entry of epsilon; None never acts at random.
        action_mask_key: entry of the mask; None ignores masks.
        action_key: entry that is written.

    Raises:
        ConfigError: for an interval below 1.
    """

    def __init__(
        self,
        network: RecurrentQuantileNetwork,
        *,
        noise_interval_steps: int = 8,
        epsilon_key: str | None = "epsilon",
        action_mask_key: str | None = "action_mask",
        action_key: str = "action",
    ) -> None:
        super().__init__()
        if noise_interval_steps < 1:
            raise ConfigError(f"noise_interval_steps must be >= 1, got {noise_interval_steps}")
        self.network = network
        self.noise_interval_steps = noise_interval_steps
        self.epsilon_key = epsilon_key
        self.action_mask_key = action_mask_key
        self.action_key = action_key
        # The mask is no in_key: TorchRL would demand it, and environments without a mask are welcome.
        self.in_keys = [*network.in_keys, *([] if epsilon_key is None else [epsilon_key])]
        self.out_keys = [action_key, "action_value", *(("next", key) for key in network.state_keys)]
        # Not of the policy but of the process that acts: see __getstate__.
        self._generator: torch.Generator | None = None
        self._seed: int | None = None
        self._noise: HeadNoise | None = None
        self._steps_with_noise = 0

    @torch.no_grad()
    def forward(self, tensordict: TensorDictBase) -> TensorDictBase:
        """Choose actions for a TensorDict of batch size [E] (or [] for one environment that is not batched)."""
        single = tensordict.ndim == 0
        observations = [tensordict[key] for key in self.network.observation_keys]
        state = tuple(tensordict[key] for key in self.network.state_keys)
        if single:
            observations = [value.unsqueeze(0) for value in observations]
            state = tuple(value.unsqueeze(0) for value in state)
        explore = exploration_type() is ExplorationType.RANDOM
        rows, device = observations[0].shape[0], observations[0].device
        noise = self._current_noise(rows, device) if explore and self.network.head.noisy else None
        value, state = self.network.act(observations, state, noise)  # [E, A]

        allowed = self._allowed(tensordict, value)
        action = value.masked_fill(~allowed, -torch.inf).argmax(-1)  # [E]
        if explore and self.epsilon_key is not None:
            epsilon = tensordict[self.epsilon_key].reshape(rows)
            generator = self._process_generator(device)
            draw = torch.rand(rows, 1 + value.shape[-1], device=device, generator=generator)
            # The largest of independent uniform numbers falls on every allowed action equally often.
            random_action = draw[:, 1:].masked_fill(~allowed, -1.0).argmax(-1)
            action = torch.where(draw[:, 0] < epsilon, random_action, action)

        if single:
            action, value, state = action[0], value[0], tuple(part[0] for part in state)
        tensordict.set(self.action_key, action)
        tensordict.set("action_value", value)
        for key, part in zip(self.network.state_keys, state, strict=True):
            tensordict.set(("next", key), part)
        return tensordict

    def make_primers(self, *, epsilon: Tensor | float | None = None) -> TensorDictPrimer:
        """Build the transform that supplies the recurrent state, zero at every reset, and epsilon.

        Args:
            epsilon: a number for all emulators, or float32 [E] with one for each; None leaves the entry to others.

        Returns:
            TensorDictPrimer: to be appended to the environment.
        """
        specs: dict[str, Unbounded] = {
            key: Unbounded(shape=(self.network.hidden_size,)) for key in self.network.state_keys
        }
        defaults: dict[str, Any] = dict.fromkeys(specs, 0.0)
        if epsilon is not None and self.epsilon_key is not None:
            specs[self.epsilon_key] = Unbounded(shape=(1,))
            defaults[self.epsilon_key] = (
                partial(torch.clone, epsilon.detach().float().reshape(-1, 1))
                if isinstance(epsilon, Tensor) and epsilon.ndim
                else float(epsilon)
            )
        return TensorDictPrimer(Composite(specs), default_value=defaults, expand_specs=True)

    def make_tensordict_primer(self) -> TensorDictPrimer:
        """Build the primer of the state alone, under the name that TorchRL looks for in a policy."""
        return self.make_primers()

    def _allowed(self, tensordict: TensorDictBase, value: Tensor) -> Tensor:
        """Return which actions are allowed, bool [E, A]; never a row of False."""
        mask = None if self.action_mask_key is None else tensordict.get(self.action_mask_key, None)
        if mask is None:
            return torch.ones_like(value, dtype=torch.bool)
        allowed: Tensor = mask.bool().reshape(value.shape)
        return allowed | ~allowed.any(-1, keepdim=True)

    def _current_noise(self, rows: int, device: torch.device) -> HeadNoise:
        """Return the noise in force, resampled every ``noise_interval_steps`` calls."""
        noise = self._noise
        fits = noise is not None and noise[0][0].shape[0] == rows and noise[0][0].device == device
        if noise is None or not fits or self._steps_with_noise >= self.noise_interval_steps:
            noise = self.network.head.sample_noise(rows, generator=self._process_generator(device))
            self._noise = noise
            self._steps_with_noise = 0
        self._steps_with_noise += 1
        return noise

    def _process_generator(self, device: torch.device) -> torch.Generator:
        """Return this process's own generator, made anew when the process is seeded anew."""
        seed = torch.initial_seed()
        if self._generator is None or self._seed != seed or self._generator.device != device:
            self._seed = seed
            self._generator = torch.Generator(device)
            name = f"{seed}/{multiprocessing.current_process().name}"
            digest = hashlib.sha256(name.encode()).digest()
            self._generator.manual_seed(int.from_bytes(digest[:7], "big"))
        return self._generator

    def __getstate__(self) -> dict[str, Any]:
        state = dict(super().__getstate__())
        state.update(_generator=None, _seed=None, _noise=None, _steps_with_noise=0)
        return state
