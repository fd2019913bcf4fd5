import torch
from tensordict import TensorDict
from torch import nn

from pokered_rl.modules import RecurrentQuantileNetwork, network_cost


def test_parameters_and_multiply_accumulates_are_those_of_the_layers():
    network = RecurrentQuantileNetwork(
        encoder=nn.Linear(3, 5, bias=False),
        observation_keys=["observation"],
        num_features=5,
        num_actions=2,
        num_quantiles=4,
        hidden_size=6,
        head_size=7,
        noise_std=0.0,
    )
    cost = network_cost(network, TensorDict({"observation": torch.zeros(8, 3)}, [8]))
    # Encoder 15; LSTM 4 * 6 * (5 + 6) + 2 * 4 * 6 biases; two streams of 6 -> 7, then 7 -> 2 * 4 and 7 -> 4.
    assert cost.parameters == 15 + 264 + 48 + 2 * (42 + 7) + (56 + 8) + (28 + 4)
    # Acting: the mean over quantiles is folded into the last layers, 7 -> 2 and 7 -> 1.
    assert cost.acting_macs == 15 + 264 + 2 * 42 + 14 + 7
