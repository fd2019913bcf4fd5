"""Sequences and replay: what lies between the workers' batches and the loss; and trajectories from logged episodes."""

from pokered_rl.data.codec import SequenceCodec
from pokered_rl.data.episode_logs import LoggedEpisodes, from_episode_logs
from pokered_rl.data.rate_limiter import RateLimiter
from pokered_rl.data.replay import (
    SequenceReplay,
    bytes_per_sequence,
    bytes_per_transition,
    make_replay,
    matching_sequences,
)
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
    "LoggedEpisodes",
    "RateLimiter",
    "SequenceBuilder",
    "SequenceCodec",
    "SequenceLayout",
    "SequenceReplay",
    "bytes_per_sequence",
    "bytes_per_transition",
    "compact_rollout",
    "from_episode_logs",
    "make_replay",
    "matching_sequences",
]
