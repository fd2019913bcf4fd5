"""Recurrent cores: an LSTM, and a feed-forward layer for ablation.

Letters: B batch, T time, E emulators, F input features, H hidden units.
"""

from typing import cast

import torch
from torch import Tensor, nn

__all__ = ["LSTMCore", "MemorylessCore", "RecurrentCore", "State"]

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

    :meth:`forward` runs sequences through ``nn.LSTM``; :meth:`step` runs the same weights through the kernel of
    ``nn.LSTMCell``, which takes a third of the time of a sequence of length one.

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
            features = features.to(self._weights()[0].dtype)
            h, c = (part.to(features.dtype).unsqueeze(0) for part in state)
            output, (h, c) = self.lstm(features, (h, c))
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
