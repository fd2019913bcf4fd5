"""Episode logs: the file format, and the replay of a logged episode.

* ``log``, ``header``, ``columns``, ``container``, ``folder``: write and read logs.
* ``recording``: log actions that are known beforehand.
* ``player``: replay a log step by step, checked against its RAM hashes.
"""

from pokered_rl.episodes.folder import EPISODE_FOLDER, EpisodeFolder, find_logs, load_start_state
from pokered_rl.episodes.header import EpisodeHeader, Outcome, ReachedMilestone
from pokered_rl.episodes.log import EpisodeLog, EpisodeLogWriter
from pokered_rl.episodes.player import (
    Divergence,
    EpisodePlayer,
    ReplayDivergedError,
    ReplayFrame,
    cartridge_for,
    trajectory,
    verify,
)
from pokered_rl.episodes.recording import record_episode

__all__ = [
    "EPISODE_FOLDER",
    "Divergence",
    "EpisodeFolder",
    "EpisodeHeader",
    "EpisodeLog",
    "EpisodeLogWriter",
    "EpisodePlayer",
    "Outcome",
    "ReachedMilestone",
    "ReplayDivergedError",
    "ReplayFrame",
    "cartridge_for",
    "find_logs",
    "load_start_state",
    "record_episode",
    "trajectory",
    "verify",
]
