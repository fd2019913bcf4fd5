"""What a share of demonstrations gives: configs/quickstart.yaml with other shares, and with behaviour cloning alone.

    python docs/benchmarks/demonstrations.py --train runs/shares --seeds 0 1 2  # trains and evaluates what is missing
    python docs/benchmarks/demonstrations.py                                    # table from the results

All but the first learn from the same logs in as many updates; the cloned policies play nothing. Each is evaluated from
power-on.

Exit status: 0, or 1 if a run failed or nothing has been collected.
"""

import argparse
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

ROOT = Path(__file__).parents[2]
RESULTS = Path(__file__).parent / "results" / "demonstrations.json"
TRAIN, CLONE = ROOT / "examples" / "train_r2d2.py", ROOT / "examples" / "reuse" / "behaviour_cloning.py"
STEPS, UPDATES, EPISODES, EPISODE_STEPS = 60_000, 1_026, 100, 256
#: Program and overrides of each variant; the preset's share is 1/4, after 300 updates on the logs alone.
VARIANTS = {
    "none": (TRAIN, ["demonstrations.logs=[]"]),
    "1/64": (TRAIN, ["demonstrations.ratio=0.015625"]),
    "1/8": (TRAIN, ["demonstrations.ratio=0.125"]),
    "1/4": (TRAIN, []),
    "cloning": (CLONE, [f"demonstrations.pretrain_updates={UPDATES}", "run.target_total_steps=1"]),
}
MILESTONES = ("leave_home", "starter", "rival_1", "pebble_lane")


def train(folder: Path, variant: str, seed: int) -> Path | None:
    """Train one run in a process of its own, or continue it; return its folder, None if it failed."""
    program, changes = VARIANTS[variant]
    run = folder / f"{variant.replace('/', '_of_')}-s{seed}"
    overrides = [f"run.folder={folder}", f"run.name={run.name}", f"run.seed={seed}", f"run.target_total_steps={STEPS}"]
    quiet = ["collector.backend=inline", "evaluation.every_steps=0", "run.evaluation_episodes=0"]
    done = _python(program, "--config-name", "quickstart", *overrides, *quiet, *changes)
    return run if done else None


def evaluate(run: Path) -> dict[str, Any] | None:
    """Return what a run's policy reaches from power-on, None if that failed."""
    file = run / "from_power_on.json"
    played = ["--episodes", str(EPISODES), "--steps", str(EPISODE_STEPS), "--epsilon", "0.01", "--json", file]
    if not file.is_file() and not _python(ROOT / "examples" / "evaluate.py", run, *played):
        return None
    measured = json.loads(file.read_text())
    reached = measured["results"]["epsilon 0.01"]["milestones"]
    rates = {name: reached[name]["rate"] for name in MILESTONES}
    return {"steps": measured["agent"]["steps"], "updates": measured["agent"]["updates"], "rates": rates}


def _python(*arguments: Any) -> bool:
    command = [sys.executable, *map(str, arguments)]
    return subprocess.run(command, check=False, env=os.environ | {"OMP_NUM_THREADS": "1"}).returncode == 0


def main() -> int:
    """Train on request, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", type=Path, metavar="FOLDER", help="train what is missing there, and evaluate it")
    parser.add_argument("--variants", nargs="+", choices=list(VARIANTS), default=list(VARIANTS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--json", type=Path, default=RESULTS, metavar="FILE", help="the results")
    arguments = parser.parse_args()
    samples, failed = _read(arguments.json), False
    for seed in arguments.seeds if arguments.train is not None else ():
        for variant in arguments.variants:
            run = train(arguments.train, variant, seed)
            measured = evaluate(run) if run is not None else None
            failed |= measured is None
            if measured is not None:
                samples.setdefault(variant, {})[f"seed {seed}"] = measured
                facts = {"episodes": EPISODES, "episode_steps": EPISODE_STEPS, "median": medians(samples)}
                write_json(arguments.json, provenance() | facts | {"samples": samples})
    if not samples:
        print(f"{arguments.json} has no runs; make them with --train", file=sys.stderr)
        return 1
    table = Table(title=f"share of {EPISODES} episodes from power-on, median of the seeds")
    for heading in ("demonstrations", "seeds", *MILESTONES):
        table.add_column(heading, justify="left" if heading == "demonstrations" else "right")
    for variant, rates in medians(samples).items():
        table.add_row(variant, str(len(samples[variant])), *(f"{rates[name]:.0%}" for name in MILESTONES))
    Console().print(table)
    return int(failed)


def medians(samples: dict[str, Any]) -> dict[str, dict[str, float]]:
    """Return the median rate of each milestone over the seeds, for each variant there is."""
    rates = {name: [run["rates"] for run in samples[name].values()] for name in VARIANTS if name in samples}
    return {
        variant: {name: statistics.median(each[name] for each in seeds) for name in MILESTONES}
        for variant, seeds in rates.items()
    }


def _read(results: Path) -> dict[str, Any]:
    return json.loads(results.read_text())["samples"] if results.is_file() else {}


if __name__ == "__main__":
    sys.exit(main())
