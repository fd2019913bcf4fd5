"""The policy: epsilon-greedy or epsilon-z under the action mask, with noise of its own for each emulator.

Letters: E emulators, A actions, H hidden units.
"""

import hashlib
import multiprocessing
from collections.abc import Mapping
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
from pokered_rl.observations import allowed_actions

__all__ = ["R2D2Policy"]

#: Attributes that :meth:`R2D2Policy.exploration_state` keeps beside the generator.
_EXPLORATION_STATE = ("_noise", "_steps_with_noise", "_held", "_hold_steps")


class R2D2Policy(TensorDictModuleBase):
    """Policy of a recurrent quantile network, for environments and collectors.

    Under ``ExplorationType.RANDOM`` (a collector's default) each emulator explores with its own ``epsilon`` and its own
    sample of the head's noise; otherwise the action is greedy on mean weights. Random actions are uniform over the
    allowed ones. A mask that allows nothing counts as all allowed. With ``max_hold_steps`` above 1 a random action is
    repeated (temporally extended epsilon-greedy, Dabney et al. 2021): its duration n is drawn in proportion to
    ``n ** -hold_exponent`` up to ``max_hold_steps``. The repetition ends early where the mask forbids the action and
    at an episode's start.

    Random numbers come from a generator of the process. It is no buffer, so weight updates do not overwrite it, and it
    is not copied with the policy, so no two workers share their noise: it is seeded with the process's torch seed and
    name.

    Reads: the network's observations [E, ...] and state [E, H]; ``epsilon`` float32 [E, 1]; optional
    ``action_mask`` bool [E, A] and ``is_init`` bool [E, 1].
    Writes: ``action`` int64 [E], ``action_value`` float32 [E, A] and the new state under ``next``. The values are those
    that the action was chosen by, noise included.

    State and epsilon come from a primer: ``env.append_transform(policy.make_primers(epsilon=...))``. A missing state
    entry raises ``KeyError``; a state of zeros at each step would be an agent without memory.

    Args:
        network: The network; shared, not copied.
        noise_interval_steps: Steps for which a sample of noise is held. Fortunato et al. 2018 resample at every step
            with DQN and once a rollout with A3C; a plan of a few steps needs a policy that stays the same.
        max_hold_steps: Longest duration of a random action; 1 is plain epsilon-greedy.
        hold_exponent: Exponent of the durations' distribution, mu of the paper.
        epsilon_key: Entry of epsilon; None never acts at random.
        action_mask_key: Entry of the mask; None ignores masks.
        action_key: Entry of the action.

    Raises:
        ConfigError: The interval or the longest duration is below 1.
    """

    def __init__(
        self,
        network: RecurrentQuantileNetwork,
        *,
        noise_interval_steps: int = 8,
        max_hold_steps: int = 1,
        hold_exponent: float = 2.0,
        epsilon_key: str | None = "epsilon",
        action_mask_key: str | None = "action_mask",
        action_key: str = "action",
    ) -> None:
        super().__init__()
        if noise_interval_steps < 1:
            raise ConfigError(f"noise_interval_steps must be >= 1, got {noise_interval_steps}")
        if max_hold_steps < 1:
            raise ConfigError(f"max_hold_steps must be >= 1, got {max_hold_steps}")
        self.network = network
        self.max_hold_steps = max_hold_steps
        self.hold_exponent = hold_exponent
        chances = (torch.arange(1, max_hold_steps + 1, dtype=torch.float64) ** -hold_exponent).cumsum(0)
        self._duration_chances = (chances / chances[-1]).float()  # [max_hold_steps] chance of n or less
        self.noise_interval_steps = noise_interval_steps
        self.epsilon_key = epsilon_key
        self.action_mask_key = action_mask_key
        self.action_key = action_key
        # The mask is no in_key: TorchRL would require it.
        self.in_keys = [*network.in_keys, *([] if epsilon_key is None else [epsilon_key])]
        self.out_keys = [action_key, "action_value", *(("next", key) for key in network.state_keys)]
        # State of the acting process, which __getstate__ drops.
        self._generator: torch.Generator | None = None
        self._seed: int | None = None
        self._noise: HeadNoise | None = None
        self._steps_with_noise = 0
        self._held: Tensor | None = None  # [E] action of the last repetition
        self._hold_steps: Tensor | None = None  # [E] steps for which it goes on

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
        num_emulators, device = observations[0].shape[0], observations[0].device
        noise = self._current_noise(num_emulators, device) if explore and self.network.head.noisy else None
        value, state = self.network.act(observations, state, noise)  # [E, A]

        allowed = self._allowed(tensordict, value)
        action = value.masked_fill(~allowed, -torch.inf).argmax(-1)  # [E]
        if explore and self.epsilon_key is not None:
            epsilon = tensordict[self.epsilon_key].reshape(num_emulators)
            generator = self._process_generator(device)
            draw = torch.rand(num_emulators, 1 + value.shape[-1], device=device, generator=generator)
            # The largest of independent uniform numbers is uniform over the allowed actions.
            random_action = draw[:, 1:].masked_fill(~allowed, -1.0).argmax(-1)
            starts = draw[:, 0] < epsilon  # [E]
            if self.max_hold_steps > 1:
                starts, random_action = self._hold(starts, random_action, allowed, tensordict.get("is_init", None))
            action = torch.where(starts, random_action, action)

        if single:
            action, value, state = action[0], value[0], tuple(part[0] for part in state)
        tensordict.set(self.action_key, action)
        tensordict.set("action_value", value)
        for key, part in zip(self.network.state_keys, state, strict=True):
            tensordict.set(("next", key), part)
        return tensordict

    def make_primers(self, *, epsilon: Tensor | float | None = None) -> TensorDictPrimer:
        """Build the transform that supplies the recurrent state, zero at each reset, and epsilon.

        Args:
            epsilon: One number, or float32 [E] with one for each emulator; None leaves the entry to another transform.

        Returns:
            TensorDictPrimer: Append it to the environment.
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
        """Build the primer of the state alone; TorchRL looks for this name in a policy."""
        return self.make_primers()

    def exploration_state(self) -> dict[str, Any] | None:
        """Return generator, noise and repetitions of this process; None before the first exploring step."""
        if self._generator is None:
            return None
        return {"generator": self._generator.get_state()} | {name: getattr(self, name) for name in _EXPLORATION_STATE}

    def load_exploration_state(self, state: Mapping[str, Any], *, device: torch.device | None = None) -> None:
        """Continue from :meth:`exploration_state`, in a process seeded alike."""
        self._process_generator(device or torch.device("cpu")).set_state(state["generator"])
        for name in _EXPLORATION_STATE:
            setattr(self, name, state[name])

    def _hold(
        self, starts: Tensor, random_action: Tensor, allowed: Tensor, is_init: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Extend random actions in time: from the emulators that draw one [E] to those that repeat one, and actions."""
        held, steps = self._held, self._hold_steps
        if held is None or steps is None or held.shape != starts.shape or held.device != starts.device:
            held = steps = torch.zeros_like(random_action)
        if is_init is not None:
            steps = steps.masked_fill(is_init.reshape(starts.shape), 0)
        goes_on = (steps > 0) & allowed.gather(-1, held.unsqueeze(-1)).squeeze(-1)
        starts = starts & ~goes_on
        draw = torch.rand(starts.shape, device=starts.device, generator=self._generator)
        duration = 1 + torch.searchsorted(self._duration_chances.to(starts.device), draw)
        self._held = torch.where(starts, random_action, held)
        self._hold_steps = torch.where(starts, duration, steps.where(goes_on, 0)).sub(1).clamp(min=0)
        return starts | goes_on, self._held

    def _allowed(self, tensordict: TensorDictBase, value: Tensor) -> Tensor:
        """Return which actions are allowed, bool [E, A]."""
        mask = None if self.action_mask_key is None else tensordict.get(self.action_mask_key, None)
        if mask is None:
            return torch.ones_like(value, dtype=torch.bool)
        return allowed_actions(mask.bool().reshape(value.shape))

    def _current_noise(self, num_emulators: int, device: torch.device) -> HeadNoise:
        """Return the noise in force, resampled every ``noise_interval_steps`` calls."""
        noise = self._noise
        fits = noise is not None and noise[0][0].shape[0] == num_emulators and noise[0][0].device == device
        if noise is None or not fits or self._steps_with_noise >= self.noise_interval_steps:
            noise = self.network.head.sample_noise(num_emulators, generator=self._process_generator(device))
            self._noise = noise
            self._steps_with_noise = 0
        self._steps_with_noise += 1
        return noise

    def _process_generator(self, device: torch.device) -> torch.Generator:
        """Return the generator of this process, renewed when the process is seeded anew."""
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
        state.update(_generator=None, _seed=None, _noise=None, _steps_with_noise=0, _held=None, _hold_steps=None)
        return state
