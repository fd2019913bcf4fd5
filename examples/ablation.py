"""What each part of the agent is worth: the runs of configs/ablation, their table and their plot.

    python examples/ablation.py --train runs/ablation        # trains what is missing, two runs at a time, then as below
    python examples/ablation.py                              # table and plot from the committed CSV files

Every run plays `run.target_total_steps` and then 20 episodes with epsilon 0.01, beside a random policy with the same
start, mask and length. A run is one thread in one process; an interrupted one goes on when the command is given again.
Exit status: 0, or 1 if a run failed or did not finish.
"""

import argparse
import csv
import json
import os
import shutil
import statistics
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from pokered_rl.record.curves import binned_curve, curves_figure

sys.path.insert(0, str(Path(__file__).parent))

from benchmarks.pairs import provenance, write_json

ROOT = Path(__file__).resolve().parents[1]
VARIANTS = ("full", "no_lstm", "no_mask", "no_reconstruction", "one_step")
FILES = ("episodes.csv", "train.csv", "evaluation.csv")


def train(folder: Path, variant: str, seed: int) -> tuple[Path, int]:
    """Trains one run in a process of its own, unless it is complete; returns its folder and the exit status."""
    run = folder / f"{variant}-s{seed}"
    if (run / "evaluation.json").exists():
        return run, 0
    overrides = [f"run.folder={folder}", f"run.name={run.name}", f"run.seed={seed}"]
    command = [sys.executable, str(ROOT / "examples/train_r2d2.py"), "--config-name", f"ablation/{variant}", *overrides]
    return run, subprocess.run(command, check=False, env=os.environ | {"OMP_NUM_THREADS": "1"}).returncode


def train_all(folder: Path, jobs: list[tuple[str, int]], *, parallel: int, results: Path) -> bool:
    """Trains runs, so many at a time, and collects those that are complete; returns whether all are.

    A run that fails is named on stderr; it does not keep the others from being trained.
    """
    all_complete = True
    with ThreadPoolExecutor(parallel) as executor:
        for run, status in executor.map(lambda job: train(folder, *job), jobs):
            if status == 0:
                collect(run, results / run.name)
                continue
            all_complete = False
            print(
                f"error: {run.name} ended with exit status {status} before it was complete; what it said stands above,"
                f" its folder is {run}. The same command again goes on with it and keeps what is complete.",
                file=sys.stderr,
                flush=True,
            )
    return all_complete


def collect(run: Path, out: Path) -> None:
    """Copies a finished run's CSV files and writes its comparison as one more."""
    out.mkdir(parents=True, exist_ok=True)
    for name in ("episodes.csv", "train.csv"):
        shutil.copyfile(run / "metrics" / name, out / name)
    evaluation = json.loads((run / "evaluation.json").read_text())
    with (out / "evaluation.csv").open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("policy", "coverage", "return", "length"))
        for policy in ("trained", "random"):
            result = evaluation[policy]
            columns = zip(result["coverage"], result["returns"], result["lengths"], strict=True)
            writer.writerows((policy, coverage, round(value, 4), length) for coverage, value, length in columns)


def read(path: Path) -> list[dict[str, str]]:
    """Returns the rows of a CSV file."""
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def mean_coverage(run: Path, policy: str) -> float:
    """Mean map coverage of a run's comparison episodes."""
    return statistics.fmean(float(row["coverage"]) for row in read(run / "evaluation.csv") if row["policy"] == policy)


def compare(coverage: dict[str, list[float]]) -> dict[str, dict[str, object]]:
    """Median and range over the seeds, and the difference to the full agent unless the ranges overlap."""
    full = coverage["full"]
    rows: dict[str, dict[str, object]] = {}
    for name, values in coverage.items():
        difference = statistics.median(values) - statistics.median(full)
        apart = max(values) < min(full) or min(values) > max(full)
        verdict = "-" if name == "full" else f"{difference:+.1f}" if apart else "none"
        rows[name] = {"median": statistics.median(values), "low": min(values), "high": max(values), "verdict": verdict}
    return rows


def main() -> int:
    """Trains on request, then reads the CSV files and writes the table, the JSON and the plot."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", type=Path, metavar="FOLDER", help="train what is missing there, and collect it")
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=VARIANTS)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--parallel", type=int, default=2, help="runs at a time (2)")
    parser.add_argument("--results", type=Path, default=ROOT / "docs/benchmarks/results/ablation", metavar="FOLDER")
    arguments = parser.parse_args()
    results: Path = arguments.results
    if arguments.train is not None:
        # Seed by seed, so that what is there after an interruption is a comparison already.
        jobs = [(variant, seed) for seed in arguments.seeds for variant in arguments.variants]
        if not train_all(arguments.train, jobs, parallel=arguments.parallel, results=results):
            return 1
    runs = {name: sorted(results.glob(f"{name}-s*")) for name in VARIANTS}
    missing = [name for name, folders in runs.items() if not all((run / f).exists() for run in folders for f in FILES)]
    if missing or not all(runs.values()):
        missing += [name for name, folders in runs.items() if not folders]
        print(f"{results} has no finished runs of {', '.join(missing)}; make them with --train", file=sys.stderr)
        return 1

    coverage = {name: [mean_coverage(run, "trained") for run in folders] for name, folders in runs.items()}
    # Every run brings its own random policy; those of the full agent's runs stand for it.
    rows = compare(coverage | {"random": [mean_coverage(run, "random") for run in runs["full"]]})
    table = Table(title="map coverage in 256 steps, mean of 20 episodes; over the seeds")
    for heading in ("agent", "median", "lowest", "highest", "difference to full"):
        table.add_column(heading, justify="left" if heading == "agent" else "right")
    for name, row in rows.items():
        table.add_row(name, f"{row['median']:.1f}", f"{row['low']:.1f}", f"{row['high']:.1f}", str(row["verdict"]))
    Console().print(table)

    curves = {}
    for name, folders in runs.items():
        episodes = [read(run / "episodes.csv") for run in folders]
        columns = [tuple(np.array([float(row[key]) for row in run]) for key in ("steps", "return")) for run in episodes]
        curves[name] = binned_curve(columns, points=30)
    figure = curves_figure(curves, y_label="return of the training episodes")
    figure.set_size_inches(8, 5)
    figure.savefig(results.with_suffix(".png"), dpi=110)
    steps = {run.name: int(read(run / "train.csv")[-1]["steps"]) for folders in runs.values() for run in folders}
    content = {**provenance(), "variants": rows, "steps": steps, "samples": coverage}
    write_json(results.with_suffix(".json"), content)
    return 0


if __name__ == "__main__":
    sys.exit(main())
