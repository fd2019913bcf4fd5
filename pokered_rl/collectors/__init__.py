"""Worker pools, exploration, what workers make of their rollouts, and the sink of it."""

from pokered_rl.collectors.control import SharedControl
from pokered_rl.collectors.experience import EpisodeResult
from pokered_rl.collectors.processes import ProcessPool
from pokered_rl.collectors.ray_pool import RayPool
from pokered_rl.collectors.supervision import SupervisedPool
from pokered_rl.collectors.worker import Exploration, WorkerSpec, emulator_epsilons
from pokered_rl.collectors.worker_pool import ExperienceSink, InlinePool, WorkerError, WorkerPool

__all__ = [
    "EpisodeResult",
    "ExperienceSink",
    "Exploration",
    "InlinePool",
    "ProcessPool",
    "RayPool",
    "SharedControl",
    "SupervisedPool",
    "WorkerError",
    "WorkerPool",
    "WorkerSpec",
    "emulator_epsilons",
]
