import gc
import io
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import psutil
import pytest
import torch
from torch import nn

from counting_world import ListReplay
from pokered_rl.collectors import ProcessPool
from pokered_rl.data import RateLimiter, SequenceBuilder, SequenceLayout
from pokered_rl.errors import ConfigError, SaveStateError

# Starting processes takes seconds, and minutes on a machine that is busy with other things.
pytestmark = pytest.mark.timeout(1200)

LAYOUT = SequenceLayout(burn_in_steps=2, unroll_steps=4, n_step=2)
PATIENCE_SECONDS = 300


def make_pool(policy, make_envs, **options):
    defaults = {
        "emulators_per_worker": 2,
        "steps_per_batch": 20,
        "builder": SequenceBuilder(layout=LAYOUT, observation_keys=("pixels", "action_mask")),
        "replay": ListReplay(),
        "epsilon_base": 0.5,
    }
    return ProcessPool(policy=policy, make_envs=make_envs, **(defaults | options))


def play_until(workers, condition):
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "the workers did not get there in time"
        workers.collect()


def children():
    """Processes that this one has started, apart from multiprocessing's own service processes."""
    found = []
    for child in psutil.Process().children(recursive=True):
        services = ("resource_tracker", "forkserver")
        if child.status() != psutil.STATUS_ZOMBIE and not any(name in " ".join(child.cmdline()) for name in services):
            found.append(child)
    return found


def remaining_children():
    """Those that are still there after what a busy machine needs to bury the dead."""
    return psutil.wait_procs(children(), timeout=20)[1]


def worker_processes(workers):
    return [psutil.Process(workers.control.pid(worker)) for worker in range(workers.num_workers)]


def test_workers_play_take_weights_and_hand_over_their_states(counting_env, counting_policy):
    with make_pool(counting_policy, [partial(counting_env, delay=0.001)] * 2, epsilon_base=1e-9) as workers:
        play_until(workers, lambda: workers.steps >= 400)
        nn.init.constant_(counting_policy.network.weight, -1.0)  # the learner's own copy is nobody else's
        before = len(workers.sink.replay.items)
        play_until(workers, lambda: len(workers.sink.replay.items) > before + 60)
        assert {int(item["action"].max()) for item in workers.sink.replay.items} == {2}
        workers.set_weights(counting_policy.network)
        play_until(workers, lambda: workers.sink.replay.items[-1]["action"].max() == 0)
        assert torch.get_num_threads() == 1  # TorchRL changes it behind our back

        # One worker alone may have played all of that while another was still starting.
        play_until(workers, lambda: all(workers.control.pid(worker) for worker in range(workers.num_workers)))
        buffer, processes = io.BytesIO(), worker_processes(workers)  # a worker that has ended is forgotten at once
        workers.halt()
        steps = workers.steps
        torch.save(workers.state_dict(), buffer)
        assert psutil.wait_procs(processes, timeout=20)[1] == []  # halted workers end by themselves
        assert workers.steps == steps

    buffer.seek(0)
    state = torch.load(buffer, weights_only=True)
    assert set(state["workers"]) == {0, 1}
    with make_pool(counting_policy, [partial(counting_env, delay=0.001)] * 2) as restored:
        restored.load_state_dict(state)
        assert restored.steps == steps
        restored.start()
        again = restored.state_dict()["workers"]  # no worker can have played yet: each stands where it stood
        assert [torch.equal(again[worker]["state"], state["workers"][worker]["state"]) for worker in (0, 1)] == [
            True
        ] * 2
        # A builder raises if its worker did not go on exactly at the step where the open sequences end.
        play_until(restored, lambda: restored.steps >= steps + 400)
        assert restored.restarts == {"raised": 0, "died": 0, "hung": 0}
    assert remaining_children() == []


def after_a_collection(make_env, file, *, seed):
    before = psutil.Process().memory_full_info().uss
    gc.collect()
    file.write_text(str(psutil.Process().memory_full_info().uss - before))
    return make_env(seed=seed)


@pytest.mark.skipif(sys.platform != "linux", reason="workers are forked, and share memory, on Linux alone")
def test_garbage_collection_leaves_workers_the_memory_that_they_share(counting_env, counting_policy, tmp_path):
    file = tmp_path / "bytes"
    with make_pool(counting_policy, [partial(after_a_collection, counting_env, file)]) as workers:
        play_until(workers, lambda: workers.steps > 0)
    assert int(file.read_text()) < 16 * 2**20  # a hundred when it walks through all modules


@pytest.mark.faults
def test_lost_workers_are_replaced_alone_and_counted(counting_env, counting_policy, tmp_path):
    faults = ["raise", "kill", "hang"]
    make_envs = [partial(counting_env, delay=0.001, fault=(kind, str(tmp_path / kind), 150)) for kind in faults]
    make_envs.append(partial(counting_env, delay=0.001))
    with make_pool(counting_policy, make_envs, worker_timeout_seconds=5.0) as workers:
        play_until(workers, lambda: workers.control.pid(3))
        survivor = workers.control.pid(3)
        play_until(workers, lambda: sum(workers.restarts.values()) >= 3)
        assert workers.restarts == {"raised": 1, "died": 1, "hung": 1}
        assert workers.stats()["episodes_cut"] >= 3
        seen, episodes = len(workers.sink.replay.items), workers.episodes
        # Every worker acts again: fresh episodes of all four end, and reach the replay.
        play_until(workers, lambda: {each.worker for each in workers.sink.finished_since(episodes)} == {0, 1, 2, 3})
        play_until(workers, lambda: len(workers.sink.replay.items) > seen + 50)
        assert workers.control.pid(3) == survivor
    assert remaining_children() == []


@pytest.mark.faults
def test_poisoned_start_state_ends_the_run_with_its_own_error(counting_env, counting_policy, tmp_path):
    make_envs = [partial(counting_env, fault=("poison", str(tmp_path / "poison"), 30))]
    with make_pool(counting_policy, make_envs) as workers, pytest.raises(SaveStateError, match="poisoned"):
        play_until(workers, lambda: False)
    assert workers.restarts == {"raised": 0, "died": 0, "hung": 0}


@pytest.mark.faults
def test_environment_that_cannot_be_built_is_told_from_a_crash(counting_env, counting_policy):
    from counting_world import build_never, build_wrongly

    with make_pool(counting_policy, [build_wrongly]) as workers, pytest.raises(ConfigError, match="no such button"):
        play_until(workers, lambda: False)
    from pokered_rl.collectors import WorkerError

    with (
        make_pool(counting_policy, [build_never], max_restarts_per_hour=0) as workers,
        pytest.raises(WorkerError, match="no display"),
    ):
        play_until(workers, lambda: False)


@pytest.mark.faults
def test_worker_that_never_delivers_ends_the_run_after_three_tries(counting_policy):
    from counting_world import build_never
    from pokered_rl.collectors import WorkerError

    with (
        make_pool(counting_policy, [build_never], max_restarts_per_hour=1000) as workers,
        pytest.raises(WorkerError, match=r"worker 0 has not delivered a batch in 3 tries.*no display"),
    ):
        play_until(workers, lambda: False)
    assert sum(workers.restarts.values()) == 3


def test_program_from_standard_input_and_a_long_temporary_folder_do_not_keep_workers_from_starting(tmp_path):
    folder = tmp_path / ("long-" * 25)
    folder.mkdir()
    path = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from functools import partial\n"
        "from counting_world import CountingPolicy, make_counting_env\n"
        "from test_processes import make_pool\n"
        "with make_pool(CountingPolicy(), [make_counting_env]) as workers:\n"
        "    while workers.steps < 40: workers.collect()\n"
        "print('played', workers.restarts)\n"
    )
    done = subprocess.run(
        [sys.executable, "-", str(Path(__file__).parent)],
        input=code,
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
        env={
            **os.environ,
            "TMPDIR": str(folder),
            "PYTHONPATH": path,
        },
    )
    assert done.stdout == "played {'raised': 0, 'died': 0, 'hung': 0}\n", done.stderr


@pytest.mark.faults
def test_pool_that_is_closed_while_its_workers_start_leaves_none_within_seconds(counting_env, counting_policy):
    began = time.monotonic()
    with make_pool(counting_policy, [counting_env] * 3) as workers:
        workers.start()
        time.sleep(0.3)
    assert time.monotonic() - began < 10
    assert remaining_children() == []


def test_workers_wait_while_the_learner_is_too_far_behind(counting_env, counting_policy):
    limiter = RateLimiter(samples_per_insert=1.0, min_fill_sequences=1, slack_sequences=50.0)
    with make_pool(counting_policy, [counting_env], limiter=limiter) as workers:
        play_until(workers, lambda: not limiter.can_insert())
        steps = workers.steps
        for _ in range(5):
            workers.collect()
        assert workers.steps == steps
        assert workers.state_dict()["workers"]  # waiting workers still answer
        limiter.sampled(60)
        play_until(workers, lambda: workers.steps > steps)


SCRIPT = """
import signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where a shell runs the tests in the background
from functools import partial
import torch
from counting_world import CountingPolicy, ListReplay, make_counting_env
from pokered_rl.collectors import ProcessPool
from pokered_rl.data import SequenceBuilder, SequenceLayout

if __name__ == "__main__":
    layout = SequenceLayout(burn_in_steps=2, unroll_steps=4, n_step=2)
    workers = ProcessPool(
        make_envs=[partial(make_counting_env, delay=0.001)] * 2, policy=CountingPolicy(), emulators_per_worker=2,
        steps_per_batch=20, replay=ListReplay(), builder=SequenceBuilder(layout=layout, observation_keys=("pixels",)),
    )
    try:
        while workers.steps < 200:
            workers.collect()
        print(*(workers.control.pid(worker) for worker in range(2)), flush=True)
        while True:
            workers.collect()
    except KeyboardInterrupt:
        if {close}:
            workers.close()
        sys.exit(130)
"""


def start_script(**options):
    path = Path(os.environ["PYTEST_SCRIPT_DIR"]) / "play.py"
    path.write_text(SCRIPT.format(**options))
    process = subprocess.Popen(
        [sys.executable, str(path)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    line = process.stdout.readline().split()
    assert len(line) == 2, process.stderr.read()
    return process, [psutil.Process(int(pid)) for pid in line]


@pytest.mark.faults
@pytest.mark.parametrize("worker_stopped", [pytest.param(False, marks=pytest.mark.long), True])
def test_no_worker_outlives_a_killed_learner(tmp_path, monkeypatch, worker_stopped):
    monkeypatch.setenv("PYTEST_SCRIPT_DIR", str(tmp_path))
    process, workers = start_script(close=True)
    if worker_stopped:
        workers[0].suspend()
    process.kill()
    process.communicate()
    assert psutil.wait_procs(workers, timeout=10)[1] == []


@pytest.mark.faults
@pytest.mark.parametrize("close", [pytest.param(True, marks=pytest.mark.long), False])
def test_ctrl_c_of_the_whole_group_ends_in_order_and_in_silence(tmp_path, monkeypatch, close):
    monkeypatch.setenv("PYTEST_SCRIPT_DIR", str(tmp_path))
    process, workers = start_script(close=close)  # without close(), the interpreter's exit does it
    start = time.monotonic()
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=200)
    assert process.returncode == 130
    assert time.monotonic() - start < 10 * max(1.0, os.getloadavg()[0] / os.cpu_count())
    assert psutil.wait_procs(workers, timeout=5)[1] == []
    assert "Traceback" not in errors
