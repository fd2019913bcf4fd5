"""Measure memory, file handles, threads and step rate of a training run over time.

    python docs/benchmarks/long_run.py --minutes 120 --json docs/benchmarks/results/long_run.json

Trains the quick start's agent on the bundled cartridge, with a replay that is soon full, and observes the learner's
process and its children from outside. Growth compares the last quarter of the time after warm-up with the first. The
rate is given beside it; it depends on what else the machine does.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil

from pokered_rl.cli.measurement import provenance, write_json

#: Share of the time that does not count: start, filling of the replay, first checkpoints.
WARM_UP = 0.25
#: Most samples that are written; growth and rates are of all.
POINTS = 200


def _private_bytes(pid: int) -> int:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Private_"))


def look(process: psutil.Process, run: Path) -> dict[str, Any] | None:
    """One sample of a running training run; None while it starts or ends."""
    try:
        progress = json.loads((run / "progress.json").read_text())
        family = [process, *process.children(recursive=True)]
        workers = [other for other in family[1:] if other.cpu_times().user > 1.0]
        return {
            "steps": progress["steps"],
            "updates": progress["updates"],
            "learner_private_bytes": _private_bytes(process.pid),
            "workers_private_bytes": sum(_private_bytes(other.pid) for other in workers),
            "processes": len(family),
            "file_handles": sum(other.num_fds() for other in family),
            "threads": sum(other.num_threads() for other in family),
        }
    except (OSError, ValueError, psutil.Error):
        return None


def growth(samples: list[dict[str, Any]], name: str) -> float:
    """Last quarter over first quarter of the samples after warm-up, minus 1 (medians)."""
    settled = [sample[name] for sample in samples[int(len(samples) * WARM_UP) :]]
    quarter = max(1, len(settled) // 4)
    return statistics.median(settled[-quarter:]) / statistics.median(settled[:quarter]) - 1


def rates(samples: list[dict[str, Any]]) -> list[float]:
    """Steps a second between samples, in ten equal spans."""
    span = max(1, (len(samples) - 1) // 10)
    pairs = zip(samples[::span], samples[span::span], strict=False)
    return [(b["steps"] - a["steps"]) / (b["seconds"] - a["seconds"]) for a, b in pairs]


def _report(minutes: float, status: int | None, samples: list[dict[str, Any]]) -> dict[str, Any]:
    names = ("learner_private_bytes", "workers_private_bytes", "file_handles", "threads")
    return provenance() | {
        "minutes": minutes,
        "exit_status": status,
        "growth_after_warm_up": {name: round(growth(samples, name), 4) for name in names},
        "steps_per_second": [round(rate, 1) for rate in rates(samples)],
        "steps": samples[-1]["steps"],
        "samples": samples[:: -(-len(samples) // POINTS)],
    }


def run(*, minutes: float, every_seconds: float, overrides: list[str], file: Path | None) -> dict[str, Any]:
    """Train for some minutes and take samples; what has been measured is written every minute."""
    samples: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        command = [
            *(sys.executable, "-m", "pokered_rl", "train", "--config-name", "quickstart"),
            *(f"run.folder={folder}", "run.name=long", "run.evaluation_episodes=0", "demonstrations.logs=[]"),
            *("run.target_total_steps=1000000000", f"run.max_runtime_seconds={60 * minutes}"),
            *("replay.capacity_transitions=20000", "collector.warmup_steps=0", "logging.line_every_seconds=600"),
            *overrides,
        ]
        start = written = time.monotonic()
        with subprocess.Popen(command, stdout=subprocess.DEVNULL) as training:
            process = psutil.Process(training.pid)
            while training.poll() is None:
                time.sleep(every_seconds)
                sample = look(process, Path(folder) / "long")
                if sample is not None:
                    samples.append({"seconds": round(time.monotonic() - start, 1), **sample})
                if file is not None and len(samples) >= 8 and time.monotonic() - written > 60:
                    written = time.monotonic()
                    write_json(file, _report(minutes, None, samples))
        status = training.returncode
    if len(samples) < 8:
        sys.exit(f"the training run ended with status {status} after {len(samples)} samples: nothing to compare")
    report = _report(minutes, status, samples)
    if file is not None:
        write_json(file, report)
    return report


def main() -> int:
    """Run, print the growth, write the samples."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("overrides", nargs="*", metavar="section.option=value", help="changes to the config")
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--every-seconds", type=float, default=5.0)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write results and raw samples there")
    arguments = parser.parse_args()
    report = run(
        minutes=arguments.minutes,
        every_seconds=arguments.every_seconds,
        overrides=arguments.overrides,
        file=arguments.json,
    )
    print(json.dumps({key: value for key, value in report.items() if key != "samples"}, indent=1))
    return 0 if report["exit_status"] in (0, 75) else 1


if __name__ == "__main__":
    sys.exit(main())
