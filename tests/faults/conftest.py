"""Real jobs in real processes, as small as they can be: two emulators, a network of a few thousand weights."""

import functools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from tiny_run import TINY
from whole_run import WholeRun

ROOT = Path(__file__).parents[2]

_RUN = (
    *TINY,
    "run.max_runtime_seconds=600",
    "collector.num_workers=1",
    "logging.line_every_seconds=1",
    "runtime.deadline_margin_seconds=0",
)


def contention() -> float:
    """How much longer work takes here than on a core of its own: 1 on a quiet machine."""
    wall, cpu = time.perf_counter(), time.process_time()
    while time.process_time() - cpu < 0.1:
        pass
    return max(1.0, (time.perf_counter() - wall) / 0.1)


class Job:
    """One training process and everything that it started.

    Args:
        folder: ``run.folder``; the run is called ``a`` unless an override says otherwise.
        overrides: Changes to ``_RUN``.
        environment: Further environment variables.
    """

    def __init__(self, folder: Path, *overrides: str, environment: dict[str, str] | None = None) -> None:
        self.folder = folder
        names = [override.partition("=")[0] for override in overrides]
        tiny = [override for override in _RUN if override.partition("=")[0] not in names]
        run_name = [] if "run.name" in names else ["run.name=a"]
        self.output_path = folder / f"output-{time.monotonic_ns()}.txt"
        folder.mkdir(parents=True, exist_ok=True)
        variables = {name: value for name, value in os.environ.items() if not name.startswith("SLURM_")}
        with self.output_path.open("w") as output:
            self.process = subprocess.Popen(
                [
                    sys.executable,
                    str(ROOT / "examples" / "train_r2d2.py"),
                    "--config-name",
                    "quickstart",
                    f"run.folder={folder}",
                    *run_name,
                    *tiny,
                    *overrides,
                ],
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=ROOT,
                env=variables | {"POKERED_ROM": "", "PYTHONFAULTHANDLER": "1"} | (environment or {}),
                start_new_session=True,
            )
        self._family: dict[int, psutil.Process] = {}

    @property
    def run(self) -> Path:
        """The run folder."""
        return self.folder / "a"

    @property
    def output(self) -> str:
        """What the process has written so far."""
        return self.output_path.read_text()

    def progress(self) -> dict[str, Any]:
        """``progress.json``, or an empty dict."""
        try:
            return json.loads((self.run / "progress.json").read_text())
        except FileNotFoundError:
            return {}

    def wait_until(self, condition: Callable[[], Any], *, seconds: float = 240.0) -> None:
        """Wait for a condition; fails the test when the process ends before or the time is up."""
        deadline = time.monotonic() + seconds
        while not condition():
            self.children()
            assert self.process.poll() is None, f"the job ended with {self.process.returncode}:\n{self.output}"
            assert time.monotonic() < deadline, f"nothing happened in {seconds} s:\n{self.output}"
            time.sleep(0.05)
        self.children()

    def wait_for_steps(self, steps: int) -> None:
        """Wait until this many steps are reported by this job."""
        self.wait_until(lambda: self.progress().get("steps", 0) >= steps)

    def children(self) -> list[psutil.Process]:
        """Processes that the job has started and that live; all that were ever seen are remembered."""
        try:
            found = psutil.Process(self.process.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            found = []
        self._family |= {child.pid: child for child in found}
        return found

    def workers(self) -> list[psutil.Process]:
        """The processes that play."""
        # The main process's own children are helpers of multiprocessing; one of them forks the workers.
        return [child for child in self.children() if child.ppid() != self.process.pid]

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the main process only."""
        self.process.send_signal(number)

    def send_to_all(self, number: signal.Signals) -> None:
        """Send a signal to every process of the job, as Ctrl-C and schedulers do."""
        self.children()
        os.killpg(self.process.pid, number)

    def end(self, *, seconds: float = 120.0) -> int:
        """Wait for the end and return the exit status."""
        return self.process.wait(seconds)

    def survivors(self, *, seconds: float = 30.0) -> list[str]:
        """What is still alive of the job's processes after a moment."""
        deadline = time.monotonic() + seconds
        while True:
            alive = [p for p in self._family.values() if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]
            if not alive or time.monotonic() > deadline:
                return [" ".join(p.cmdline()) for p in alive]
            time.sleep(0.05)

    def kill_all(self) -> None:
        """End whatever is left, for the end of a test."""
        self.children()
        for process in [*self._family.values(), self.process]:
            try:
                process.kill()
            except (psutil.NoSuchProcess, ProcessLookupError):
                continue
        self.process.wait(10)


@pytest.fixture
def busy() -> Callable[[], float]:
    """Measures how busy the machine is, as a factor on durations."""
    return contention


@pytest.fixture
def whole_run() -> Callable[[Path], WholeRun]:
    """The check of a run folder between two jobs; one for each folder, since it remembers what it saw."""
    return functools.cache(WholeRun)


@pytest.fixture
def tiny() -> tuple[str, ...]:
    """Overrides that make a job small."""
    return _RUN


@pytest.fixture
def start_job(tmp_path: Path):
    """Starts jobs on one folder and ends them with the test."""
    jobs: list[Job] = []

    def start(*overrides: str, environment: dict[str, str] | None = None) -> Job:
        jobs.append(Job(tmp_path, *overrides, environment=environment))
        return jobs[-1]

    yield start
    for job in jobs:
        job.kill_all()
