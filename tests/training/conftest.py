"""Runs inside the test process, as small as they can be."""

import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from pokered_rl.training.main import main

TINY = (
    "run.name=a",
    "run.target_total_steps=200",
    "run.evaluation_episodes=0",
    "env.max_episode_steps=40",
    "collector.backend=inline",
    "collector.emulators_per_worker=2",
    "collector.steps_per_batch=10",
    "network.hidden_size=16",
    "network.num_quantiles=5",
    "loss.n_step=2",
    "replay.capacity_transitions=3000",
    "replay.burn_in_steps=2",
    "replay.unroll_steps=6",
    "replay.sequence_period_steps=6",
    "replay.min_fill_sequences=8",
    "replay.samples_per_insert=2",
    "learner.batch_size=4",
    "logging.tensorboard=false",
    "logging.every_seconds=0.2",
)


_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)


def run_job(folder: Path, *overrides: str) -> int:
    """One job in this process; ``folder`` is ``run.folder``."""
    names = {override.partition("=")[0].lstrip("+") for override in overrides}
    tiny = [override for override in TINY if override.partition("=")[0] not in names]
    before = [signal.getsignal(number) for number in _SIGNALS]
    status = main(["--config-name", "quickstart", f"run.folder={folder}", *tiny, *overrides])
    assert [signal.getsignal(number) for number in _SIGNALS] == before, "signal handlers must be put back"
    return status


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
    return lambda *overrides: run_job(runs, *overrides)


@pytest.fixture
def finished(runs: Path, _finished: Path) -> Path:
    """The run folder ``a`` of a run of 200 steps in two jobs, the first of which ended at step 140."""
    shutil.copytree(_finished, runs)
    return runs / "a"
