"""Acting: worker processes, exploration, and the way of experience into the replay."""

from pokered_rl.collectors.actors import ActorError, Actors, InlineActors
from pokered_rl.collectors.control import SharedControl
from pokered_rl.collectors.exploration import Exploration, emulator_epsilons, epsilon_primer
from pokered_rl.collectors.processes import ProcessActors
from pokered_rl.collectors.ray_actors import RayActors
from pokered_rl.collectors.sink import EpisodeResult, ExperienceSink
from pokered_rl.collectors.supervision import SupervisedActors
from pokered_rl.collectors.worker import ActorCollector, WorkerMessage, WorkerPlan

__all__ = [
    "ActorCollector",
    "ActorError",
    "Actors",
    "EpisodeResult",
    "ExperienceSink",
    "Exploration",
    "InlineActors",
    "ProcessActors",
    "RayActors",
    "SharedControl",
    "SupervisedActors",
    "WorkerMessage",
    "WorkerPlan",
    "emulator_epsilons",
    "epsilon_primer",
]
