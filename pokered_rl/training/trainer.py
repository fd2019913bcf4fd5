"""The training loop, and what it saves."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from tensordict import TensorDictBase
from torch import nn
from torchrl.checkpoint import GlobalRNGState

from pokered_rl.data import RateLimiter
from pokered_rl.errors import CheckpointError
from pokered_rl.training.checkpoint import Checkpoint, CheckpointStore, save_tensors
from pokered_rl.training.learner import Learner, snapshot
from pokered_rl.training.runtime import SaveTimer, StopReason

__all__ = ["Experience", "Replay", "Trainer"]


class Experience(Protocol):
    """Where sequences come from: the actors and what puts their steps into the replay."""

    @property
    def steps(self) -> int:
        """Agent decisions received over all jobs."""

    @property
    def episodes(self) -> int:
        """Episodes finished over all jobs."""

    @property
    def sequences(self) -> int:
        """Sequences put into the replay over all jobs."""

    def collect(self) -> None:
        """Take in one batch of the actors, or return after a short wait without one."""

    def set_weights(self, network: nn.Module) -> None:
        """Hand the weights to the actors."""

    def state_dict(self) -> dict[str, Any]:
        """Everything that the next batch depends on."""

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a state."""


class Replay(Protocol):
    """What the loop itself needs of the replay; the learner draws from it."""

    def __len__(self) -> int:
        """Sequences stored."""

    def sample(self, batch_size: int) -> TensorDictBase:
        """Draw sequences."""

    def save(self, path: Path) -> None:
        """Write priorities and cursor into a folder."""

    def load(self, path: Path) -> int:
        """Take them back."""


class Trainer:
    """Learns while the actors play, until there is a reason to stop.

    Args:
        learner: Takes the optimizer steps.
        network: The online network, whose weights go to the actors and into ``online_params.pt``.
        experience: The actors.
        replay: The sequences.
        limiter: Keeps drawing in proportion to inserting.
        checkpoints: Where checkpoints go.
        online_params: The file of the online network's weights.
        stop_reason: Says whether to stop, and why; asked before every step of the loop.
        report: Called after every step of the loop, for metrics and display; returns quickly.
        sync_every_updates: Updates between two weight copies to the actors.
        publish_every_updates: Updates between two writings of ``online_params``.
        checkpoint_every_seconds: Seconds between two checkpoints.
        save_timer: Measures how long saving takes.
        counters: Further counters that are saved with a checkpoint, and how to take them back.
    """

    def __init__(
        self,
        *,
        learner: Learner,
        network: nn.Module,
        experience: Experience,
        replay: Replay,
        limiter: RateLimiter,
        checkpoints: CheckpointStore,
        online_params: Path,
        stop_reason: Callable[[], StopReason | None],
        report: Callable[[], None],
        sync_every_updates: int,
        publish_every_updates: int,
        checkpoint_every_seconds: float,
        save_timer: SaveTimer,
    ) -> None:
        self.learner = learner
        self.network = network
        self.experience = experience
        self.replay = replay
        self.limiter = limiter
        self.checkpoints = checkpoints
        self.checkpoint_steps = 0
        self._online_params = online_params
        self._stop_reason = stop_reason
        self._report = report
        self._sync_every = sync_every_updates
        self._publish_every = publish_every_updates
        self._checkpoint_every_seconds = checkpoint_every_seconds
        self._checkpoint_at = time.monotonic()
        self._save_timer = save_timer

    def run(self) -> StopReason:
        """Train until there is a reason to stop; nothing is saved at the end: call :meth:`save`."""
        self._checkpoint_at = time.monotonic()
        self.experience.set_weights(self.network)
        while (reason := self._stop_reason()) is None:
            if self.limiter.can_sample(self.learner.batch_size):
                self.learner.step()
                self.limiter.sampled(self.learner.batch_size)
                self._after_update(self.learner.updates)
            else:
                self.experience.collect()
            if time.monotonic() - self._checkpoint_at > self._checkpoint_every_seconds:
                self.save(wait=False)
            self._report()
        return reason

    def _after_update(self, updates: int) -> None:
        if updates % self._sync_every == 0:
            self.experience.set_weights(self.network)
        if updates % self._publish_every == 0:
            self.publish()

    def publish(self) -> None:
        """Write the online network's weights, loadable with ``weights_only=True``."""
        save_tensors(
            self._online_params,
            {
                "format": 1,
                "params": snapshot(self.network.state_dict()),
                "steps": self.experience.steps,
                "updates": self.learner.updates,
            },
        )

    def save(self, *, wait: bool = True) -> None:
        """Write a checkpoint.

        Everything in memory is copied here; with ``wait=False`` a thread writes it while actors and learner go on.
        """
        with self._save_timer:
            self.checkpoints.wait()
            experience = self.experience.state_dict()
            state = {
                "format": 1,
                "steps": self.experience.steps,
                "experience": snapshot(experience),
                "learner": self.learner.state_dict(),
                "limiter": self.limiter.state_dict(),
                "random": GlobalRNGState().state_dict(),
            }
            self.checkpoints.save(
                steps=self.experience.steps,
                updates=self.learner.updates,
                state=state,
                write_parts=lambda folder: self.replay.save(folder / "replay"),
                wait=wait,
            )
        self.checkpoint_steps = self.experience.steps
        self._checkpoint_at = time.monotonic()

    def restore(self, checkpoint: Checkpoint) -> None:
        """Continue from a checkpoint.

        Raises:
            CheckpointError: It belongs to another network or version.
        """
        state = checkpoint.state()
        if state.get("format") != 1:
            raise CheckpointError(f"{checkpoint.path} has format {state.get('format')!r}, this version reads 1")
        try:
            self.learner.load_state_dict(state["learner"])
        except (KeyError, RuntimeError, ValueError) as error:
            problem = str(error).splitlines()[0]
            raise CheckpointError(f"{checkpoint.path} does not fit this network: {problem}") from error
        self.replay.load(checkpoint.path / "replay")
        self.experience.load_state_dict(state["experience"])
        self.limiter.load_state_dict(state["limiter"])
        # Last: restoring the parts may draw random numbers.
        GlobalRNGState().load_state_dict(state["random"])
        self.checkpoint_steps = checkpoint.steps
