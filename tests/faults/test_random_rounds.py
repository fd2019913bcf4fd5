"""Random deaths at random times, over and over on one run; the long form writes its results as JSON.

POKERED_FAULT_ROUNDS=50 POKERED_FAULT_RESULTS=docs/benchmarks/results/faults.json pytest -m long tests/faults
"""

import datetime
import json
import os
import platform
import random
import signal
import subprocess
import time
from collections import Counter
from pathlib import Path

import psutil
import pytest

from pokered_rl.episodes import EpisodeLog

pytestmark = [pytest.mark.long, pytest.mark.timeout(7200)]

KINDS = ("kill main", "kill worker", "stop worker", "SIGTERM", "SIGUSR1", "SIGINT", "cut checkpoint")
STATUS = {"SIGTERM": {75}, "SIGUSR1": {75}, "SIGINT": {130}, "kill main": {-9}, "cut checkpoint": {-9}}


def _strike(job, kind: str, chance: random.Random) -> None:
    if kind in ("kill worker", "stop worker"):
        workers = job.workers()
        victim = chance.choice(workers) if workers else None
        if victim is not None:
            victim.send_signal(signal.SIGKILL if kind == "kill worker" else signal.SIGSTOP)
        return
    job.send({"kill main": signal.SIGKILL, "cut checkpoint": signal.SIGKILL}.get(kind) or signal.Signals[kind])


def test_run_survives_random_deaths(start_job):
    rounds = int(os.environ.get("POKERED_FAULT_ROUNDS", "5"))
    chance = random.Random(int(os.environ.get("POKERED_FAULT_SEED", "0")))
    samples = []
    overrides = (
        "run.target_total_steps=100_000_000",
        "runtime.checkpoint_every_seconds=2",
        "collector.num_workers=2",
        "collector.actor_timeout_seconds=5",
        "collector.max_restarts_per_hour=1000",
    )
    for number in range(rounds):
        kind = chance.choice(KINDS)
        job = start_job(*overrides)
        before = job.progress()
        job.wait_until(lambda job=job, before=before: job.progress().get("jobs", 0) > before.get("jobs", 0))
        start = before.get("checkpoint_steps", 0)
        job.wait_until(lambda job=job, start=start: job.progress()["steps"] > start + 40, seconds=180)
        time.sleep(chance.uniform(0, 4))
        at = job.progress()
        began = time.monotonic()
        _strike(job, kind, chance)
        if kind in ("kill worker", "stop worker"):
            restarts = at["worker_restarts"]
            job.wait_until(lambda job=job, restarts=restarts: job.progress()["worker_restarts"] > restarts, seconds=120)
            played = job.progress()["steps"]
            job.wait_until(lambda job=job, played=played: job.progress()["steps"] > played + 40, seconds=120)
            recovered = time.monotonic() - began
            job.send(signal.SIGTERM)
            assert job.end() == 75, job.output
        else:
            assert job.end() in STATUS[kind], job.output
            recovered = time.monotonic() - began
        assert job.survivors() == []
        for path in (job.run / "episode_logs").glob("*.episode"):
            EpisodeLog.load(path)  # raises for a damaged one
        if kind == "cut checkpoint":
            newest = max((job.run / "checkpoints").glob("0*")) / "state.pt"
            newest.write_bytes(newest.read_bytes()[: newest.stat().st_size // 2])
        end = job.progress()
        samples.append(
            {
                "round": number,
                "kind": kind,
                "steps_at_start": before.get("checkpoint_steps", 0),
                "steps_at_end": end["steps"],
                "checkpoint_steps": end["checkpoint_steps"],
                "seconds_to_end_or_recovery": round(recovered, 2),
            }
        )
    target = os.environ.get("POKERED_FAULT_RESULTS")
    if target:
        commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
        results = {
            "command": f"POKERED_FAULT_ROUNDS={rounds} POKERED_FAULT_RESULTS={target} pytest -m long tests/faults",
            "commit": commit,
            "machine": f"{platform.machine()}, {psutil.cpu_count()} CPUs",
            "date": datetime.date.today().isoformat(),
            "rounds": rounds,
            "kinds": dict(Counter(sample["kind"] for sample in samples)),
            "samples": samples,
        }
        Path(target).write_text(json.dumps(results, indent=1) + "\n")
