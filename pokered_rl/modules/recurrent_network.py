"""A recurrent quantile network around any encoder: the network that ``R2D2Loss`` and ``R2D2Policy`` work with.

Letters: B batch, T time, E emulators, A actions, N quantiles, H hidden units, C context features.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from tensordict import TensorDict, TensorDictBase
from tensordict.nn import TensorDictModuleBase
from torch import Tensor, nn

from pokered_rl.modules.core import LSTMCore, RecurrentCore, State
from pokered_rl.modules.heads import DuelingQuantileHead, HeadNoise, MapDecoder, ReconstructionHead

__all__ = ["RecurrentQuantileNetwork"]


class RecurrentQuantileNetwork(TensorDictModuleBase):
    """Encoder -> LSTM -> dueling quantile head, for sequences and for single steps.

    The encoder is any module that maps observations, each [M, ...], to features [M, F]. ``forward`` takes sequences
    whose rows are all real: burn-in and padding are the loss's business.

    Reads: the observations [B, T, ...] and the state entries [B, H] of the first step (TensorDict of batch size [B]).
    Writes: ``quantiles`` [B, T, A, N] in rescaled space, the state entries [B, H] after the last step under ``next``,
    and, where asked for, ``context_reconstruction`` [B, T, C] and ``map_reconstruction`` [B, T, K, D, D].

    Args:
        encoder: observations -> features.
        observation_keys: entries that the encoder takes, in its order.
        num_features: F.
        num_actions: A.
        num_quantiles: N.
        hidden_size: H.
        head_size: units of the hidden layer of each head.
        core: makes what remembers, from F and H; `MemorylessCore` is the ablation, without state entries.
        noise_std: initial noise of the head's layers, 0 for none.
        dueling: separate value and advantage streams.
        context_size: C of a context reconstruction; 0 for none.
        decoded_map_shape: (K, D, D) of a map reconstruction; None for none.

    Example:
        >>> from torchrl.modules import MLP
        >>> network = RecurrentQuantileNetwork(
        ...     encoder=MLP(in_features=4, out_features=32, num_cells=[32]),
        ...     observation_keys=["observation"],
        ...     num_features=32,
        ...     num_actions=2,
        ...     hidden_size=32,
        ...     head_size=32,
        ... )
        >>> batch = network.initial_state([3]).set("observation", torch.zeros(3, 7, 4))
        >>> network(batch)["quantiles"].shape
        torch.Size([3, 7, 2, 51])
    """

    quantiles_key = "quantiles"
    context_reconstruction_key = "context_reconstruction"
    map_reconstruction_key = "map_reconstruction"

    def __init__(
        self,
        *,
        encoder: nn.Module,
        observation_keys: Sequence[str],
        num_features: int,
        num_actions: int,
        num_quantiles: int = 51,
        hidden_size: int = 512,
        head_size: int = 512,
        core: Callable[[int, int], RecurrentCore] = LSTMCore,
        noise_std: float = 0.5,
        dueling: bool = True,
        context_size: int = 0,
        decoded_map_shape: tuple[int, int, int] | None = None,
    ) -> None:
        super().__init__()
        self.num_actions = num_actions
        self.num_quantiles = num_quantiles
        self.hidden_size = hidden_size
        self.encoder = encoder
        self.core = core(num_features, hidden_size)
        self.head = DuelingQuantileHead(
            hidden_size,
            num_actions=num_actions,
            num_quantiles=num_quantiles,
            hidden_size=head_size,
            noise_std=noise_std,
            dueling=dueling,
        )
        self.reconstructions = nn.ModuleDict()
        if context_size:
            self.reconstructions[self.context_reconstruction_key] = ReconstructionHead(
                hidden_size, context_size=context_size, hidden_size=head_size
            )
        if decoded_map_shape is not None:
            self.reconstructions[self.map_reconstruction_key] = MapDecoder(
                hidden_size, shape=decoded_map_shape, hidden_size=head_size
            )
        self.observation_keys = list(observation_keys)
        self.state_keys = list(self.core.state_names)
        self.in_keys = [*self.observation_keys, *self.state_keys]
        self.out_keys = [
            self.quantiles_key,
            *self.reconstructions,
            *(("next", key) for key in self.state_keys),
        ]

    def initial_state(self, batch_size: Sequence[int], *, device: torch.device | None = None) -> TensorDictBase:
        """Return the state at an episode's start: a TensorDict of zeros [*batch_size, H], empty without memory."""
        zeros = {key: torch.zeros(*batch_size, self.hidden_size, device=device) for key in self.state_keys}
        return TensorDict(zeros, batch_size=list(batch_size), device=device)

    def forward(self, tensordict: TensorDictBase) -> TensorDictBase:
        """Run sequences; see the class for what is read and written."""
        observations = [tensordict[key] for key in self.observation_keys]
        batch, time = observations[0].shape[:2]
        features = self.encoder(*(value.flatten(0, 1) for value in observations))  # [B*T, F]
        state: State = tuple(tensordict[key] for key in self.state_keys)
        output, state = self.core(features.unflatten(0, (batch, time)), state)  # [B, T, H]
        rows = output.flatten(0, 1)
        tensordict.set(self.quantiles_key, self.head(rows).unflatten(0, (batch, time)))
        for key, reconstruction in self.reconstructions.items():
            tensordict.set(key, reconstruction(rows).unflatten(0, (batch, time)))
        for key, value in zip(self.state_keys, state, strict=True):
            tensordict.set(("next", key), value.float())
        return tensordict

    @torch.no_grad()
    def step(self, tensordict: TensorDictBase, noise: HeadNoise | None = None) -> TensorDictBase:
        """Run one acting step without gradients and without any quantile but the mean.

        Args:
            tensordict: batch size [E]; observations [E, ...] and state entries [E, H].
            noise: from ``head.sample_noise(E)``; None acts on the mean weights.

        Returns:
            TensorDictBase: the input with ``action_value`` [E, A] and the new state under ``next``.
        """
        value, state = self.act(
            [tensordict[key] for key in self.observation_keys],
            tuple(tensordict[key] for key in self.state_keys),
            noise,
        )
        tensordict.set("action_value", value)
        for key, part in zip(self.state_keys, state, strict=True):
            tensordict.set(("next", key), part)
        return tensordict

    def act(self, observations: Sequence[Tensor], state: State, noise: HeadNoise | None = None) -> tuple[Tensor, State]:
        """Compute what :meth:`step` writes, on bare tensors: observations [E, ...] -> [E, A] and the new state."""
        with torch.inference_mode():
            # `forward`, not a call: acting stays eager where `compile_parts` has compiled the calls of the learner.
            output, state = self.core.step(self.encoder.forward(*observations), state)
            value = self.head.action_value(output, noise)
        # Copies made outside are ordinary tensors again: a replay in the same process may feed them to autograd.
        return value.clone(), tuple(part.float().clone() for part in state)

    def compile_parts(self, **kwargs: Any) -> None:
        """Compile the encoder and the heads, whole graphs each; the LSTM kernel between them stays eager.

        Args:
            **kwargs: handed to ``torch.compile``, such as ``mode`` or ``dynamic``.
        """
        for part in (self.encoder, self.head, *self.reconstructions.values()):
            part.compile(fullgraph=True, **kwargs)
