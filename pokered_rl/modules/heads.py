"""Heads: quantiles of the return, and auxiliary reconstructions.

Letters: M steps, E emulators, H features, A actions, N quantiles, C context features.
"""

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchrl.modules import NoisyLinear

from pokered_rl.errors import ConfigError

__all__ = ["DuelingQuantileHead", "HeadNoise", "MapDecoder", "ReconstructionHead"]

#: Factorised noise of each layer of the head: (input noise [E, in], output noise [E, out]).
HeadNoise = Sequence[tuple[Tensor, Tensor]]


class DuelingQuantileHead(nn.Module):
    """Dueling quantile head of noisy layers, [M, H] -> [M, A, N].

    ``quantile_i(a) = V_i + A_i(a) - mean_a' A_i(a')`` for each fraction i (Wang et al. 2016 for each quantile of
    Dabney et al. 2018, as in Hessel et al. 2018), with a hidden layer in each stream.

    The layers are TorchRL's ``NoisyLinear``: their noise is in force under ``ExplorationType.RANDOM``, and the loss
    resamples it. Policies use :meth:`action_value` with noise of their own.

    Args:
        num_features: H.
        num_actions: A.
        num_quantiles: N.
        hidden_size: Units of each stream's hidden layer.
        noise_std: Initial noise (Fortunato et al. 2018: 0.5); 0 uses plain linear layers.
        dueling: False predicts every action's quantiles directly.
    """

    def __init__(
        self,
        num_features: int,
        *,
        num_actions: int,
        num_quantiles: int,
        hidden_size: int,
        noise_std: float = 0.5,
        dueling: bool = True,
    ) -> None:
        super().__init__()
        if noise_std < 0:
            raise ConfigError(f"noise_std must be >= 0, got {noise_std}")
        if num_actions < 1 or num_quantiles < 1:
            raise ConfigError(f"num_actions and num_quantiles must be >= 1, got {num_actions} and {num_quantiles}")
        self.num_actions = num_actions
        self.num_quantiles = num_quantiles
        self.noisy = noise_std > 0
        self.advantage_hidden = _linear(num_features, hidden_size, noise_std)
        self.advantage = _linear(hidden_size, num_actions * num_quantiles, noise_std)
        self.value_hidden = _linear(num_features, hidden_size, noise_std) if dueling else None
        self.value = _linear(hidden_size, num_quantiles, noise_std) if dueling else None

    def forward(self, features: Tensor) -> Tensor:
        """Compute quantiles [M, A, N] of features [M, H]."""
        advantage = self.advantage(F.relu(self.advantage_hidden(features)))
        advantage = advantage.unflatten(-1, (self.num_actions, self.num_quantiles))
        if self.value_hidden is None or self.value is None:
            return torch.as_tensor(advantage)
        value = self.value(F.relu(self.value_hidden(features))).unsqueeze(-2)  # [M, 1, N]
        return torch.as_tensor(value + advantage - advantage.mean(-2, keepdim=True))

    def action_value(self, features: Tensor, noise: HeadNoise | None = None) -> Tensor:
        """Compute the mean over quantiles without the quantiles, for acting.

        The mean of a linear layer's outputs is a linear layer with the mean of its weights, so the last layers shrink
        from A * N to A outputs. Noise enters as ``W x = mu x + out * (sigma (in * x))``, the factorised form of
        ``(mu + sigma * outer(out, in)) x``: no noisy weight matrix is built, and each emulator has noise of its own.

        Args:
            features: [E, H].
            noise: Result of :meth:`sample_noise`; None acts on the mean weights.

        Returns:
            Tensor: [E, A].
        """
        pairs: list[tuple[Tensor, Tensor] | None] = [None] * 4 if noise is None else list(noise)
        hidden = F.relu(_apply(self.advantage_hidden, features, pairs[0]))
        advantage = _apply(self.advantage, hidden, pairs[1], self.num_quantiles)  # [E, A]
        if self.value_hidden is None or self.value is None:
            return advantage
        hidden = F.relu(_apply(self.value_hidden, features, pairs[2]))
        value = _apply(self.value, hidden, pairs[3], self.num_quantiles)  # [E, 1]
        return value + advantage - advantage.mean(-1, keepdim=True)

    def sample_noise(
        self, num_emulators: int, *, generator: torch.Generator | None = None
    ) -> list[tuple[Tensor, Tensor]]:
        """Sample independent factorised noise for each emulator, without touching buffers."""
        layers = [self.advantage_hidden, self.advantage]
        if self.value_hidden is not None and self.value is not None:
            layers += [self.value_hidden, self.value]
        sizes = [size for layer in layers for size in (layer.in_features, layer.out_features)]
        device = next(self.parameters()).device
        noise = torch.randn(num_emulators, sum(sizes), device=device, generator=generator)
        parts = (noise.sign() * noise.abs().sqrt()).split(sizes, -1)
        return list(zip(parts[::2], parts[1::2], strict=True))


class ReconstructionHead(nn.Module):
    """Auxiliary reconstruction of the context features, [M, H] -> [M, C].

    Args:
        num_features: H.
        context_size: C.
        hidden_size: Units of the hidden layer.
    """

    def __init__(self, num_features: int, *, context_size: int, hidden_size: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(num_features, hidden_size), nn.ReLU(), nn.Linear(hidden_size, context_size)
        )

    def forward(self, features: Tensor) -> Tensor:
        """Reconstruct the context."""
        context: Tensor = self.layers(features)
        return context


class MapDecoder(nn.Module):
    """Auxiliary reconstruction of the map crop, [M, H] -> [M, K, D, D], in units of its largest value (0..1).

    Args:
        num_features: H.
        shape: (K, D, D).
        hidden_size: Units of the hidden layer.
    """

    def __init__(self, num_features: int, *, shape: tuple[int, int, int], hidden_size: int) -> None:
        super().__init__()
        planes, height, width = shape
        self.layers = nn.Sequential(
            nn.Linear(num_features, hidden_size),
            nn.ReLU(),
            nn.Linear(hidden_size, planes * height * width),
            nn.Sigmoid(),
            nn.Unflatten(-1, shape),
        )

    def forward(self, features: Tensor) -> Tensor:
        """Reconstruct the crop."""
        crop: Tensor = self.layers(features)
        return crop


def _linear(in_features: int, out_features: int, noise_std: float) -> nn.Linear:
    if noise_std > 0:
        noisy: nn.Linear = NoisyLinear(in_features, out_features, std_init=noise_std)
        return noisy
    return nn.Linear(in_features, out_features)


def _apply(
    layer: nn.Linear, x: Tensor, noise: tuple[Tensor, Tensor] | None, num_quantiles: int | None = None
) -> Tensor:
    """Apply a layer with mean weights or factorised noise; ``num_quantiles`` averages groups of that many outputs."""
    noisy = isinstance(layer, NoisyLinear)
    weight = cast(Tensor, layer.weight_mu) if noisy else layer.weight
    bias = cast(Tensor, layer.bias_mu) if noisy else layer.bias
    if num_quantiles is not None:
        weight = weight.unflatten(0, (-1, num_quantiles)).mean(1)
        bias = bias.unflatten(0, (-1, num_quantiles)).mean(1)
    mean = F.linear(x, weight, bias)
    if noise is None or not noisy:
        return mean
    noise_in, noise_out = noise
    spread = F.linear(noise_in * x, cast(Tensor, layer.weight_sigma), cast(Tensor, layer.bias_sigma))
    disturbance = noise_out * spread
    if num_quantiles is not None:
        disturbance = disturbance.unflatten(-1, (-1, num_quantiles)).mean(-1)
    return mean + disturbance
