"""Write ``progress.json``: counters, rates and best results of a run."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping
from typing import Any

from pokered_rl.collectors import EpisodeResult
from pokered_rl.training.callbacks import Callback
from pokered_rl.training.checkpoint import Checkpoint
from pokered_rl.training.run_folder import Progress, RunFolder
from pokered_rl.training.runtime import ExitStatus, StopReason
from pokered_rl.training.trainer import Trainer

__all__ = ["ProgressRecord"]

#: Rates are those of the last minute, measured every second.
_RATE_SECONDS, _MARK_SECONDS = 60.0, 1.0


class ProgressRecord(Callback):
    """Update a :class:`Progress`, write it every few seconds, and record the end of the job in ``jobs.jsonl``.

    Args:
        folder: The run's folder.
        progress: Continued from earlier jobs; other callbacks read it.
        every_seconds: Seconds between two writings.
    """

    def __init__(self, folder: RunFolder, progress: Progress, *, every_seconds: float) -> None:
        self._folder = folder
        self._progress = progress
        self._every_seconds = every_seconds
        self._wall_before = progress.wall_seconds
        self._restarts_before = progress.worker_restarts
        self._began = self._written_at = time.monotonic()
        self._first_steps = 0
        #: Time, steps and updates of the last minute, oldest first.
        self._marks = deque([(self._began, 0, 0)])

    def on_start(self, trainer: Trainer) -> None:
        """Take the counters of the checkpoint; what the job adds is counted from here."""
        self._began = self._written_at = time.monotonic()
        self._first_steps = trainer.steps
        self._marks = deque([(self._began, trainer.steps, trainer.updates)])
        self._update(trainer)

    def on_batch(self, trainer: Trainer, num_steps: int) -> None:
        """Update the counters."""
        self._update(trainer)

    def on_update(self, trainer: Trainer) -> None:
        """Update the counters."""
        self._update(trainer)

    def on_episode(self, trainer: Trainer, episode: EpisodeResult) -> None:
        """Keep the best figures of episodes that began at power-on or in a given start state."""
        if episode.from_archive:
            return
        best, figures = self._progress.best, episode.figures
        if figures is not None and len(figures.milestones) > int(best.get("milestones", 0)):
            best["milestones"], best["milestone"] = len(figures.milestones), figures.furthest
        for name, value in (("return", episode.total_reward), ("length", float(episode.steps))):
            best[name] = max(value, float(best.get(name, value)))

    def state_dict(self) -> dict[str, Any]:
        """Return the best figures: those of episodes that are played again after a crash do not count."""
        return {"best": dict(self._progress.best)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from :meth:`state_dict`."""
        self._progress.best = dict(state["best"])

    def on_checkpoint(self, trainer: Trainer, checkpoint: Checkpoint) -> None:
        """Note where a crash would go back to."""
        self._progress.checkpoint_steps = checkpoint.steps

    def on_end(self, trainer: Trainer, stop: StopReason | Exception) -> None:
        """Write why the job ended."""
        progress = self._progress
        self._update(trainer)
        if isinstance(stop, StopReason):
            status = stop.exit_status(advanced=trainer.steps > self._first_steps)
            progress.last_stop, progress.complete = stop.value, status is ExitStatus.complete
            end = {"reason": stop.value, "status": int(status), "steps": progress.steps}
            self._folder.append_job({"job": progress.jobs, "event": "end", **end})
        else:
            progress.last_stop = f"{type(stop).__name__}: {str(stop).partition(chr(10))[0]}"
        self._write(trainer)

    def _update(self, trainer: Trainer) -> None:
        progress, now = self._progress, time.monotonic()
        progress.steps, progress.updates, progress.episodes = trainer.steps, trainer.updates, trainer.episodes
        progress.wall_seconds = self._wall_before + now - self._began
        progress.replay_sequences = len(trainer.replay)
        self._measure_rates(now)
        if now - self._written_at >= self._every_seconds:
            self._written_at = now
            self._write(trainer)

    def _measure_rates(self, now: float) -> None:
        """Set the rates to those of the last minute, or since the first batch."""
        progress, marks = self._progress, self._marks
        if progress.steps == marks[0][1] and len(marks) == 1:
            self._marks = deque([(now, progress.steps, progress.updates)])  # the workers are starting
            return
        if now - marks[-1][0] < _MARK_SECONDS:
            return
        marks.append((now, progress.steps, progress.updates))
        while now - marks[1][0] > _RATE_SECONDS:
            marks.popleft()
        then, steps, updates = marks[0]
        progress.steps_per_second = (progress.steps - steps) / (now - then)
        progress.updates_per_second = (progress.updates - updates) / (now - then)

    def _write(self, trainer: Trainer) -> None:
        progress, stats = self._progress, trainer.workers.stats()
        restarts = sum(value for name, value in stats.items() if name.startswith("restarts_"))
        progress.worker_restarts = self._restarts_before + int(restarts)
        progress.steps_lost = int(stats["steps_lost"])
        self._folder.write_progress(progress)
