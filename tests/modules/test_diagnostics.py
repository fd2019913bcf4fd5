import pytest
import torch
from tensordict import TensorDict
from torch import nn

from pokered_rl.modules import (
    MemorylessCore,
    R2D2Network,
    RecurrentQuantileNetwork,
    acting_learning_rate,
    diagnose,
    dormant_units,
    input_shares,
)


class Sum(nn.Module):
    """Adds three inputs [M, 1] with weights 1, 3 and 0."""

    def forward(self, one, three, none):
        return one + 3 * three + 0 * none


def linear_network():
    """A network whose single action value is the encoder's feature, for positive features."""
    network = RecurrentQuantileNetwork(
        encoder=Sum(),
        observation_keys=["one", "three", ("nested", "none")],
        num_features=1,
        num_actions=1,
        num_quantiles=1,
        hidden_size=1,
        head_size=1,
        core=MemorylessCore,
        noise_std=0.0,
        dueling=False,
    )
    for name, parameter in network.named_parameters():
        nn.init.constant_(parameter, 0.0 if "bias" in name else 1.0)
    return network


def test_share_of_an_input_is_the_change_of_the_values_when_it_is_swapped():
    step = TensorDict({"one": [[0.0], [1.0]], "three": [[0.0], [1.0]], "nested": {"none": [[0.0], [9.0]]}}, [2])
    # Values 0 and 4. With the other step's "one": 1 and 3, with its "three": 3 and 1. Mean changes 1, 3 and 0.
    shares = input_shares(linear_network(), step)
    assert shares == pytest.approx({"one": 0.25, "three": 0.75, "nested_none": 0.0})


def test_share_of_the_learning_rate_is_the_gradients_size_against_adams_epsilon():
    network = nn.ModuleDict({"small": nn.Linear(1, 1, bias=False), "large": nn.Linear(1, 1, bias=False)})
    network["partly"] = nn.Linear(3, 1, bias=False)
    optimizer = torch.optim.Adam(network.parameters(), eps=0.01)
    assert acting_learning_rate(optimizer, network) == {}  # no update yet
    for _ in range(3):
        for name, gradient in (("small", 0.01), ("large", 0.03)):
            network[name].weight.grad = torch.full((1, 1), gradient)
        network["partly"].weight.grad = torch.tensor([[0.0, 0.0, 0.01]])
        optimizer.step()
    # A constant gradient g has a bias-corrected v of g^2: shares 0.01 / 0.02 and 0.03 / 0.04. The two weights behind
    # inputs of zero would make the median of the third part 0.
    assert acting_learning_rate(optimizer, network) == pytest.approx(
        {"small": 0.5, "large": 0.75, "partly": 0.5}, rel=1e-4
    )


def test_a_unit_far_below_the_mean_of_its_layer_is_dormant():
    encoder = nn.Sequential(nn.Linear(1, 4, bias=False), nn.ReLU())
    # Activations 1, 1, -1 -> 0 and 0.01; the mean is 0.5025, the threshold 0.0126 with tau 0.025, 0.005 with 0.01.
    encoder[0].weight.data = torch.tensor([[1.0], [1.0], [-1.0], [0.01]])
    assert dormant_units(encoder, [torch.ones(5, 1)]) == {"encoder": 0.5}
    assert dormant_units(encoder, [torch.ones(5, 1)], threshold=0.01) == {"encoder": 0.25}


def test_a_channel_is_a_unit_of_a_convolution():
    encoder = nn.Sequential(nn.Conv2d(1, 2, 1, bias=False), nn.ReLU())
    encoder[0].weight.data[:] = torch.tensor([1.0, -1.0]).view(2, 1, 1, 1)
    picture = torch.zeros(3, 1, 4, 4)
    picture[0, 0, 2, 2] = 1.0  # one place of one picture is enough
    assert dormant_units(encoder, [picture]) == {"encoder": 0.5}


def test_all_diagnostics_of_a_learner_have_flat_names_and_leave_the_network_alone():
    network = R2D2Network(num_actions=3, size="tiny", context_size=5, num_quantiles=3)
    batch = network.initial_state([4])
    batch["pixels"] = torch.randint(0, 256, (4, 6, 72, 20), dtype=torch.uint8)
    batch["map_memory"] = torch.randint(0, 4, (4, 6, 2, 21, 21), dtype=torch.uint8)
    batch["context"], batch["last_reward"] = torch.rand(4, 6, 5), torch.randn(4, 6, 1)
    batch["last_action"] = batch["action"] = torch.randint(0, 3, (4, 6))
    optimizer = torch.optim.Adam(network.parameters())
    network(batch.clone())["quantiles"].square().sum().backward()
    optimizer.step()
    before = [parameter.clone() for parameter in network.parameters()]
    random_state = torch.get_rng_state()
    found = diagnose(network, optimizer, batch, first_step=2)
    assert set(found) == {
        *(f"lr_share_{part}" for part in ("pixels", "map_memory", "vector", "core", "head")),
        *(f"dormant_{branch}" for branch in ("pixels", "map_memory", "vector")),
        *(f"q_share_{key}" for key in ("pixels", "map_memory", "context", "last_action", "last_reward")),
    }
    assert all(0 <= value <= 1 for value in found.values())
    assert sum(value for name, value in found.items() if name.startswith("q_share")) == pytest.approx(1.0)
    assert all(torch.equal(a, b) for a, b in zip(before, network.parameters(), strict=True))
    assert torch.equal(torch.get_rng_state(), random_state)  # a run that logs more often plays the same
    assert not any(module._forward_hooks for module in network.modules())
