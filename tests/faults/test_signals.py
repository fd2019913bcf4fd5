import json
import signal
import time

import pytest

from pokered_rl.training.checkpoint import CheckpointStore, load_tensors

pytestmark = pytest.mark.faults


def test_ctrl_c_ends_all_processes_within_ten_seconds_and_leaves_a_readable_run(start_job, busy):
    job = start_job("run.target_total_steps=1_000_000")
    job.wait_for_steps(200)
    assert job.workers(), "there must be a process to end"
    began = time.monotonic()
    job.send(signal.SIGINT)
    status = job.end()
    # Ten seconds on cores of our own; on a machine that is busy with other things, as much longer as it is slower.
    assert time.monotonic() - began < 10 * busy()
    assert status == 130, job.output
    assert job.survivors() == []
    assert "Traceback" not in job.output

    progress = job.progress()
    assert progress["last_stop"] == "interrupted"
    newest = CheckpointStore(job.run / "checkpoints").newest()
    assert newest is not None
    assert newest.steps == progress["steps"] >= 200
    assert load_tensors(job.run / "online_params.pt")["steps"] == progress["steps"]
    assert list((job.run / "episode_logs").glob("*.episode"))
    assert not (job.run / "run.lock").exists()
    assert [json.loads(line)["event"] for line in (job.run / "jobs.jsonl").read_text().splitlines()] == ["begin", "end"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_signal_to_all_processes_of_a_job_leaves_workers_the_time_to_hand_in_where_they_stand(start_job, number):
    job = start_job("run.target_total_steps=1_000_000")
    job.wait_for_steps(200)
    job.wait_until(job.workers)
    job.send_to_all(number)
    assert job.end() == 75, job.output
    assert job.survivors() == []
    assert "is replaced" not in job.output
    assert "Traceback" not in job.output
    newest = CheckpointStore(job.run / "checkpoints").newest()
    assert newest is not None
    workers = newest.state()["workers"]["workers"]
    assert workers
    assert all("state" in worker for worker in workers.values())


def test_second_ctrl_c_ends_a_job_that_is_saving_at_once_and_damages_nothing(start_job, whole_run, busy):
    job = start_job("run.target_total_steps=1_000_000", "runtime.checkpoint_every_seconds=1")
    job.wait_until(lambda: job.progress().get("checkpoint_steps", 0) >= 100)
    job.wait_until(job.workers)
    job.workers()[0].send_signal(signal.SIGSTOP)  # saving waits for the state of this worker, for seconds
    job.send(signal.SIGINT)
    time.sleep(0.5)
    assert job.process.poll() is None, "the first Ctrl-C lets the job save"
    began = time.monotonic()
    job.send(signal.SIGINT)
    assert job.end() == 130, job.output
    assert time.monotonic() - began < 2 * busy()
    assert job.survivors() == []
    assert whole_run(job.run).check()["checkpoint_steps"] >= 100
