"""`configs/sweep/slurm.yaml` through the real submitit launcher; the scheduler is a stand-in that runs the jobs."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

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


@pytest.mark.long
def test_every_point_of_a_sweep_is_a_job_and_a_run_of_its_own(tmp_path, stand_in):
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher", reason="needs the extra [sweep]")
    environment = stand_in({"sbatch": _SBATCH, "srun": _SRUN, "sacct": "echo 'JobID|State'"}) | {
        "PYTHONPATH": str(ROOT),
        "CALLS": str(tmp_path / "job.sh"),
        "POKERED_ROM": "",
    }
    small = [
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
    sweep = ["--config-name", "sweep/slurm", "-m", "run.seed=0,1", "run.name=sweep-s${run.seed}"]
    done = subprocess.run(
        [sys.executable, str(ROOT / "examples" / "train_r2d2.py"), *sweep, f"run.folder={tmp_path / 'runs'}", *small],
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
