"""Pictures of results, drawn when the docs are built."""

import statistics
from itertools import pairwise
from pathlib import Path


def _figure(width: float, height: float):
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots()


def draw_bars(measured: dict, target: Path) -> None:
    """One bar a row with its spread, beside the limit; bars end at 1.3."""
    rows = {name: row for name, row in measured["rows"].items() if name != "peer"}
    figure, axes = _figure(7, 0.42 * len(rows) + 1)
    names = list(rows)[::-1]
    ratios = [rows[name]["ratio"] for name in names]
    spread = [[abs(rows[n]["ratio"] - rows[n]["spread"][side]) for n in names] for side in (0, 1)]
    axes.barh(names, ratios, color="#4c8a5b", xerr=spread, ecolor="#999999")
    axes.axvline(1.0, color="black", linewidth=1)
    axes.set_xlim(0, 1.3)
    axes.set_xlabel("ratio to the limit, 1.0 (median; whiskers from the smallest to the largest pair)")
    for place, ratio in enumerate(ratios):
        axes.text(0.02, place, f"{ratio:.2f}", va="center", color="white")
    figure.savefig(target)


def draw_sweep(measured: dict, target: Path) -> None:
    """Steps a second over emulators a worker, one line for each number of workers."""
    figure, axes = _figure(7, 4)
    cells = measured["cells"]
    for workers in sorted({cell["workers"] for cell in cells}):
        line = [cell for cell in cells if cell["workers"] == workers]
        label = f"{workers} worker{'s' * (workers > 1)}"
        axes.plot([cell["emulators"] for cell in line], [cell["steps_per_second"] for cell in line], "o-", label=label)
    axes.set_xscale("log", base=2)
    axes.set_xticks(sorted({cell["emulators"] for cell in cells}), sorted({cell["emulators"] for cell in cells}))
    axes.set_ylim(bottom=0)
    axes.set_xlabel("emulators a worker")
    axes.set_ylabel("agent steps a second, one core busy with learning")
    axes.legend()
    figure.savefig(target)


def draw_long_run(measured: dict, target: Path) -> None:
    """Private memory, handles, threads and steps a second over time, each relative to its median."""
    figure, axes = _figure(7, 4)
    samples = measured["samples"]

    def line(label: str, minutes: list[float], values: list[float]) -> None:
        middle = statistics.median(values)
        axes.plot(minutes, [value / middle for value in values], label=label)

    for name, label in (
        ("learner_private_bytes", "private memory, learner"),
        ("workers_private_bytes", "private memory, workers"),
        ("file_handles", "file handles"),
        ("threads", "threads"),
    ):
        line(label, [sample["seconds"] / 60 for sample in samples], [sample[name] for sample in samples])
    spans = list(pairwise(samples[:: max(1, (len(samples) - 1) // 40)]))
    rates = [(after["steps"] - before["steps"]) / (after["seconds"] - before["seconds"]) for before, after in spans]
    line("steps a second", [(before["seconds"] + after["seconds"]) / 120 for before, after in spans], rates)
    axes.set_ylim(0, 2)
    axes.set_xlabel("minutes")
    axes.set_ylabel("relative to the median")
    axes.legend()
    figure.savefig(target)


def draw_milestones(measured: dict, target: Path) -> None:
    """Rate of four milestones in training episodes from power-on over steps, one line for each seed of attempt 4."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 2.6), layout="constrained")
    panels = figure.subplots(1, 4, sharey=True)
    for axes, milestone in zip(panels, ("leave_home", "pebble_lane", "starter", "rival_1"), strict=True):
        for seed in range(3):
            points = measured["samples"][f"sprout-s{seed}"]["power_on"]
            steps = [point["until"] / 1e6 for point in points]
            axes.plot(steps, [point["rates"].get(milestone, 0.0) for point in points], "o-", ms=3, label=f"seed {seed}")
        axes.set_title(milestone, fontsize="medium")
        axes.set_xlabel("million steps")
        axes.set_ylim(-0.03, 1.03)
    panels[0].set_ylabel("rate from power-on")
    panels[0].legend(fontsize="small")
    figure.savefig(target)
