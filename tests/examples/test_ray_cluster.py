"""Files under `examples/ray_cluster`: the launcher's config against Ray's schema, the SLURM script with stand-ins."""

import socket
import subprocess
from pathlib import Path

import pytest
import yaml

FOLDER = Path(__file__).parents[2] / "examples" / "ray_cluster"


def test_no_folder_beside_the_examples_is_taken_for_an_installed_package():
    # A script's own folder comes first on sys.path, where `examples/ray` would be an empty package `ray`.
    ours = {path.name for path in FOLDER.parent.iterdir() if path.is_dir()}
    optional = {"ray", "wandb", "sb3_contrib", "stable_baselines3", "submitit", "hydra_plugins", "sdl2"}
    assert not ours & optional


def test_launcher_config_is_what_ray_accepts():
    pytest.importorskip("ray", reason="needs the extra [ray]")
    from ray.autoscaler._private.util import prepare_config, validate_config

    validate_config(prepare_config(yaml.safe_load((FOLDER / "cluster.yaml").read_text())))


def test_slurm_script_starts_ray_on_all_nodes_and_becomes_the_script_of_one_node(tmp_path, stand_in):
    calls = tmp_path / "calls"
    programs = {
        "srun": 'echo "srun $@" >> "$CALLS"',
        "ray": 'echo "ray $1" >> "$CALLS"; [ -e "$CALLS.up" ] || { touch "$CALLS.up"; exit 1; }',
        "trainer": 'echo "$@" >> "$CALLS"; exit 75',
        "scontrol": 'echo "scontrol $@" >> "$CALLS"',
    }
    environment = stand_in(programs) | {
        "CALLS": str(calls),
        "POKERED_PYTHON": "trainer",
        "POKERED_ROOT": str(tmp_path),
        "POKERED_SLURM_SCRIPT": str(FOLDER.parent / "slurm" / "train.sbatch"),
        "SLURM_JOB_ID": "9",
        "SLURM_JOB_NUM_NODES": "3",
        "SLURM_CPUS_PER_TASK": "8",
    }
    done = subprocess.run(
        ["bash", str(FOLDER / "train.sbatch"), "run.name=a"], env=environment, timeout=30, check=False
    )
    assert done.returncode == 0
    host, lines = socket.gethostname(), calls.read_text().splitlines()
    head = next(line for line in lines if "--head" in line)
    assert f"--nodelist={host} ray start --head --port=6379 --num-cpus=7" in head
    others = next(line for line in lines if "--address" in line and line.startswith("srun"))
    assert f"--nodes=2 --ntasks=2 --exclude={host} ray start --address={host}:6379 --num-cpus=8" in others
    assert lines.count("ray health-check") == 2, "nodes join when the head is up"
    # 3 nodes of 8 cores, one of them the learner's.
    trained = f"-m pokered_rl train run.name=a collector.backend=ray collector.ray_address={host}:6379"
    assert f"{trained} collector.num_workers=23" in lines
    assert lines[-1] == "scontrol requeue 9"
