"""Charts of a run's metrics, for the report and the live page, which draw them with the same script (``draw.js``).

A chart is a JSON object: ``title``, ``series`` (each ``name``, ``x``, ``y``, and, where there are, ``low`` and
``high``, the ends of its band, or ``dots``) and ``lines`` (each ``name`` and ``y``).
"""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pokered_rl.plain_files import read_plain_file

if TYPE_CHECKING:
    from pokered_rl.record.curves import Curve

__all__ = ["Chart", "metrics_charts", "read_evaluations", "returns_chart", "series_of"]

#: A chart, as the module describes it.
Chart = dict[str, Any]

_MOST_POINTS = 300
_MAX_BYTES = 256 * 2**20
#: Square of the normal distribution's 97.5% point.
_Z2 = 1.959964**2
#: Title of a chart of ``train.csv``, and the columns with the name of each line.
_TRAIN = (
    ("steps and updates a second", (("steps_per_second", "steps"), ("updates_per_second", "updates"))),
    ("loss", (("loss_quantile", "quantile loss"), ("td_error_abs", "TD error"))),
    ("Q", (("mean_q", "online"), ("target_q", "target"))),
    ("sequences in the replay", (("replay_sequences", "sequences"),)),
)
#: The same for columns that begin alike, a line each: what acts in the network (:func:`pokered_rl.modules.diagnose`).
_DIAGNOSTICS = (
    ("share of the learning rate that acts", "lr_share_"),
    ("share of dormant units", "dormant_"),
    ("share of an input in Q", "q_share_"),
)


def _rows(file: Path) -> list[dict[str, str]]:
    """Return the rows of a table that count; none where there is no table."""
    try:
        text = read_plain_file(file, max_bytes=_MAX_BYTES).decode(errors="replace")
    except OSError:
        return []
    return [row for row in csv.DictReader(text.splitlines()) if not row.get("abandoned")]


def read_evaluations(file: Path) -> list[dict[str, str]]:
    """Return the rows of an ``evaluation.csv`` that count, in the order of their steps; none where there is no file."""
    return sorted((row for row in _rows(file) if (row.get("steps") or "").isdigit()), key=lambda row: int(row["steps"]))


def _number(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def series_of(
    rows: Sequence[Mapping[str, str]], column: str, *, name: str, missing: float | None = None
) -> Chart | None:
    """Return a series of a table's column over its steps, with its interval where it has one; None without a value.

    Of many rows every so many are averaged. ``missing`` stands for an empty cell: with 0 for a rate, its interval
    reaches to the upper end of Wilson's interval of 0 in ``episodes``.
    """

    def value(row: Mapping[str, str]) -> float | None:
        found = _number(row.get(column))
        return missing if found is None else found

    points = [(_number(row.get("steps")), value(row), row) for row in rows]
    known = [(x, y, row) for x, y, row in points if x is not None and y is not None]
    if not known:
        return None
    group = -(-len(known) // _MOST_POINTS)
    parts = [known[begin : begin + group] for begin in range(0, len(known), group)]
    series: Chart = {
        "name": name,
        "x": [round(part[-1][0]) for part in parts],
        "y": [_rounded(sum(y for _, y, _ in part) / len(part)) for part in parts],
    }
    if f"{column}_low" in known[0][2] and group == 1:
        series["low"] = [_rounded(_end(row, f"{column}_low", y)) for _, y, row in known]
        series["high"] = [_rounded(_end(row, f"{column}_high", y)) for _, y, row in known]
    return series


def _end(row: Mapping[str, str], column: str, value: float) -> float:
    """Return an end of a value's interval; the value itself where the table has none."""
    if (found := _number(row.get(column))) is not None:
        return found
    episodes = _number(row.get("episodes"))
    return _Z2 / (episodes + _Z2) if value == 0 and episodes and column.endswith("_high") else value


def _rounded(value: float) -> float:
    return float(f"{value:.5g}")


def returns_chart(title: str, curve: Curve, points: tuple[Sequence[float], Sequence[float]] | None = None) -> Chart:
    """Return the chart of a learning curve over episodes.

    Args:
        title: What is shown.
        curve: See :func:`pokered_rl.record.curves.learning_curve`.
        points: Step and return of each episode, shown as dots.
    """
    known = [index for index, value in enumerate(curve.mean) if math.isfinite(value)]
    mean: Chart = {"name": "mean of episodes", "x": [round(float(curve.steps[index])) for index in known]}
    for name, values in (("y", curve.mean), ("low", curve.low), ("high", curve.high)):
        mean[name] = [_rounded(float(values[index])) for index in known]
    series = [mean]
    if points is not None:
        series.append({"name": "episodes", "x": [*points[0]], "y": [_rounded(y) for y in points[1]], "dots": True})
    return {"title": title, "series": series, "lines": []}


def metrics_charts(run: Path, *, milestones: Sequence[str] = ()) -> list[Chart]:
    """Return the charts of a run's metrics that have a value.

    Args:
        run: The run folder.
        milestones: The story of the cartridge: of those that were reached, the last ones get a line.
    """
    train = _rows(run / "metrics" / "train.csv")
    evaluations = read_evaluations(run / "metrics" / "evaluation.csv")
    charts = [
        _chart("return", [(train, "recent_return", "training, last episodes")], evaluations, "return"),
        _chart("tiles an episode", [(train, "recent_tiles", "training, last episodes")], evaluations, "tiles"),
        *_rates(train, evaluations, milestones),
    ]
    charts += [_chart(title, [(train, *column) for column in columns]) for title, columns in _TRAIN]
    columns = list(train[0]) if train else []
    charts += [
        _chart(title, [(train, name, name.removeprefix(prefix)) for name in columns if name.startswith(prefix)])
        for title, prefix in _DIAGNOSTICS
    ]
    return [chart for chart in charts if chart["series"]]


def _chart(
    title: str,
    columns: Sequence[tuple[Sequence[Mapping[str, str]], str, str]],
    evaluations: Sequence[Mapping[str, str]] = (),
    evaluated: str = "",
) -> Chart:
    """Return a chart of columns of ``train.csv``, of an evaluation's series, and of the random policy as a line."""
    series = [series_of(rows, column, name=name) for rows, column, name in columns]
    series.append(
        series_of([row for row in evaluations if row.get("policy") == "trained"], evaluated, name="evaluation")
    )
    random = [_number(row.get(evaluated)) for row in evaluations if row.get("policy") == "random"]
    lines = [{"name": "random policy", "y": value} for value in random[-1:] if value is not None]
    return {"title": title, "series": [each for each in series if each is not None], "lines": lines}


def _rates(
    train: Sequence[Mapping[str, str]], evaluations: Sequence[Mapping[str, str]], milestones: Sequence[str]
) -> list[Chart]:
    """Return the rates of the furthest milestones in training and in the evaluations."""
    trained = [row for row in evaluations if row.get("policy") == "trained"]
    charts = []
    for title, rows in (("milestones, training", train), ("milestones, evaluation", trained)):
        reached = {name for name in milestones if any(_number(row.get(f"rate_{name}")) for row in rows)}
        names = [name for name in milestones if name in reached][-6:]
        series = [series_of(rows, f"rate_{name}", name=name.replace("_", " "), missing=0.0) for name in names]
        charts.append({"title": title, "series": [each for each in series if each], "lines": [], "top": 1.0})
    return charts
