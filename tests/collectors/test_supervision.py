"""Supervision of workers that are no processes: what the pool does while one of them is away."""

import time

import pytest

from counting_world import ListReplay
from pokered_rl.collectors.supervision import SupervisedPool
from pokered_rl.collectors.worker import WorkerMessage, pack_error, unpack_message
from pokered_rl.data import SequenceBuilder, SequenceLayout
from pokered_rl.errors import PokeredError


class _Worker:
    """Delivers a batch, then an error."""

    def __init__(self, pool, worker, error):
        self.pool, self.worker, self.error, self.batches = pool, worker, error, 0

    def receive(self) -> WorkerMessage:
        self.batches += 1
        if self.batches == 1:
            return WorkerMessage(experience=None, worker=self.worker)
        return unpack_message(pack_error(self.worker, self.error))

    def close(self) -> None:
        """Nothing to end."""


class _Pool(SupervisedPool):
    error: Exception = ValueError("a defect")

    def _open(self, worker):
        return _Worker(self, worker, self.error)

    def _kill_worker(self, worker):
        """Nothing to kill."""

    def _receive(self, worker, message):
        """Count nothing: the batches are empty."""


@pytest.fixture
def make_pool(counting_env, counting_policy):
    def make(error):
        layout = SequenceLayout(burn_in_steps=2, unroll_steps=4, n_step=2)
        pool = _Pool(
            make_envs=[counting_env],
            policy=counting_policy,
            emulators_per_worker=2,
            steps_per_batch=20,
            builder=SequenceBuilder(layout=layout, observation_keys=("pixels", "action_mask")),
            replay=ListReplay(),
            epsilon_base=0.5,
        )
        pool.error = error
        return pool

    return make


def _wait(condition, seconds=20):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_nobody_waits_for_the_state_of_a_worker_that_is_away_until_its_restart(make_pool):
    with make_pool(ValueError("a defect")) as pool:
        pool.start()
        # The second restart comes after 5 s: a checkpoint that waited for the worker's state would wait, too.
        _wait(lambda: pool.restarts["raised"] >= 2)
        began = time.monotonic()
        pool.state_dict()
        assert time.monotonic() - began < 1


def test_full_disk_of_a_worker_ends_the_run_with_one_line(make_pool):
    with make_pool(OSError(28, "No space left on device", "/a/b")) as pool:
        pool.start()
        with pytest.raises(PokeredError, match="make room and start again"):
            _wait(pool.check)  # returns None as long as nothing has happened
        assert sum(pool.restarts.values()) == 0
