"""Sequences and replay, between the workers' batches and the loss; and trajectories from logged episodes."""

from pokered_rl.data.demonstrations import DemonstrationReplay, DemonstrationSummary, LogSequences, MixedReplay
from pokered_rl.data.episode_logs import LoggedEpisodes, from_episode_logs
from pokered_rl.data.replay import RateLimiter, SequenceReplay, make_replay, matching_sequences
from pokered_rl.data.rollouts import OBSERVATION_KEYS, STATE_KEYS, SequenceLayout
from pokered_rl.data.sequences import SequenceBuilder
from pokered_rl.data.storage import SequenceCodec, bytes_per_sequence, bytes_per_transition
from pokered_rl.data.verification import Verification, verify_log

__all__ = [
    "OBSERVATION_KEYS",
    "STATE_KEYS",
    "DemonstrationReplay",
    "DemonstrationSummary",
    "LogSequences",
    "LoggedEpisodes",
    "MixedReplay",
    "RateLimiter",
    "SequenceBuilder",
    "SequenceCodec",
    "SequenceLayout",
    "SequenceReplay",
    "Verification",
    "bytes_per_sequence",
    "bytes_per_transition",
    "from_episode_logs",
    "make_replay",
    "matching_sequences",
    "verify_log",
]
