"""Measure how long worker processes take to start: from the first process to the first batch of the last worker.

    python docs/benchmarks/start_up.py --workers 4 16 48 --json docs/benchmarks/results/start_up.json

On a machine with fewer cores than workers most of that is waiting for a core, so the CPU time of a worker is given too.
"""

import argparse
import json
import logging
import time
from pathlib import Path

import psutil

from acting import playing_pool
from pokered_rl.cli.measurement import provenance, write_json


def start_up(workers: int, emulators: int) -> dict[str, float]:
    """Start this many workers once."""
    start = time.perf_counter()
    with playing_pool("base", workers=workers, emulators=emulators, batches=1) as playing:
        seconds = time.perf_counter() - start
        processes = [psutil.Process(playing.workers.control.pid(worker)) for worker in range(workers)]
        times = [process.cpu_times() for process in processes]
        private = sorted(process.memory_full_info().uss for process in processes)
    return {
        "workers": workers,
        "seconds": round(seconds, 2),
        "cpu_seconds_each": round(sum(each.user + each.system for each in times) / workers, 2),
        "private_mib_each": round(private[workers // 2] / 2**20),
    }


def main() -> None:
    """Measure every number of workers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, nargs="+", default=[4, 16, 48])
    parser.add_argument("--emulators", type=int, default=4)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write results there")
    arguments = parser.parse_args()
    logging.getLogger("torchrl").setLevel(logging.WARNING)
    samples = [start_up(workers, arguments.emulators) for workers in arguments.workers]
    print(json.dumps(samples, indent=1))
    if arguments.json is not None:
        report = provenance() | {"emulators": arguments.emulators, "samples": samples}
        write_json(arguments.json, report)


if __name__ == "__main__":
    main()
