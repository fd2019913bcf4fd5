"""Terms that cost: time, idling, walking in circles, staying, losing."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from pokered_rl.envs.ram_frame import RamFrame
from pokered_rl.envs.rewards.base import Flags, RewardStep, RewardTerm
from pokered_rl.envs.rewards.progress import party_down, party_health

__all__ = ["Blackout", "Idle", "LowHealth", "MapStay", "Revisit", "Steps"]


class Steps(RewardTerm):
    """value = -1 for every agent step."""

    name = "steps"
    default_weight = 0.0002

    def _value(self, step: RewardStep) -> npt.NDArray[Any]:
        return np.full(step.now.num_rows, -1.0)


class Idle(RewardTerm):
    """value = -1 for each step beyond ``patience`` in a row in which nothing happened.

    Nothing happened: same map, tile and facing, and the same tile map (letters included, the blinking arrow not).

    Args:
        weight: factor.
        patience: idle steps in a row that cost nothing.
    """

    name = "idle"
    default_weight = 0.002
    labels = ("wTileMap",)

    def __init__(self, *, weight: float | None = None, patience: int = 4) -> None:
        super().__init__(weight=weight)
        self.patience = patience

    def _allocate(self, num_rows: int) -> None:
        self._idle = np.zeros(num_rows, np.int64)

    def _start(self, frame: RamFrame, rows: Flags) -> None:
        self._idle[rows] = 0

    def _value(self, step: RewardStep) -> npt.NDArray[Any]:
        now, before = step.now, step.before
        same = (now.facing == before.facing) & ~now.screen_changed(before) & ~step.tiles.arrived
        self._idle = (self._idle + 1) * same
        return (self._idle > self.patience) * -1.0


class Revisit(RewardTerm):
    """value = -min(n - 1, cap) / cap on arrival at a tile for the n-th time in the episode.

    Args:
        weight: factor.
        cap: number of earlier visits from which on the cost is full.
    """

    name = "revisit"
    default_weight = 0.002

    def __init__(self, *, weight: float | None = None, cap: int = 10) -> None:
        super().__init__(weight=weight)
        self.cap = cap

    def _value(self, step: RewardStep) -> npt.NDArray[Any]:
        tiles = step.tiles
        return -np.minimum(tiles.visits - 1, self.cap) / self.cap * tiles.arrived


class MapStay(RewardTerm):
    """value = -1 for each step after ``patience`` steps on one map without a new tile.

    Args:
        weight: factor.
        patience: steps that cost nothing.
    """

    name = "map_stay"
    default_weight = 0.0005

    def __init__(self, *, weight: float | None = None, patience: int = 256) -> None:
        super().__init__(weight=weight)
        self.patience = patience

    def _allocate(self, num_rows: int) -> None:
        self._steps = np.zeros(num_rows, np.int64)

    def _start(self, frame: RamFrame, rows: Flags) -> None:
        self._steps[rows] = 0

    def _value(self, step: RewardStep) -> npt.NDArray[Any]:
        same = ~(step.tiles.new_tile | (step.now.map_id != step.before.map_id))
        self._steps = (self._steps + 1) * same
        return (self._steps > self.patience) * -1.0


class Blackout(RewardTerm):
    """value = -1 when a party that had fainted altogether, in a battle or of poison, has been healed.

    That is the trace of a black-out that lasts: on the way to where the party wakes up the game clears wIsInBattle,
    wBattleResult and wOutOfBattleBlackout while it ignores the buttons, so that all of it falls into one step.
    """

    name = "blackout"
    default_weight = 1.0
    only_with = "progress"

    def _value(self, step: RewardStep) -> npt.NDArray[Any]:
        healed = party_down(step.before) & step.now.progress.party_hp.any(-1)
        result: npt.NDArray[Any] = -healed.astype(np.float64)
        return result


class LowHealth(RewardTerm):
    """value = -max(0, 1 - h / threshold) for each step outside of battles, h the mean share of HP of the party.

    Args:
        weight: factor.
        threshold: share of HP below which it costs.
    """

    name = "low_health"
    default_weight = 0.0002

    def __init__(self, *, weight: float | None = None, threshold: float = 0.3) -> None:
        super().__init__(weight=weight)
        self.threshold = threshold

    def _allocate(self, num_rows: int) -> None:
        self._cost = np.zeros(num_rows)

    def _start(self, frame: RamFrame, rows: Flags) -> None:
        self._cost[rows] = self._costs(frame)[rows]

    def _costs(self, frame: RamFrame) -> npt.NDArray[Any]:
        return np.maximum(0.0, 1.0 - party_health(frame) / self.threshold)

    def _value(self, step: RewardStep) -> npt.NDArray[Any]:
        if step.now.progress is not step.before.progress:
            self._cost = self._costs(step.now)
        result: npt.NDArray[Any] = -self._cost * (step.now.in_battle == 0)
        return result
