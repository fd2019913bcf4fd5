"""Training runs: from a config to a run folder, and from a run folder back to the agent.

`load_policy` gives the agent of a run and the environment that it was trained in; the rest is imported from the modules
of this room.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .policy import TrainedPolicy, load_policy

__all__ = ["TrainedPolicy", "load_policy"]


def __getattr__(name: str) -> Any:
    # On first use: the command line wants its signal handlers in place before anything heavy is imported.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from . import policy

    return getattr(policy, name)
