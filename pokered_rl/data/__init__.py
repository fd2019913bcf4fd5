"""Sequences and replay: what lies between the workers' batches and the loss."""

from pokered_rl.data.rollouts import (
    OBSERVATION_KEYS,
    PACKED_SUFFIX,
    STATE_KEYS,
    SequenceLayout,
    compact_rollout,
)
from pokered_rl.data.sequences import SequenceBuilder

__all__ = [
    "OBSERVATION_KEYS",
    "PACKED_SUFFIX",
    "STATE_KEYS",
    "SequenceBuilder",
    "SequenceLayout",
    "compact_rollout",
]
