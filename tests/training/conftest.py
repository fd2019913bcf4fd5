"""Runs inside the test process, as small as they can be."""

import shutil
import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from pokered_rl.training import Experiment
from pokered_rl.training.main import main
from tiny_run import TINY

_RUN = (
    *TINY,
    "run.name=a",
    "run.target_total_steps=200",
    "collector.backend=inline",
)


_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)


def run_job(folder: Path, *overrides: str, **parts: Any) -> int:
    """One job in this process; ``folder`` is ``run.folder``, ``parts`` are arguments of ``Experiment``."""
    names = {override.partition("=")[0].lstrip("+") for override in overrides}
    tiny = [override for override in _RUN if override.partition("=")[0] not in names]
    before = [signal.getsignal(number) for number in _SIGNALS]
    status = main(
        ["--config-name", "quickstart", f"run.folder={folder}", *tiny, *overrides],
        make_experiment=lambda config: Experiment(config, **parts),
    )
    assert [signal.getsignal(number) for number in _SIGNALS] == before, "signal handlers must be put back"
    return status


@pytest.fixture(scope="session", name="run_job")
def _run_job() -> Callable[..., int]:
    """Runs one job in the ``run.folder`` that it is given."""
    return run_job


@pytest.fixture(scope="session")
def _finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("finished")
    assert run_job(folder, "run.target_total_steps=140", "runtime.checkpoint_every_seconds=1e9") == 0
    assert run_job(folder, "run.target_total_steps=200") == 0
    return folder


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The ``run.folder`` of a test."""
    monkeypatch.delenv("POKERED_ROM", raising=False)
    monkeypatch.setenv("COLUMNS", "200")
    return tmp_path / "runs"


@pytest.fixture
def train(runs: Path) -> Callable[..., int]:
    """Runs one job in the run folder ``a`` and returns its exit status."""
    return partial(run_job, runs)


@pytest.fixture
def finished(runs: Path, _finished: Path) -> Path:
    """The run folder ``a`` of a run of 200 steps in two jobs, the first of which ended at step 140."""
    shutil.copytree(_finished, runs)
    return runs / "a"
