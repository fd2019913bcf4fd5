"""`train.sbatch` under a fake scheduler: signals are real, only `scontrol` and the trainer are stand-ins."""

import signal
import subprocess
import time
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "examples" / "slurm" / "train.sbatch"

_TRAINER = """\
echo "$@" >> "$CALLS"
trap 'echo usr1 >> "$CALLS"; sleep 0.3; exit 75' USR1
trap 'echo term >> "$CALLS"; sleep 0.3; exit 75' TERM
touch "$CALLS.ready"
if [ -n "${STATUS:-}" ]; then exit "$STATUS"; fi
for _ in $(seq 200); do sleep 0.05; done
"""


@pytest.fixture
def scheduler(tmp_path: Path, stand_in):
    environment = stand_in({"scontrol": 'echo "scontrol $@" >> "$CALLS"', "trainer": _TRAINER}) | {
        "CALLS": str(tmp_path / "calls"),
        "POKERED_PYTHON": "trainer",
        "POKERED_ROOT": str(tmp_path),
        "SLURM_JOB_ID": "77",
    }

    def start(*arguments: str, **variables: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            ["bash", str(SCRIPT), *arguments],
            env=environment | variables,
            cwd=tmp_path,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    return start


def _calls(tmp_path: Path) -> list[str]:
    return (tmp_path / "calls").read_text().splitlines()


def _wait_for_trainer(tmp_path: Path) -> None:
    deadline = time.monotonic() + 10
    while not (tmp_path / "calls.ready").exists():
        assert time.monotonic() < deadline, "the trainer did not start"
        time.sleep(0.02)


@pytest.mark.parametrize(("number", "name"), [(signal.SIGUSR1, "usr1"), (signal.SIGTERM, "term")])
def test_signal_is_forwarded_the_saving_awaited_and_the_job_requeued(scheduler, tmp_path, number, name):
    job = scheduler("run.name=a", "env.hold_frames=6")
    _wait_for_trainer(tmp_path)
    job.send_signal(number)
    assert job.wait(20) == 0
    assert _calls(tmp_path) == ["-m pokered_rl train run.name=a env.hold_frames=6", name, "scontrol requeue 77"]


@pytest.mark.parametrize("status", [0, 1, 130])
def test_any_other_status_is_passed_on_without_requeue(scheduler, tmp_path, status):
    job = scheduler("run.name=a", STATUS=str(status))
    assert job.wait(20) == status
    assert len(_calls(tmp_path)) == 1


def test_array_tasks_are_runs_of_their_own_with_a_seed_of_their_own(scheduler, tmp_path):
    job = scheduler("run.name=a", SLURM_ARRAY_TASK_ID="3", STATUS="0")
    assert job.wait(20) == 0
    assert _calls(tmp_path) == ["-m pokered_rl train run.name=a-s3 run.seed=3"]


def test_requeues_are_limited_by_the_config_of_the_run(scheduler, tmp_path):
    folder = tmp_path / "runs" / "a"
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text("run:\n  name: a\n  max_requeues: 2\n  seed: 0\n")
    job = scheduler("run.name=a", STATUS="75", SLURM_RESTART_COUNT="2")
    output, _ = job.communicate(timeout=20)
    assert job.returncode == 75
    assert "run.max_requeues=2 is used up" in output
    assert len(_calls(tmp_path)) == 1
    job = scheduler("run.name=a", STATUS="75", SLURM_RESTART_COUNT="1")
    output, _ = job.communicate(timeout=20)
    assert job.returncode == 0
    assert "restart 2 of 2" in output
    assert _calls(tmp_path)[-1] == "scontrol requeue 77"


def test_script_asks_for_the_early_signal_the_requeue_and_one_output_file():
    text = SCRIPT.read_text()
    for option in ("--signal=B:USR1@300", "--requeue", "--open-mode=append", "--gres=gpu:1"):
        assert f"#SBATCH {option}\n" in text
