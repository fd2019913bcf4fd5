"""Random deaths at random times, over and over on one run; the long form writes its results as JSON.

for s in 0 1 2 3 4 5 6 7 8 9; do POKERED_FAULT_SEED=$s POKERED_FAULT_ROUNDS=5 \
    POKERED_FAULT_RESULTS=docs/benchmarks/results/faults.json pytest -m long tests/faults/test_random_rounds.py; done

Rounds of another seed are added to those that the file holds.
"""

import datetime
import json
import os
import platform
import random
import resource
import signal
import subprocess
import time
from collections import Counter
from pathlib import Path

import psutil
import pytest

pytestmark = [pytest.mark.long, pytest.mark.timeout(7200)]

CHECKPOINT_SECONDS = 2
ACTOR_TIMEOUT_SECONDS = 10
STATUS = {
    "kill main": -9,
    "cut checkpoint": -9,
    "damage replay metadata": -9,
    "disk full": 1,
    "SIGTERM": 75,
    "SIGUSR1": 75,
    "SIGINT": 130,
    "SIGINT twice": 130,
    # The job goes on; it is then asked to end.
    "kill worker": 75,
    "stop worker": 75,
    "second job": 75,
}
KINDS = tuple(STATUS)


def _strike(job, kind: str, chance: random.Random) -> None:
    """Does to a running job what the kind says."""
    if kind in ("kill worker", "stop worker"):
        job.wait_until(job.workers)
        victim = chance.choice(job.workers())
        victim.send_signal(signal.SIGKILL if kind == "kill worker" else signal.SIGSTOP)
    elif kind == "disk full":
        # No file of the main process can grow beyond this size any more.
        resource.prlimit(job.process.pid, resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))
    elif kind == "SIGINT twice":
        job.send(signal.SIGINT)
        time.sleep(chance.uniform(0, 0.5))
        if job.process.poll() is None:
            job.send(signal.SIGINT)
    elif STATUS[kind] == -9:
        job.send(signal.SIGKILL)
    else:
        job.send(signal.Signals[kind])


def _recover(job, kind: str, start_job, overrides, chance: random.Random) -> None:
    """Waits until a job that survives has dealt with what happened, then asks it to end."""
    if kind == "second job":
        intruder = start_job(*overrides)
        assert intruder.end() == 1, intruder.output
        assert f"in use by process {job.process.pid}" in intruder.output
    else:
        restarts = job.progress()["worker_restarts"]
        _strike(job, kind, chance)
        job.wait_until(lambda: job.progress()["worker_restarts"] > restarts, seconds=400)
    played = job.progress()["steps"]
    job.wait_until(lambda: job.progress()["steps"] > played + 40, seconds=400)
    job.send(signal.SIGTERM)


def _damage(run: Path, kind: str) -> None:
    newest = max((run / "checkpoints").glob("0*"))
    victim = newest / ("state.pt" if kind == "cut checkpoint" else "replay/replay.json")
    victim.write_bytes(victim.read_bytes()[: victim.stat().st_size // 2])


def test_run_survives_random_deaths(start_job, whole_run, busy):
    rounds = int(os.environ.get("POKERED_FAULT_ROUNDS", "5"))
    seed = int(os.environ.get("POKERED_FAULT_SEED", "0"))
    chance = random.Random(seed)
    samples: list[dict] = []
    target = os.environ.get("POKERED_FAULT_RESULTS")
    commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False).stdout.strip()
    overrides = (
        "run.target_total_steps=100_000_000",
        f"runtime.checkpoint_every_seconds={CHECKPOINT_SECONDS}",
        "collector.num_workers=2",
        "replay.capacity_transitions=300",  # 50 sequences: full soon, so that rows are overwritten after a checkpoint
        f"collector.worker_timeout_seconds={ACTOR_TIMEOUT_SECONDS}",
        "collector.max_restarts_per_hour=1000",
    )
    checkpoint_steps = 0
    for number in range(rounds):
        kind = chance.choice(KINDS)
        job = start_job(*overrides)
        before = job.progress()
        job.wait_until(lambda job=job, before=before: job.progress().get("jobs", 0) > before.get("jobs", 0))
        playing_since = time.time()
        assert job.progress()["steps"] >= checkpoint_steps, "the job did not go on from the checkpoint"
        enough = checkpoint_steps + 40
        job.wait_until(lambda job=job, enough=enough: job.progress()["steps"] > enough, seconds=400)
        # Also before this job's first checkpoint, and while one is being written.
        time.sleep(chance.uniform(0, 2.5 * CHECKPOINT_SECONDS))
        began = time.monotonic()
        if kind in ("kill worker", "stop worker", "second job"):
            _recover(job, kind, start_job, overrides, chance)
        else:
            _strike(job, kind, chance)
        assert job.end() == STATUS[kind], job.output
        seconds, ended = time.monotonic() - began, time.time()
        assert job.survivors() == []
        found = whole_run(job.run).check()
        at_risk = ended - max(playing_since, found.pop("checkpoint_written_at", 0.0))
        # Saving waits for one batch of each worker, for a stopped one until it is given up.
        assert at_risk < CHECKPOINT_SECONDS + ACTOR_TIMEOUT_SECONDS + 4 * busy(), "a crash costs more than the interval"
        if kind in ("cut checkpoint", "damage replay metadata"):
            _damage(job.run, kind)
        checkpoint_steps = whole_run(job.run).check().get("checkpoint_steps", 0)
        samples.append(
            {"seed": seed, "round": number, "kind": kind, "seconds_to_end_or_recovery": round(seconds, 2)}
            | found
            | {"seconds_since_checkpoint": round(at_risk, 2), "next_job_starts_at": checkpoint_steps}
        )
        if target:
            _write_results(Path(target), samples, seed=seed, commit=commit)


def _write_results(target: Path, samples: list[dict], *, seed: int, commit: str) -> None:
    if target.is_file():
        samples = [old for old in json.loads(target.read_text())["samples"] if old["seed"] != seed] + samples
    results = {
        "command": f"for s in {' '.join(map(str, sorted({sample['seed'] for sample in samples})))}; do"
        " POKERED_FAULT_SEED=$s POKERED_FAULT_ROUNDS=5 POKERED_FAULT_RESULTS=docs/benchmarks/results/faults.json"
        " pytest -m long tests/faults/test_random_rounds.py; done",
        "commit": commit,
        "machine": f"{platform.machine()}, {psutil.cpu_count()} CPUs, other work on them",
        "date": datetime.date.today().isoformat(),
        "rounds": len(samples),
        "kinds": dict(Counter(sample["kind"] for sample in samples).most_common()),
        "largest_steps_back": max(sample.get("steps_back", 0) for sample in samples),
        "newer_rows_left_out": sum(sample["newer_rows"] for sample in samples),
        "samples": samples,
    }
    target.write_text(json.dumps(results, indent=1) + "\n")
