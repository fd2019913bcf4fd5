"""What each part of the calibration contributes: configs/calibration.yaml with each part alone, with all, with none.

    python docs/benchmarks/calibration.py --train runs/calibration --seeds 0 1 2  # trains what is missing
    python docs/benchmarks/calibration.py                                          # table from the results

The figure compared is the mean return of the training episodes of the last fifth of a run, at the exploration rates of
all emulators; an evaluation at one small rate repeats a few trajectories. It does not compare ``all_epsilon_z``, whose
random actions last longer, with the others: evaluate these runs (``pokered_rl evaluate``).

Exit status: 0, or 1 if a run failed or nothing has been collected.
"""

import argparse
import csv
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from pokered_rl.cli.measurement import provenance, write_json

RESULTS = Path(__file__).parent / "results" / "calibration.json"
POINTS = 20
PARTS = {
    "sum": "loss.step_reduction=mean",
    "initialisation": "network.initialisation=pytorch",
    "layer_norm": "network.layer_norm=false",
    "next_step": "loss.reconstruct_next=false",
    "selection_noise": "loss.selection_noise=false",
}
#: Overrides of each variant; the config itself has every part.
VARIANTS = {
    "none": list(PARTS.values()),
    **{part: [override for other, override in PARTS.items() if other != part] for part in PARTS},
    "all": [],
    "all_epsilon_z": ["collector.exploration=epsilon_z"],
}


def train(folder: Path, variant: str, seed: int, steps: int) -> Path | None:
    """Train one run in a process of its own, or continue it; return its folder, None if it failed."""
    run = folder / f"{variant}-s{seed}"
    overrides = [f"run.folder={folder}", f"run.name={run.name}", f"run.seed={seed}", f"run.target_total_steps={steps}"]
    command = [sys.executable, "-m", "pokered_rl", "train", "--config-name", "calibration", *overrides]
    done = subprocess.run([*command, *VARIANTS[variant]], check=False, env=os.environ | {"OMP_NUM_THREADS": "1"})
    return run if done.returncode == 0 else None


def collect(run: Path) -> dict[str, Any]:
    """Return the returns of a run's training episodes: means over a twentieth of its steps each."""
    with (run / "metrics" / "episodes.csv").open(newline="") as file:
        episodes = [(int(row["steps"]), float(row["return"])) for row in csv.DictReader(file)]
    size = max(steps for steps, _ in episodes) / POINTS
    groups: dict[int, list[float]] = {}
    for steps, value in episodes:
        groups.setdefault(min(POINTS - 1, int(steps / size)), []).append(value)
    last = [value for steps, value in episodes if steps > (POINTS - POINTS // 5) * size]
    with (run / "metrics" / "train.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row.get("lr_share_core")]
    diagnostics = rows[-1] if rows else {}
    return {
        "steps": [round((point + 1) * size) for point in sorted(groups)],
        "return": [round(statistics.fmean(groups[point]), 3) for point in sorted(groups)],
        "last_fifth": round(statistics.fmean(last), 3),
        "episodes": len(episodes),
        "diagnostics": {
            name: float(value)
            for name, value in diagnostics.items()
            if name.startswith(("lr_share_", "dormant_", "q_share_")) and value
        },
    }


def main() -> int:
    """Train on request, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", type=Path, metavar="FOLDER", help="train what is missing there, and collect it")
    parser.add_argument("--variants", nargs="+", choices=list(VARIANTS), default=list(VARIANTS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--steps", type=int, default=100_000, help="agent steps of a run (%(default)s)")
    parser.add_argument("--json", type=Path, default=RESULTS, metavar="FILE", help="the results")
    arguments = parser.parse_args()
    failed = False
    for seed in arguments.seeds if arguments.train is not None else ():
        for variant in arguments.variants:
            run = train(arguments.train, variant, seed, arguments.steps)
            failed |= run is None
            if run is not None:
                write_json(arguments.json, provenance() | {"samples": _read(arguments.json) | {run.name: collect(run)}})
    samples = _read(arguments.json)
    if not samples:
        print(f"{arguments.json} has no runs; make them with --train", file=sys.stderr)
        return 1
    table = Table(title="mean return of the training episodes, last fifth of the run")
    for heading in ("variant", "seeds", "median", "lowest", "highest"):
        table.add_column(heading, justify="left" if heading == "variant" else "right")
    for variant in VARIANTS:
        values = [run["last_fifth"] for name, run in samples.items() if name.rpartition("-s")[0] == variant]
        if values:
            cells = (statistics.median(values), min(values), max(values))
            table.add_row(variant, str(len(values)), *(f"{value:.1f}" for value in cells))
    Console().print(table)
    return int(failed)


def _read(results: Path) -> dict[str, Any]:
    return json.loads(results.read_text())["samples"] if results.is_file() else {}


if __name__ == "__main__":
    sys.exit(main())
