"""Episode logs: the file format, and playing a logged episode again.

* `log`, `header`, `container`, `folder`: what is written while the agent plays, and how it is read back.
* `recording`: a log of actions that are known beforehand.
* `replay`: re-simulation, step by step, checked against the hashes in the log.
"""

from pokered_rl.episodes.folder import EPISODE_FOLDER, EpisodeFolder, find_logs, load_start_state
from pokered_rl.episodes.header import EpisodeHeader, Outcome, ReachedMilestone
from pokered_rl.episodes.log import LOG_SUFFIX, EpisodeLog, EpisodeLogWriter
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
    "LOG_SUFFIX",
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
