"""A recurrent quantile network around any encoder, and its recurrent cores.

Letters: B batch, T time, E emulators, A actions, N quantiles, F input features, H hidden units, C context features.
"""

from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
from tensordict import NestedKey, TensorDict, TensorDictBase
from tensordict.nn import TensorDictModuleBase
from torch import Tensor, nn

from pokered_rl.modules.heads import DuelingQuantileHead, HeadNoise, MapDecoder, ReconstructionHead

__all__ = ["LSTMCore", "MemorylessCore", "RecurrentCore", "RecurrentQuantileNetwork", "State"]

#: Recurrent state: a tensor [B, H] for each state entry of the core.
State = tuple[Tensor, ...]


class RecurrentCore(nn.Module):
    """Base class of the module between encoder and heads, constructed as ``core(input_size, hidden_size)``.

    Args:
        hidden_size: H, also the width of the output.
    """

    #: Entries of the state, each [B, H], zero at an episode's start.
    state_names: tuple[str, ...] = ()

    def __init__(self, hidden_size: int) -> None:
        super().__init__()
        self.hidden_size = hidden_size

    def forward(self, features: Tensor, state: State) -> tuple[Tensor, State]:
        """Run sequences [B, T, F] from the state at their first step: output [B, T, H] and the state after the last."""
        raise NotImplementedError

    def step(self, features: Tensor, state: State) -> tuple[Tensor, State]:
        """Run one step [E, F]: output [E, H] and the new state."""
        raise NotImplementedError


class LSTMCore(RecurrentCore):
    """One LSTM layer.

    It holds the weights in an ``nn.LSTM``. :meth:`forward` calls that module's kernel, not the module: whenever other
    weights are swapped in, as the loss does, the module moves them to new memory, and a CUDA graph would go on to copy
    them from the old one. :meth:`step` runs the same weights through the kernel of ``nn.LSTMCell``, which takes a third
    of the time of a sequence of length one.

    Args:
        input_size: F.
        hidden_size: H.
    """

    state_names = ("recurrent_state_h", "recurrent_state_c")

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(hidden_size)
        self.lstm = nn.LSTM(input_size, hidden_size, batch_first=True)
        with torch.no_grad():  # forget gates start at sigmoid(1) (Jozefowicz et al. 2015)
            _, _, bias_ih, bias_hh = self._weights()
            bias_ih[hidden_size : 2 * hidden_size].fill_(1.0)
            bias_hh[hidden_size : 2 * hidden_size].zero_()

    def forward(self, features: Tensor, state: State) -> tuple[Tensor, State]:
        """Run a sequence.

        Args:
            features: [B, T, F].
            state: (h, c), each [B, H], at the first step.

        Returns:
            tuple: outputs [B, T, H] and the state (h, c), each [B, H], after the last step.
        """
        # Always in the weights' type: on CUDA autocast runs an LSTM in float16 even where bfloat16 is asked for, and
        # without loss scaling its gradients vanish in that.
        with torch.autocast(features.device.type, enabled=False):
            weights = self._weights()
            features = features.to(weights[0].dtype)
            initial = [part.to(features.dtype).unsqueeze(0).contiguous() for part in state]
            output, h, c = torch.lstm(
                features,
                initial,
                weights,
                has_biases=True,
                num_layers=1,
                dropout=0.0,
                train=self.training,
                bidirectional=False,
                batch_first=True,
            )
        return output, (h.squeeze(0), c.squeeze(0))

    def step(self, features: Tensor, state: State) -> tuple[Tensor, State]:
        """Run one step: features [E, F] and (h, c), each [E, H], to the output [E, H] and the new state."""
        weights = self._weights()
        features = features.to(weights[0].dtype)
        h, c = (part.to(features.dtype) for part in state)
        h, c = torch.lstm_cell(features, (h, c), *weights)
        return h, (h, c)

    def _weights(self) -> list[Tensor]:
        lstm = self.lstm
        weights = [lstm.weight_ih_l0, lstm.weight_hh_l0, lstm.bias_ih_l0, lstm.bias_hh_l0]
        return cast(list[Tensor], weights)  # not get_parameter: target parameters are buffers


class MemorylessCore(RecurrentCore):
    """A feed-forward layer of the LSTM's width: the ablation of :class:`LSTMCore`.

    Args:
        input_size: F.
        hidden_size: H.
    """

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(hidden_size)
        self.linear = nn.Linear(input_size, hidden_size)

    def forward(self, features: Tensor, state: State) -> tuple[Tensor, State]:
        """Map features [B, T, F] to [B, T, H]; the state is empty."""
        return torch.relu(self.linear(features)), state

    def step(self, features: Tensor, state: State) -> tuple[Tensor, State]:
        """Map features [E, F] to [E, H]."""
        return self.forward(features, state)


class RecurrentQuantileNetwork(TensorDictModuleBase):
    """Encoder -> LSTM -> dueling quantile head, for sequences and for single steps.

    The encoder is any module that maps observations, each [M, ...], to features [M, F]. ``forward`` takes sequences
    of real steps only; the loss takes care of burn-in and padding.

    Reads: the observations [B, T, ...] and the state entries [B, H] of the first step (TensorDict of batch size [B]).
    Writes: ``quantiles`` [B, T, A, N] in rescaled space, ``core_output`` [B, T, H], the state entries [B, H] after the
    last step under ``next``, and, where asked for, ``context_reconstruction`` [B, T, C] and ``map_reconstruction``
    [B, T, K, D, D].

    Args:
        encoder: Module from observations to features.
        observation_keys: Entries that the encoder takes, in its order.
        num_features: F.
        num_actions: A.
        num_quantiles: N.
        hidden_size: H.
        head_size: Units of the hidden layer of each head.
        core: Constructs the recurrent core from F and H; :class:`MemorylessCore` is the ablation without state.
        noise_std: Initial noise of the head's layers, 0 for none.
        dueling: Separate value and advantage streams.
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
    core_output_key = "core_output"
    context_reconstruction_key = "context_reconstruction"
    map_reconstruction_key = "map_reconstruction"

    def __init__(
        self,
        *,
        encoder: nn.Module,
        observation_keys: Sequence[NestedKey],
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
            self.core_output_key,
            *self.reconstructions,
            *(("next", key) for key in self.state_keys),
        ]

    def initial_state(self, batch_size: Sequence[int], *, device: torch.device | None = None) -> TensorDictBase:
        """Return the state at an episode's start, zeros [*batch_size, H]."""
        zeros = {key: torch.zeros(*batch_size, self.hidden_size, device=device) for key in self.state_keys}
        return TensorDict(zeros, batch_size=list(batch_size), device=device)

    def forward(self, tensordict: TensorDictBase) -> TensorDictBase:
        """Run sequences; see the class for what is read and written."""
        observations = [tensordict[key] for key in self.observation_keys]
        batch, time = observations[0].shape[:2]
        features = self.encoder(*(value.flatten(0, 1) for value in observations))  # [B*T, F]
        state: State = tuple(tensordict[key] for key in self.state_keys)
        output, state = self.core(features.unflatten(0, (batch, time)), state)  # [B, T, H]
        steps = output.flatten(0, 1)  # [B*T, H]
        tensordict.set(self.core_output_key, output)
        tensordict.set(self.quantiles_key, self.head(steps).unflatten(0, (batch, time)))
        for key, reconstruction in self.reconstructions.items():
            tensordict.set(key, reconstruction(steps).unflatten(0, (batch, time)))
        for key, value in zip(self.state_keys, state, strict=True):
            tensordict.set(("next", key), value.float())
        return tensordict

    @torch.no_grad()
    def step(self, tensordict: TensorDictBase, noise: HeadNoise | None = None) -> TensorDictBase:
        """Run one acting step, without gradients and with the mean in place of the quantiles.

        Args:
            tensordict: Batch size [E]; observations [E, ...] and state entries [E, H].
            noise: Result of ``head.sample_noise(E)``; None acts on the mean weights.

        Returns:
            TensorDictBase: The input with ``action_value`` [E, A] and the new state under ``next``.
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
        """Do as :meth:`step` on tensors: observations [E, ...] to action values [E, A] and the new state."""
        with torch.inference_mode():
            # Not a call, so acting stays eager where `compile_parts` has compiled the calls of the learner.
            output, state = self.core.step(self.encoder.forward(*observations), state)
            value = self.head.action_value(output, noise)
        # Copies made outside are ordinary tensors, which a replay in the same process may feed to autograd.
        return value.clone(), tuple(part.float().clone() for part in state)

    def compile_parts(self, **kwargs: Any) -> None:
        """Compile the encoder and the heads as whole graphs; the LSTM kernel between them stays eager.

        Args:
            **kwargs: Arguments of ``torch.compile``, such as ``mode`` or ``dynamic``.
        """
        for part in (self.encoder, self.head, *self.reconstructions.values()):
            part.compile(fullgraph=True, **kwargs)
