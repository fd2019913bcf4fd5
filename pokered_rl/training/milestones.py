"""What the best episode so far has reached, read from the episode logs as they appear."""

from __future__ import annotations

import os
from pathlib import Path

from pokered_rl.episodes import EpisodeLog
from pokered_rl.errors import EpisodeLogError

__all__ = ["MilestoneWatch"]


class MilestoneWatch:
    """Looks through the logs that were written since the last look.

    Args:
        folder: The run's ``episode_logs``; logs that are there already are not read.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._seen = self._names()

    def new_best(self, most: int) -> tuple[int, str] | None:
        """The new episode with the most milestones.

        Args:
            most: How many the best episode so far has reached.

        Returns:
            Number of milestones and the last one, of an episode that has reached more than that; else None.
        """
        best: tuple[int, str] | None = None
        for name in sorted(self._names() - self._seen):
            self._seen.add(name)
            try:
                milestones = EpisodeLog.load(self._folder / name).milestones
            except (EpisodeLogError, OSError):
                continue  # whoever renders it will say what is wrong with it; here it is just not the best
            if len(milestones) > most:
                most = len(milestones)
                best = most, milestones[-1].name
        return best

    def _names(self) -> set[str]:
        if not self._folder.is_dir():
            return set()
        with os.scandir(self._folder) as entries:
            return {entry.name for entry in entries if entry.name.endswith(".episode")}
