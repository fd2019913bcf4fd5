"""Training runs: compose one, work on it, and load the policy that it left.

:class:`Experiment` composes a run from a :class:`Config` and from parts of your own, :class:`Callback` follows it, and
:func:`load_policy` loads its policy. The rest is imported from the modules of this room.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .callbacks import Callback
    from .config import Config
    from .experiment import Experiment
    from .policy import TrainedPolicy, load_policy
    from .runtime import ExitStatus, StopReason

__all__ = ["Callback", "Config", "ExitStatus", "Experiment", "StopReason", "TrainedPolicy", "load_policy"]

_HOME = {
    "Callback": "callbacks",
    "Config": "config",
    "Experiment": "experiment",
    "ExitStatus": "runtime",
    "StopReason": "runtime",
    "TrainedPolicy": "policy",
    "load_policy": "policy",
}


def __getattr__(name: str) -> Any:
    # On first use: the command line wants its signal handlers in place before anything heavy is imported.
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOME[name]}", __name__), name)
