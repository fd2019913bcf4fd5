"""Reward terms: classes with a weight, a formula and a key each.

:func:`make_terms` builds them from weights and options; :func:`load_preset` reads the presets of ``configs/reward``.
"""

from pokered_rl.envs.rewards.base import FirstTimes, ProgressTerm, RewardStep, RewardTerm
from pokered_rl.envs.rewards.battle import BattleDamage, BattleOutcome, Blackout, Escape, Healing, LowHealth
from pokered_rl.envs.rewards.first_times import FieldMoves, HiddenItems, Signs, Talks, Warps
from pokered_rl.envs.rewards.goals import Goal, Goals
from pokered_rl.envs.rewards.movement import (
    Frontier,
    Idle,
    MapStay,
    NewMaps,
    NewTiles,
    Novelty,
    Revisit,
    ScreenNovelty,
    Steps,
)
from pokered_rl.envs.rewards.presets import REWARD_TERMS, load_preset, make_terms
from pokered_rl.envs.rewards.progress import (
    Badges,
    Champion,
    Events,
    Items,
    KeyItems,
    Levels,
    Money,
    PokedexOwned,
    PokedexSeen,
)

__all__ = [
    "REWARD_TERMS",
    "Badges",
    "BattleDamage",
    "BattleOutcome",
    "Blackout",
    "Champion",
    "Escape",
    "Events",
    "FieldMoves",
    "FirstTimes",
    "Frontier",
    "Goal",
    "Goals",
    "Healing",
    "HiddenItems",
    "Idle",
    "Items",
    "KeyItems",
    "Levels",
    "LowHealth",
    "MapStay",
    "Money",
    "NewMaps",
    "NewTiles",
    "Novelty",
    "PokedexOwned",
    "PokedexSeen",
    "ProgressTerm",
    "Revisit",
    "RewardStep",
    "RewardTerm",
    "ScreenNovelty",
    "Signs",
    "Steps",
    "Talks",
    "Warps",
    "load_preset",
    "make_terms",
]
