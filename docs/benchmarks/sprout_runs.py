"""How far runs on Sprout came, and when: milestones from power-on and from the archive of states.

    python docs/benchmarks/sprout_runs.py runs/sprout runs/other   # adds these runs to the results, prints the table
    python docs/benchmarks/sprout_runs.py                          # table from the results

Read from each run: its jobs (commit, changed options) and its training episodes (metrics/episodes.csv).

Exit status: 0, or 1 if a run cannot be read or nothing has been collected.
"""

import argparse
import csv
import json
import sys
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from pokered_rl.cli.measurement import provenance, write_json
from pokered_rl.envs import StateArchive
from pokered_rl.training.run_folder import RunFolder

RESULTS = Path(__file__).parent / "results" / "sprout_runs.json"
#: Parts of a run for which rates are given, so that what is forgotten is seen.
PARTS = 8
#: Options that change nothing in what is learned: names and places.
_SAYS_NOTHING = ("run.name:", "run.folder:", "run.resume:")


def collect(run: Path) -> dict[str, Any]:
    """Return what a run's jobs were, when its training episodes first reached each milestone, and how often."""
    with (run / "metrics" / "episodes.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    jobs = [json.loads(line) for line in (run / "jobs.jsonl").read_text().splitlines()]
    first: dict[str, dict[str, int]] = {"power_on": {}, "archive": {}}
    reached: list[tuple[int, set[str]]] = []
    for row in rows:
        start = "power_on" if row["start"] == "power-on" else "archive"
        milestones = [part.split(":")[0] for part in row["milestone_steps"].split()]
        for name in milestones:
            first[start].setdefault(name, int(row["steps"]))
        if start == "power_on":
            reached.append((int(row["steps"]), set(milestones)))
    steps = int(rows[-1]["steps"])
    parts = [[names for at, names in reached if steps * k < at * PARTS <= steps * (k + 1)] for k in range(PARTS)]
    return {
        "steps": steps,
        "episodes": len(rows),
        "jobs": [
            {
                "job": job["job"],
                "commit": job["git"]["commit"][:7],
                "changes": [change for change in job["changes"] if not change.startswith(_SAYS_NOTHING)],
            }
            for job in jobs
            if job["event"] == "begin"
        ],
        "archive": _archive(run),
        "first": first,
        "power_on": [
            {
                "until": round(steps * (k + 1) / PARTS),
                "episodes": len(part),
                "rates": {
                    name: round(sum(name in names for names in part) / len(part), 3)
                    for name in sorted(set().union(*part))
                },
            }
            for k, part in enumerate(parts)
            if part
        ],
    }


def _archive(run: Path) -> dict[str, int]:
    """Return how many levels, cells and states the run's archive holds."""
    archive = StateArchive(folder=RunFolder(run).curriculum)
    archive.load()
    return {"levels": len(archive.level_events), "cells": len(archive), "states": archive.num_states}


def main() -> int:
    """Collect the runs given, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="*", type=Path, help="run folders")
    parser.add_argument("--json", type=Path, default=RESULTS, metavar="FILE", help="the results")
    arguments = parser.parse_args()
    samples = json.loads(arguments.json.read_text())["samples"] if arguments.json.is_file() else {}
    for run in arguments.runs:
        try:
            samples[run.name] = collect(run)
        except (OSError, KeyError, IndexError, ValueError) as error:
            print(f"{run}: {error!r}; name run folders in which an episode has ended", file=sys.stderr)
            return 1
    if arguments.runs:
        write_json(arguments.json, provenance() | {"samples": samples})
    if not samples:
        print(f"{arguments.json} has no runs; name run folders", file=sys.stderr)
        return 1
    table = Table(title="first step at which a training episode reached a milestone: from power-on / from the archive")
    names = list(dict.fromkeys(name for run in samples.values() for part in run["first"].values() for name in part))
    for heading in ("milestone", *samples):
        table.add_column(heading, justify="left" if heading == "milestone" else "right")
    for name in names:
        cells = []
        for run in samples.values():
            steps = (run["first"][start].get(name) for start in ("power_on", "archive"))
            cells.append(" / ".join("-" if step is None else f"{step:,}" for step in steps))
        table.add_row(name, *cells)
    Console().print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
