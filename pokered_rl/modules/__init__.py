"""Encoders, heads, the recurrent quantile networks and the policy."""

from pokered_rl.modules.augmentation import RandomShift
from pokered_rl.modules.cost import NetworkCost, network_cost
from pokered_rl.modules.diagnostics import acting_learning_rate, diagnose, dormant_units, input_shares
from pokered_rl.modules.encoder import (
    MapEncoder,
    ObservationEncoder,
    PixelEncoder,
    ResidualBlock,
    SpatialSelfAttention,
    VectorEncoder,
    initialise_weights,
    squash_reward,
)
from pokered_rl.modules.heads import DuelingQuantileHead, MapDecoder, ReconstructionHead
from pokered_rl.modules.policy import R2D2Policy
from pokered_rl.modules.r2d2_network import NETWORK_SIZES, NetworkWidths, R2D2Network
from pokered_rl.modules.recurrent_network import LSTMCore, MemorylessCore, RecurrentCore, RecurrentQuantileNetwork

__all__ = [
    "NETWORK_SIZES",
    "DuelingQuantileHead",
    "LSTMCore",
    "MapDecoder",
    "MapEncoder",
    "MemorylessCore",
    "NetworkCost",
    "NetworkWidths",
    "ObservationEncoder",
    "PixelEncoder",
    "R2D2Network",
    "R2D2Policy",
    "RandomShift",
    "ReconstructionHead",
    "RecurrentCore",
    "RecurrentQuantileNetwork",
    "ResidualBlock",
    "SpatialSelfAttention",
    "VectorEncoder",
    "acting_learning_rate",
    "diagnose",
    "dormant_units",
    "initialise_weights",
    "input_shares",
    "network_cost",
    "squash_reward",
]
