"""Gathers what a run does and passes it on: to the CSV files, to ``progress.json`` and to the display."""

from __future__ import annotations

import time
from collections.abc import Callable

from pokered_rl.collectors import WorkerPool
from pokered_rl.data import RateLimiter
from pokered_rl.training.display import Display, RunView
from pokered_rl.training.metrics import MetricsWriter, Value
from pokered_rl.training.milestones import MilestoneWatch
from pokered_rl.training.run_folder import Progress, RunFolder
from pokered_rl.training.trainer import Trainer

__all__ = ["Reporter"]


class Reporter:
    """Called after every step of the training loop; does its work only every few seconds.

    Args:
        folder: Where ``progress.json`` is.
        progress: Continued from earlier jobs; its counters are brought up to date.
        metrics: Gets a row every few seconds, and one for each finished episode.
        display: Shows ``view``.
        view: The figures on display.
        every_seconds: Seconds between two rows.
        seconds_left: Says how long this job still has.
        replay_capacity: Sequences that fit into the replay.
    """

    def __init__(
        self,
        *,
        folder: RunFolder,
        progress: Progress,
        metrics: MetricsWriter,
        display: Display,
        view: RunView,
        every_seconds: float,
        seconds_left: Callable[[], float],
        replay_capacity: int,
    ) -> None:
        self.progress = progress
        self._folder = folder
        self._metrics = metrics
        self._display = display
        self._view = view
        self._every_seconds = every_seconds
        self._seconds_left = seconds_left
        view.replay_capacity = replay_capacity
        self._wall_before = progress.wall_seconds
        self._began = time.monotonic()
        self._row_at = self._began
        self._show_best()
        self._milestones = MilestoneWatch(folder.episode_logs)
        self._restarts_before = progress.worker_restarts
        self._episodes_noted = progress.episodes
        self._steps_then = progress.steps
        self._updates_then = progress.updates

    def tick(self, trainer: Trainer) -> None:
        """Take note of finished episodes; write and show what is due."""
        self._note_episodes(trainer.workers)
        now = time.monotonic()
        if now - self._row_at >= self._every_seconds:
            self.write(trainer)
        self._view.steps = trainer.workers.steps
        self._view.updates = trainer.learner.updates
        self._view.episodes = trainer.workers.episodes
        self._view.replay_sequences = len(trainer.replay)
        self._view.seconds_left_in_job = self._seconds_left()
        self._view.phase = _phase(trainer.limiter, self._view.replay_sequences)
        self._display.update()

    def write(self, trainer: Trainer) -> None:
        """Write a row of metrics and ``progress.json`` now."""
        now = time.monotonic()
        seconds = max(1e-9, now - self._row_at)
        workers, learner = trainer.workers, trainer.learner
        view, progress = self._view, self.progress
        view.steps_per_second = (workers.steps - self._steps_then) / seconds
        view.updates_per_second = (learner.updates - self._updates_then) / seconds
        self._row_at, self._steps_then, self._updates_then = now, workers.steps, learner.updates

        progress.steps = workers.steps
        progress.updates = learner.updates
        progress.episodes = workers.episodes
        progress.wall_seconds = self._wall_before + now - self._began
        progress.replay_sequences = len(trainer.replay)
        progress.checkpoint_steps = trainer.checkpoint_steps
        stats = workers.stats()
        restarts = sum(value for name, value in stats.items() if name.startswith("restarts_"))
        progress.worker_restarts = self._restarts_before + int(restarts)
        progress.steps_lost = int(stats["steps_lost"])
        self._note_milestones()
        self._folder.write_progress(progress)

        row: dict[str, Value] = {
            "job": progress.jobs,
            "steps": workers.steps,
            "wall_seconds": progress.wall_seconds,
            "updates": learner.updates,
            "episodes": workers.episodes,
            "steps_per_second": view.steps_per_second,
            "updates_per_second": view.updates_per_second,
            "replay_sequences": progress.replay_sequences,
        }
        self._metrics.train_row(row | stats | learner.means())

    def _note_episodes(self, workers: WorkerPool) -> None:
        if workers.episodes == self._episodes_noted:
            return
        with workers.sink.lock:  # workers' threads count episodes: both lines must speak of the same ones
            finished = workers.sink.finished_since(self._episodes_noted)
            self._episodes_noted = workers.episodes
        wall_seconds = self._wall_before + time.monotonic() - self._began
        for episode in finished:
            self._view.last_returns.append(episode.total_reward)
            for name, value in (("return", episode.total_reward), ("length", float(episode.steps))):
                self.progress.best[name] = max(value, float(self.progress.best.get(name, value)))
            self._metrics.episode_row(
                {
                    "job": self.progress.jobs,
                    "steps": workers.steps,
                    "wall_seconds": wall_seconds,
                    "worker": episode.worker,
                    "emulator": episode.emulator,
                    "return": episode.total_reward,
                    "length": episode.steps,
                }
            )

    def _note_milestones(self) -> None:
        best = self.progress.best
        found = self._milestones.new_best(int(best.get("milestones", 0)))
        if found is not None:
            best["milestones"], best["milestone"] = found
        self._show_best()

    def _show_best(self) -> None:
        best = self.progress.best
        if "milestones" in best:
            self._view.best_progress = f"{best['milestones']} milestones, last {best['milestone']}"
        elif "return" in best:
            self._view.best_progress = f"return {float(best['return']):.3g}"


def _phase(limiter: RateLimiter, stored: int) -> str:
    if stored < limiter.min_fill_sequences:
        return f"filling the replay to {limiter.min_fill_sequences:,} sequences"
    return "learning" if limiter.credit > 0 else "waiting for experience"
