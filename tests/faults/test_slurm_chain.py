"""Two jobs of a run under `train.sbatch`: a fake scheduler, the real trainer, real signals."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pokered_rl.training.checkpoint import CheckpointStore

ROOT = Path(__file__).parents[2]
pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]


def test_job_requeued_after_usr1_goes_on_and_completes(tmp_path, tiny):
    tools = tmp_path / "bin"
    tools.mkdir()
    script = ROOT / "examples" / "slurm" / "train.sbatch"
    (tools / "scontrol").write_text('#!/bin/bash\necho "$@" >> "$CALLS"\n')
    (tools / "scontrol").chmod(0o755)
    environment = os.environ | {
        "PATH": f"{tools}:{os.environ['PATH']}",
        "CALLS": str(tmp_path / "calls"),
        "POKERED_PYTHON": sys.executable,
        "POKERED_ROOT": str(tmp_path),
        "PYTHONPATH": str(ROOT),
        "SLURM_JOB_ID": "5",
    }

    def submit(*overrides: str, restarts: int) -> subprocess.Popen[bytes]:
        names = {override.partition("=")[0] for override in overrides}
        rest = [override for override in tiny if override.partition("=")[0] not in names]
        return subprocess.Popen(
            [
                "bash",
                str(script),
                "run.name=a",
                "--config-name=quickstart",
                *rest,
                *overrides,
            ],
            env=environment | {"SLURM_RESTART_COUNT": str(restarts)},
            cwd=tmp_path,
            start_new_session=True,
        )

    run = tmp_path / "runs" / "a"

    def steps() -> int:
        try:
            return int(json.loads((run / "progress.json").read_text())["steps"])
        except FileNotFoundError:
            return 0

    first = submit("run.target_total_steps=1_000_000", restarts=0)
    deadline = time.monotonic() + 300
    while steps() < 100:
        assert first.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.1)
    first.send_signal(signal.SIGUSR1)
    assert first.wait(120) == 0
    assert (tmp_path / "calls").read_text() == "requeue 5\n"
    saved = CheckpointStore(run / "checkpoints").newest()
    assert saved is not None

    second = submit(f"run.target_total_steps={saved.steps + 60}", restarts=1)
    assert second.wait(300) == 0
    assert (tmp_path / "calls").read_text() == "requeue 5\n", "a complete run is not queued again"
    assert steps() >= saved.steps + 60
