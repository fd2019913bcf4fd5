"""What a network costs: parameters, and multiply-accumulates of one acting step."""

from dataclasses import dataclass

import torch
from tensordict import TensorDict, TensorDictBase
from torch.utils.flop_counter import FlopCounterMode

from pokered_rl.modules.recurrent_network import RecurrentQuantileNetwork

__all__ = ["NetworkCost", "network_cost"]


@dataclass(frozen=True)
class NetworkCost:
    """Cost of a network."""

    #: Trainable numbers, the noise's sigma included.
    parameters: int
    #: Multiply-accumulates of one emulator's acting step on mean weights.
    acting_macs: int


def network_cost(network: RecurrentQuantileNetwork, observations: TensorDictBase) -> NetworkCost:
    """Count parameters and multiply-accumulates.

    Args:
        network: the network.
        observations: batch size [E], one step of the network's observations [E, ...].

    Returns:
        NetworkCost: the counts; convolutions and matrix products are counted, element-wise work is not.
    """
    rows = observations.batch_size[0]
    step: TensorDictBase = TensorDict(dict(observations.items()), [rows]).update(network.initial_state([rows]))
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network.step(step)
    return NetworkCost(
        parameters=sum(parameter.numel() for parameter in network.parameters()),
        acting_macs=counter.get_total_flops() // 2 // rows,
    )
