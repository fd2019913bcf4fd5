"""Episode logs: the file format, and playing a logged episode again.

* `log`, `header`, `container`, `folder`: what is written while the agent plays, and how it is read back.
* `replay`: re-simulation, step by step, checked against the hashes in the log.
"""

from pokered_rl.episodes.folder import EPISODE_FOLDER, EpisodeFolder, find_logs, load_start_state
from pokered_rl.episodes.header import EpisodeHeader, Milestone, Outcome
from pokered_rl.episodes.log import LOG_SUFFIX, EpisodeLog, EpisodeLogWriter

__all__ = [
    "EPISODE_FOLDER",
    "LOG_SUFFIX",
    "EpisodeFolder",
    "EpisodeHeader",
    "EpisodeLog",
    "EpisodeLogWriter",
    "Milestone",
    "Outcome",
    "find_logs",
    "load_start_state",
]
