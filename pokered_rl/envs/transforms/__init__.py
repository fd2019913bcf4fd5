"""The transforms: each reads ``ram`` and its own memory and adds one kind of entry."""

from pokered_rl.envs.transforms.affordance_mask import AffordanceMask
from pokered_rl.envs.transforms.archive_states import ArchiveStates
from pokered_rl.envs.transforms.base import RamTransform
from pokered_rl.envs.transforms.context import ContextFeatures
from pokered_rl.envs.transforms.episode_figures import EpisodeFigures, EpisodeMeter
from pokered_rl.envs.transforms.episode_recorder import EpisodeRecorder
from pokered_rl.envs.transforms.game_state import GameStateReader
from pokered_rl.envs.transforms.helper_actions import HelperActions
from pokered_rl.envs.transforms.map_memory import MapMemory, Saliency
from pokered_rl.envs.transforms.reward_terms import LastActionReward, RewardTerms

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
    "RamTransform",
    "RewardTerms",
    "Saliency",
]
