"""`MilestoneTracker`: what each emulator has reached for the first time in its episode, by name."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pokered_rl.envs.frame import PROGRESS_LABELS, Progress, RamFrame
from pokered_rl.game import CartridgeProfile

__all__ = ["MilestoneTracker"]


class MilestoneTracker:
    """Names milestones as they are reached: ``map:NAME``, ``event:NAME``, ``badge:1`` .. ``badge:8``, ``hall_of_fame``.

    What holds at the start of an episode is no milestone of it.

    Args:
        num_rows: E.
        profile: names of maps and events.
    """

    #: Entries of the RAM map that are read.
    LABELS: tuple[str, ...] = (*RamFrame.LABELS, *PROGRESS_LABELS)

    def __init__(self, *, num_rows: int, profile: CartridgeProfile) -> None:
        self._profile = profile
        self._named = np.zeros(320, np.uint8)
        for bit in profile.events:
            self._named[bit // 8] |= 1 << (bit % 8)
        self._maps = np.zeros((num_rows, 256), bool)
        self._events = np.zeros((num_rows, 320), np.uint8)
        self._badges = np.zeros(num_rows, np.int64)
        self._finished = np.zeros(num_rows, bool)
        self._rows = np.arange(num_rows)
        self._known: Progress | None = None

    def start(self, frame: RamFrame, rows: npt.NDArray[np.bool_]) -> None:
        """An episode begins in ``rows`` (bool [E])."""
        self._maps[rows] = False
        self._maps[self._rows[rows], frame.map_id[rows]] = True
        self._events[rows] = frame.progress.event_bytes[rows]
        self._badges[rows] = frame.progress.badge_bits[rows]
        self._finished[rows] = frame.progress.hall_of_fame[rows] > 0

    def advance(self, frame: RamFrame) -> list[tuple[int, str]]:
        """Takes in a step; returns (row, milestone) for each one just reached."""
        reached: list[tuple[int, str]] = []
        new_map = ~self._maps[self._rows, frame.map_id]
        if new_map.any():
            for row in np.flatnonzero(new_map):
                self._maps[row, frame.map_id[row]] = True
                reached.append((int(row), f"map:{self._profile.maps.name(int(frame.map_id[row]))}"))
        progress = frame.progress
        if progress is not self._known:
            self._known = progress
            reached += self._progress(progress)
        return reached

    def _progress(self, progress: Progress) -> list[tuple[int, str]]:
        reached: list[tuple[int, str]] = []
        fresh = progress.event_bytes & ~self._events & self._named
        self._events |= progress.event_bytes
        if fresh.any():
            for row, bit in np.argwhere(np.unpackbits(fresh, axis=1, bitorder="little")):
                reached.append((int(row), f"event:{self._profile.events.name(int(bit))}"))
        badges = progress.badge_bits & ~self._badges
        self._badges |= progress.badge_bits
        for row in np.flatnonzero(badges):
            reached += [(int(row), f"badge:{i + 1}") for i in range(8) if badges[row] >> i & 1]
        finished = (progress.hall_of_fame > 0) & ~self._finished
        self._finished |= finished
        reached += [(int(row), "hall_of_fame") for row in np.flatnonzero(finished)]
        return reached
