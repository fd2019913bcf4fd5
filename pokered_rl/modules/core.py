"""What carries memory from step to step, and the switch that takes it away.

Letters: B batch, T time, E emulators, F input features, H hidden units.
"""

from typing import cast

import torch
from torch import Tensor, nn

__all__ = ["LSTMCore", "MemorylessCore", "RecurrentCore", "State"]

#: Recurrent state: one tensor [B, H] for each state key of the core; empty without memory.
State = tuple[Tensor, ...]


class RecurrentCore(nn.Module):
    """What stands between encoder and heads: made as ``core(input_size, hidden_size)``.

    A core of your own names its state entries and runs the same weights in two ways.

    Attributes:
        state_names: entries of the state, each [B, H], zeros at an episode's start; their order is that of `State`.
        hidden_size: H, also the width of the output.

    Args:
        hidden_size: H.
    """

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
    """One LSTM layer with two ways to run the same weights.

    :meth:`forward` runs whole sequences through ``nn.LSTM``; :meth:`step` runs one step through the kernel of
    ``nn.LSTMCell``, which spends a third of the time of a sequence of length one.

    Args:
        input_size: F.
        hidden_size: H.
    """

    state_names = ("recurrent_state_h", "recurrent_state_c")

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(hidden_size)
        self.lstm = nn.LSTM(input_size, hidden_size, batch_first=True)
        with torch.no_grad():  # remember by default: forget gates start at sigmoid(1) (Jozefowicz et al. 2015)
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
        # In the weights' type, whatever the rest of the network computes in: on CUDA autocast would run an LSTM in
        # float16, also where bfloat16 is asked for, and without loss scaling its gradients vanish in that.
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
    """A layer of the LSTM's width that remembers nothing: the ablation of :class:`LSTMCore`.

    Args:
        input_size: F.
        hidden_size: H.
    """

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(hidden_size)
        self.linear = nn.Linear(input_size, hidden_size)

    def forward(self, features: Tensor, state: State) -> tuple[Tensor, State]:
        """Map features [B, T, F] to [B, T, H]; the state is empty and stays so."""
        return torch.relu(self.linear(features)), state

    def step(self, features: Tensor, state: State) -> tuple[Tensor, State]:
        """Map features [E, F] to [E, H]."""
        return self.forward(features, state)
