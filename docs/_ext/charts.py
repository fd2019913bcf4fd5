"""Draws the pictures of the benchmark pages from the committed measurements, before the sources are read.

Written to ``docs/benchmarks/generated``: the bars of ``benchmark.json`` against 1.0, the limit; the sweep of
``sweep.json``; the course of ``long_run.json``; a text with picture or table for each, which pages include; the tables
of ``profiles.json``, of ``ablation.json`` and of ``scaling.md``. In place of what has not been measured the text says
so.
"""

import json
import statistics
from itertools import pairwise
from pathlib import Path

from results import RESULTS
from sphinx.application import Sphinx


def _figure(width: float, height: float):
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots()


def draw_bars(measured: dict, target: Path) -> None:
    """One bar a row with its spread, beside the limit; rows of which more than the limit is possible are cut."""
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


_PICTURES = {
    "benchmark": (draw_bars, "Ratios of the rows to their limits"),
    "sweep": (draw_sweep, "Agent steps a second over emulators a worker"),
    "long_run": (draw_long_run, "Memory, handles, threads and steps a second over time"),
}


def _write(app: Sphinx) -> None:
    folder = Path(app.srcdir) / "benchmarks" / "generated"
    folder.mkdir(parents=True, exist_ok=True)
    for name, (draw, alternative) in _PICTURES.items():
        source, target = RESULTS / f"{name}.json", folder / f"{name}.svg"
        if not source.is_file():
            _write_text(folder / f"{name}.md", "Not measured yet.\n")
            continue
        measured = json.loads(source.read_text())
        if not target.is_file() or target.stat().st_mtime < source.stat().st_mtime:
            draw(measured, target)
        text = f"![{alternative}](/benchmarks/generated/{name}.svg)\n\n{_TABLES[name](measured)}\n{_how(measured)}"
        _write_text(folder / f"{name}.md", text)
    profiles = RESULTS / "profiles.json"
    _write_text(
        folder / "profiles.md",
        _profile_tables(json.loads(profiles.read_text())) if profiles.is_file() else "Not measured yet.\n",
    )
    ablation = RESULTS / "ablation.json"
    _write_text(
        folder / "ablation.md",
        _ablation_table(json.loads(ablation.read_text())) if ablation.is_file() else "Not measured yet.\n",
    )
    if (RESULTS / "costs.json").is_file():
        _write_text(folder / "scaling.md", _scaling_table())
        _write_text(folder / "check.md", _check_table())


def _how(measured: dict) -> str:
    machine = measured["machine"]
    return (
        f"`{measured['command']}`, commit {measured['commit']}, {measured['date']}, {machine['cores']} cores "
        f"({machine['cpu']}), Python {machine['python']}, torch {machine['packages']['torch']}.\n"
    )


def _bars_table(measured: dict) -> str:
    lines = ["| row | ratio | smallest to largest pair | ours | limit | |", "|---|---|---|---|---|---|"]

    def add(name: str, row: dict) -> None:
        low, high = row["spread"]
        lines.append(
            f"| {name} | {row['ratio']:.2f} | {low:.2f} to {high:.2f} | {row['ours']:,.4g} | {row['limit']:,.4g} "
            f"| {row['unit']} |"
        )

    for name, row in measured["rows"].items():
        add(f"**{name}**", row)
        for label, part in row.get("parts", {}).items():
            add(label, part)
    return "\n".join(lines) + "\n"


def _sweep_table(measured: dict) -> str:
    best = measured["recommended"]
    return (
        f"Fastest without taking more than a tenth of the learner's core: {best['workers']} "
        f"worker{'s' * (best['workers'] > 1)} with {best['emulators']} emulators; `collector.num_workers=auto` takes "
        f"{measured['auto']} here.\n"
    )


def _long_run_table(measured: dict) -> str:
    lines = ["| | growth after warm-up |", "|---|---|"]
    lines += [f"| {name} | {value:+.1%} |" for name, value in measured["growth_after_warm_up"].items()]
    rate = ", ".join(f"{value:,.0f}" for value in measured["steps_per_second"])
    lines += ["", f"{measured['minutes']:g} minutes, {measured['steps']:,} steps; steps a second in ten spans: {rate}."]
    return "\n".join(lines) + "\n"


_TABLES = {"benchmark": _bars_table, "sweep": _sweep_table, "long_run": _long_run_table}


_AGENTS = {
    "full": "everything on",
    "no_lstm": "without the LSTM",
    "no_mask": "without the action mask",
    "no_reconstruction": "without the reconstruction loss",
    "one_step": "1-step targets instead of 5",
    "random": "random policy under the same mask",
}


def _ablation_table(measured: dict) -> str:
    """The comparison of the agents, and the curves of their training episodes."""
    lines = ["| agent | median | lowest | highest | difference to everything on |", "|---|---|---|---|---|"]
    lines += [
        f"| {_AGENTS[name]} | {row['median']:.1f} | {row['low']:.1f} | {row['high']:.1f} | {row['verdict']} |"
        for name, row in measured["variants"].items()
    ]
    picture = "![Return of the training episodes over agent steps, by agent](/benchmarks/results/ablation.png)"
    return "\n".join([*lines, "", picture, "", _how(measured)])


def _profile_tables(measured: dict) -> str:
    parts = []
    for name, shares in measured["samples"].items():
        lines = [f"**{name}**", "", "| part | share |", "|---|---|"]
        lines += [f"| {part} | {share:.1%} |" for part, share in shares.items()]
        parts.append("\n".join(lines))
    return "\n\n".join([*parts, _how(measured)])


def _scaling_table() -> str:
    """What the cost model says of the default config with many workers, each with a core, and a learner on a GPU."""
    from pokered_rl.training.config import Config
    from pokered_rl.training.costs import expected_speed, measured_costs, memory_needs

    costs, config = measured_costs(), Config()
    sequences = config.replay.capacity_transitions // config.replay.sequence_period_steps
    lines = [
        "| workers x emulators | acting, steps/s | taking in, steps/s | updates/s to keep up | memory, GB |",
        "|" + "---|" * 5,
    ]
    for workers in (16, 48, 256):
        config.collector.num_workers = workers
        speed = expected_speed(config, costs, cores=workers + 1, on_gpu=True)
        memory = memory_needs(config, costs, workers=workers, sequences=sequences).total
        lines.append(
            f"| {workers} x {config.collector.emulators_per_worker} | {speed.acting:,.0f} | {speed.intake:,.0f} "
            f"| {speed.steps / speed.steps_per_update:,.0f} | {memory / 1e9:.1f} |"
        )
    return "\n".join(lines) + "\n"


def _check_table() -> str:
    """Measured rates of the collector rows beside the model's."""
    from pokered_rl.training.config import Config, NetworkSize
    from pokered_rl.training.costs import expected_speed, measured_costs

    lines = ["| network | workers x emulators | measured, steps/s | model, steps/s |", "|---|---|---|---|"]
    source = RESULTS / "benchmark.json"
    rows = json.loads(source.read_text())["rows"] if source.is_file() else {}
    config = Config()
    config.env.wait_while_busy = False
    for size in ("tiny", "base"):
        if f"collector_{size}" in rows:
            row = rows[f"collector_{size}"]
            config.network.size = NetworkSize(size)
            config.collector.num_workers = workers = row["notes"]["workers"]
            config.collector.emulators_per_worker = emulators = row["notes"]["emulators_per_worker"]
            # Nothing is learned in that row, so that a core is free for each worker.
            model = expected_speed(config, measured_costs(), cores=workers + 1).acting
            lines.append(f"| {size} | {workers} x {emulators} | {row['ours']:,.0f} | {model:,.0f} |")
    return "\n".join(lines) + "\n"


def _write_text(target: Path, text: str) -> None:
    if not target.is_file() or target.read_text() != text:
        target.write_text(text)


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the drawing."""
    app.connect("builder-inited", _write)
    return {"parallel_read_safe": True}
