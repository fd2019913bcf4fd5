"""CPU time of an update in several checkouts, in turns: what a change of network or loss costs or saves.

    git worktree add ../before COMMIT
    python docs/benchmarks/update_cost.py ../before . --json FILE

Batches are of random play: 16 sequences of 50 steps for ``tiny``, as in configs/sprout.yaml, and 4 of 125 for ``base``,
as in configs/r2d2.yaml. One thread; the first updates of a process, in which memory is allocated, do not count.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from learning import played_rows, sequences_of
from pokered_rl.cli.measurement import provenance, write_json
from pokered_rl.data import SequenceLayout
from pokered_rl.modules import R2D2Network
from pokered_rl.objectives import R2D2Loss
from pokered_rl.resources import keep_freed_memory

#: Batch size, then burn-in, unroll, successor steps and hidden units of each size.
SIZES = {"tiny": (16, 8, 32, 10, 128), "base": (4, 40, 80, 5, 512)}


def measure(updates: int) -> dict[str, list[float]]:
    """Return the milliseconds of CPU of each update, by size, in the checkout that is imported."""
    keep_freed_memory()
    torch.set_num_threads(1)
    rows, times = played_rows(8, 160), dict[str, list[float]]()
    for size, (batch_size, burn_in, unroll, n_step, hidden) in SIZES.items():
        layout = SequenceLayout(burn_in_steps=burn_in, unroll_steps=unroll, n_step=n_step)
        batch = sequences_of(rows, batch_size, hidden_size=hidden, layout=layout)
        torch.manual_seed(0)
        network = R2D2Network(
            num_actions=8,
            size=size,
            map_shape=tuple(batch["map_memory"].shape[2:]),
            context_size=batch["context"].shape[-1],
            hidden_size=hidden,
        )
        loss = R2D2Loss(network, burn_in_steps=burn_in, n_step=n_step)
        optimizer = torch.optim.Adam(loss.parameters(), lr=1e-4, fused=True)
        times[size] = []
        for _ in range(updates + 4):
            sampled, began = batch.clone(), time.process_time()
            out = loss(sampled)
            optimizer.zero_grad(set_to_none=True)
            sum(value for name, value in out.items() if name.startswith("loss_")).backward()
            optimizer.step()
            times[size].append(1e3 * (time.process_time() - began))
        del times[size][:4]
    return times


def main() -> int:
    """Measure each checkout in a process of its own, several times."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("trees", nargs="*", type=Path, metavar="CHECKOUT", help="checkouts; without any, only measure")
    parser.add_argument("--updates", type=int, default=12, help="updates of a process (%(default)s)")
    parser.add_argument("--rounds", type=int, default=4, help="processes of each checkout (%(default)s)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results there")
    arguments = parser.parse_args()
    for tree in arguments.trees:
        if not (tree / "pokered_rl").is_dir():
            parser.error(f"{tree} is no checkout of this library: it has no folder pokered_rl")
    if not arguments.trees:
        print(json.dumps(measure(arguments.updates)))
        return 0
    samples: dict[str, dict[str, list[float]]] = {}
    for _ in range(arguments.rounds):
        for tree in arguments.trees:
            for size, times in _measure_in(tree.resolve(), arguments.updates).items():
                samples.setdefault(_commit(tree), {}).setdefault(size, []).append(round(statistics.median(times), 1))
    medians = {
        commit: {size: statistics.median(each) for size, each in sizes.items()} for commit, sizes in samples.items()
    }
    table = Table(title="an update, ms of CPU")
    for heading in ("commit", *SIZES):
        table.add_column(heading, justify="left" if heading == "commit" else "right")
    for commit, sizes in medians.items():
        table.add_row(commit, *(f"{sizes[size]:.0f}" for size in SIZES))
    Console().print(table)
    if arguments.json is not None:
        write_json(arguments.json, provenance() | {"unit": "ms of CPU", "median": medians, "samples": samples})
    return 0


def _measure_in(tree: Path, updates: int) -> dict[str, Any]:
    command = [sys.executable, str(Path(__file__)), "--updates", str(updates)]
    environment = os.environ | {"PYTHONPATH": str(tree), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        sys.exit(f"{tree}: the measurement failed; what it says stands above")
    times: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return times


def _commit(tree: Path) -> str:
    command = ["git", "-C", str(tree), "rev-parse", "--short", "HEAD"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


if __name__ == "__main__":
    sys.exit(main())
