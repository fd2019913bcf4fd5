"""Train an agent, or continue a run."""

from pokered_rl.training.main import main

__all__ = ["main"]
