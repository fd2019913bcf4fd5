"""The network of the Pokémon agent, in three sizes.

Letters: B batch, T time, E emulators, A actions, N quantiles, H hidden units, C context features.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from tensordict import NestedKey

from pokered_rl.errors import ConfigError
from pokered_rl.modules.encoder import (
    MapEncoder,
    ObservationEncoder,
    PixelEncoder,
    VectorEncoder,
    initialise_weights,
)
from pokered_rl.modules.recurrent_network import LSTMCore, RecurrentCore, RecurrentQuantileNetwork

__all__ = ["NETWORK_SIZES", "NetworkWidths", "R2D2Network"]


@dataclass(frozen=True)
class NetworkWidths:
    """Widths of the parts of one network size."""

    #: Channels after the frame encoder's stem.
    stem_channels: int
    #: Channels of its feature map.
    channels: int
    #: Residual blocks on the feature map.
    num_blocks: int
    #: Squeeze and excitation in the residual blocks.
    squeeze_excitation: bool
    #: Features of the frame.
    pixel_features: int
    #: Channels of the map encoder.
    map_channels: int
    #: Features of the map memory.
    map_features: int
    #: Features of context, last action and last reward.
    vector_features: int
    #: Units of the LSTM, unless the caller sets them.
    hidden_size: int
    #: Units of the hidden layer of each head.
    head_size: int


#: Widths by name. An acting step of ``base`` takes less than half the CPU time of emulating 24 frames (8 emulators);
#: ``tiny`` is for tests and the quick start, ``large`` is for acting on a GPU.
NETWORK_SIZES = {
    "tiny": NetworkWidths(16, 16, 0, False, 64, 16, 32, 32, 128, 64),
    "base": NetworkWidths(16, 32, 1, False, 128, 32, 64, 64, 512, 128),
    "large": NetworkWidths(48, 96, 3, True, 512, 64, 256, 256, 1024, 512),
}


class R2D2Network(RecurrentQuantileNetwork):
    """Frame, map memory, context, last action and last reward -> LSTM -> dueling quantile head.

    Every observation but one can be left out, with ``None``, ``0`` or ``False``.

    Reads (sequences; single steps in :meth:`step` without T):
        - ``pixels`` uint8 [B, T, H, W/4], 2-bit shades; ``map_memory`` uint8 [B, T, K, D, D] values 0..3;
          ``context`` float32 [B, T, C]; ``last_action`` int64 [B, T], A for none; ``last_reward`` [B, T(, 1)];
        - ``recurrent_state_h``, ``recurrent_state_c`` float [B, H], the state at the first step.

    Writes:
        - ``quantiles`` [B, T, A, N], in rescaled space;
        - ``context_reconstruction`` [B, T, C] and ``map_reconstruction`` [B, T, K, D, D], where asked for;
        - ``("next", "recurrent_state_h")``, ``("next", "recurrent_state_c")`` float32 [B, H].

    Args:
        num_actions: A.
        size: Name out of :data:`NETWORK_SIZES`.
        num_quantiles: N.
        hidden_size: H; None takes that of ``size``.
        pixel_shape: (H, W/4) of packed frames: (72, 20) at half size, (144, 40) at full size.
        map_shape: (K, D, D) of the map memory.
        context_size: C.
        use_last_action: Take the last action as input.
        use_last_reward: Take the last reward as input.
        core: See :class:`RecurrentQuantileNetwork`.
        noise_std: Initial noise of the head's layers, 0 for none.
        dueling: Separate value and advantage streams.
        spatial_attention: Self-attention over the frame's feature map.
        norm: GroupNorm in the frame encoder.
        initialisation: Initial weights of the encoder, see :func:`~pokered_rl.modules.initialise_weights`.
        layer_norm: LayerNorm on the features of each encoder branch.
        reconstruct_context: Predict the context as an auxiliary task (ignored without context).
        reconstruct_map: Predict the map crop as an auxiliary task.
        in_keys: Entries of the observations that have other names, as ``{"context": "observation"}``.

    Raises:
        ConfigError: The size is unknown, there is no observation, or ``in_keys`` names one that is not read.

    Example:
        >>> import torch
        >>> network = R2D2Network(num_actions=8, size="tiny", map_shape=None, context_size=0)
        >>> td = network.initial_state([2])
        >>> td["pixels"] = torch.zeros(2, 5, 72, 20, dtype=torch.uint8)
        >>> td["last_action"] = torch.full((2, 5), 8)
        >>> td["last_reward"] = torch.zeros(2, 5, 1)
        >>> network(td)["quantiles"].shape
        torch.Size([2, 5, 8, 51])
    """

    def __init__(
        self,
        *,
        num_actions: int,
        size: str = "base",
        num_quantiles: int = 51,
        hidden_size: int | None = None,
        pixel_shape: tuple[int, int] | None = (72, 20),
        map_shape: tuple[int, int, int] | None = (2, 21, 21),
        context_size: int = 0,
        use_last_action: bool = True,
        use_last_reward: bool = True,
        core: Callable[[int, int], RecurrentCore] = LSTMCore,
        noise_std: float = 0.5,
        dueling: bool = True,
        spatial_attention: bool = False,
        norm: bool = False,
        initialisation: str = "kaiming",
        layer_norm: bool = True,
        reconstruct_context: bool = True,
        reconstruct_map: bool = False,
        in_keys: Mapping[str, NestedKey] | None = None,
    ) -> None:
        if size not in NETWORK_SIZES:
            raise ConfigError(f"size must be one of {sorted(NETWORK_SIZES)}, got {size!r}")
        if reconstruct_map and map_shape is None:
            raise ConfigError("reconstruct_map needs a map_shape, got None")
        widths = NETWORK_SIZES[size]
        used = {
            "pixels": pixel_shape is not None,
            "map_memory": map_shape is not None,
            "context": context_size > 0,
            "last_action": use_last_action,
            "last_reward": use_last_reward,
        }
        inputs = [name for name, is_used in used.items() if is_used]
        if not inputs:
            raise ConfigError("the network has no observation: pixel_shape, map_shape, context and last step are off")
        names = dict(in_keys or {})
        if not names.keys() <= set(inputs):
            raise ConfigError(f"in_keys must name observations out of {inputs}, got {sorted(names)}")
        encoders: dict[str, PixelEncoder | MapEncoder | VectorEncoder] = {}
        if pixel_shape is not None:
            encoders["pixels"] = PixelEncoder(
                pixel_shape,
                stem_channels=widths.stem_channels,
                channels=widths.channels,
                num_blocks=widths.num_blocks,
                num_features=widths.pixel_features,
                norm=norm,
                squeeze_excitation=widths.squeeze_excitation,
                attention=spatial_attention,
            )
        if map_shape is not None:
            encoders["map_memory"] = MapEncoder(
                map_shape, channels=widths.map_channels, num_features=widths.map_features
            )
        if context_size or use_last_action or use_last_reward:
            encoders["vector"] = VectorEncoder(
                context_size=context_size,
                num_actions=num_actions if use_last_action else 0,
                last_reward=use_last_reward,
                num_features=widths.vector_features,
            )
        encoder = ObservationEncoder(encoders, inputs, layer_norm=layer_norm)
        initialise_weights(encoder, initialisation)
        super().__init__(
            encoder=encoder,
            observation_keys=[names.get(name, name) for name in inputs],
            num_features=encoder.num_features,
            num_actions=num_actions,
            num_quantiles=num_quantiles,
            hidden_size=widths.hidden_size if hidden_size is None else hidden_size,
            head_size=widths.head_size,
            core=core,
            noise_std=noise_std,
            dueling=dueling,
            context_size=context_size if reconstruct_context else 0,
            decoded_map_shape=map_shape if reconstruct_map else None,
        )
