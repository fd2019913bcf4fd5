"""Compare the speed that `pokered_rl doctor` expects with training runs of one and two workers.

    taskset -c 1 python docs/benchmarks/estimate.py --json docs/benchmarks/results/estimate.json

Trains the quick start's agent for some minutes with each number of workers, on the cores that this program may use,
and counts steps from the time at which it learns. ``wall_steps_per_second`` is of the clock. Other jobs may take a part
of a shared core: where there are more processes than cores, ``steps_per_second`` is of the CPU time that they got, as
on cores of their own. After each run the model's costs are scaled to this machine, in the same time.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil

from pokered_rl.cli.measurement import provenance, write_json
from pokered_rl.emulator import measure_frame_us
from pokered_rl.resources import available_cpus
from pokered_rl.training.costs import expected_speed, measured_costs
from pokered_rl.training.load_config import load_config

WORKERS = (1, 2)
#: Updates after which counting begins: programs are loaded, caches warm, workers as far ahead as they may be.
_FIRST_UPDATE = 60


def _overrides(workers: int) -> list[str]:
    off = ("runtime.device=cpu", "run.evaluation_episodes=0", "evaluation.every_steps=0", "collector.warmup_steps=0")
    # Workers may run 200 batches ahead of the learner; with 5 they are held soon, at the rate of a long run.
    return [
        f"collector.num_workers={workers}",
        "replay.samples_per_insert_slack_batches=5",
        "demonstrations.logs=[]",
        *off,
    ]


def _cpu_seconds(process: psutil.Process) -> dict[int, float]:
    family = [process, *process.children(recursive=True)]
    return {each.pid: sum(each.cpu_times()[:2]) for each in family}


def measured(workers: int, *, seconds: float) -> dict[str, float]:
    """Train for so many seconds after the first updates; return rates and the cores that were kept busy."""
    with tempfile.TemporaryDirectory() as folder:
        command = [
            *(sys.executable, "-m", "pokered_rl", "train", "--config-name", "quickstart", *_overrides(workers)),
            *(f"run.folder={folder}", "run.name=run", "run.target_total_steps=1000000000", "logging.every_seconds=1"),
        ]
        progress = Path(folder) / "run" / "progress.json"

        def look() -> dict[str, Any]:
            found: dict[str, Any] = json.loads(progress.read_text())
            return {name: found[name] for name in ("steps", "updates")} | {"time": progress.stat().st_mtime}

        def wait(condition: Any) -> dict[str, Any]:
            while training.poll() is None:
                time.sleep(0.2)
                if progress.exists() and condition(found := look()):
                    return found | {"cpu": _cpu_seconds(psutil.Process(training.pid))}
            raise SystemExit(f"the training run ended with status {training.returncode}")

        with subprocess.Popen(command, stdout=subprocess.DEVNULL) as training:
            try:
                first = wait(lambda found: found["updates"] >= _FIRST_UPDATE)
                last = wait(lambda found: found["time"] > first["time"] + seconds)
            finally:
                training.terminate()
    steps, wall = last["steps"] - first["steps"], last["time"] - first["time"]
    spent = {pid: now - first["cpu"].get(pid, 0.0) for pid, now in last["cpu"].items()}
    cpu, learner = sum(spent.values()), spent[training.pid]
    return {
        "workers": workers,
        "steps": steps,
        "steps_per_update": round(steps / (last["updates"] - first["updates"]), 2),
        "seconds": round(wall, 1),
        "cpu_seconds": round(cpu, 1),
        "wall_steps_per_second": round(steps / wall, 1),
        "cpu_us_per_step": round(1e6 * cpu / steps, 1),
        "learner_us_per_step": round(1e6 * learner / steps, 1),
    }


def main() -> int:
    """Measure, compare and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=120.0, help="of each run, after its first updates")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write figures and raw samples there")
    arguments = parser.parse_args()
    cores, started = available_cpus(), provenance()
    samples = []
    for workers in WORKERS:
        samples.append(measured(workers, seconds=arguments.seconds))
        clock = time.thread_time if workers + 1 > cores else time.perf_counter
        samples[-1]["frame_us"] = round(measure_frame_us(processes=min(cores, workers + 1), clock=clock), 2)
    for workers, found in zip(WORKERS, samples, strict=True):
        rate = cores * 1e6 / found["cpu_us_per_step"] if workers + 1 > cores else found["wall_steps_per_second"]
        costs = measured_costs().scaled(found["frame_us"] / measured_costs().frame_us)
        speed = expected_speed(load_config("quickstart", _overrides(workers)), costs, cores=cores)
        assert speed.learning is not None  # it is on the CPU
        found |= {
            "steps_per_second": round(rate, 1),
            "expected_steps_per_second": round(speed.steps, 1),
            "expected_over_measured": round(speed.steps / rate, 3),
            "expected_learner_us_per_step": round(1e6 / speed.intake + 1e6 / speed.learning, 1),
        }
        print(json.dumps(found))
    if arguments.json is not None:
        write_json(arguments.json, started | {"cores": cores, "samples": samples})
    return 0


if __name__ == "__main__":
    sys.exit(main())
