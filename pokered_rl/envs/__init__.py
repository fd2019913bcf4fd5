"""The environment, its transforms and the reward terms."""

from pokered_rl.envs.curriculum import StateArchive
from pokered_rl.envs.factory import default_transforms, make_env, required_layout
from pokered_rl.envs.pokemon_red import PokemonRedEnv
from pokered_rl.envs.ram_frame import RamFrame
from pokered_rl.envs.start_states import StartStates
from pokered_rl.envs.transforms import (
    AffordanceMask,
    ArchiveStates,
    ContextFeatures,
    EpisodeFigures,
    EpisodeMeter,
    EpisodeRecorder,
    GameStateReader,
    HelperActions,
    LastActionReward,
    MapMemory,
    RamTransform,
    RewardTerms,
)

__all__ = [
    "AffordanceMask",
    "ArchiveStates",
    "ContextFeatures",
    "EpisodeFigures",
    "EpisodeMeter",
    "EpisodeRecorder",
    "GameStateReader",
    "HelperActions",
    "LastActionReward",
    "MapMemory",
    "PokemonRedEnv",
    "RamFrame",
    "RamTransform",
    "RewardTerms",
    "StartStates",
    "StateArchive",
    "default_transforms",
    "make_env",
    "required_layout",
]
