"""A run on two nodes: two raylets on this machine, the command line as a user gives it, the cartridge Sprout."""

import csv
import json
import signal

import pytest

ray = pytest.importorskip("ray", reason="needs the extra [ray]")
pytestmark = [pytest.mark.faults, pytest.mark.long, pytest.mark.timeout(900)]


@pytest.fixture
def two_nodes(monkeypatch):
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("RAY_worker_niceness", "0")

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    second = cluster.add_node(num_cpus=1)
    yield cluster, second
    cluster.shutdown()


def test_run_on_two_nodes_survives_the_loss_of_one_and_resumes(two_nodes, start_job, whole_run):
    cluster, second = two_nodes
    overrides = (
        "collector.backend=ray",
        f"collector.ray_address={cluster.address}",
        "collector.num_workers=2",
        "run.target_total_steps=1_000_000",
        "runtime.checkpoint_every_seconds=2",
        "env.max_episode_steps=43",  # no multiple of a rollout: after most of them an episode is open
    )
    first = start_job(*overrides)
    episodes = first.run / "metrics" / "episodes.csv"

    def workers(job: int) -> set[str]:
        """Workers whose episodes have reached the learner in a job."""
        if not episodes.is_file():
            return set()
        with episodes.open() as file:
            return {row["worker"] for row in csv.DictReader(file) if row["job"] == str(job)}

    first.wait_until(lambda: workers(1) == {"0", "1"}, seconds=200)
    assert len({log.name for log in (first.run / "episode_logs").glob("*.episode")}) >= 2
    cluster.remove_node(second, allow_graceful=False)
    at_loss = first.progress()["steps"]
    first.wait_until(lambda: first.progress()["steps"] > at_loss + 200, seconds=100)
    first.wait_until(lambda: first.progress()["worker_restarts"] >= 1, seconds=100)
    assert first.progress()["steps_lost"] >= 1, "what the lost worker had open is counted"
    # Room again: the lost worker is replaced.
    cluster.add_node(num_cpus=1)
    episodes_then = first.progress()["episodes"]
    first.wait_until(lambda: _alive(first) == 2 and first.progress()["episodes"] > episodes_then + 4, seconds=200)

    first.send(signal.SIGTERM)
    assert first.end() == 75, first.output
    assert first.survivors() == []
    found = whole_run(first.run).check()
    assert found["checkpoint_steps"] == first.progress()["steps"], "the end is saved"

    # The same run goes on with processes on this machine: same folder, same format.
    second_job = start_job(f"run.target_total_steps={found['checkpoint_steps'] + 200}", "collector.num_workers=2")
    assert second_job.end() == 0, second_job.output
    assert f"at step {found['checkpoint_steps']:,}" in second_job.output
    assert workers(2) == {"0", "1"}
    events = [json.loads(line) for line in (second_job.run / "jobs.jsonl").read_text().splitlines()]
    assert any("collector.backend: ray -> processes" in change for change in events[2]["changes"])
    whole_run(first.run).check()


def _alive(job) -> int:
    with (job.run / "metrics" / "train.csv").open() as file:
        return int(float(list(csv.DictReader(file))[-1]["workers_alive"]))


def test_cluster_that_a_job_started_for_itself_dies_with_it(start_job):
    job = start_job("collector.backend=ray", "collector.num_workers=1", "run.target_total_steps=1_000_000")
    job.wait_for_steps(40)
    assert any("raylet" in " ".join(child.cmdline()) for child in job.children())
    job.send(signal.SIGKILL)
    job.end()
    assert job.survivors(seconds=90) == []
