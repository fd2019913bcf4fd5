"""The training loop, and what it saves."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn
from torchrl.checkpoint import GlobalRNGState

from pokered_rl.collectors import WorkerPool
from pokered_rl.data import RateLimiter, SequenceReplay
from pokered_rl.errors import CheckpointError
from pokered_rl.training.checkpoint import Checkpoint, CheckpointStore, save_tensors
from pokered_rl.training.learner import Learner, snapshot
from pokered_rl.training.runtime import SaveTimer, StopReason

__all__ = ["Trainer"]

_FORMAT = 1


class Trainer:
    """Learns while the workers play, until there is a reason to stop.

    Args:
        learner: Takes the optimizer steps.
        network: The online network, whose weights go to the workers and into ``online_params.pt``.
        workers: Play, and put what they played into the replay.
        replay: The sequences.
        limiter: Keeps drawing in proportion to inserting.
        checkpoints: Where checkpoints go.
        online_params: The file of the online network's weights.
        stop_reason: Says whether to stop, and why; asked before every step of the loop.
        report: Called after every step of the loop, for metrics and display; returns quickly.
        sync_every_updates: Updates between two weight copies to the workers.
        publish_every_updates: Updates between two writings of ``online_params``.
        checkpoint_every_seconds: Seconds between two checkpoints.
        save_timer: Measures how long saving takes.
    """

    def __init__(
        self,
        *,
        learner: Learner,
        network: nn.Module,
        workers: WorkerPool,
        replay: SequenceReplay,
        limiter: RateLimiter,
        checkpoints: CheckpointStore,
        online_params: Path,
        stop_reason: Callable[[], StopReason | None],
        report: Callable[[Trainer], None],
        sync_every_updates: int,
        publish_every_updates: int,
        checkpoint_every_seconds: float,
        save_timer: SaveTimer,
    ) -> None:
        self.learner = learner
        self.network = network
        self.workers = workers
        self.replay = replay
        self.limiter = limiter
        self.checkpoints = checkpoints
        self._restored_steps = 0
        self._online_params = online_params
        self._stop_reason = stop_reason
        self._report = report
        self._sync_every = sync_every_updates
        self._publish_every = publish_every_updates
        self._checkpoint_every_seconds = checkpoint_every_seconds
        self._checkpoint_at = time.monotonic()
        self._save_timer = save_timer

    @property
    def checkpoint_steps(self) -> int:
        """Steps at the newest checkpoint that is on the disk: where the next job would go on."""
        written = self.checkpoints.written
        return written.steps if written is not None else self._restored_steps

    def run(self) -> StopReason:
        """Train until there is a reason to stop; nothing is saved at the end: call :meth:`save`."""
        self._checkpoint_at = time.monotonic()
        # In-process workers that were restored keep those that acted.
        self.workers.set_weights(self.network, version=self.learner.updates)
        self.workers.start()
        while (reason := self._stop_reason()) is None:
            self.workers.check()
            if self.limiter.can_sample(self.learner.batch_size):
                self.learner.step()
                self.limiter.sampled(self.learner.batch_size)
                self._after_update(self.learner.updates)
            else:
                self.workers.collect()
            if time.monotonic() - self._checkpoint_at > self._checkpoint_every_seconds:
                self.save(wait=False)
            self._report(self)
        return reason

    def _after_update(self, updates: int) -> None:
        if updates % self._sync_every == 0:
            self.workers.set_weights(self.network, version=updates)
        if updates % self._publish_every == 0:
            self.publish()

    def publish(self) -> None:
        """Write the online network's weights, loadable with ``weights_only=True``."""
        save_tensors(
            self._online_params,
            {
                "format": 1,
                "params": snapshot(self.network.state_dict()),
                "steps": self.workers.steps,
                "updates": self.learner.updates,
            },
        )

    def save(self, *, wait: bool = True) -> None:
        """Write a checkpoint.

        Everything in memory is copied here; with ``wait=False`` a thread writes it while workers and learner go on.
        """
        with self._save_timer:
            self.checkpoints.wait()
            workers = self.workers.state_dict()
            # Under the lock nothing is inserted: counters, open sequences and cursor belong to one moment.
            with self.workers.sink.lock:
                self.checkpoints.save(
                    steps=self.workers.steps,
                    updates=self.learner.updates,
                    state={
                        "format": _FORMAT,
                        "workers": snapshot(workers),
                        "learner": self.learner.state_dict(),
                        "limiter": self.limiter.state_dict(),
                        "random": GlobalRNGState().state_dict(),
                    },
                    write_parts=lambda folder: self.replay.save(folder / "replay"),
                    wait=False,
                )
            if wait:
                self.checkpoints.wait()
        self._checkpoint_at = time.monotonic()

    def restore(self, checkpoint: Checkpoint, *, load_replay: Callable[[Path], int]) -> None:
        """Continue from a checkpoint.

        Args:
            checkpoint: An intact one.
            load_replay: Opens the rows that belong to the replay state in a folder; returns how many are there.

        Raises:
            CheckpointError: It belongs to another network or version, or the rows of the replay are gone.
        """
        state = checkpoint.state()
        if state.get("format") != _FORMAT:
            raise CheckpointError(f"{checkpoint.path} has format {state.get('format')!r}, this version reads {_FORMAT}")
        try:
            self.learner.load_state_dict(state["learner"])
        except (KeyError, RuntimeError, ValueError) as error:
            problem = str(error).splitlines()[0]
            raise CheckpointError(f"{checkpoint.path} does not fit this network: {problem}") from error
        self.limiter.load_state_dict(state["limiter"])
        load_replay(checkpoint.path / "replay")
        self.workers.load_state_dict(state["workers"])
        # Last: restoring the parts may draw random numbers.
        random = dict(state["random"])
        if len(random.get("torch_cuda", ())) != torch.cuda.device_count():
            random.pop("torch_cuda", None)  # saved on a machine with other devices
        GlobalRNGState().load_state_dict(random)
        self._restored_steps = checkpoint.steps
