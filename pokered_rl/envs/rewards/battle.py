"""Terms about battles and the party's health.

An opponent pays once in an episode: beating the same one again is no progress.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from pokered_rl.envs.memory import EmulatorMemory
from pokered_rl.envs.ram_frame import GameProgress, RamFrame
from pokered_rl.envs.rewards.base import FirstTimes, Flags, RewardStep, RewardTerm, hashed_slot
from pokered_rl.game.tables import ELITE_CLASSES, LEADER_CLASSES

__all__ = ["BattleDamage", "BattleOutcome", "Blackout", "Escape", "Healing", "LowHealth", "battle_results"]

_WON = 0  # wBattleResult; 1 is no sign of a defeat: a single faint leaves it, and a black-out clears it
_FIGHTING = np.isin(np.arange(256), (1, 2))  # by wIsInBattle
_LOST = 255  # wIsInBattle between the last faint and the end of the black-out
_NOT_SENT_OUT = 0xFF  # wEnemyMonPartyPos until a trainer sends out the first creature
_IDENTITY = [0, 1, 2, 5]  # species, maximal HP and position among the bytes of `BattleDamage`


class BattleOutcome(RewardTerm):
    """Pays for a battle won, by tier, once for each opponent in an episode; takes for a battle lost.

    value = tier(opponent) when a battle ends in a victory over an opponent not beaten before in the episode, -lost
    when it ends with the whole party fainted, else 0. A victory is wBattleResult 0 with the enemy's HP at 0 when
    wIsInBattle returns to 0; running away and catching are none. Wild opponents are told apart by species and map,
    trainers by class and number.

    Args:
        weight: Factor.
        wild: Value of a victory over a wild opponent.
        trainer: Value of a victory over a trainer.
        gym: Value of a victory over a gym leader, by trainer class.
        elite: Value of a victory over one of the Elite Four or the champion, by trainer class.
        lost: Cost of a defeat.
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

    def _allocate(self, num_emulators: int) -> None:
        self._beaten = FirstTimes(num_emulators=num_emulators, size=1 << 12)
        self._opponents = _Opponents(num_emulators)

    def _start(self, frame: RamFrame, emulators: Flags) -> None:
        self._beaten.clear(emulators)
        self._opponents.start(frame, emulators)

    def _value(self, step: RewardStep) -> npt.NDArray[Any]:
        before = step.before
        self._opponents.advance(step)
        won, lost = battle_results(step.now, before)
        first = self._beaten.first(self._opponents.of(before), won)
        tier = np.where(before.in_battle == 2, self._tiers[before.u8("wTrainerClass")], self.wild)
        value: npt.NDArray[Any] = np.where(first, tier, 0.0) - self.lost * lost
        return value


class BattleDamage(RewardTerm):
    """Pays for damage dealt, at most once the whole HP of each enemy in an episode.

    f = 1 - HP / maximal HP of the enemy on the field; value = max(0, f_t - max f so far against that creature of that
    opponent). An enemy that heals, or is met again on the same map, pays only beyond the maximum. Nothing is paid
    before the enemy is loaded: until then its fields are those of the last battle; a trainer's wEnemyMonPartyPos is
    0xFF.
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
    _ENEMY: ClassVar[tuple[str, ...]] = ("wEnemyMonSpecies", "wEnemyMonMaxHP", "wEnemyMonHP", "wEnemyMonPartyPos")

    def _allocate(self, num_emulators: int) -> None:
        self._best = np.zeros((num_emulators, self._SIZE), np.float32)
        self._opponents = _Opponents(num_emulators)

    def _start(self, frame: RamFrame, emulators: Flags) -> None:
        self._best[emulators] = 0
        self._opponents.start(frame, emulators)

    def _value(self, step: RewardStep) -> npt.NDArray[Any]:
        now, before = step.now, step.before
        self._opponents.advance(step)
        enemy, enemy_before = now.gather(self._ENEMY), before.gather(self._ENEMY)  # [6, E]
        _, maximum_high, maximum_low, hp_high, hp_low, position = enemy
        hp, maximum = hp_high << 8 | hp_low, maximum_high << 8 | maximum_low
        position = np.where(now.in_battle == 2, position, 0)
        hurt = (now.in_battle == before.in_battle) & _FIGHTING.take(now.in_battle) & (hp < maximum)
        hurt &= (position != _NOT_SENT_OUT) & np.logical_and.reduce(enemy[_IDENTITY] == enemy_before[_IDENTITY], 0)
        value = np.zeros(now.num_emulators, np.float32)
        which = hurt.nonzero()[0]
        if len(which):
            damage = 1.0 - hp[which] / maximum[which]
            slot = hashed_slot((self._opponents.of(now) << 8 | position)[which], self._SIZE)
            best = self._best[which, slot]
            self._best[which, slot] = np.maximum(best, damage)
            value[which] = np.maximum(damage - best, 0.0)
        return value


class Escape(RewardTerm):
    """Takes 1 for an escape: value = -1 when a battle ends with the enemy's HP above 0, nothing caught and not lost.

    The caught species is read a step earlier, too: the game clears it before the battle ends.
    """

    name = "escape"
    default_weight = 0.05
    only_with = "battle_change"
    labels = ("wEnemyMonHP", "wCapturedMonSpecies")

    def _value(self, step: RewardStep) -> npt.NDArray[Any]:
        now, before = step.now, step.before
        over, lost = _ends(now, before)
        left = over & ~lost & (now.u16("wEnemyMonHP") > 0)
        left &= (before.u8("wCapturedMonSpecies") == 0) & (now.u8("wCapturedMonSpecies") == 0)
        result: npt.NDArray[Any] = -left.astype(np.float64)
        return result


class Blackout(RewardTerm):
    """value = -1 when a party that had fainted altogether, in a battle or from poison, has been healed.

    Other signs of a black-out do not last: the game clears wIsInBattle, wBattleResult and wOutOfBattleBlackout while it
    ignores the buttons, all within one step.
    """

    name = "blackout"
    default_weight = 1.0
    only_with = "progress"

    def _value(self, step: RewardStep) -> npt.NDArray[Any]:
        healed = _party_down(step.before) & step.now.progress.party_hp.any(-1)
        result: npt.NDArray[Any] = -healed.astype(np.float64)
        return result


class LowHealth(RewardTerm):
    """value = -max(0, 1 - h / threshold) for each step outside of battles, h the mean share of HP of the party.

    Args:
        weight: Factor.
        threshold: Share of HP below which it costs.
    """

    name = "low_health"
    default_weight = 0.0002

    def __init__(self, *, weight: float | None = None, threshold: float = 0.3) -> None:
        super().__init__(weight=weight)
        self.threshold = threshold

    def _allocate(self, num_emulators: int) -> None:
        self._cost = np.zeros(num_emulators)

    def _start(self, frame: RamFrame, emulators: Flags) -> None:
        self._cost[emulators] = self._costs(frame)[emulators]

    def _costs(self, frame: RamFrame) -> npt.NDArray[Any]:
        return np.maximum(0.0, 1.0 - _party_health(frame) / self.threshold)

    def _value(self, step: RewardStep) -> npt.NDArray[Any]:
        if step.now.progress is not step.before.progress:
            self._cost = self._costs(step.now)
        result: npt.NDArray[Any] = -self._cost * (step.now.in_battle == 0)
        return result


class Healing(RewardTerm):
    """Pays max(0, h_t - h_{t-1}) outside of battles, at most ``budget`` in an episode.

    h = mean of HP / maximal HP over the party, 1 at most each. Only steps that do not change the size of the party
    count. The budget bounds what repeated damage and healing can pay; the weight is 0 by default.

    Args:
        weight: Factor.
        budget: Largest sum of rises of h paid in an episode.
    """

    name = "healing"
    default_weight = 0.0
    only_with = "progress"

    def __init__(self, *, weight: float | None = None, budget: float = 3.0) -> None:
        super().__init__(weight=weight)
        self.budget = budget

    def _allocate(self, num_emulators: int) -> None:
        self._left = np.zeros(num_emulators)

    def _start(self, frame: RamFrame, emulators: Flags) -> None:
        self._left[emulators] = self.budget

    def _value(self, step: RewardStep) -> npt.NDArray[Any]:
        now, before = step.now.progress, step.before.progress
        gain = np.maximum(_party_health(step.now) - _party_health(step.before), 0)
        same_members = (_members(now) == _members(before)).all(-1)
        gain *= same_members & (step.now.in_battle == 0) & (step.before.in_battle == 0)
        gain = np.minimum(gain, self._left)
        self._left -= gain
        return gain


class _Opponents(EmulatorMemory):
    """Tells opponents apart; a wild one by its species when the battle began, which Transform changes later."""

    def __init__(self, num_emulators: int) -> None:
        self._species = np.zeros(num_emulators, np.int64)

    def start(self, frame: RamFrame, emulators: Flags) -> None:
        """Begin an episode in ``emulators``."""
        self._species = np.where(emulators, frame.u8("wEnemyMonSpecies"), self._species)

    def advance(self, step: RewardStep) -> None:
        """Take in a step in which a battle began or ended."""
        began = _FIGHTING.take(step.now.in_battle) & ~_FIGHTING.take(step.before.in_battle)
        self._species = np.where(began, step.now.u8("wEnemyMonSpecies"), self._species)

    def of(self, frame: RamFrame) -> npt.NDArray[np.int64]:
        """Return a number of each opponent: trainer class and number, or wild species and map, int64 [E]."""
        trainer_class, trainer = frame.gather(("wTrainerClass", "wTrainerNo"))
        wild = 1 << 20 | self._species << 8 | frame.map_id
        opponent: npt.NDArray[np.int64] = np.where(frame.in_battle == 2, trainer_class << 8 | trainer, wild)
        return opponent


def battle_results(now: RamFrame, before: RamFrame) -> tuple[Flags, Flags]:
    """Return whether a battle was won, and whether one was lost, between two steps, [E] each."""
    over, lost = _ends(now, before)
    won: Flags = over & ~lost & (now.u8("wBattleResult") == _WON) & (now.u16("wEnemyMonHP") == 0)
    return won, lost


def _ends(now: RamFrame, before: RamFrame) -> tuple[Flags, Flags]:
    """Return whether a battle ended between two steps, and whether it was lost, [E] each.

    A battle is lost when the whole party has fainted. Texts wait for a button between the last faint and the end, so
    the step before the end has it even if the last step contains the whole black-out.
    """
    fighting = _FIGHTING.take(before.in_battle)
    over = fighting & (now.in_battle == 0)
    lost = (fighting & (now.in_battle == _LOST)) | (over & (_party_down(before) | _party_down(now)))
    return over, lost


def _party_health(frame: RamFrame) -> npt.NDArray[np.float64]:
    """Return the mean of HP / maximal HP over the party, each at most 1, [E]; 1 without a party."""
    progress = frame.progress
    share = np.minimum(progress.party_hp / np.maximum(progress.party_max_hp, 1), 1.0)
    members = _members(progress).sum(-1)
    mean: npt.NDArray[np.float64] = share.sum(-1) / np.maximum(members, 1)
    return np.where(members > 0, mean, 1.0)


def _party_down(frame: RamFrame) -> Flags:
    """Return whether there is a party and all of it has fainted, [E]."""
    progress = frame.progress
    alive = progress.party_hp.any(-1)
    down: Flags = np.logical_and(_members(progress).any(-1), np.logical_not(alive))
    return down


def _members(progress: GameProgress) -> Flags:
    """Return which places of the party are filled, [E, 6]."""
    return progress.party_max_hp > 0
