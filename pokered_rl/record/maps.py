"""Figures of where the agent was (Matplotlib): every map, and the world.

``figure.savefig(path)`` writes a figure; no window is opened.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter

from pokered_rl.errors import ConfigError
from pokered_rl.game import GameMaps, ScreenKind
from pokered_rl.record.survey import Cell, EpisodeTrace, MapSurvey

__all__ = ["affordance_figure", "coverage_picture", "maps_figure", "world_figure"]

Shown = Literal["visits", "first_visit"]

_LABELS = {"visits": "agent steps that began here", "first_visit": "global step of the first visit"}
_COLOURS = {"visits": "YlOrRd", "first_visit": "viridis"}
_SHADES = np.array([70, 130, 190, 245], np.uint8)
_UNSEEN = 225
_LABEL: dict[str, Any] = {
    "fontsize": 7,
    "color": "#203050",
    "bbox": {"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 1.0},
}


def map_title(survey: MapSurvey, map_id: int) -> str:
    """Return the name of a map as a title."""
    return _readable(survey.maps.name(map_id))


def _readable(name: str) -> str:
    return f"map {name}" if name.isdigit() else name.replace("_", " ").title()


def _draw_map(axes: Any, survey: MapSurvey, map_id: int, *, show: Shown = "visits", norm: Normalize) -> None:
    """Draw one map as it was seen, and in colour where the agent was."""
    width, height = survey.size(map_id)
    axes.imshow(background_picture(survey, map_id), extent=(0, width, height, 0), interpolation="nearest")
    values = survey.visit_counts(map_id) if show == "visits" else survey.first_visits(map_id)
    seen = values > 0 if show == "visits" else values >= 0
    axes.imshow(
        np.ma.masked_where(~seen, values),
        extent=(0, width, height, 0),
        cmap=_COLOURS[show],
        norm=norm,
        alpha=0.62,
        interpolation="nearest",
    )
    axes.set_title(f"{map_title(survey, map_id)}  ({int(seen.sum())} of {seen.size})", fontsize=9)
    axes.set_xticks([])
    axes.set_yticks([])


def maps_figure(
    survey: MapSurvey, *, show: Shown = "visits", map_ids: Sequence[int] | None = None, label: str | None = None
) -> Figure:
    """Draw the visited maps, in the order in which they were first reached.

    Args:
        survey: Where the agent was.
        show: How often a step was visited, or when first.
        map_ids: Which maps; all that were visited by default.
        label: What the colours mean, where ``survey`` counts something else.
    """
    map_ids = survey.map_ids if map_ids is None else map_ids
    columns = min(4, max(1, len(map_ids)))
    lines = -(-len(map_ids) // columns)
    figure = Figure(figsize=(3.2 * columns + 1, 3.1 * lines), layout="constrained")
    grid = np.atleast_1d(figure.subplots(lines, columns, squeeze=False)).reshape(-1)
    norm = _norm(survey, show)
    for axes, map_id in zip(grid, map_ids, strict=False):
        _draw_map(axes, survey, map_id, show=show, norm=norm)
    for axes in grid[len(map_ids) :]:
        axes.set_axis_off()
    _colour_bar(figure, list(grid), norm, label or _LABELS[show], show)
    return figure


def coverage_picture(visits: Mapping[int, int], *, maps: GameMaps, most_maps: int = 24) -> npt.NDArray[np.uint8]:
    """Draw how many episodes came to each tile, uint8 [height, width, 3].

    Args:
        visits: Number of episodes by ``map_id << 16 | x << 8 | y``.
        maps: The maps of the cartridge.
        most_maps: Number of maps drawn, those with the most visited tiles.
    """
    survey = MapSurvey(maps=maps)
    for place, count in visits.items():
        cell = place >> 16, place >> 8 & 0xFF, place & 0xFF
        survey.visits[cell], survey.first_visit[cell] = count, 0
    tiles = Counter(cell[0] for cell in survey.visits if all(survey.size(cell[0])))
    shown = sorted(map_id for map_id, _ in tiles.most_common(most_maps))
    figure = maps_figure(survey, map_ids=shown, label="episodes that came here")
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def world_figure(survey: MapSurvey, *, show: Shown = "visits") -> Figure:
    """Draw the outdoor maps at their places in the world; visits of houses count at their doors."""
    values = survey.visits if show == "visits" else survey.first_visit
    amounts = np.array([*values.values()], np.int64)
    x, y, placed = _in_the_world(survey, values)
    figure = Figure(figsize=(5.4, 5.4), layout="constrained")
    axes = figure.subplots()
    if not placed.any():
        axes.text(0.5, 0.5, "none of these maps has a place in the world", ha="center", transform=axes.transAxes)
        axes.set_axis_off()
        return figure
    left, right, top, bottom = _draw_outdoors(axes, survey, x[placed], y[placed])
    grid = np.zeros((bottom - top, right - left), np.int64)
    if show == "visits":
        np.add.at(grid, (y[placed] - top, x[placed] - left), amounts[placed])
        seen = grid > 0
    else:
        grid[:] = 2**62
        np.minimum.at(grid, (y[placed] - top, x[placed] - left), amounts[placed])
        seen = grid < 2**62
    norm = _norm(survey, show)
    masked = np.ma.masked_where(~seen, grid)
    extent = (left, right, bottom, top)
    axes.imshow(masked, extent=extent, cmap=_COLOURS[show], norm=norm, alpha=0.62, interpolation="nearest")
    axes.set_xlim(left, right)
    axes.set_ylim(bottom, top)
    axes.set_axis_off()
    figure.set_size_inches(5.4, min(8.0, max(2.4, 4.2 * (bottom - top) / (right - left))))
    _colour_bar(figure, axes, norm, _LABELS[show], show)
    return figure


def _colour_bar(figure: Figure, axes: Any, norm: Normalize, label: str, show: Shown) -> None:
    # Plain numbers, with k and M for many: powers of ten are hard to read on a small bar.
    figure.colorbar(ScalarMappable(norm, _COLOURS[show]), ax=axes, label=label, shrink=0.8, format=EngFormatter(sep=""))


def has_place(survey: MapSurvey) -> bool:
    """Return whether a visited map has a place in the world: else :func:`world_figure` is empty."""
    return bool(_in_the_world(survey, survey.visits)[2].any())


def _in_the_world(
    survey: MapSurvey, cells: Iterable[Cell]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """Return x and y in the world of each cell, and whether it has a place there."""
    table = np.array([*cells], np.int64).reshape(-1, 3)
    x, y, placed = (part.numpy() for part in survey.maps.global_xy(*(torch.from_numpy(c.copy()) for c in table.T)))
    return x, y, placed


def _draw_outdoors(
    axes: Any, survey: MapSurvey, x: npt.NDArray[np.int64], y: npt.NDArray[np.int64]
) -> tuple[int, int, int, int]:
    """Draw the outdoor maps around the places given; return left, right, top and bottom of the picture."""
    left, right, top, bottom = int(x.min()), int(x.max()) + 1, int(y.min()), int(y.max()) + 1
    for map_id in survey.map_ids:
        if map_id not in survey.maps:
            continue
        item = survey.maps[map_id]
        if not item.outdoor or item.global_origin is None:
            continue
        map_x, map_y = item.global_origin
        right, bottom = max(right, map_x + item.width_steps), max(bottom, map_y + item.height_steps)
        left, top = min(left, map_x), min(top, map_y)
        extent = (map_x, map_x + item.width_steps, map_y + item.height_steps, map_y)
        axes.imshow(background_picture(survey, item.id), extent=extent, interpolation="nearest")
        axes.text(map_x + 0.5, map_y + 0.5, map_title(survey, item.id), va="top", **_LABEL)
    return left - 2, right + 2, top - 2, bottom + 2


def affordance_figure(
    traces: Sequence[EpisodeTrace],
    *,
    by: Literal["screen", "map"] = "screen",
    maps: GameMaps | None = None,
    most: int = 12,
) -> Figure:
    """Draw a table of the share of steps on which each action was masked.

    The number is the share masked by the rules of the game; after a plus follows the share masked by experience in
    addition (the learned part of :class:`~pokered_rl.envs.AffordanceMask`). The colour is their sum.

    Args:
        traces: Episodes with the same actions.
        by: One row for each kind of screen, or for each map.
        maps: Names of the maps.
        most: Number of rows, those with the most steps.

    Raises:
        ConfigError: The episodes have different actions.
    """
    actions = traces[0].log.header.actions
    if any(traced.log.header.actions != actions for traced in traces):
        raise ConfigError("the episodes must have the same actions to be shown in one figure")
    usable = np.concatenate([traced.usable for traced in traces])  # [N, A]
    allowed = np.concatenate([traced.allowed for traced in traces])
    groups = np.concatenate([traced.kinds if by == "screen" else traced.places[:, 0] for traced in traces])
    numbers, counts = np.unique(groups, return_counts=True)
    order = np.argsort(-counts, kind="stable")[:most]
    names = [_group_name(int(number), by, maps) for number in numbers[order]]
    shares = np.array([(~allowed[groups == number]).mean(axis=0) for number in numbers[order]])  # [rows, A]
    learned = np.array([(usable & ~allowed)[groups == number].mean(axis=0) for number in numbers[order]])
    figure = Figure(figsize=(4.8, 1.0 + 0.3 * len(order)), layout="constrained")
    axes = figure.subplots()
    axes.imshow(shares, vmin=0, vmax=1, cmap="Blues", aspect="auto")
    axes.set_xticks(range(len(actions)), actions, fontsize=9)
    axes.xaxis.tick_top()
    axes.tick_params(length=0)
    axes.set_yticks(
        range(len(order)),
        [f"{name} {count / len(groups):.1%}" for name, count in zip(names, counts[order], strict=True)],
        fontsize=9,
    )
    for row, column in np.ndindex(shares.shape):
        share, more = shares[row, column], learned[row, column]
        text = f"{share - more:.0%}" + (f"+{more:.0%}" if more >= 0.005 else "") if share >= 0.005 else "-"
        size = 6.5 if "+" in text else 8
        axes.text(column, row, text, ha="center", va="center", fontsize=size, color="w" if share > 0.5 else "#333")
    return figure


def _group_name(number: int, by: str, maps: GameMaps | None) -> str:
    if by == "screen":
        return ScreenKind(number).name.lower().replace("_", " ")
    return _readable(maps.name(number) if maps is not None else str(number))


def background_picture(survey: MapSurvey, map_id: int) -> npt.NDArray[np.uint8]:
    """Return a grey picture of a map as it was seen, uint8 [16 * height, 16 * width, 3]; unseen parts are light."""
    background = survey.background(map_id)
    grey = np.where(background < 0, _UNSEEN, _SHADES[background]).astype(np.uint8)
    return np.repeat(grey[:, :, None], 3, axis=2)


def _norm(survey: MapSurvey, show: Shown) -> Normalize:
    if show == "visits":
        return LogNorm(1, max(2, max(survey.visits.values(), default=1)))
    return Normalize(0, max(1, max(survey.first_visit.values(), default=1)))
