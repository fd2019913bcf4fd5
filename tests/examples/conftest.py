"""Programs that stand in for a scheduler's."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest


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
