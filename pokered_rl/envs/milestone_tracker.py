"""`MilestoneTracker`: the milestones that each emulator reaches for the first time in its episode."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import numpy.typing as npt

from pokered_rl.envs.memory import EmulatorMemory
from pokered_rl.envs.ram_frame import PROGRESS_LABELS, GameProgress, RamFrame
from pokered_rl.game import CartridgeProfile, GameState, Milestones

__all__ = ["MilestoneTracker"]


class MilestoneTracker(EmulatorMemory):
    """Reports the milestones of the cartridge's story, and ``map:NAME`` for every map entered.

    What holds at the start of an episode is not reported, nor anything while no map is loaded. The story is compared
    only in steps that changed a map, the party, the bag or an event.

    Args:
        num_emulators: E.
        profile: Whose story and maps.
    """

    #: Entries of the RAM map that are read.
    LABELS: tuple[str, ...] = (*RamFrame.LABELS, *PROGRESS_LABELS)
    NOT_SAVED: ClassVar = frozenset({"_all"})

    def __init__(self, *, num_emulators: int, profile: CartridgeProfile) -> None:
        self._profile = profile
        self._maps = np.zeros((num_emulators, 256), bool)
        self._story = np.zeros((num_emulators, len(profile.milestones)), bool)
        self._all = np.arange(num_emulators)
        self._known: GameProgress | None = None
        self._here = np.full(num_emulators, -1, np.int64)

    def _reached(self, frame: RamFrame) -> npt.NDArray[np.bool_]:
        milestones = self._profile.milestones
        reached: npt.NDArray[np.bool_] | None = frame.computed.get(milestones)
        if reached is None:
            state = GameState.from_ram(frame.tensor, frame.layout, fields=Milestones.FIELDS)
            reached = frame.computed[milestones] = milestones.reached(state).cpu().numpy()
        return reached

    def start(self, frame: RamFrame, emulators: npt.NDArray[np.bool_]) -> None:
        """Begin an episode in ``emulators`` (bool [E])."""
        self._maps[emulators] = False
        self._maps[self._all[emulators], frame.map_id[emulators]] = True
        self._story[emulators] = self._reached(frame)[emulators]
        self._here = frame.map_id

    def advance(self, frame: RamFrame) -> list[tuple[int, str]]:
        """Take in a step; return (emulator, milestone) for each one just reached."""
        moved = frame.map_id != self._here
        if frame.progress is self._known and not moved.any():
            return []
        self._known, self._here = frame.progress, frame.map_id
        fresh = self._reached(frame) & ~self._story & frame.on_map[:, None]
        self._story |= fresh
        reached = [(int(index), self._profile.milestones.names[k]) for index, k in np.argwhere(fresh)]
        for index in np.flatnonzero(frame.on_map & ~self._maps[self._all, self._here]).tolist():
            map_id = int(self._here[index])
            self._maps[index, map_id] = True
            reached.append((index, f"map:{self._profile.maps.name(map_id)}"))
        return reached
