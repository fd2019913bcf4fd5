"""What a user sees while a run goes on: a live panel on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import math
import time
from collections import deque
from dataclasses import dataclass, field
from types import TracebackType

from rich.console import Console
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table

__all__ = ["Display", "RunView"]


@dataclass
class RunView:
    """The figures that are shown."""

    #: Name of the run and number of this job.
    name: str
    job: int = 1
    #: Agent decisions so far, and when the run is complete.
    steps: int = 0
    target_steps: int = 0
    #: Learner updates so far.
    updates: int = 0
    #: Rates over the last seconds.
    steps_per_second: float = 0.0
    updates_per_second: float = 0.0
    #: Sequences in the replay, and how many fit.
    replay_sequences: int = 0
    replay_capacity: int = 0
    #: Seconds until this job saves and ends.
    seconds_left_in_job: float = 0.0
    #: Best progress of any episode so far, in words.
    best_progress: str = "-"
    #: Episodes so far and the returns of the last ones.
    episodes: int = 0
    last_returns: deque[float] = field(default_factory=lambda: deque(maxlen=8))
    #: What the learner does or waits for.
    phase: str = "starting"

    @property
    def seconds_left(self) -> float | None:
        """Seconds until the target at the present rate, or None before there is a rate."""
        if self.steps_per_second <= 0:
            return None
        return max(0, self.target_steps - self.steps) / self.steps_per_second


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    minutes, rest = divmod(int(max(0.0, seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


class Display:
    """Shows a :class:`RunView`.

    Args:
        view: The figures; the owner changes them, this class reads them.
        refresh_seconds: Seconds between two refreshes on a terminal.
        line_seconds: Seconds between two lines where there is no terminal.
        console: Where to; standard output by default.
    """

    def __init__(
        self,
        view: RunView,
        *,
        refresh_seconds: float = 0.5,
        line_seconds: float = 30.0,
        console: Console | None = None,
    ) -> None:
        self._view = view
        self._console = console if console is not None else Console()
        self._every = refresh_seconds if self._console.is_terminal else line_seconds
        self._live: Live | None = None
        self._shown_at = -math.inf

    def __enter__(self) -> Display:
        if self._console.is_terminal:
            self._live = Live(self._panel(), console=self._console, auto_refresh=False, transient=False)
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.update(force=True)
        if self._live is not None:
            self._live.stop()

    def update(self, *, force: bool = False) -> None:
        """Show the figures if it is time to."""
        now = time.monotonic()
        if not force and now - self._shown_at < self._every:
            return
        self._shown_at = now
        if self._live is not None:
            self._live.update(self._panel(), refresh=True)
        else:
            self._console.print(self._line(), highlight=False, soft_wrap=True)

    def say(self, text: str) -> None:
        """Print a line above the panel."""
        self._console.print(text, highlight=False, soft_wrap=True)

    def _returns(self) -> str:
        return " ".join(f"{value:.2f}" for value in self._view.last_returns) or "-"

    def _line(self) -> str:
        view = self._view
        return (
            f"{view.name}: {view.steps:,}/{view.target_steps:,} steps, {view.steps_per_second:,.0f} steps/s,"
            f" {view.updates:,} updates, {view.updates_per_second:.1f} updates/s,"
            f" replay {view.replay_sequences:,}/{view.replay_capacity:,}, left {_duration(view.seconds_left)}"
            f" (job {_duration(view.seconds_left_in_job)}), best {view.best_progress},"
            f" {view.episodes:,} episodes, returns {self._returns()}, {view.phase}"
        )

    def _panel(self) -> Panel:
        view = self._view
        table = Table.grid(padding=(0, 2))
        table.add_column(style="bold")
        table.add_column()
        table.add_row("steps", f"{view.steps:,} of {view.target_steps:,}")
        table.add_row("", ProgressBar(total=max(1, view.target_steps), completed=view.steps, width=48))
        table.add_row("speed", f"{view.steps_per_second:,.0f} steps/s   {view.updates_per_second:.1f} updates/s")
        table.add_row("updates", f"{view.updates:,}   ({view.phase})")
        fill = view.replay_sequences / max(1, view.replay_capacity)
        table.add_row("replay", f"{view.replay_sequences:,} of {view.replay_capacity:,} sequences ({fill:.0%})")
        table.add_row(
            "time left",
            f"{_duration(view.seconds_left)} to the target, {_duration(view.seconds_left_in_job)} in this job",
        )
        table.add_row("best progress", view.best_progress)
        table.add_row("episodes", f"{view.episodes:,}   last returns {self._returns()}")
        return Panel(table, title=f"{view.name}  job {view.job}", title_align="left", expand=False)
