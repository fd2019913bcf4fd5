"""Exploration rates of the emulators, constant over the run and different for each (Horgan et al. 2018)."""

from collections.abc import Callable

import torch
from torch import Tensor
from torchrl.data import Composite, Unbounded
from torchrl.envs import TensorDictPrimer

from pokered_rl.errors import ConfigError

__all__ = ["Exploration", "emulator_epsilons", "epsilon_primer"]


def emulator_epsilons(num_emulators: int, *, base: float = 0.4, alpha: float = 7.0) -> Tensor:
    """Return the exploration rate of every emulator of a run, float32 [N].

    ``eps_i = base ** (1 + alpha i / (N - 1))`` with i the emulator's number over all workers and nodes; a single
    emulator explores with ``base``. A restarted or replaced worker keeps its rates.

    Args:
        num_emulators: N, emulators of the whole run.
        base: Rate of the most exploring emulator, in (0, 1].
        alpha: Spread of the rates, >= 0.

    Raises:
        ConfigError: A value is out of range.
    """
    if num_emulators < 1:
        raise ConfigError(f"num_emulators must be >= 1, got {num_emulators}")
    if not 0 < base <= 1:
        raise ConfigError(f"epsilon base must be in (0, 1], got {base}")
    if alpha < 0:
        raise ConfigError(f"epsilon alpha must be >= 0, got {alpha}")
    exponent = 1 + alpha * torch.arange(num_emulators, dtype=torch.float64) / max(1, num_emulators - 1)
    return (base**exponent).float()


class Exploration:
    """Epsilon of the emulators of one worker, float32 [E, 1]; called by a ``TensorDictPrimer``.

    Args:
        epsilon: Rates of these emulators, float32 [E].
        warmup_steps: Steps of the whole run during which every action is random.
        global_steps: Returns the steps of the whole run so far.
    """

    def __init__(self, epsilon: Tensor, *, warmup_steps: int = 0, global_steps: Callable[[], int]) -> None:
        self.epsilon = epsilon.reshape(-1, 1)
        self.warmup_steps = warmup_steps
        self._global_steps = global_steps

    def __call__(self) -> Tensor:
        """Return epsilon as of now in a new tensor, float32 [E, 1]."""
        if self.warmup_steps and self._global_steps() < self.warmup_steps:
            return torch.ones_like(self.epsilon)
        return self.epsilon.clone()


def epsilon_primer(exploration: Exploration, *, key: str = "epsilon") -> TensorDictPrimer:
    """Build the transform that supplies ``epsilon``, float32 [E, 1]; in a buffer, weight updates would overwrite it."""
    return TensorDictPrimer(
        Composite({key: Unbounded(shape=(1,))}), default_value={key: exploration}, expand_specs=True
    )
