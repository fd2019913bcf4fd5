"""`MilestoneTracker`: what each emulator has reached for the first time in its episode, by name."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import torch

from pokered_rl.envs.ram_frame import PROGRESS_LABELS, GameProgress, RamFrame
from pokered_rl.game import CartridgeProfile, GameState, Milestones

__all__ = ["MilestoneTracker"]


class MilestoneTracker:
    """Names what is reached: the milestones of the cartridge's story, and ``map:NAME`` for every map entered.

    What holds at the start of an episode is no milestone of it. The look at the story is taken only in steps that
    changed a map, the party, the bag or an event.

    Args:
        num_rows: E.
        profile: whose story and maps.
    """

    #: Entries of the RAM map that are read.
    LABELS: tuple[str, ...] = (*RamFrame.LABELS, *PROGRESS_LABELS)

    def __init__(self, *, num_rows: int, profile: CartridgeProfile) -> None:
        self._profile = profile
        self._maps = np.zeros((num_rows, 256), bool)
        self._story = np.zeros((num_rows, len(profile.milestones)), bool)
        self._rows = np.arange(num_rows)
        self._known: GameProgress | None = None
        self._here = np.full(num_rows, -1, np.int64)

    def _reached(self, frame: RamFrame) -> npt.NDArray[np.bool_]:
        state = GameState.from_ram(frame.tensor, frame.layout, fields=Milestones.FIELDS)
        reached: npt.NDArray[np.bool_] = self._profile.milestones.reached(state).cpu().numpy()
        return reached

    def start(self, frame: RamFrame, rows: npt.NDArray[np.bool_]) -> None:
        """An episode begins in ``rows`` (bool [E])."""
        self._maps[rows] = False
        self._maps[self._rows[rows], frame.map_id[rows]] = True
        self._story[rows] = self._reached(frame)[rows]
        self._here = frame.map_id

    def advance(self, frame: RamFrame) -> list[tuple[int, str]]:
        """Takes in a step; returns (row, milestone) for each one just reached."""
        moved = frame.map_id != self._here
        if frame.progress is self._known and not moved.any():
            return []
        self._known, self._here = frame.progress, frame.map_id
        fresh = self._reached(frame) & ~self._story
        self._story |= fresh
        reached = [(int(row), self._profile.milestones.names[k]) for row, k in np.argwhere(fresh)]
        for row in np.flatnonzero(~self._maps[self._rows, self._here]):
            self._maps[row, self._here[row]] = True
            reached.append((int(row), f"map:{self._profile.maps.name(int(self._here[row]))}"))
        return reached

    def state_dict(self) -> dict[str, torch.Tensor]:
        """What every row has reached in its episode."""
        return {
            "maps": torch.from_numpy(self._maps.copy()),
            "story": torch.from_numpy(self._story.copy()),
            "here": torch.from_numpy(self._here.copy()),
        }

    def load_state_dict(self, state: Mapping[str, torch.Tensor]) -> None:
        """Restores `state_dict` of as many rows."""
        self._maps, self._story = state["maps"].numpy().copy(), state["story"].numpy().copy()
        self._here, self._known = state["here"].numpy().copy(), None
