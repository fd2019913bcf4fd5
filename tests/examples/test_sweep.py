"""Sweeps: on this machine, with Optuna, and through the real submitit launcher on a stand-in for the scheduler."""

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pokered_rl.training.main import figure_of_merit
from pokered_rl.training.run_folder import Progress, RunFolder

ROOT = Path(__file__).parents[2]

_SBATCH = """\
script="${@: -1}"
cp "$script" "$CALLS"
for task in 0 1; do
    SLURM_JOB_ID=$((71 + task)) SLURM_ARRAY_JOB_ID=70 SLURM_ARRAY_TASK_ID=$task SLURM_JOB_NUM_NODES=1 SLURM_NTASKS=1 \\
    SLURM_PROCID=0 SLURM_LOCALID=0 SLURM_NODEID=0 SLURM_JOB_NODELIST=localhost bash "$script" > "$CALLS.$task" 2>&1 &
done
echo "Submitted batch job 70"
"""
_SRUN = """\
while [ $# -gt 0 ]; do
    case "$1" in --output | --error) shift 2 ;; -*) shift ;; *) break ;; esac
done
exec "$@"
"""


_SMALL = [
    "run.target_total_steps=40",
    "env.max_episode_steps=40",
    "collector.backend=inline",
    "collector.emulators_per_worker=2",
    "collector.steps_per_batch=10",
    "network.size=tiny",
    "network.hidden_size=16",
    "network.num_quantiles=5",
    "replay.capacity_transitions=3000",
    "replay.burn_in_steps=2",
    "replay.unroll_steps=6",
    "replay.sequence_period_steps=6",
    "replay.min_fill_sequences=8",
    "learner.batch_size=4",
    "logging.tensorboard=false",
]


@pytest.mark.long
def test_every_point_of_a_sweep_is_a_job_and_a_run_of_its_own(tmp_path, stand_in):
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher", reason="needs the extra [sweep]")
    environment = stand_in({"sbatch": _SBATCH, "srun": _SRUN, "sacct": "echo 'JobID|State'"}) | {
        "PYTHONPATH": str(ROOT),
        "CALLS": str(tmp_path / "job.sh"),
        "POKERED_ROM": "",
    }
    sweep = ["--config-name", "sweep/slurm", "-m", "run.seed=0,1", "run.name=sweep-s${run.seed}"]
    done = subprocess.run(
        [sys.executable, str(ROOT / "examples" / "train_r2d2.py"), *sweep, f"run.folder={tmp_path / 'runs'}", *_SMALL],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    options = (tmp_path / "job.sh").read_text().splitlines()
    for option in ("--array=0-1%2", "--cpus-per-task=16", "--gpus-per-node=1", "--time=240", "--mem=64GB"):
        assert f"#SBATCH {option}" in options
    for seed in (0, 1):
        run = tmp_path / "runs" / f"sweep-s{seed}"
        assert json.loads((run / "progress.json").read_text())["complete"]
        assert f"  seed: {seed}\n" in (run / "config.yaml").read_text()


def _sweep(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [
            sys.executable,
            str(ROOT / "examples" / "train_r2d2.py"),
            *arguments,
            f"run.folder={folder / 'runs'}",
            *_SMALL,
        ],
        env=os.environ
        | {"PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]), "POKERED_ROM": ""},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
    )


def test_values_of_a_sweep_run_one_after_the_other_as_runs_of_their_own(tmp_path):
    done = _sweep(
        tmp_path, "--config-name", "quickstart", "-m", "run.seed=0,1,2", "run.evaluation_episodes=0", "run.name=1e3"
    )
    assert done.returncode == 0, done.stderr
    runs = sorted((tmp_path / "runs").iterdir())
    assert [run.name for run in runs] == ["1e3-seed=0", "1e3-seed=1", "1e3-seed=2"]
    for seed, run in enumerate(runs):
        assert json.loads((run / "progress.json").read_text())["complete"]
        assert f"  seed: {seed}\n" in (run / "config.yaml").read_text()


def test_point_of_a_sweep_that_fails_leaves_the_others_alone(tmp_path):
    arguments = ["--config-name", "quickstart", "-m", "loss.gamma=2,0.9", "run.evaluation_episodes=0", "run.name=a"]
    done = _sweep(tmp_path, *arguments)
    assert done.returncode == 1
    assert "error: loss.gamma must be between 0 and 1, got 2.0" in done.stderr
    assert "Traceback" not in done.stderr
    assert [run.name for run in (tmp_path / "runs").iterdir()] == ["a-gamma=0.9"]


def test_figure_of_a_run_is_its_evaluation_then_its_milestones_then_its_return(tmp_path):
    folder = RunFolder(tmp_path)
    assert math.isnan(figure_of_merit(folder))
    folder.write_progress(Progress(run="a", best={"return": 7.5}))
    assert figure_of_merit(folder) == 7.5
    folder.write_progress(Progress(run="a", best={"return": 7.5, "milestones": 3}))
    assert figure_of_merit(folder) == 3.0
    (tmp_path / "evaluation.json").write_text('{"trained": {"returns": [1.0, 2.0]}, "random": {"returns": [9.0]}}')
    assert figure_of_merit(folder) == 1.5


@pytest.mark.long
def test_optuna_maximises_the_figure_of_the_runs(tmp_path):
    pytest.importorskip("hydra_plugins.hydra_optuna_sweeper", reason="needs the extra [sweep]")
    done = _sweep(
        tmp_path,
        *("--config-name", "sweep/optuna", "-m", "learner.learning_rate=tag(log,interval(1e-5,1e-3))", "run.name=a"),
        *("hydra.sweeper.n_trials=2", "run.evaluation_episodes=1"),
    )
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "runs").glob("a-learning_rate=*/evaluation.json"))) == 2
    assert "best_value" in next((tmp_path / "runs" / "sweeps").rglob("optimization_results.yaml")).read_text()
