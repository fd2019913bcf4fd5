"""Two raylets on this machine stand in for two nodes."""

import re
import time
from functools import partial
from socket import gethostname

import pytest
from torch import nn

from counting_world import ListReplay
from pokered_rl.atomic import LockToken, check_lock
from pokered_rl.collectors import RayPool
from pokered_rl.collectors.ray_pool import _RemoteWorker
from pokered_rl.collectors.worker import WorkerSpec, unpack_message
from pokered_rl.data import SequenceBuilder, SequenceCodec, SequenceLayout
from pokered_rl.errors import ConfigError, RunLostError

ray = pytest.importorskip("ray", reason="needs the extra [ray]")

LAYOUT = SequenceLayout(burn_in_steps=2, unroll_steps=4, n_step=2)
PATIENCE_SECONDS = 400


def play_until(workers, condition):
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "the workers did not get there in time"
        workers.collect()


@pytest.fixture
def two_nodes(monkeypatch):
    from pathlib import Path

    from ray.cluster_utils import Cluster

    monkeypatch.setenv("RAY_worker_niceness", "0")
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))  # where Ray's workers import the fakes from
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2})
    second = cluster.add_node(num_cpus=1)
    ray.init(address=cluster.address, log_to_driver=False)
    yield cluster, second
    ray.shutdown()
    cluster.shutdown()


@pytest.mark.parametrize(
    ("address", "message"),
    [(None, "cannot be started on this machine (no port is free)"), ("head:6379", "no Ray cluster to join")],
)
def test_ray_that_does_not_come_up_says_what_to_do(monkeypatch, counting_env, counting_policy, address, message):
    def fail(**options):
        raise RuntimeError("no port is free\nmore")

    monkeypatch.setattr(ray, "init", fail)
    workers = RayPool(
        make_envs=[counting_env],
        policy=counting_policy,
        emulators_per_worker=2,
        steps_per_batch=20,
        builder=SequenceBuilder(layout=LAYOUT, observation_keys=("pixels", "action_mask")),
        replay=ListReplay(),
        epsilon_base=0.5,
        address=address,
    )
    with pytest.raises(ConfigError, match=re.escape(message)):
        workers.start()
    workers.close()


def test_worker_checks_the_lock_of_the_run_and_a_node_without_its_folder_is_named(tmp_path, counting_env):
    order = {
        "version": 0,
        "number": -1,
        "weights": [None],
        "global_steps": 0,
        "state_request": 0,
        "halted": False,
        "watch": 0,
    }
    path, checked = tmp_path / "a" / "run.lock", []

    def make_env(**options):
        try:
            check_lock(path.with_name("episode"))
        except RunLostError as error:
            checked.append(error)
            raise
        return counting_env(**options)

    spec = WorkerSpec(
        index=0,
        make_env=make_env,
        make_policy=nn.Identity,
        exploration=None,
        control=None,
        builder=SequenceBuilder(layout=LAYOUT, observation_keys=("pixels",)),
        codec=SequenceCodec(),
        lock=LockToken(path, "mine", heartbeat_seconds=0),
    )
    name, text, _ = unpack_message(_RemoteWorker(spec, 20).collect(order)).error
    assert (name, text) == (
        "ConfigError",
        f"there is no {path.parent} on {gethostname()}: every node needs the run folder",
    )
    path.parent.mkdir()
    path.write_text('{"token": "another", "pid": 7, "host": "elsewhere"}')
    try:
        name, text, _ = unpack_message(_RemoteWorker(spec, 20).collect(order)).error
    finally:
        spec.lock.release()
    assert name == "RunLostError"
    assert "process 7 on elsewhere has taken it over" in text
    assert len(checked) == 1


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_two_nodes_play_and_the_loss_of_one_is_survived(two_nodes, counting_env, counting_policy):
    cluster, second = two_nodes
    with RayPool(
        make_envs=[partial(counting_env, delay=0.001)] * 2,
        policy=counting_policy,
        emulators_per_worker=2,
        steps_per_batch=20,
        builder=SequenceBuilder(layout=LAYOUT, observation_keys=("pixels", "action_mask")),
        replay=ListReplay(),
        epsilon_base=1e-9,
    ) as workers:
        play_until(workers, lambda: {each.worker for each in workers.sink.finished_since(0)} == {0, 1})
        assert set(workers.nodes.values()) == {node["NodeID"] for node in ray.nodes()}  # both have produced steps
        nn.init.constant_(counting_policy.network.weight, -1.0)
        workers.set_weights(counting_policy.network)
        play_until(workers, lambda: workers.sink.replay.items[-1]["action"].max() == 0)
        state = workers.state_dict()
        assert set(state["workers"]) == {0, 1}

        (lost,) = (worker for worker, node in workers.nodes.items() if node == second.node_id)
        cluster.remove_node(second, allow_graceful=False)
        steps = workers.steps
        play_until(workers, lambda: workers.steps > steps + 400)  # the other plays on
        play_until(workers, lambda: workers.restarts["died"] == 1 and workers.nodes[lost] != second.node_id)
        # And the lost one again, on the node left: fresh episodes of both end.
        episodes = workers.episodes
        play_until(workers, lambda: {each.worker for each in workers.sink.finished_since(episodes)} == {0, 1})
