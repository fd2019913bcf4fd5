"""What each part of the agent contributes: the runs of configs/ablation, and their table.

    python docs/benchmarks/ablation.py --train runs/ablation  # trains what is missing, two at a time, then as below
    python docs/benchmarks/ablation.py                        # table from docs/benchmarks/results/ablation.json

Every run plays `run.target_total_steps` and then 20 episodes with epsilon 0.01, beside a random policy with the same
start, mask and length. A run is one thread in one process; the same command continues an interrupted one. The curves
of the training episodes are written with at most 200 points a run, each the mean of consecutive episodes.

Exit status: 0, or 1 if a run failed or did not finish.
"""

import argparse
import csv
import json
import os
import statistics
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from pokered_rl.cli.measurement import provenance, write_json

RESULTS = Path(__file__).parent / "results" / "ablation.json"
VARIANTS = ("full", "no_lstm", "no_mask", "no_reconstruction", "one_step")
POINTS = 200


def train(folder: Path, variant: str, seed: int) -> tuple[Path, int]:
    """Train one run in a process of its own, unless it is complete; return its folder and the exit status."""
    run = folder / f"{variant}-s{seed}"
    if (run / "evaluation.json").exists():
        return run, 0
    overrides = [f"run.folder={folder}", f"run.name={run.name}", f"run.seed={seed}"]
    command = [sys.executable, "-m", "pokered_rl", "train", "--config-name", f"ablation/{variant}", *overrides]
    return run, subprocess.run(command, check=False, env=os.environ | {"OMP_NUM_THREADS": "1"}).returncode


def train_all(folder: Path, jobs: list[tuple[str, int]], *, parallel: int, results: Path) -> bool:
    """Train runs and write the results of each that is complete; return whether all are.

    A run that fails is named on stderr; the others are trained all the same.
    """
    all_complete = True
    with ThreadPoolExecutor(parallel) as executor:
        for run, status in executor.map(lambda job: train(folder, *job), jobs):
            if status == 0:
                write_json(results, provenance() | summary(read(results) | {run.name: collect(run)}))
                continue
            all_complete = False
            print(
                f"error: {run.name} ended with exit status {status} before it was complete; see its messages above, its"
                f" folder is {run}. The same command continues it and keeps what is complete.",
                file=sys.stderr,
                flush=True,
            )
    return all_complete


def collect(run: Path) -> dict[str, Any]:
    """Return the results of a finished run: a thinned curve of its training episodes, and both policies' episodes."""
    with (run / "metrics" / "episodes.csv").open(newline="") as file:
        episodes = [(float(row["steps"]), float(row["return"])) for row in csv.DictReader(file)]
    size = max(1, -(-len(episodes) // POINTS))
    groups = [list(zip(*episodes[first : first + size], strict=True)) for first in range(0, len(episodes), size)]
    evaluation = json.loads((run / "evaluation.json").read_text())
    return {
        "steps": json.loads((run / "progress.json").read_text())["steps"],
        "curve": {
            "steps": [round(statistics.fmean(steps)) for steps, _ in groups],
            "return": [round(statistics.fmean(returns), 3) for _, returns in groups],
        },
        **{
            policy: {
                "coverage": evaluation[policy]["coverage"],
                "return": [round(value, 4) for value in evaluation[policy]["returns"]],
                "length": evaluation[policy]["lengths"],
            }
            for policy in ("trained", "random")
        },
    }


def read(results: Path) -> dict[str, Any]:
    """Return the results of each run that has been collected."""
    return json.loads(results.read_text())["samples"] if results.is_file() else {}


def summary(runs: dict[str, Any]) -> dict[str, Any]:
    """Return table, steps and mean coverage of runs, and the runs themselves."""

    def coverage(variant: str, policy: str = "trained") -> list[float]:
        return [statistics.fmean(run[policy]["coverage"]) for name, run in runs.items() if _variant(name) == variant]

    means = {variant: coverage(variant) for variant in VARIANTS if any(_variant(name) == variant for name in runs)}
    # Every run has its own random policy; those of the full agent's runs are shown.
    table = compare(means | {"random": coverage("full", "random")}) if "full" in means else {}
    steps = {name: run["steps"] for name, run in runs.items()}
    return {"variants": table, "steps": steps, "coverage": means, "samples": dict(sorted(runs.items()))}


def _variant(name: str) -> str:
    return name.rpartition("-s")[0]


def compare(coverage: dict[str, list[float]]) -> dict[str, dict[str, object]]:
    """Return median and range over the seeds, and the difference to the full agent unless the ranges overlap."""
    full = coverage["full"]
    rows: dict[str, dict[str, object]] = {}
    for name, values in coverage.items():
        difference = statistics.median(values) - statistics.median(full)
        apart = max(values) < min(full) or min(values) > max(full)
        verdict = "-" if name == "full" else f"{difference:+.1f}" if apart else "none"
        rows[name] = {"median": statistics.median(values), "low": min(values), "high": max(values), "verdict": verdict}
    return rows


def main() -> int:
    """Train on request, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", type=Path, metavar="FOLDER", help="train what is missing there, and collect it")
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=VARIANTS)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--parallel", type=int, default=2, help="runs at a time (2)")
    parser.add_argument("--json", type=Path, default=RESULTS, metavar="FILE", help="the results")
    arguments = parser.parse_args()
    if arguments.train is not None:
        # Seed by seed, so that an interrupted command leaves a comparison.
        jobs = [(variant, seed) for seed in arguments.seeds for variant in arguments.variants]
        if not train_all(arguments.train, jobs, parallel=arguments.parallel, results=arguments.json):
            return 1
    result = summary(read(arguments.json))
    missing = [name for name in VARIANTS if name not in result["coverage"]]
    if missing:
        print(f"{arguments.json} has no runs of {', '.join(missing)}; make them with --train", file=sys.stderr)
        return 1
    table = Table(title="map coverage in 256 steps, mean of 20 episodes; over the seeds")
    for heading in ("agent", "median", "lowest", "highest", "difference to full"):
        table.add_column(heading, justify="left" if heading == "agent" else "right")
    for name, row in result["variants"].items():
        table.add_row(name, f"{row['median']:.1f}", f"{row['low']:.1f}", f"{row['high']:.1f}", str(row["verdict"]))
    Console().print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
