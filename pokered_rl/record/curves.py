"""Learning curves and milestones from episode logs (Matplotlib).

A run is a list of logs of one seed. Curves over several seeds carry a band: the 95% confidence interval of the mean
over the seeds (Student's t). With one seed the band is the middle half of the episodes, and the legend says so.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter

from pokered_rl.episodes import EpisodeLog, Outcome
from pokered_rl.errors import ConfigError
from pokered_rl.plain_text import printable

__all__ = [
    "Curve",
    "binned_curve",
    "curves_figure",
    "episode_points",
    "learning_curve",
    "learning_figure",
    "milestone_figure",
    "milestone_steps",
    "reward_stack_figure",
]

# Two-sided 97.5% points of Student's t for 1 to 30 degrees of freedom (any statistics table).
_T975 = (
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131,
    2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042,
)  # fmt: skip
_COLOURS = ("#2563a8", "#c0532c", "#3c8a4f", "#8456a8", "#a8892c", "#4c8fa0")


@dataclass(frozen=True, kw_only=True)
class Curve:
    """A quantity over training, at P points."""

    #: float64 [P], global step in the middle of each interval.
    steps: npt.NDArray[np.float64]
    #: float64 [P], NaN where a run has no episode, because a mean over fewer runs would be another curve.
    mean: npt.NDArray[np.float64]
    #: float64 [P], lower end of the band.
    low: npt.NDArray[np.float64]
    #: float64 [P], upper end of the band.
    high: npt.NDArray[np.float64]
    #: Number of runs.
    seeds: int


def binned_curve(
    seeds: Sequence[tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]],
    *,
    points: int = 40,
    end: float | None = None,
) -> Curve:
    """Return the mean of scattered values over training, with a band over the seeds.

    Args:
        seeds: For each run global steps [K] and values [K], in any order.
        points: Intervals into which training is divided, at most the number of values of the shortest run.
        end: End of the last interval; the largest step by default.

    Raises:
        ConfigError: There is no run, or a run has no value.
    """
    if not seeds or not all(len(steps) for steps, _ in seeds):
        raise ConfigError("every run must have at least one episode log or value")
    end = max(float(steps.max()) for steps, _ in seeds) if end is None else end
    points = max(1, min(points, *(len(steps) for steps, _ in seeds)))
    edges = np.linspace(0, end, points + 1)
    means = np.full((len(seeds), points), np.nan)
    quartiles = np.full((2, points), np.nan)
    for run, (steps, values) in enumerate(seeds):
        interval = np.clip(np.searchsorted(edges, steps, side="right") - 1, 0, points - 1)
        for point in range(points):
            chosen = values[interval == point]
            if chosen.size:
                means[run, point] = chosen.mean()
                quartiles[:, point] = np.percentile(chosen, [25, 75])
    mean, half = _mean_and_half_width(means)
    low, high = (mean - half, mean + half) if len(seeds) > 1 else quartiles
    return Curve(steps=(edges[:-1] + edges[1:]) / 2, mean=mean, low=low, high=high, seeds=len(seeds))


def learning_curve(seeds: Sequence[Sequence[EpisodeLog]], *, points: int = 40, term: str | None = None) -> Curve:
    """Return the mean return over training.

    Args:
        seeds: The logs of each run. Episodes that the end of a job cut are left out where there are others.
        points: See :func:`binned_curve`.
        term: Name of a reward term whose sum is taken instead of the return.

    Raises:
        ConfigError: There is no log, or a run has none.
    """
    end = max((log.header.global_step + log.steps for logs in seeds for log in logs), default=None)
    return binned_curve([episode_points(logs, term) for logs in seeds], points=points, end=end)


def episode_points(
    logs: Sequence[EpisodeLog], term: str | None = None
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return middle step [K] and return [K] of every episode."""
    logs = [log for log in logs if _is_whole(log)] or logs
    values = [log.episode_return if term is None else log.term_returns.get(term, 0.0) for log in logs]
    return np.array([log.header.global_step + log.steps / 2 for log in logs]), np.array(values)


def _is_whole(log: EpisodeLog) -> bool:
    """Return False for the two parts of an episode that the end of a job cut: their returns are too small."""
    return log.outcome is Outcome.CONTINUED or (log.header.segment == 0 and log.outcome is not Outcome.SHUTDOWN)


def _mean_and_half_width(means: npt.NDArray[np.float64]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return the mean over the first axis and half the width of its 95% interval; NaN where an entry is."""
    count = len(means)
    mean = means.mean(axis=0)
    if count == 1:
        return mean, np.full_like(mean, np.nan)
    return mean, _T975[min(count - 1, len(_T975)) - 1] * means.std(axis=0, ddof=1) / math.sqrt(count)


def curves_figure(curves: Mapping[str, Curve], *, y_label: str) -> Figure:
    """Draw curves of several experiments, each with its band.

    Args:
        curves: Curve by name of the experiment.
        y_label: Label of the vertical axis.
    """
    figure = Figure(figsize=(4.8, 3.1), layout="constrained")
    axes = figure.subplots()
    for index, (name, curve) in enumerate(curves.items()):
        colour = _COLOURS[index % len(_COLOURS)]
        band = f"{curve.seeds} seeds, 95% interval" if curve.seeds > 1 else "middle half of the episodes"
        known = ~np.isnan(curve.mean)
        axes.plot(curve.steps[known], curve.mean[known], color=colour, lw=1.8, label=_label(f"{name} ({band})"))
        axes.fill_between(curve.steps[known], curve.low[known], curve.high[known], color=colour, alpha=0.18, lw=0)
    _finish(axes, "agent steps", _label(y_label))
    figure.legend(frameon=False, fontsize=9, loc="outside lower center")
    return figure


def learning_figure(
    runs: Mapping[str, Sequence[Sequence[EpisodeLog]]], *, points: int = 40, term: str | None = None
) -> Figure:
    """Draw learning curves of several experiments; the episodes of a single seed are shown as dots, too.

    Args:
        runs: Name of an experiment to the logs of each of its seeds.
        points: See :func:`binned_curve`.
        term: See :func:`learning_curve`.
    """
    curves = {name: learning_curve(seeds, points=points, term=term) for name, seeds in runs.items()}
    figure = curves_figure(curves, y_label="return" if term is None else term)
    for index, seeds in enumerate(runs.values()):
        if len(seeds) == 1:
            figure.axes[0].plot(
                *episode_points(seeds[0], term), ".", color=_COLOURS[index % len(_COLOURS)], ms=3, alpha=0.35
            )
    return figure


def reward_stack_figure(logs: Sequence[EpisodeLog], *, points: int = 30, terms: int = 8) -> Figure:
    """Draw the composition of the return: the mean of each reward term over training, stacked.

    Args:
        logs: The logs of one run.
        points: See :func:`binned_curve`.
        terms: Number of terms with a colour of their own; the rest is "other".
    """
    sizes: dict[str, float] = {}
    for log in logs:
        for name, value in zip(log.header.reward_terms, np.abs(log.term_rewards).sum(axis=0), strict=True):
            sizes[name] = sizes.get(name, 0.0) + float(value)
    order = [name for name in sorted(sizes, key=lambda name: -sizes[name]) if sizes[name] > 0]
    figure = Figure(figsize=(4.8, 3.1), layout="constrained")
    axes = figure.subplots()
    if order:
        curves = {name: learning_curve([logs], points=points, term=name) for name in order}
        known = ~np.isnan(curves[order[0]].mean)  # intervals in which an episode ended: the same for every term
        stacked = {name: curves[name].mean[known] for name in order[:terms]}
        if len(order) > terms:
            stacked["other"] = np.sum([curves[name].mean[known] for name in order[terms:]], axis=0)
        steps = curves[order[0]].steps[known]
        positive = np.array([np.maximum(values, 0) for values in stacked.values()])
        negative = np.array([np.minimum(values, 0) for values in stacked.values()])
        colours = [f"C{index}" for index in range(len(stacked))]
        axes.stackplot(steps, positive, labels=[_label(name) for name in stacked], colors=colours, alpha=0.8)
        axes.stackplot(steps, negative, colors=colours, alpha=0.8)
        figure.legend(frameon=False, fontsize=9, ncols=3, loc="outside lower center")
    axes.axhline(0, color="#333", lw=0.8)
    _finish(axes, "agent steps", "mean return by term")
    return figure


def milestone_steps(logs: Sequence[EpisodeLog]) -> dict[str, int]:
    """Return the global step at which each milestone was first reached, in the order of these steps.

    It is the global step at which the episode began, plus the steps that its emulator played since.
    """
    first: dict[str, int] = {}
    for log in logs:
        for milestone in log.milestones:
            step = log.header.global_step + milestone.step
            first[milestone.name] = min(step, first.get(milestone.name, step))
    return dict(sorted(first.items(), key=lambda item: item[1]))


def milestone_figure(runs: Mapping[str, Sequence[EpisodeLog]], *, most: int = 30) -> Figure:
    """Draw when each run first reached each milestone.

    Args:
        runs: Name of a run to its logs.
        most: Number of milestones shown, the earliest ones.
    """
    reached = {name: milestone_steps(logs) for name, logs in runs.items()}
    earliest: dict[str, int] = {}
    for steps in reached.values():
        for name, step in steps.items():
            earliest[name] = min(step, earliest.get(name, step))
    shown = sorted(earliest, key=lambda name: earliest[name])[:most]
    figure = Figure(figsize=(4.8, 1.4 + 0.24 * max(1, len(shown))), layout="constrained")
    axes = figure.subplots()
    for index, (name, steps) in enumerate(reached.items()):
        places = [place for place, milestone in enumerate(shown) if milestone in steps]
        axes.plot(
            [steps[shown[place]] for place in places],
            places,
            "o",
            color=_COLOURS[index % len(_COLOURS)],
            ms=5,
            alpha=0.8,
            clip_on=False,
            label=_label(name),
        )
    axes.set_yticks(range(len(shown)), [_label(_shortened(name)) for name in shown], fontsize=8)
    axes.set_ylim(max(1, len(shown)) - 0.5, -0.5)
    _finish(axes, "agent steps at which it was first reached", "")
    if len(reached) > 1:
        figure.legend(frameon=False, fontsize=9, ncols=3, loc="outside lower center")
    return figure


def _label(name: str) -> str:
    """Return a name for Matplotlib, in which a dollar sign begins no formula."""
    return printable(name).replace("$", r"\$")


def _shortened(name: str, most: int = 26) -> str:
    kind, mark, rest = name.partition(":")
    name = f"map {rest.replace('_', ' ').title()}" if mark and kind == "map" else name.replace("_", " ")
    return name if len(name) <= most else f"{name[: most - 3]}..."


def _finish(axes: Axes, x_label: str, y_label: str) -> None:
    axes.set(xlabel=x_label, ylabel=y_label)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_xlim(left=0)
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.tick_params(labelsize=9)
