import pytest
import torch
from tensordict import TensorDict
from tensordict.nn import TensorDictModuleBase
from torch import nn


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def pytest_runtest_setup(item):
    torch.manual_seed(0)


class AddingNetwork(TensorDictModuleBase):
    """A network with values that are easily computed by hand.

    Its state adds up what it sees, ``s_t = s_{t-1} + gain * x_t``, and action a's quantiles are
    ``s_t + offset[a] + spread[i]``, all under parameters ``gain`` (1), ``offset`` and ``spread`` (0).
    """

    def __init__(self, num_actions=2, num_quantiles=1):
        super().__init__()
        self.in_keys = ["x", "state"]
        self.out_keys = ["quantiles", ("next", "state")]
        self.gain = nn.Parameter(torch.ones(()))
        self.offset = nn.Parameter(torch.zeros(num_actions))
        self.spread = nn.Parameter(torch.zeros(num_quantiles))

    def forward(self, td):
        carried = td["state"] + (self.gain * td["x"]).cumsum(1)  # [B, T]
        quantiles = carried[..., None, None] + self.offset[:, None] + self.spread
        td.set("quantiles", quantiles)
        td.set(("next", "state"), carried[:, -1:])
        return td


class TableNetwork(TensorDictModuleBase):
    """Returns the quantiles [B, T, A, N] it is given, times a parameter; it has no state."""

    def __init__(self):
        super().__init__()
        self.in_keys = ["table"]
        self.out_keys = ["quantiles"]
        self.factor = nn.Parameter(torch.ones(()))

    def forward(self, td):
        return td.set("quantiles", td["table"] * self.factor)


@pytest.fixture(scope="session")
def adding_network():
    return AddingNetwork


@pytest.fixture(scope="session")
def table_network():
    return TableNetwork


@pytest.fixture
def make_batch():
    """Build a loss batch [1, L] from plain lists; steps are transitions, never done, unless said otherwise."""

    def build(entries, *, reward, action=None, terminated=(), truncated=(), mask=None, **more):
        length = len(reward)

        def flags(true_at):
            return torch.tensor([[t in true_at for t in range(length)]])

        td = TensorDict(
            {
                "action": torch.tensor([action if action is not None else [0] * length]),
                "reward": torch.tensor([reward], dtype=torch.float32),
                "terminated": flags(terminated),
                "truncated": flags(truncated),
            },
            [1],
        )
        if mask is not None:
            td["mask"] = torch.tensor([mask], dtype=torch.bool)
        for key, value in {**entries, **more}.items():
            td[key] = torch.as_tensor(value).unsqueeze(0)
        return td

    return build
