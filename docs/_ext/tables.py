"""Tables of the docs that are made from the committed measurements and from the config."""

import json
from collections.abc import Callable

from docs._ext.config_reference import config_reference
from docs._ext.results import RESULTS
from pokered_rl.game import ScreenKind


def _measured(name: str) -> dict:
    return json.loads((RESULTS / f"{name}.json").read_text())


def _how(measured: dict) -> str:
    machine = measured["machine"]
    return (
        f"`{measured['command']}`, commit {measured['commit']}, {measured['date']}, {machine['cores']} cores "
        f"({machine['cpu']}), Python {machine['python']}, torch {machine['packages']['torch']}.\n"
    )


def _figure(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.4g}"


def _bars_table(measured: dict) -> str:
    lines = ["| row | ratio | smallest to largest pair | ours | limit | |", "|---|---|---|---|---|---|"]

    def add(name: str, row: dict) -> None:
        low, high = row["spread"]
        lines.append(
            f"| {name} | {row['ratio']:.2f} | {low:.2f} to {high:.2f} | {_figure(row['ours'])} "
            f"| {_figure(row['limit'])} | {row['unit']} |"
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


_AGENTS = {
    "full": "everything on",
    "zero_start": "replayed from zero states",
    "no_lstm": "without the LSTM",
    "one_step": "1-step targets",
    "table": "1-step Q-learning in a table that sees the cue",
    "no_mask": "without the action mask",
    "no_archive": "without the archive",
    "epsilon_greedy": "single random actions",
    "uniform_replay": "without priorities",
}


def _worlds_table(measured: dict) -> str:
    """Steps to the goal and success at the end, for each agent of each small world; who missed it counts as slowest."""
    lines = [
        "| world | agent | reached the goal | median of its steps | range | median success at the end | range |",
        "|" + "---|" * 7,
    ]
    for world, variants in measured["worlds"].items():
        for name, row in variants.items():
            steps = f"{row['low_steps']:,} to {row['high_steps']:,}" if row["reached"] else ""
            missed = f"not within {row['most_steps']:,}"
            if row["reached"] < row["runs"]:
                steps = f"{row['low_steps']:,}, or {missed}" if row["reached"] else missed
            median = missed if row["median_steps"] is None else f"{row['median_steps']:,}"
            lines.append(
                f"| `{world}` | {_AGENTS[name]} | {row['reached']} of {row['runs']} | {median} | {steps} "
                f"| {row['median_success']:.0%} | {row['low_success']:.0%} to {row['high_success']:.0%} |"
            )
    return "\n".join(lines) + f"\n\n{_how(measured)}"


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
        "| workers x emulators | acting, steps/s | learner's process, steps/s | updates/s to keep up | memory, GB |",
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


def _mask_table(measured: dict) -> str:
    """What the rules and the memory mask on each kind of screen."""
    rows = measured["rows"]
    names = [name for name in ScreenKind.__members__ if name in rows]
    lines = [
        "| screen | states | presses without effect | masked by the rules | with the memory "
        "| masked by the rules, but acts | with the memory |",
        "|" + "---|" * 7,
    ]
    for name in [*names, "total"]:
        row = rows[name]
        lines.append(
            f"| {name} | {row['screens']} | {row['idle']} | {row['masked_percent']:.1f} % "
            f"| {row['masked_with_memory_percent']:.1f} % | {row['wrong']} | {row['wrong_with_memory']} |"
        )
    return "\n".join(lines) + "\n"


def _with_picture(name: str, table: Callable[[dict], str], alternative: str) -> str:
    measured = _measured(name)
    return f"![{alternative}](pictures/{name}.svg)\n\n{table(measured)}\n{_how(measured)}"


def _board_table(measured: dict) -> str:
    """Return the verified proofs of the board: the columns that tell them apart, then what was on."""
    columns = ["place", "run", "proved", "steps", "game time", "played by"]
    lines = ["| " + " | ".join(columns) + " | proof |", "|" + "---|" * (len(columns) + 1)]
    for row in measured["proofs"]:
        cells = [row[name].replace("|", "/") for name in columns]
        lines.append("| " + " | ".join(cells) + f" | [{row['file']}](proofs/{row['file']}) |")
    for helpers in sorted({row["helpers"] for row in measured["proofs"]}):
        runs = ", ".join(row["run"] for row in measured["proofs"] if row["helpers"] == helpers)
        lines.append(f"\nWhat was on ({runs}): {helpers}.")
    return "\n".join(lines) + f"\n\n{_how(measured)}"


#: What stands between ``<!-- made NAME -->`` and ``<!-- /made -->`` in a page.
TABLES: dict[str, Callable[[], str]] = {
    "benchmark": lambda: _with_picture("benchmark", _bars_table, "Ratios of the rows to their limits"),
    "sweep": lambda: _with_picture("sweep", _sweep_table, "Agent steps a second over emulators a worker"),
    "long_run": lambda: _with_picture(
        "long_run", _long_run_table, "Memory, handles, threads and steps a second over time"
    ),
    "small_worlds": lambda: _worlds_table(_measured("small_worlds")),
    "profiles": lambda: _profile_tables(_measured("profiles")),
    "scaling": _scaling_table,
    "action_mask": lambda: _mask_table(_measured("action_mask")),
    "board": lambda: _board_table(_measured("board")),
    "config": config_reference,
}
