"""Random deaths at random times, over and over on one run; the long form writes its results as JSON.

for s in 0 1 2 3 4 5; do POKERED_FAULT_SEED=$s POKERED_FAULT_ROUNDS=17 \
    POKERED_FAULT_RESULTS=docs/benchmarks/results/faults.json pytest -m long tests/faults/test_random_rounds.py; done

A seed deals all 17 kinds before one comes again. Rounds of another seed are added to those that the file holds.
"""

import datetime
import json
import os
import platform
import random
import resource
import shutil
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import psutil
import pytest

from pokered_rl.cli.measurement import write_json

CHECKPOINT_SECONDS = 2
ACTOR_TIMEOUT_SECONDS = 10
HEARTBEAT_SECONDS = 0.5
#: Sequences of the replay: full soon, so that those of a checkpoint are overwritten after it.
CAPACITY = 50
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
    # Done to the folder of a job that was killed; the next job has to deal with it.
    "lost page": -9,
    "foreign checkpoint": -9,
    "links": -9,
    # A second job takes the run over while the first one is paused; the first one has to give it up.
    "pause": 1,
    # While the job imports, builds and restores; any status but that of a complete run.
    "signal at start": None,
    # While it saves, closes its workers and plays the closing evaluation; the run is complete then.
    "signal at end": (0, 130),
}
KINDS = tuple(STATUS)
DAMAGES = ("cut checkpoint", "damage replay metadata", "lost page", "foreign checkpoint", "links")
PHASES = ("signal at start", "signal at end")
SIGNALS = ("SIGTERM", "SIGUSR1", "SIGHUP", "SIGINT")


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


def _damage(run: Path, kind: str, chance: random.Random) -> Callable[[str], None]:
    """Damages the folder; returns a function that checks what the next job says and has left alone."""
    if kind not in DAMAGES:
        return _nothing
    newest = max((run / "checkpoints").glob("0*"))
    if kind == "links":
        outside = run.parent / "outside"
        outside.write_text("precious")
        for name in (".progress.json.writing", ".config.yaml.writing", ".online_params.pt.writing"):
            (run / name).unlink(missing_ok=True)
            (run / name).symlink_to(outside)

        def outside_is_untouched(output: str) -> None:
            assert outside.read_text() == "precious"

        return outside_is_untouched
    if kind == "foreign checkpoint":
        foreign = newest.with_name("9" + newest.name[1:])
        shutil.rmtree(foreign, ignore_errors=True)
        shutil.copytree(newest, foreign)
        manifest = json.loads((foreign / "manifest.json").read_text())
        (foreign / "manifest.json").write_text(json.dumps(manifest | {"run": "another"}))

        def foreign_is_passed_over(output: str) -> None:
            assert "is of another run (id another" in output
            shutil.rmtree(foreign)  # fails if the job has removed it

        return foreign_is_passed_over
    if kind == "lost page":
        length = json.loads((newest / "replay" / "replay.json").read_text())["length"]
        path = chance.choice(
            [path for path in (run / "replay").glob("*.memmap") if path.stem not in ("index", "serial")]
        )
        content = bytearray(path.read_bytes())
        used = len(content) * length // CAPACITY
        first = 4096 * chance.randrange(max(1, -(-used // 4096)))
        lost = any(content[first : min(first + 4096, used)])
        content[first : first + 4096] = bytes(len(content[first : first + 4096]))
        path.write_bytes(content)

        def loss_is_found(output: str) -> None:
            assert not lost or "left out" in output, f"zeros in {path.name} at {first} were not noticed"

        return loss_is_found
    victim = newest / ("state.pt" if kind == "cut checkpoint" else "replay/replay.json")
    victim.write_bytes(victim.read_bytes()[: victim.stat().st_size // 2])
    return _nothing


def _pause(job, start_job, overrides) -> None:
    """Pauses a job for so long that another one takes over, and wakes it up again."""
    job.send(signal.SIGSTOP)
    lock = job.run / "run.lock"
    # A process of this host that is stopped still counts as alive: the lock says another host.
    lock.write_text(json.dumps(json.loads(lock.read_text()) | {"host": "elsewhere"}))
    time.sleep(7 * HEARTBEAT_SECONDS)
    second = start_job(*overrides)
    second.wait_until(lambda: "continuing" in second.output or "steps/s" in second.output)
    job.send(signal.SIGCONT)
    assert job.end(seconds=60) == 1, job.output
    assert "is no longer this job's" in job.output
    assert "Traceback" not in job.output
    second.wait_until(lambda: second.progress().get("steps", 0) > 0)
    second.send(signal.SIGTERM)
    assert second.end() in (75, 1), second.output  # 1: it made no step yet
    assert "Traceback" not in second.output
    assert second.survivors() == []


def _signal_in_a_phase(kind: str, start_job, overrides, played: int, chance: random.Random, busy):
    """Sends a job a signal while it starts or while it ends."""
    number = signal.Signals[chance.choice(SIGNALS)]
    if kind == "signal at end":
        ending = {"run.target_total_steps": played + 60, "run.evaluation_episodes": 4, "env.max_episode_steps": 3000}
        kept = [override for override in overrides if override.partition("=")[0] not in ending]
        job = start_job(*kept, *(f"{name}={value}" for name, value in ending.items()))
        job.wait_until(lambda: "target reached" in job.output or job.progress().get("complete"), seconds=400)
    else:
        job = start_job(*overrides)
        time.sleep(chance.uniform(0.2, 12))
    began = time.monotonic()
    job.send(number)
    status = job.end(seconds=60)
    assert time.monotonic() - began < 10 * busy(), f"{number.name}: {job.output}"
    assert "Traceback" not in job.output, job.output
    assert job.survivors() == []
    if kind == "signal at end":
        assert status in STATUS[kind], job.output
    else:
        assert status != 0, job.output
    return job


def _nothing(output: str) -> None:
    """Nothing was done that the next job has to notice."""


def _deal(rounds: int, chance: random.Random) -> list[str]:
    """Every kind once in a random order, then all of them again.

    Damage to the folder is looked at by the job of the next round: that one has to play, and there has to be one.
    """
    kinds: list[str] = []
    while len(kinds) < rounds:
        deck = chance.sample(KINDS, len(KINDS))
        while any(one in DAMAGES and (two is None or two in PHASES) for one, two in pairwise([*deck, None])):
            chance.shuffle(deck)
        kinds += deck
    return kinds[:rounds]


def test_every_kind_of_fault_is_drawn_equally_often():
    for seed in range(5):
        kinds = _deal(2 * len(KINDS), random.Random(seed))
        assert Counter(kinds) == dict.fromkeys(KINDS, 2)
        assert kinds[: len(KINDS)] != list(KINDS)
        assert all(two not in PHASES for one, two in pairwise(kinds) if one in DAMAGES)


@pytest.mark.long
@pytest.mark.timeout(7200)
def test_run_survives_random_deaths(start_job, whole_run, busy):
    rounds = int(os.environ.get("POKERED_FAULT_ROUNDS", "5"))
    seed = int(os.environ.get("POKERED_FAULT_SEED", "0"))
    chance = random.Random(seed)
    target = os.environ.get("POKERED_FAULT_RESULTS")
    commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False).stdout.strip()
    overrides = (
        "run.target_total_steps=100_000_000",
        f"runtime.checkpoint_every_seconds={CHECKPOINT_SECONDS}",
        "collector.num_workers=2",
        f"replay.capacity_transitions={6 * CAPACITY}",
        f"runtime.heartbeat_seconds={HEARTBEAT_SECONDS}",
        f"collector.worker_timeout_seconds={ACTOR_TIMEOUT_SECONDS}",
        "collector.max_restarts_per_hour=1000",
    )
    checkpoint_steps = 0
    check_next = _nothing
    for number, kind in enumerate(_deal(rounds, chance)):
        sample: dict[str, Any] = {"seed": seed, "round": number, "kind": kind, "commit": commit}
        slowdown = busy()
        if kind in PHASES:
            began = time.monotonic()
            job = _signal_in_a_phase(kind, start_job, overrides, checkpoint_steps, chance, busy)
            seconds = time.monotonic() - began
        else:
            job = start_job(*overrides)
            before = job.progress()
            job.wait_until(lambda job=job, before=before: job.progress().get("jobs", 0) > before.get("jobs", 0))
            playing_since = time.time()
            assert job.progress()["steps"] >= checkpoint_steps, "the job did not go on from the checkpoint"
            enough = checkpoint_steps + 40
            job.wait_until(lambda job=job, enough=enough: job.progress()["steps"] > enough, seconds=400)
            if kind in DAMAGES:  # to one of this job's checkpoints; an intact one stays
                old = _checkpoints(job.run)
                job.wait_until(lambda job=job, old=old: len(_checkpoints(job.run) - old) >= 2, seconds=400)
            # Also before this job's first checkpoint, and while one is being written.
            time.sleep(chance.uniform(0, 2.5 * CHECKPOINT_SECONDS))
            check_next(job.output)
            check_next = _nothing
            began = time.monotonic()
            if kind == "pause":
                _pause(job, start_job, overrides)
            elif kind in ("kill worker", "stop worker", "second job"):
                _recover(job, kind, start_job, overrides, chance)
            else:
                _strike(job, kind, chance)
            assert job.end() == STATUS[kind], job.output
            seconds, ended = time.monotonic() - began, time.time()
            assert job.survivors() == []
        found = whole_run(job.run).check() if (job.run / "progress.json").is_file() else {}
        written_at = found.pop("checkpoint_written_at", 0.0)
        checkpoint_steps = found.get("checkpoint_steps", 0)
        if kind != "pause" and kind not in PHASES:
            at_risk = ended - max(playing_since, written_at)
            # Saving waits for one batch of each worker, for a stopped one until it is given up.
            longest = CHECKPOINT_SECONDS + ACTOR_TIMEOUT_SECONDS + 4 * max(slowdown, busy())
            assert at_risk < longest, "a crash costs more than the interval"
            check_next = _damage(job.run, kind, chance)
            checkpoint_steps = whole_run(job.run).check().get("checkpoint_steps", 0)
            found |= {"seconds_since_checkpoint": round(at_risk, 2), "next_job_starts_at": checkpoint_steps}
        sample |= {"seconds_to_end_or_recovery": round(seconds, 2)} | found
        if target:
            _write_results(Path(target), sample, rounds=rounds)


def _checkpoints(run: Path) -> set[str]:
    return {path.name for path in (run / "checkpoints").glob("0*")}


def _write_results(target: Path, sample: dict[str, Any], *, rounds: int) -> None:
    old = json.loads(target.read_text())["samples"] if target.is_file() else []
    same = [(each["seed"], each["round"]) == (sample["seed"], sample["round"]) for each in old]
    samples = [each for each, again in zip(old, same, strict=True) if not again] + [sample]
    results = {
        "command": f"for s in {' '.join(map(str, sorted({sample['seed'] for sample in samples})))}; do"
        f" POKERED_FAULT_SEED=$s POKERED_FAULT_ROUNDS={rounds}"
        " POKERED_FAULT_RESULTS=docs/benchmarks/results/faults.json"
        " pytest -m long tests/faults/test_random_rounds.py; done",
        "commit": sample["commit"],
        "machine": f"{platform.machine()}, {psutil.cpu_count()} CPUs, other work on them",
        "date": datetime.date.today().isoformat(),
        "rounds": len(samples),
        "kinds": dict(Counter(sample["kind"] for sample in samples).most_common()),
        "largest_steps_back": max(sample.get("steps_back", 0) for sample in samples),
        "newer_rows_left_out": sum(sample.get("newer_rows", 0) for sample in samples),
        "samples": samples,
    }
    write_json(target, results)
