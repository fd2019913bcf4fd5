"""Terms about battles. An opponent pays once in an episode: beating the same one again and again is no progress."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from pokered_rl.envs.ram_frame import RamFrame
from pokered_rl.envs.rewards.base import FirstTimes, Flags, RewardStep, RewardTerm
from pokered_rl.envs.rewards.progress import party_down
from pokered_rl.game.trainers import ELITE_CLASSES, LEADER_CLASSES

__all__ = ["BattleDamage", "BattleOutcome", "Escape"]

_WON = 0  # wBattleResult; 1 is no sign of a defeat: a single faint leaves it, and a black-out clears it
_FIGHTING = np.isin(np.arange(256), (1, 2))  # by wIsInBattle
_LOST = 255  # wIsInBattle between the last faint and the end of the black-out


def _opponent(frame: RamFrame) -> npt.NDArray[np.int64]:
    """A number for whom the battle is against: trainer class and number, or wild species and map, int64 [E]."""
    trainer_class, trainer, species = frame.gather(("wTrainerClass", "wTrainerNo", "wEnemyMonSpecies"))
    wild = 1 << 20 | species << 8 | frame.map_id
    opponent: npt.NDArray[np.int64] = np.where(frame.in_battle == 2, trainer_class << 8 | trainer, wild)
    return opponent


def _ends(step: RewardStep) -> tuple[Flags, Flags]:
    """Whether a battle ended in this step, and whether it was lost, [E] each.

    A battle is lost when the whole party has fainted. Texts wait for a button between the last faint and the end, so
    the step before the end shows it, however much of the black-out fits into the last one.
    """
    fighting = _FIGHTING.take(step.before.in_battle)
    over = fighting & (step.now.in_battle == 0)
    lost = (fighting & (step.now.in_battle == _LOST)) | (over & (party_down(step.before) | party_down(step.now)))
    return over, lost


class BattleOutcome(RewardTerm):
    """Pays for a battle won, by tier, once for each opponent in an episode; takes for a battle lost.

    value = tier(opponent) when a battle ends in a victory over an opponent not beaten before in the episode, -lost
    when it ends with the whole party fainted, else 0. A victory is wBattleResult 0 with the enemy's HP at 0 when
    wIsInBattle returns to 0: running away and catching are none. Wild opponents are told apart by species and map,
    trainers by class and number.

    Args:
        weight: factor.
        wild, trainer, gym, elite: value of a victory. Gym leaders and the Elite Four (with the champion) are told by
            their trainer class.
        lost: what a defeat costs.
    """

    name = "battle_outcome"
    default_weight = 0.1
    only_with = "battle_change"
    labels = ("wBattleResult", "wTrainerClass", "wTrainerNo", "wEnemyMonSpecies", "wEnemyMonHP")

    def __init__(
        self,
        *,
        weight: float | None = None,
        wild: float = 1.0,
        trainer: float = 5.0,
        gym: float = 20.0,
        elite: float = 40.0,
        lost: float = 2.0,
    ) -> None:
        super().__init__(weight=weight)
        self.wild = wild
        self.lost = lost
        self._tiers = np.full(256, trainer)
        self._tiers[list(LEADER_CLASSES)] = gym
        self._tiers[list(ELITE_CLASSES)] = elite

    def _allocate(self, num_rows: int) -> None:
        self._beaten = FirstTimes(num_rows=num_rows, size=1 << 12)

    def _start(self, frame: RamFrame, rows: Flags) -> None:
        self._beaten.clear(rows)

    def _value(self, step: RewardStep) -> npt.NDArray[Any]:
        now, before = step.now, step.before
        over, lost = _ends(step)
        won = over & ~lost & (now.u8("wBattleResult") == _WON) & (now.u16("wEnemyMonHP") == 0)
        # Who it was is read before the end, when it is certain.
        first = self._beaten.first(_opponent(before), won)
        tier = np.where(before.in_battle == 2, self._tiers[before.u8("wTrainerClass")], self.wild)
        value: npt.NDArray[Any] = np.where(first, tier, 0.0) - self.lost * lost
        return value


class BattleDamage(RewardTerm):
    """Pays for damage dealt, at most once the whole HP of each enemy in an episode.

    f = 1 - HP / maximal HP of the enemy on the field; value = max(0, f_t - max f so far against that opponent's
    creature of that species). An enemy that heals, or is met again on the same map, pays only beyond its worst state.
    """

    name = "battle_damage"
    default_weight = 0.1
    only_with = "battle"
    labels = (
        "wTrainerClass",
        "wTrainerNo",
        "wEnemyMonSpecies",
        "wEnemyMonHP",
        "wEnemyMonMaxHP",
        "wEnemyMonPartyPos",
    )
    _SIZE = 1 << 12
    #: One enemy is told from another by the first two.
    _ENEMY: ClassVar[tuple[str, ...]] = ("wEnemyMonSpecies", "wEnemyMonMaxHP", "wEnemyMonHP", "wEnemyMonPartyPos")

    def _allocate(self, num_rows: int) -> None:
        self._best = np.zeros((num_rows, self._SIZE), np.float32)

    def _start(self, frame: RamFrame, rows: Flags) -> None:
        self._best[rows] = 0

    def _value(self, step: RewardStep) -> npt.NDArray[Any]:
        now, before = step.now, step.before
        enemy, enemy_before = now.gather(self._ENEMY), before.gather(self._ENEMY)  # [6, E]
        species, maximum_high, maximum_low, hp_high, hp_low, position = enemy
        hp, maximum = hp_high << 8 | hp_low, maximum_high << 8 | maximum_low
        # Before the enemy is loaded its fields are those of the last battle: it has to have been there a step ago.
        hurt = (now.in_battle == before.in_battle) & _FIGHTING.take(now.in_battle) & (hp < maximum)
        hurt &= np.logical_and.reduce(enemy[:3] == enemy_before[:3], 0)
        value = np.zeros(now.num_rows, np.float32)
        rows = hurt.nonzero()[0]
        if len(rows):
            damage = 1.0 - hp[rows] / maximum[rows]
            key = (_opponent(now) << 16 | position << 8 | species)[rows]
            mixed = key.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
            slot = (mixed >> np.uint64(32)).astype(np.int64) & (self._SIZE - 1)
            best = self._best[rows, slot]
            self._best[rows, slot] = np.maximum(best, damage)
            value[rows] = np.maximum(damage - best, 0.0)
        return value


class Escape(RewardTerm):
    """Takes 1 for a battle that was run from: -1 when it ends with the enemy standing, nothing caught and not lost.

    What was caught is read a step earlier, too: the game forgets it on the way out of the battle.
    """

    name = "escape"
    default_weight = 0.05
    only_with = "battle_change"
    labels = ("wEnemyMonHP", "wCapturedMonSpecies")

    def _value(self, step: RewardStep) -> npt.NDArray[Any]:
        now, before = step.now, step.before
        over, lost = _ends(step)
        left = over & ~lost & (now.u16("wEnemyMonHP") > 0)
        left &= (before.u8("wCapturedMonSpecies") == 0) & (now.u8("wCapturedMonSpecies") == 0)
        result: npt.NDArray[Any] = -left.astype(np.float64)
        return result
