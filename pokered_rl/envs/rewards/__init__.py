"""Reward terms: small classes, each with a weight, a formula and a key of its own.

`make_terms` builds the usual set from weights and options; `load_preset` reads the presets of ``configs/reward``.
"""

from pokered_rl.envs.rewards.base import FirstTimes, ProgressTerm, RewardStep, RewardTerm
from pokered_rl.envs.rewards.battle import BattleDamage, BattleOutcome, Escape
from pokered_rl.envs.rewards.conduct import Blackout, Idle, LowHealth, MapStay, Revisit, Steps
from pokered_rl.envs.rewards.exploration import Frontier, NewMaps, NewTiles, ScreenNovelty
from pokered_rl.envs.rewards.goals import Goal, Goals
from pokered_rl.envs.rewards.presets import REWARD_TERMS, load_preset, make_terms
from pokered_rl.envs.rewards.progress import (
    Badges,
    Champion,
    Events,
    Healing,
    Items,
    KeyItems,
    Levels,
    Money,
    PokedexOwned,
    PokedexSeen,
)
from pokered_rl.envs.rewards.tiles import TileTracker

__all__ = [
    "REWARD_TERMS",
    "Badges",
    "BattleDamage",
    "BattleOutcome",
    "Blackout",
    "Champion",
    "Escape",
    "Events",
    "FirstTimes",
    "Frontier",
    "Goal",
    "Goals",
    "Healing",
    "Idle",
    "Items",
    "KeyItems",
    "Levels",
    "LowHealth",
    "MapStay",
    "Money",
    "NewMaps",
    "NewTiles",
    "PokedexOwned",
    "PokedexSeen",
    "ProgressTerm",
    "Revisit",
    "RewardStep",
    "RewardTerm",
    "ScreenNovelty",
    "Steps",
    "TileTracker",
    "load_preset",
    "make_terms",
]
