import json
import signal

import pytest

from pokered_rl.episodes import EpisodeLog, verify

pytestmark = pytest.mark.faults


def _logs(job):
    return {path: path.read_bytes() for path in (job.run / "episode_logs").glob("*.episode")}


def test_run_survives_a_second_job_kill_9_and_the_signal_of_a_scheduler(start_job):
    first = start_job("run.target_total_steps=1_000_000", "runtime.checkpoint_every_seconds=1")
    first.wait_until(lambda: first.progress().get("checkpoint_steps", 0) >= 100)

    intruder = start_job("run.target_total_steps=1_000_000")
    assert intruder.end() == 1
    assert f"is in use by process {first.process.pid}" in intruder.output
    assert "Traceback" not in intruder.output

    before = first.progress()
    first.send(signal.SIGKILL)
    first.end()
    assert first.survivors() == [], "no process may outlive the main process"
    logs = _logs(first)
    # What a crash costs: the episodes in progress, one of at most 40 steps on each of the two emulators.
    assert sum(EpisodeLog.load(path).steps for path in logs) > before["steps"] - 2 * 40

    second = start_job("run.target_total_steps=1_000_000", "runtime.checkpoint_every_seconds=1")
    second.wait_until(lambda: second.progress().get("jobs") == 2 and second.progress()["steps"] > before["steps"])
    assert "took over the lock" in second.output
    rows = (second.run / "metrics" / "train.csv").read_text().splitlines()
    steps = [int(row.split(",")[1]) for row in rows[1:] if row.startswith("2,")]
    assert steps[0] >= before["checkpoint_steps"], "counters step back by no more than the checkpoint interval"
    second.send(signal.SIGUSR1)
    assert second.end() == 75, second.output
    assert second.survivors() == []
    assert {path: path.read_bytes() for path in logs} == logs, "no log is lost or overwritten"

    target = second.progress()["steps"] + 60
    third = start_job(f"run.target_total_steps={target}")
    assert third.end() == 0, third.output
    assert third.progress()["complete"]
    for path in _logs(third):
        verify(EpisodeLog.load(path))
    events = [json.loads(line) for line in (third.run / "jobs.jsonl").read_text().splitlines()]
    assert [(event["job"], event["event"]) for event in events] == [
        (1, "begin"),
        (2, "begin"),
        (2, "end"),
        (3, "begin"),
        (3, "end"),
    ]
