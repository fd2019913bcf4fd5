"""Cost of a network: parameters, and multiply-accumulates of an acting step."""

from dataclasses import dataclass

import torch
from tensordict import TensorDict, TensorDictBase
from torch.utils.flop_counter import FlopCounterMode

from pokered_rl.modules.recurrent_network import RecurrentQuantileNetwork

__all__ = ["NetworkCost", "network_cost"]


@dataclass(frozen=True)
class NetworkCost:
    """Cost of a network."""

    #: Trainable parameters, including the noise's sigma.
    parameters: int
    #: Multiply-accumulates of one emulator's acting step on mean weights.
    acting_macs: int


def network_cost(network: RecurrentQuantileNetwork, observations: TensorDictBase) -> NetworkCost:
    """Count parameters and multiply-accumulates.

    Args:
        network: The network.
        observations: One step of the network's observations [E, ...], batch size [E].

    Returns:
        NetworkCost: Counts of convolutions and matrix products, without element-wise operations.
    """
    num_emulators = observations.batch_size[0]
    step: TensorDictBase = TensorDict(dict(observations.items()), [num_emulators])
    step.update(network.initial_state([num_emulators]))
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network.step(step)
    return NetworkCost(
        parameters=sum(parameter.numel() for parameter in network.parameters()),
        acting_macs=counter.get_total_flops() // 2 // num_emulators,
    )
