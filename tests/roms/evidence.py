"""Where a measurement of Sprout was made: the head of every results file."""

from __future__ import annotations

import datetime
import hashlib
import json
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import sprout_player as sp

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "docs" / "benchmarks" / "results"


def write(name: str, **content: Any) -> None:
    """``docs/benchmarks/results/NAME.json``."""
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    head = {
        "command": " ".join(["python", str(Path(sys.argv[0]).resolve().relative_to(ROOT)), *sys.argv[1:]]),
        "commit": commit.stdout.strip(),
        "machine": f"{platform.machine()}, Python {platform.python_version()}",
        "date": datetime.date.today().isoformat(),
        "cartridge_sha1": hashlib.sha1(sp.CARTRIDGE.read_bytes()).hexdigest(),
    }
    (RESULTS / f"{name}.json").write_text(json.dumps({**head, **content}, indent=1) + "\n")
