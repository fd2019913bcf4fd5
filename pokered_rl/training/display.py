"""Show a run while it goes on: a live panel on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import math
import time

from rich.console import Console
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table

from pokered_rl.terminal import make_console
from pokered_rl.training.callbacks import Callback
from pokered_rl.training.metrics import Metrics
from pokered_rl.training.run_folder import Progress
from pokered_rl.training.runtime import Deadline, StopReason
from pokered_rl.training.statistics import EpisodeStatistics
from pokered_rl.training.trainer import Trainer

__all__ = ["Display"]


def _duration(seconds: float) -> str:
    minutes, rest = divmod(int(max(0.0, seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


class Display(Callback):
    """Show the progress of a run.

    Args:
        progress: The counters and rates.
        deadline: Says how long this job still has.
        statistics: Means and milestone rates of the latest episodes.
        metrics: Has the latest loss and value.
        refresh_seconds: Seconds between two refreshes on a terminal.
        line_seconds: Seconds between two lines where there is no terminal.
        console: Where to; standard output by default.
    """

    def __init__(
        self,
        progress: Progress,
        *,
        deadline: Deadline,
        statistics: EpisodeStatistics | None = None,
        metrics: Metrics | None = None,
        refresh_seconds: float = 0.5,
        line_seconds: float = 30.0,
        console: Console | None = None,
    ) -> None:
        self._progress = progress
        self._deadline = deadline
        self._console = console if console is not None else make_console()
        self._every = refresh_seconds if self._console.is_terminal else line_seconds
        self._live: Live | None = None
        self._shown_at = -math.inf
        self._statistics = statistics if statistics is not None else EpisodeStatistics()
        self._metrics = metrics

    def on_start(self, trainer: Trainer) -> None:
        """Open the panel on a terminal."""
        if self._console.is_terminal:
            self._live = Live(self._panel(trainer), console=self._console, auto_refresh=False, transient=False)
            self._live.start()

    def on_batch(self, trainer: Trainer, num_steps: int) -> None:
        """Show the figures when it is time to."""
        self._show_if_due(trainer)

    def on_update(self, trainer: Trainer) -> None:
        """Show the figures when it is time to."""
        self._show_if_due(trainer)

    def on_end(self, trainer: Trainer, stop: StopReason | Exception) -> None:
        """Show the last figures and leave them there."""
        self._show(trainer)
        if self._live is not None:
            self._live.stop()

    def _show_if_due(self, trainer: Trainer) -> None:
        if time.monotonic() - self._shown_at >= self._every:
            self._show(trainer)

    def _show(self, trainer: Trainer) -> None:
        self._shown_at = time.monotonic()
        if self._live is not None:
            self._live.update(self._panel(trainer), refresh=True)
        else:
            self._console.print(self._line(trainer), highlight=False, soft_wrap=True)

    def _means(self) -> str:
        """Means of the latest episodes from power-on."""
        means = self._statistics.means()
        if not means:
            return "-"
        tiles = f", {means['tiles']:.1f} tiles" if "tiles" in means else ""
        return f"return {means['return']:.2f}{tiles} (last {len(self._statistics)} from power-on)"

    def _furthest(self) -> str:
        """The furthest milestone of these episodes and its rate."""
        furthest = self._statistics.furthest()
        return "-" if furthest is None else f"{furthest[0]} {furthest[1]:.0%}"

    def _learning(self) -> str:
        """Loss and mean value of the latest row of metrics."""
        latest = {} if self._metrics is None else self._metrics.latest
        found = [
            f"{label} {latest[name]:.3g}"
            for name, label in (("loss_quantile", "loss"), ("mean_q", "Q"))
            if name in latest
        ]
        return "   ".join(found) or "-"

    def _left(self) -> str:
        """Time until the target at the present rate."""
        progress = self._progress
        steps = max(0, progress.target_total_steps - progress.steps)
        return _duration(steps / progress.steps_per_second) if progress.steps_per_second > 0 else "?"

    def _line(self, trainer: Trainer) -> str:
        view, replay = self._progress, trainer.replay
        return (
            f"{view.run}: {view.steps:,}/{view.target_total_steps:,} steps, {self._speed()}, left {self._left()}"
            f" (job {_duration(self._deadline.seconds_left)}), {view.updates:,} updates, {self._learning()},"
            f" replay {len(replay):,}/{replay.capacity_sequences:,}, {view.episodes:,} episodes, {self._means()},"
            f" furthest {self._furthest()}, {_phase(trainer)}"
        )

    def _speed(self) -> str:
        view = self._progress
        if not view.steps_per_second and not view.updates_per_second:
            return "speed not measured yet"
        return f"{view.steps_per_second:,.0f} steps/s, {view.updates_per_second:.1f} updates/s"

    def _panel(self, trainer: Trainer) -> Panel:
        view, replay = self._progress, trainer.replay
        table = Table.grid(padding=(0, 2))
        table.add_column(style="bold")
        table.add_column()
        table.add_row("steps", f"{view.steps:,} of {view.target_total_steps:,}")
        table.add_row("", ProgressBar(total=max(1, view.target_total_steps), completed=view.steps, width=48))
        table.add_row("speed", self._speed())
        table.add_row("updates", f"{view.updates:,}   ({_phase(trainer)})   {self._learning()}")
        fill = len(replay) / max(1, replay.capacity_sequences)
        table.add_row("replay", f"{len(replay):,} of {replay.capacity_sequences:,} sequences ({fill:.0%})")
        job = _duration(self._deadline.seconds_left)
        table.add_row("time left", f"{self._left()} to the target, {job} in this job")
        table.add_row("episodes", f"{view.episodes:,}   {self._means()}")
        table.add_row("furthest", self._furthest())
        return Panel(table, title=f"{view.run}  job {view.jobs}", title_align="left", expand=False)


def _phase(trainer: Trainer) -> str:
    limiter = trainer.limiter
    if len(trainer.replay) < limiter.min_fill_sequences:
        return f"filling the replay to {limiter.min_fill_sequences:,} sequences"
    return "learning" if limiter.credit > 0 else "waiting for experience"
