"""What the tests of several example programs need: a small trained run, programs that stand in for others."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from pokered_rl.cli.train import main


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of 80 steps on Sprout with episodes of 20; it is shared, so copy it before changing it."""
    folder = tmp_path_factory.mktemp("runs")
    changes = ("run.name=a", "run.target_total_steps=80", "run.evaluation_episodes=0", "env.max_episode_steps=20")
    small = ("collector.backend=inline", "collector.emulators_per_worker=2", "replay.capacity_transitions=3000")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("POKERED_ROM", raising=False)
        assert main(["--config-name", "quickstart", f"run.folder={folder}", *changes, *small]) == 0
    return folder / "a"


@pytest.fixture
def stand_in(tmp_path: Path) -> Callable[[Mapping[str, str]], dict[str, str]]:
    """Writes programs into ``tmp_path/bin``; returns an environment that finds them first and knows of no SLURM job."""

    def install(scripts: Mapping[str, str]) -> dict[str, str]:
        tools = tmp_path / "bin"
        tools.mkdir()
        for name, text in scripts.items():
            (tools / name).write_text(f"#!/bin/bash\n{text}\n")
            (tools / name).chmod(0o755)
        outside = {name: value for name, value in os.environ.items() if not name.startswith("SLURM_")}
        return outside | {"PATH": f"{tools}:{os.environ['PATH']}"}

    return install
