"""From stored observations to one feature vector a step.

Letters: M rows (a flattened batch and time), F features. Frames stay packed, four 2-bit shades a byte, until they are
on the network's device; shades, map values and masks cost a quarter to a sixteenth of float frames on the way there.
"""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.ops import Conv2dNormActivation, SqueezeExcitation

from pokered_rl.errors import ConfigError

__all__ = [
    "MapEncoder",
    "ObservationEncoder",
    "PixelEncoder",
    "ResidualBlock",
    "SpatialSelfAttention",
    "VectorEncoder",
    "pack_shades",
    "squash_reward",
    "unpack_shades",
]

#: Rows of hardware tiles on the screen.
_SCREEN_TILES = 18


def unpack_shades(packed: Tensor) -> Tensor:
    """Unpack four 2-bit shades a byte, the leftmost pixel in the two highest bits.

    Args:
        packed: [..., H, W/4] uint8.

    Returns:
        Tensor: [..., H, W] uint8 shades, 0 black to 3 white.
    """
    return _shades_of_bytes(packed, -1).flatten(-2)


def pack_shades(shades: Tensor) -> Tensor:
    """Pack shades [..., H, W] uint8, W a multiple of 4, into [..., H, W/4]; undoes :func:`unpack_shades`."""
    shifts = torch.arange(6, -1, -2, device=shades.device, dtype=torch.uint8)
    packed: Tensor = (shades.unflatten(-1, (-1, 4)) << shifts).sum(-1, dtype=torch.uint8)
    return packed


def squash_reward(reward: Tensor) -> Tensor:
    """Compress a reward input to ``sign(r) log(1 + |r|)``, so that one jackpot does not saturate the LSTM."""
    return reward.sign() * reward.abs().log1p()


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions with an identity path around them, [M, C, H, W] -> [M, C, H, W].

    Args:
        channels: C.
        norm_layer: normalisation of one sample, from the number of channels; None for none. Never BatchNorm: its
            statistics would differ between a batch of one policy, the learner's batch and the target network.
        squeeze_excitation: rescale the channels by a summary of the whole picture (Hu et al. 2018).
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
    """Self-attention between the places of a feature map, [M, C, H, W] -> [M, C, H, W].

    Pre-norm residual attention with a learned embedding of each place; text boxes, menus and sprites can refer to one
    another over the whole screen.

    Args:
        channels: C, a multiple of ``num_heads``.
        num_places: H * W.
        num_heads: attention heads.
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

    The stem embeds each hardware tile of the Game Boy (the screen is 20 x 18 of them, 4 x 4 pixels each at half size)
    by itself: text, menus and a standing player's map lie on that grid, and an aligned stem needs 16
    multiplications a place, the usual 8x8 with stride 4 needs 64.
    A stride-2 convolution leads to 9 x 10 places, each a half tile of the map; residual blocks,
    optional attention, a 1x1 convolution that thins out the channels, and a linear layer follow.

    Args:
        packed_shape: (H, W/4); (72, 20) at half size, (144, 40) at full size. The other defaults are those of the
            ``base`` network.
        stem_channels: channels after the stem.
        channels: channels after the stride-2 convolution.
        num_blocks: residual blocks.
        num_features: F.
        norm: GroupNorm after each convolution; False for none, which is what R2D2 has and acting is faster with.
        squeeze_excitation: in the residual blocks.
        attention: self-attention between the places of the last feature map.
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
            raise ConfigError(f"frames must have {_SCREEN_TILES} rows of square tiles, got {height} x {width} pixels")
        norm_layer = _group_norm if norm else None
        layers: list[nn.Module] = [
            # The four pixels of a byte are four channels, so a tile is `tile` rows of `tile / 4` bytes.
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
        self.layers = nn.Sequential(*layers)
        self.num_features = num_features

    def forward(self, packed: Tensor) -> Tensor:
        """Unpack, scale to [0, 1] and encode."""
        lead, rows = packed.shape[:-2], packed.reshape(-1, *packed.shape[-2:])
        shades = _shades_of_bytes(rows, -3)  # [M, 4, H, W/4]
        features: Tensor = self.layers(shades.float().mul_(1 / 3))
        return features.view(*lead, self.num_features)


class MapEncoder(nn.Module):
    """Map-memory crops [*, K, D, D] uint8 with values 0..3 -> features [*, F].

    The values are kinds, not amounts, so both their bits become planes. A 3x3 convolution of stride 3 embeds patches of
    nine tiles, a linear layer, which knows where each patch lies, combines them.

    Args:
        shape: (K, D, D); defaults as for `PixelEncoder`.
        channels: of the patch embedding.
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
        lead, rows = crop.shape[:-3], crop.reshape(-1, *crop.shape[-3:])
        planes = torch.cat([rows >> 1, rows & 1], -3)  # [M, 2K, D, D]
        features: Tensor = self.layers(planes.float())
        return features.view(*lead, self.num_features)


class VectorEncoder(nn.Module):
    """Context features, last action and last reward -> features [M, F].

    Args:
        context_size: C, 0 without context.
        num_actions: A of the last action, 0 without it; index A means that there was none.
        last_reward: whether the last reward is an input.
        num_features: F.
    """

    def __init__(self, *, context_size: int, num_actions: int, last_reward: bool, num_features: int) -> None:
        super().__init__()
        self.action_embedding = nn.Embedding(num_actions + 1, 16) if num_actions else None
        size = context_size + (16 if num_actions else 0) + int(last_reward)
        self.layers = nn.Sequential(nn.Linear(size, num_features), nn.ReLU())
        self.num_features = num_features

    def forward(self, context: Tensor | None, last_action: Tensor | None, last_reward: Tensor | None) -> Tensor:
        """Encode what is there; the arguments that the constructor left out are None.

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
    """All observations of a step -> features [M, F]: one encoder a kind, their outputs side by side.

    Args:
        encoders: an encoder a kind, from ``pixels``, ``map_memory``, ``vector`` to the module; kinds may be missing.
        inputs: what the positional arguments of :meth:`forward` are, out of ``pixels``, ``map_memory``, ``context``,
            ``last_action``, ``last_reward``, in their order.
    """

    def __init__(
        self,
        encoders: "Mapping[str, PixelEncoder | MapEncoder | VectorEncoder]",
        inputs: Sequence[str],
    ) -> None:
        super().__init__()
        self.encoders = nn.ModuleDict(encoders)
        self.inputs = tuple(inputs)
        self.num_features = sum(encoder.num_features for encoder in encoders.values())

    def forward(self, *observations: Tensor) -> Tensor:
        """Encode rows of observations, each [M, ...], in the order of ``inputs``."""
        given = dict(zip(self.inputs, observations, strict=True))
        features = []
        if "pixels" in given:
            features.append(self.encoders["pixels"](given["pixels"]))
        if "map_memory" in given:
            features.append(self.encoders["map_memory"](given["map_memory"]))
        if "vector" in self.encoders:
            vector = (given.get(name) for name in ("context", "last_action", "last_reward"))
            features.append(self.encoders["vector"](*vector))
        return torch.cat(features, -1)


def _shades_of_bytes(packed: Tensor, dim: int) -> Tensor:
    """Unpack the four shades of each byte into a new dimension of size 4."""
    # Shifts by numbers, not by a tensor of shifts: only these are vectorised on the CPU.
    return torch.stack([packed >> 6, (packed >> 4) & 3, (packed >> 2) & 3, packed & 3], dim)


def _group_norm(channels: int) -> nn.Module:
    return nn.GroupNorm(max(1, channels // 8), channels)
