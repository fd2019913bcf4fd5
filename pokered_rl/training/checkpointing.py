"""Save a run, and restore it."""

from __future__ import annotations

import time
from pathlib import Path

import torch
from torchrl.checkpoint import GlobalRNGState

from pokered_rl.collectors import SupervisedPool
from pokered_rl.errors import CheckpointError
from pokered_rl.training.callbacks import Callback, CallbackError
from pokered_rl.training.checkpoint import (
    Checkpoint,
    CheckpointStore,
    load_tensors,
    misfit,
    online_weights,
    save_tensors,
)
from pokered_rl.training.learner import snapshot
from pokered_rl.training.runtime import StopReason
from pokered_rl.training.scratch import ScratchReplay
from pokered_rl.training.trainer import Trainer

__all__ = ["Checkpointing"]

#: 1 had the open sequences of the workers apart from their states; its runs go on with new episodes.
_FORMAT, _READABLE = 2, (1, 2)
#: Workers get this long to hand in their last batch and state: Ctrl-C has to end everything within ten seconds, and a
#: scheduler gives half a minute between its signal and the end.
_HALT_SECONDS, _HALT_INTERRUPTED_SECONDS = 15.0, 4.0


class Checkpointing(Callback):
    """Write checkpoints and the weights of the online network, and restore a run from them.

    Args:
        store: Where checkpoints go.
        online_params: The file of the online network's weights.
        every_seconds: Seconds between two checkpoints.
        publish_every_updates: Updates between two writings of ``online_params``.
        scratch: Brings the replay from and to a scratch disk; None where it lies in the run folder.
        refill_lost_replay: Go on with an empty replay where the saved one is gone.
        guess_seconds: Assumed duration of the last checkpoint of a job before one was measured.
    """

    def __init__(
        self,
        store: CheckpointStore,
        online_params: Path,
        *,
        every_seconds: float,
        publish_every_updates: int,
        scratch: ScratchReplay | None = None,
        refill_lost_replay: bool = False,
        guess_seconds: float = 20.0,
    ) -> None:
        self._store = store
        self._online_params = online_params
        self._every_seconds = every_seconds
        self._publish_every = publish_every_updates
        self._scratch = scratch
        self._refill_lost_replay = refill_lost_replay
        self._guess_seconds = guess_seconds
        self._longest_seconds: float | None = None
        self._saved_at = time.monotonic()
        self._announced: Checkpoint | None = None
        self._has_news = False

    def seconds_needed(self) -> float:
        """Return twice the longest saving seen so far: disks of clusters are slow at times."""
        return self._guess_seconds if self._longest_seconds is None else 2.0 * self._longest_seconds

    def on_start(self, trainer: Trainer) -> None:
        """Start the clock."""
        self._saved_at = time.monotonic()

    def on_batch(self, trainer: Trainer, num_steps: int) -> None:
        """Write a checkpoint when it is time for one."""
        self._save_if_due(trainer)

    def on_update(self, trainer: Trainer) -> None:
        """Write a checkpoint and the weights when it is time for them."""
        if trainer.updates % self._publish_every == 0:
            self.publish(trainer)
        self._save_if_due(trainer)

    def on_end(self, trainer: Trainer, stop: StopReason | Exception) -> None:
        """Take the last batches and the states of the workers, then write checkpoint and weights.

        What the learner has is good until its last step, so this happens after an exception, too.
        """
        if isinstance(stop, Exception) and not self._has_news:
            return
        workers = trainer.workers
        if isinstance(workers, SupervisedPool):
            patience = _HALT_INTERRUPTED_SECONDS if stop is StopReason.interrupted else _HALT_SECONDS
            workers.worker_timeout_seconds = min(workers.worker_timeout_seconds, patience)
        workers.halt()
        self.publish(trainer)
        try:
            self.save(trainer, announce=isinstance(stop, StopReason))
        except CallbackError:
            self.save(trainer, announce=False)
            raise

    def _save_if_due(self, trainer: Trainer) -> None:
        self._has_news = True
        self._announce(trainer)
        if time.monotonic() - self._saved_at > self._every_seconds:
            self.save(trainer, wait=False)

    def _announce(self, trainer: Trainer) -> None:
        written = self._store.written
        if written is not None and written is not self._announced:
            self._announced = written
            trainer.callbacks.call("on_checkpoint", trainer, written)

    def publish(self, trainer: Trainer) -> None:
        """Write the online network's weights, loadable with ``weights_only=True``."""
        params = snapshot(trainer.network.state_dict())
        save_tensors(self._online_params, {"params": params, "steps": trainer.steps, "updates": trainer.updates})

    def save(self, trainer: Trainer, *, wait: bool = True, announce: bool = True) -> None:
        """Write a checkpoint.

        Args:
            trainer: The run; everything in memory is copied here.
            wait: Return when it is on the disk; otherwise a thread writes it while workers and learner go on.
            announce: Tell the callbacks of the steps and episodes that are saved, so that their states include them.
        """
        began = self._saved_at = time.monotonic()
        self._store.wait()
        workers = trainer.workers.state_dict()
        # Under the lock nothing is inserted: counters, open sequences and cursor belong to one moment.
        with trainer.workers.sink.lock:
            if announce:
                trainer.announce()
            self._store.save(
                steps=trainer.steps,
                updates=trainer.updates,
                state={
                    "format": _FORMAT,
                    "workers": snapshot(workers),
                    "learner": trainer.learner.state_dict(),
                    "limiter": trainer.limiter.state_dict(),
                    "mixed": {} if trainer.mixed is None else trainer.mixed.state_dict(),
                    "callbacks": snapshot(trainer.callbacks.state_dict()),
                    "random": GlobalRNGState().state_dict(),
                },
                write_parts=lambda folder: _save_replays(trainer, folder),
                flush=trainer.replay.flush,
                wait=False,
            )
        if wait:
            self._store.wait()
        self._saved_at = time.monotonic()
        self._longest_seconds = max(self._longest_seconds or 0.0, self._saved_at - began)
        if wait:
            self._announce(trainer)

    def restore(self, trainer: Trainer, *, init_from: Path | None = None) -> Checkpoint | None:
        """Continue from the newest checkpoint, or start.

        Args:
            trainer: Freshly built.
            init_from: A run folder or a file of weights, which a run without weights of its own starts from.

        Returns:
            The checkpoint; None for a run that has none.

        Raises:
            CheckpointError: A checkpoint or weights of another network or version, or the replay is gone.
        """
        checkpoint = self._store.newest()
        if checkpoint is not None:
            self._load(trainer, checkpoint)
            trainer.say(f"continuing {trainer.folder} at step {checkpoint.steps:,}, update {checkpoint.updates:,}")
            return checkpoint
        trainer.replay.allocate(trainer.example)
        source = self._online_params
        if not source.is_file() and init_from is not None:
            source = init_from / "online_params.pt" if init_from.is_dir() else init_from
            if not source.is_file():
                raise CheckpointError(f"run.init_from={init_from}: there is no file {source}")
        if source.is_file():
            _load_weights(trainer, source)
            trainer.say(f"starting with the weights of {source}")
        return None

    def _load(self, trainer: Trainer, checkpoint: Checkpoint) -> None:
        state = checkpoint.state()
        if state.get("format") not in _READABLE:
            readable = " and ".join(map(str, _READABLE))
            raise CheckpointError(
                f"{checkpoint.path} has format {state.get('format')!r}, this version reads {readable}"
            )
        try:
            trainer.learner.load_state_dict(state["learner"])
        except (KeyError, RuntimeError, ValueError) as error:
            saved = online_weights(state["learner"].get("loss", {}))
            problem = misfit(error, saved, trainer.network.state_dict())
            raise CheckpointError(f"{checkpoint.path} does not fit this network: {problem}") from error
        trainer.limiter.load_state_dict(state["limiter"])
        self._load_replay(trainer, checkpoint.path / "replay")
        if trainer.mixed is not None:
            trainer.mixed.load_state_dict(state.get("mixed") or {"updates": trainer.updates})
            trainer.mixed.demonstrations.load(checkpoint.path / "demonstrations")
        if state["format"] == 1:
            state["workers"]["workers"] = {}
            trainer.say("the last job was of the version before: its open episodes do not go on")
        trainer.workers.load_state_dict(state["workers"])
        trainer.callbacks.load_state_dict(state.get("callbacks", {}))
        # Last: restoring the parts may draw random numbers.
        random = dict(state["random"])
        if len(random.get("torch_cuda", ())) != torch.cuda.device_count():
            random.pop("torch_cuda", None)  # saved on a machine with other devices
        GlobalRNGState().load_state_dict(random)

    def _load_replay(self, trainer: Trainer, saved: Path) -> None:
        """Open the replay's files again; where they are gone, fail or begin with an empty replay."""
        replay = trainer.replay
        if self._scratch is not None and (fetched := self._scratch.fetch(saved)):
            trainer.say(f"{fetched:,} sequences were fetched to {replay.scratch_dir}")
        try:
            newer = replay.load(saved)
        except CheckpointError as error:
            if not self._refill_lost_replay:
                raise CheckpointError(f"{error}; set replay.on_loss=refill to go on with an empty replay") from error
            replay.allocate(trainer.example)
            trainer.limiter.require_refill()
            least = trainer.limiter.min_fill_sequences
            trainer.say(f"the replay is lost ({error}); the learner waits until {least:,} sequences are there")
            return
        replay.reserve()
        if newer:
            trainer.say(
                f"{newer:,} sequences are not those of the checkpoint (newer, of an older copy, or damaged): left out"
            )


def _save_replays(trainer: Trainer, folder: Path) -> None:
    trainer.replay.save(folder / "replay")
    if trainer.mixed is not None:
        trainer.mixed.demonstrations.save(folder / "demonstrations")


def _load_weights(trainer: Trainer, source: Path) -> None:
    """Start from published weights; the target network follows them."""
    saved = load_tensors(source)
    try:
        trainer.network.load_state_dict(saved["params"])
    except (KeyError, RuntimeError) as error:
        problem = misfit(error, saved.get("params", {}), trainer.network.state_dict())
        raise CheckpointError(f"the weights in {source} do not fit this network: {problem}") from error
    updater = trainer.learner.target_updater
    updater.initialized = False  # once more: the target follows the weights just loaded
    updater.init_()
