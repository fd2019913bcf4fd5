"""Acting: worker processes, exploration, and the way of experience into the replay."""

from pokered_rl.collectors.control import SharedControl
from pokered_rl.collectors.exploration import Exploration, emulator_epsilons, epsilon_primer
from pokered_rl.collectors.processes import ProcessPool
from pokered_rl.collectors.ray_pool import RayPool
from pokered_rl.collectors.sink import EpisodeResult, ExperienceSink
from pokered_rl.collectors.supervision import SupervisedPool
from pokered_rl.collectors.worker import WorkerCollector, WorkerMessage, WorkerPlan
from pokered_rl.collectors.worker_pool import InlinePool, WorkerError, WorkerPool

__all__ = [
    "EpisodeResult",
    "ExperienceSink",
    "Exploration",
    "InlinePool",
    "ProcessPool",
    "RayPool",
    "SharedControl",
    "SupervisedPool",
    "WorkerCollector",
    "WorkerError",
    "WorkerMessage",
    "WorkerPlan",
    "WorkerPool",
    "emulator_epsilons",
    "epsilon_primer",
]
