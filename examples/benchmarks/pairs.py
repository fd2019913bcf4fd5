"""Measuring in pairs: ours and the limit in turn, so that a machine that slows down slows down both."""

import json
import os
import platform
import shlex
import statistics
import subprocess
import sys
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pokered_rl.atomic import write_atomically


@dataclass
class Row:
    """Paired samples of one comparison.

    Attributes:
        ours: work per second (or bytes, seconds: whatever ``unit`` says) of each round.
        limit: the same of the limit.
        unit: what the samples count.
        lower_is_better: the samples are costs, so that the ratio is limit over ours.
        parts: finer comparisons of the same row, by label.
        notes: further figures of the row, shown in the table.
        extra: entries of the row's JSON.
    """

    ours: list[float]
    limit: list[float]
    unit: str
    lower_is_better: bool = False
    parts: dict[str, "Row"] = field(default_factory=dict)
    notes: dict[str, Any] = field(default_factory=dict)
    extra: dict[str, Any] = field(default_factory=dict)

    @property
    def ratios(self) -> list[float]:
        """Ours over the limit, pair by pair."""
        pairs = zip(self.ours, self.limit, strict=True)
        return [limit / ours if self.lower_is_better else ours / limit for ours, limit in pairs]

    @property
    def ratio(self) -> float:
        """Median of the ratios."""
        return statistics.median(self.ratios)

    @property
    def low(self) -> float:
        """Smallest ratio."""
        return min(self.ratios)

    @property
    def high(self) -> float:
        """Largest ratio."""
        return max(self.ratios)

    @property
    def text(self) -> str:
        """The absolute medians."""
        notes = "".join(f"; {key} {value}" for key, value in self.notes.items())
        return f"{statistics.median(self.ours):,.4g} / {statistics.median(self.limit):,.4g} {self.unit}{notes}"

    def as_json(self) -> dict[str, Any]:
        """The row's results."""
        return {
            "ratio": round(self.ratio, 4),
            "spread": [round(self.low, 4), round(self.high, 4)],
            "ours": statistics.median(self.ours),
            "limit": statistics.median(self.limit),
            "unit": self.unit,
            **self.extra,
            **({"notes": self.notes} if self.notes else {}),
            **({"parts": {label: part.as_json() for label, part in self.parts.items()}} if self.parts else {}),
        }

    def samples(self) -> dict[str, Any]:
        """The raw samples behind :meth:`as_json`."""
        own: dict[str, Any] = {"ours": self.ours, "limit": self.limit}
        if self.parts:
            own["parts"] = {label: part.samples() for label, part in self.parts.items()}
        return own


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    model = platform.processor() or platform.machine()
    try:
        with Path("/proc/cpuinfo").open() as file:
            model = next((line.split(":")[1].strip() for line in file if line.startswith("model name")), model)
    except OSError:
        pass
    packages = ("torch", "torchrl", "tensordict", "pyboy", "numpy")
    return {
        "cpu": model,
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "packages": {name: version(name) for name in packages},
    }


def _git(*arguments: str) -> str:
    command = ["git", "-C", str(Path(__file__).parent), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


def _commit() -> str:
    """The commit that is checked out, "-dirty" with changes to anything but results that were measured with it."""
    changes = _git("status", "--porcelain", "--untracked-files=no", "--", ":/", ":(top,exclude)docs/benchmarks/results")
    return (_git("describe", "--always") or "unknown") + "-dirty" * bool(changes)


def provenance() -> dict[str, Any]:
    """Command, commit, machine and date of this run."""
    return {
        "command": shlex.join(["python", *sys.argv]),
        "commit": _commit(),
        "machine": machine(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def write_json(file: Path, content: dict[str, Any]) -> None:
    """Write results so that ``file`` holds the old ones or the new ones; folders that are missing are made."""
    write_atomically(file, (json.dumps(content, indent=1) + "\n").encode())
