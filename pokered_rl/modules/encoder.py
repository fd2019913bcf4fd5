"""Encoders of the observations of a step.

Letters: M steps (batch and time flattened), F features. Frames stay packed, four 2-bit shades a byte, until they are
on the network's device: they take a sixteenth of the memory of float frames.
"""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.ops import Conv2dNormActivation, SqueezeExcitation

from pokered_rl.errors import ConfigError
from pokered_rl.observations import shades_of_bytes

__all__ = [
    "INITIALISATIONS",
    "MapEncoder",
    "ObservationEncoder",
    "PixelEncoder",
    "ResidualBlock",
    "SpatialSelfAttention",
    "VectorEncoder",
    "initialise_weights",
    "squash_reward",
]

#: Methods of :func:`initialise_weights`.
INITIALISATIONS = ("pytorch", "kaiming", "orthogonal")

#: Height of the screen in hardware tiles.
_SCREEN_TILES = 18


def squash_reward(reward: Tensor) -> Tensor:
    """Compress a reward to ``sign(r) log(1 + |r|)``, so that a large one does not saturate the LSTM."""
    return reward.sign() * reward.abs().log1p()


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions with an identity path around them, [M, C, H, W] -> [M, C, H, W].

    Args:
        channels: C.
        norm_layer: Normalisation of one sample, constructed with the number of channels; None for none. Never
            BatchNorm: Its statistics would differ between the batches of workers, learner and target network.
        squeeze_excitation: Rescale the channels by a summary of the whole frame (Hu et al. 2018).
    """

    def __init__(
        self, channels: int, *, norm_layer: Callable[[int], nn.Module] | None, squeeze_excitation: bool
    ) -> None:
        super().__init__()
        self.body = nn.Sequential(
            Conv2dNormActivation(channels, channels, 3, norm_layer=norm_layer, bias=True),
            Conv2dNormActivation(channels, channels, 3, norm_layer=norm_layer, bias=True, activation_layer=None),
        )
        self.excitation = SqueezeExcitation(channels, max(4, channels // 4)) if squeeze_excitation else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block."""
        out: Tensor = F.relu(x + self.excitation(self.body(x)))
        return out


class SpatialSelfAttention(nn.Module):
    """Pre-norm residual self-attention between the places of a feature map, [M, C, H, W] -> [M, C, H, W].

    Each place has a learned embedding.

    Args:
        channels: C, a multiple of ``num_heads``.
        num_places: H * W.
        num_heads: Attention heads.
    """

    def __init__(self, channels: int, num_places: int, *, num_heads: int = 4) -> None:
        super().__init__()
        if channels % num_heads:
            raise ConfigError(f"channels must be a multiple of num_heads {num_heads}, got {channels}")
        self.num_heads = num_heads
        self.place = nn.Parameter(torch.zeros(num_places, channels))
        self.norm = nn.LayerNorm(channels)
        self.query_key_value = nn.Linear(channels, 3 * channels)
        self.output = nn.Linear(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Attend from every place to every place."""
        height, width = x.shape[-2:]
        tokens = x.flatten(-2).transpose(-1, -2)  # [M, H*W, C]
        mixed = self.query_key_value(self.norm(tokens + self.place))
        query, key, value = mixed.unflatten(-1, (3, self.num_heads, -1)).permute(2, 0, 3, 1, 4)
        attended = F.scaled_dot_product_attention(query, key, value)  # [M, heads, H*W, C/heads]
        tokens = tokens + self.output(attended.transpose(1, 2).flatten(-2))
        out: Tensor = tokens.transpose(-1, -2).unflatten(-1, (height, width))
        return out


class PixelEncoder(nn.Module):
    """Packed frames [*, H, W/4] uint8 -> features [*, F].

    The stem embeds each hardware tile (the screen has 20 x 18, each 4 x 4 pixels at half size): text, menus and the
    map around a standing player lie on that grid, and an aligned stem needs 16 multiplications a place where the usual
    8x8 convolution of stride 4 needs 64. A convolution of stride 2 (9 x 10 places), residual blocks, optional
    attention, a 1x1 convolution to fewer channels, and a linear layer follow.

    Args:
        packed_shape: (H, W/4); (72, 20) at half size, (144, 40) at full size.
        stem_channels: Channels after the stem.
        channels: Channels after the stride-2 convolution.
        num_blocks: Residual blocks.
        num_features: F.
        norm: GroupNorm after each convolution; R2D2 has none, and acting is faster without.
        squeeze_excitation: Squeeze and excitation in the residual blocks.
        attention: Self-attention between the places of the last feature map.
    """

    def __init__(
        self,
        packed_shape: tuple[int, int] = (72, 20),
        *,
        stem_channels: int = 16,
        channels: int = 32,
        num_blocks: int = 1,
        num_features: int = 128,
        norm: bool = False,
        squeeze_excitation: bool = False,
        attention: bool = False,
    ) -> None:
        super().__init__()
        height, width = packed_shape[0], packed_shape[1] * 4
        tile = height // _SCREEN_TILES
        if height % _SCREEN_TILES or not tile or tile % 4 or width % tile:
            raise ConfigError(f"frames must be {_SCREEN_TILES} square tiles high, got {height} x {width} pixels")
        norm_layer = _group_norm if norm else None
        layers: list[nn.Module] = [
            # The four pixels of a byte are four channels, so a tile is `tile` lines of `tile / 4` bytes.
            Conv2dNormActivation(
                4, stem_channels, (tile, tile // 4), (tile, tile // 4), padding=0, norm_layer=norm_layer, bias=True
            ),
            Conv2dNormActivation(stem_channels, channels, 3, 2, norm_layer=norm_layer, bias=True),
        ]
        height, width = (height // tile + 1) // 2, (width // tile + 1) // 2
        layers += [
            ResidualBlock(channels, norm_layer=norm_layer, squeeze_excitation=squeeze_excitation)
            for _ in range(num_blocks)
        ]
        if attention:
            layers.append(SpatialSelfAttention(channels, height * width))
        thin = max(8, channels // 4)
        layers += [
            Conv2dNormActivation(channels, thin, 1, norm_layer=None),
            nn.Flatten(),
            nn.Linear(thin * height * width, num_features),
            nn.ReLU(),
        ]
        # Faster on a CPU: the channels of a place lie together in memory (docs/benchmarks/update_cost.py).
        self.layers = nn.Sequential(*layers).to(memory_format=torch.channels_last)
        self.num_features = num_features

    def forward(self, packed: Tensor) -> Tensor:
        """Unpack, scale to [0, 1] and encode."""
        lead, frames = packed.shape[:-2], packed.reshape(-1, *packed.shape[-2:])
        table = shades_of_bytes(torch.arange(256, dtype=torch.uint8, device=packed.device), -1) / 3  # [256, 4]
        shades = F.embedding(frames.int(), table).movedim(-1, -3)  # [M, 4, H, W/4]
        features: Tensor = self.layers(shades)
        return features.view(*lead, self.num_features)


class MapEncoder(nn.Module):
    """Map-memory crops [*, K, D, D] uint8 with values 0..3 -> features [*, F].

    The values are kinds, not amounts, so both their bits become planes. A 3x3 convolution of stride 3 embeds patches of
    nine tiles, a linear layer combines them.

    Args:
        shape: (K, D, D).
        channels: Channels of the patch embedding.
        num_features: F.
    """

    def __init__(
        self, shape: tuple[int, int, int] = (2, 21, 21), *, channels: int = 32, num_features: int = 64
    ) -> None:
        super().__init__()
        planes, height, width = shape
        places = ((height + 2) // 3) * ((width + 2) // 3)
        self.layers = nn.Sequential(
            Conv2dNormActivation(planes * 2, channels, 3, 3, norm_layer=None),
            nn.Flatten(),
            nn.Linear(channels * places, num_features),
            nn.ReLU(),
        )
        self.num_features = num_features

    def forward(self, crop: Tensor) -> Tensor:
        """Encode the crop."""
        lead, crops = crop.shape[:-3], crop.reshape(-1, *crop.shape[-3:])
        planes = torch.cat([crops >> 1, crops & 1], -3)  # [M, 2K, D, D]
        features: Tensor = self.layers(planes.float())
        return features.view(*lead, self.num_features)


class VectorEncoder(nn.Module):
    """Context features, last action and last reward -> features [M, F].

    Args:
        context_size: C, 0 without context.
        num_actions: A of the last action, 0 without it; index A stands for no action yet.
        last_reward: Take the last reward as input.
        num_features: F.
    """

    def __init__(self, *, context_size: int, num_actions: int, last_reward: bool, num_features: int) -> None:
        super().__init__()
        self.action_embedding = nn.Embedding(num_actions + 1, 16) if num_actions else None
        size = context_size + (16 if num_actions else 0) + int(last_reward)
        self.layers = nn.Sequential(nn.Linear(size, num_features), nn.ReLU())
        self.num_features = num_features

    def forward(self, context: Tensor | None, last_action: Tensor | None, last_reward: Tensor | None) -> Tensor:
        """Encode the inputs; those that the constructor left out are None.

        Args:
            context: [M, C] float32.
            last_action: [M] or [M, 1] int64.
            last_reward: [M] or [M, 1] float32.

        Returns:
            Tensor: [M, F].
        """
        inputs = []
        if context is not None:
            inputs.append(context.float())
        if last_action is not None and self.action_embedding is not None:
            inputs.append(self.action_embedding(last_action.flatten()))
        if last_reward is not None:
            inputs.append(squash_reward(last_reward.float()).reshape(-1, 1))
        features: Tensor = self.layers(torch.cat(inputs, -1))
        return features


class ObservationEncoder(nn.Module):
    """Observations of a step -> features [M, F]: the outputs of one encoder a branch, concatenated.

    Args:
        encoders: Modules of the branches ``pixels``, ``map_memory`` and ``vector``; branches may be missing.
        inputs: Names of the positional arguments of :meth:`forward`, out of ``pixels``, ``map_memory``, ``context``,
            ``last_action`` and ``last_reward``.
        layer_norm: Normalise the features of each branch (Ba et al. 2016), so that all reach the core at one scale.
    """

    def __init__(
        self,
        encoders: "Mapping[str, PixelEncoder | MapEncoder | VectorEncoder]",
        inputs: Sequence[str],
        *,
        layer_norm: bool = False,
    ) -> None:
        super().__init__()
        self.encoders = nn.ModuleDict(encoders)
        self.inputs = tuple(inputs)
        self.num_features = sum(encoder.num_features for encoder in encoders.values())
        self.norms = nn.ModuleDict(
            {name: nn.LayerNorm(encoder.num_features) for name, encoder in encoders.items()} if layer_norm else {}
        )

    def forward(self, *observations: Tensor) -> Tensor:
        """Encode observations, each [M, ...], in the order of ``inputs``."""
        given = dict(zip(self.inputs, observations, strict=True))
        vector = (given.get(name) for name in ("context", "last_action", "last_reward"))
        features = {
            name: encoder(*vector) if name == "vector" else encoder(given[name])
            for name, encoder in self.encoders.items()
        }
        if self.norms:
            features = {name: self.norms[name](value) for name, value in features.items()}
        return torch.cat(list(features.values()), -1)


def initialise_weights(module: nn.Module, method: str) -> None:
    """Initialise the convolutions and linear layers of an encoder.

    PyTorch's own initialisation shrinks a signal by sqrt(6) at each layer with a ReLU: after the four layers of the
    frame encoder it has a thirtieth of its scale. Attention layers, which have no ReLU, keep PyTorch's.

    Args:
        module: Encoder whose weights are set in place.
        method: ``kaiming`` (He et al. 2015) or ``orthogonal`` with gain sqrt(2) (Saxe et al. 2014), both with biases of
            zero; ``pytorch`` changes nothing.

    Raises:
        ConfigError: The method is unknown.
    """
    if method not in INITIALISATIONS:
        raise ConfigError(f"initialisation must be one of {list(INITIALISATIONS)}, got {method!r}")
    if method == "pytorch" or isinstance(module, SpatialSelfAttention):
        return
    if isinstance(module, nn.Conv2d | nn.Linear):
        if method == "kaiming":
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        else:
            nn.init.orthogonal_(module.weight, nn.init.calculate_gain("relu"))
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    for child in module.children():
        initialise_weights(child, method)


def _group_norm(channels: int) -> nn.Module:
    return nn.GroupNorm(max(1, channels // 8), channels)
