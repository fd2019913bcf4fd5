"""Collect the comparisons of several runs with a random policy in one file.

Example, for a new `docs/benchmarks/results/quickstart.json`:

    for seed in 0 1 2; do
        python examples/train_r2d2.py --config-name quickstart run.seed=$seed run.name=seed$seed
    done
    python docs/benchmarks/collect_evaluations.py runs/seed0 runs/seed1 runs/seed2 --json FILE
"""

import argparse
import json
import statistics
import sys
from pathlib import Path

import yaml
from rich.console import Console
from rich.table import Table

from pokered_rl.cli.measurement import provenance, write_json


def main() -> int:
    """Read ``evaluation.json`` of every run, print a table, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN_FOLDER")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write medians and raw samples there")
    arguments = parser.parse_args()
    samples = []
    for run in arguments.runs:
        try:
            evaluation = json.loads((run / "evaluation.json").read_text())
            progress = json.loads((run / "progress.json").read_text())
            seed = yaml.safe_load((run / "config.yaml").read_text())["run"]["seed"]
        except (OSError, ValueError) as error:
            print(f"{run} has no finished comparison: {error}", file=sys.stderr)
            return 1
        figures = {key: progress[key] for key in ("steps", "updates", "wall_seconds")}
        samples.append({"seed": seed, **figures, **evaluation})
    policies = ("trained", "random")
    story = dict.fromkeys(name for sample in samples for episode in sample["trained"]["milestones"] for name in episode)
    milestones = {}
    for name in story:
        trained, random = ([_rate(name, sample[policy]["milestones"]) for sample in samples] for policy in policies)
        milestones[name] = {"median": statistics.median(trained), "worst": min(trained), "random": max(random)}
    coverages = {name: [sample[name]["mean_coverage"] for sample in samples] for name in policies}
    median = {name: statistics.median(values) for name, values in coverages.items()}
    table = Table(title="map coverage and return, means of the episodes of each run")
    for column in ("seed", "steps", "trained coverage", "random coverage", "trained return", "random return"):
        table.add_column(column, justify="right")
    for sample in samples:
        means = [f"{sample[name][key]:.1f}" for key in ("mean_coverage", "mean_return") for name in policies]
        table.add_row(str(sample["seed"]), f"{sample['steps']:,}", *means)
    table.add_row("median", "", *(f"{median[name]:.1f}" for name in policies), style="bold")
    Console().print(table)
    for sample in samples:
        for policy in policies:
            episodes = sample[policy]["milestones"]
            sample[policy]["milestones"] = {name: [each[name] for each in episodes if name in each] for name in story}
    if arguments.json is not None:
        content = {**provenance(), "median_coverage": median, "worst_coverage": min(coverages["trained"])}
        write_json(arguments.json, content | {"milestones": milestones, "samples": samples})
    return 0


def _rate(milestone: str, episodes: list[dict[str, int]]) -> float:
    """Return the share of the episodes that reached a milestone."""
    return sum(milestone in episode for episode in episodes) / len(episodes)


if __name__ == "__main__":
    sys.exit(main())
