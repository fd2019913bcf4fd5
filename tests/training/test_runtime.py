import os
import signal
import subprocess
import sys

import pytest

from pokered_rl.training.runtime import Deadline, ExitStatus, StopReason, StopSignals


@pytest.mark.parametrize(
    ("reason", "advanced", "status"),
    [
        (StopReason.target, True, 0),
        (StopReason.target, False, 0),
        (StopReason.episodes, True, 0),
        (StopReason.deadline, True, 75),
        (StopReason.deadline, False, 1),
        (StopReason.requested, True, 75),
        (StopReason.requested, False, 1),
        (StopReason.interrupted, True, 130),
    ],
)
def test_exit_status_of_each_reason(reason, advanced, status):
    assert reason.exit_status(advanced=advanced) == status


def _deadline(environment: dict[str, str], *, now: float = 0.0) -> Deadline:
    deadline = Deadline(
        max_runtime_seconds=1000, start=0.0, margin_seconds=30, environment=environment, clock=lambda: now
    )
    deadline.needs = [lambda: 20.0]  # for saving
    return deadline


def test_deadline_without_scheduler_leaves_time_to_save():
    # 1000 s after the start, less 20 s for saving.
    assert _deadline({}).seconds_left == 980


def test_deadline_is_the_end_of_the_allocation_when_that_is_earlier():
    # 600 s, less 30 s of margin, less 20 s for saving.
    assert _deadline({"SLURM_JOB_END_TIME": "600"}).seconds_left == 550
    assert _deadline({"SLURM_JOB_END_TIME": "5000"}).seconds_left == 980
    assert _deadline({"SLURM_JOB_END_TIME": "600"}, now=549).should_stop(None) is None
    assert _deadline({"SLURM_JOB_END_TIME": "600"}, now=550).should_stop(None) is StopReason.deadline


def test_deadline_keeps_time_for_what_else_the_end_takes():
    deadline = _deadline({"SLURM_JOB_END_TIME": "600"}, now=50.0)
    deadline.needs = [lambda: 20.0, lambda: 100.0]
    # 600 s, less 30 of margin, 20 for saving, 100 for the rest, 50 gone by; the scheduler kills 550 s from now.
    assert deadline.seconds_left == 400
    assert deadline.seconds_until_killed == 520
    assert _deadline({}).seconds_until_killed == float("inf")


@pytest.fixture(autouse=True)
def hangup_is_not_ignored():
    """The tests may run under nohup, and the programs that they start inherit what is ignored."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize(
    ("number", "reason"),
    [
        (signal.SIGINT, StopReason.interrupted),
        (signal.SIGTERM, StopReason.requested),
        (signal.SIGUSR1, StopReason.requested),
        (signal.SIGHUP, StopReason.requested),
    ],
)
def test_signal_becomes_a_wish_to_stop(number, reason):
    before = signal.getsignal(number)
    with StopSignals() as signals:
        assert signals.reason is None
        os.kill(os.getpid(), number)
        assert signals.reason is reason
    assert signal.getsignal(number) is before


def test_second_interrupt_ends_the_process_at_once_with_status_130():
    code = (
        "import os, signal, time\n"
        "from pokered_rl.training.runtime import StopSignals\n"
        "with StopSignals(end_now=lambda: print('children ended', flush=True)):\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "    print('still here', flush=True)\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "    print('never', flush=True)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.split("\n")[:-1] == ["still here", "children ended"]
    assert done.returncode == ExitStatus.interrupted


def test_program_keeps_its_status_when_interrupted_again_while_it_ends():
    code = (
        "import atexit, os, signal, sys\n"
        "atexit.register(os.kill, os.getpid(), signal.SIGINT)\n"  # runs last: the first registered
        "from pokered_rl.training.runtime import StopSignals\n"
        "with StopSignals(until_exit=True) as signals:\n"
        "    pass\n"
        "os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.exit(75)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (75, "")


def test_hangup_stays_ignored_under_nohup():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with StopSignals() as signals:
            os.kill(os.getpid(), signal.SIGHUP)
            assert signals.reason is None
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize(("number", "status"), [("SIGTERM", 1), ("SIGHUP", 1), ("SIGINT", 130)])
def test_signal_before_the_job_plays_ends_a_program_at_once_and_in_order(number, status):
    code = (
        "import os, signal, sys, time\n"
        "from pokered_rl.training.runtime import StopSignals\n"
        "with StopSignals(until_exit=True) as signals:\n"
        "    try:\n"
        f"        os.kill(os.getpid(), signal.{number}); time.sleep(30)\n"
        "    finally: print('lock released')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=25, check=False)
    assert done.returncode == status
    assert done.stdout == "lock released\n"
    assert done.stderr == f"{number} before the job began to play\n"
