"""Measure what an open live page costs a training run with 64 emulators, as a share of its processor time.

Clocks stand around everything that the page adds to the run: noting the steps, valuing the emulator that is looked at,
and writing the feed. The page's server is another process, whose own time is measured beside it.

    python docs/benchmarks/live_cost.py --json docs/benchmarks/results/live_cost.json
"""

import argparse
import functools
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from pokered_rl.cli.measurement import provenance, write_json
from pokered_rl.collectors.worker import WorkerCollector
from pokered_rl.envs import EpisodeMeter
from pokered_rl.record.live.feed import FeedWriter
from pokered_rl.training import Callback, Experiment, live
from pokered_rl.training.runtime import StopReason

EMULATORS, STEPS, LOOKED_AT = 64, 10, 5
_READER = "import sys, urllib.request; page = urllib.request.urlopen(sys.argv[1])\nwhile page.read1(65536): pass"


class _Clock:
    """Adds up the processor time of the calls of some functions, in whichever thread."""

    def __init__(self) -> None:
        self.seconds, self.calls = 0.0, 0

    def around(self, owner: Any, name: str) -> None:
        function: Callable[..., Any] = getattr(owner, name)

        @functools.wraps(function)
        def timed(*args: Any, **options: Any) -> Any:
            began = time.thread_time()
            try:
                return function(*args, **options)
            finally:
                self.seconds += time.thread_time() - began
                self.calls += 1

        setattr(owner, name, timed)


class _Measure(Callback):
    """Trains two batches without a page, opens one, and trains some batches with it."""

    def __init__(self, run: Path, batches: int) -> None:
        self.run, self.batches = run, batches
        self.added, self.looks = _Clock(), _Clock()
        for owner, name in (*((EpisodeMeter, "_note"), (WorkerCollector, "_look"), (FeedWriter, "append")),):
            self.added.around(owner, name)
        self.looks.around(live.LiveFeed, "_look")
        self.seen = 0
        self.marks: list[tuple[str, float, float, float, int]] = []
        self.server: Any = None
        self.reader: Any = None

    def mark(self, name: str, trainer: Any) -> None:
        server = sum(psutil.Process(self.server.pid).cpu_times()[:2]) if self.server is not None else 0.0
        self.marks.append((name, time.process_time(), self.added.seconds, server, trainer.steps))
        self.wall = time.monotonic()

    def on_batch(self, trainer: Any, num_steps: int) -> None:
        if not num_steps:
            return
        self.seen += 1
        if self.seen == 2:
            self.mark("off", trainer)
        elif self.seen == 4:
            self.mark("off ends", trainer)
            self.open()
        elif self.reader is not None and self.marks[-1][0] == "off ends" and self.added.calls > 2 * STEPS:
            self.mark("on", trainer)
            self.first, self.began = self.seen, time.monotonic()

    def open(self) -> None:
        command = [sys.executable, "-m", "pokered_rl", "live", str(self.run), "--port", "0"]
        self.server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        address = next(line.strip() for line in self.server.stdout if line.startswith("http"))
        self.reader = subprocess.Popen([sys.executable, "-c", _READER, f"{address}/events"])
        asked = urllib.request.Request(
            f"{address}/look", b'{"emulator": %d}' % LOOKED_AT, {"content-type": "application/json"}
        )
        urllib.request.urlopen(asked).close()

    def should_stop(self, trainer: Any) -> StopReason | None:
        if not self.marks or self.marks[-1][0] != "on" or self.seen < self.first + self.batches:
            return None
        self.mark("end", trainer)
        self.seconds = self.wall - self.began
        for process in (self.reader, self.server):
            process.kill()
        return StopReason.target

    def results(self) -> dict[str, Any]:
        off, off_ends, on, end = self.marks
        per_step = [1e6 * (b[1] - a[1]) / (b[4] - a[4]) for a, b in ((off, off_ends), (on, end))]
        return {
            "share": (end[2] - on[2]) / (end[1] - on[1]),
            "share_without_page": (off_ends[2] - off[2]) / (off_ends[1] - off[1]),
            "look_microseconds": 1e6 * self.looks.seconds / self.looks.calls,
            "cpu_microseconds_per_step_off": per_step[0],
            "cpu_microseconds_per_step_on": per_step[1],
            "server_cores": (end[3] - on[3]) / self.seconds,
            "steps_on": end[4] - on[4],
            "seconds_on": self.seconds,
        }


def main() -> None:
    """Train, print the share, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--batches", type=int, default=6, help="of 64 x 10 steps with a page (%(default)s)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        measure = _Measure(Path(folder) / "run", arguments.batches)
        overrides = [f"run.folder={folder}", "run.name=run", f"collector.emulators_per_worker={EMULATORS}"]
        overrides += [f"collector.steps_per_batch={STEPS}", "demonstrations.logs=[]"]
        overrides += ["collector.backend=inline", "run.evaluation_episodes=0", "logging.tensorboard=false"]
        Experiment("quickstart", overrides=overrides, callbacks=[measure]).run()
        results = measure.results()
    print(", ".join(f"{name} {value:.4g}" for name, value in results.items()))
    if arguments.json is not None:
        unit = "share of the run's processor time, one open page that looks at one of 64 emulators"
        write_json(arguments.json, {**provenance(), "unit": unit, "samples": arguments.batches, **results})


if __name__ == "__main__":
    main()
