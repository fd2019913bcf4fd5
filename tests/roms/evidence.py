"""Write a measurement of Sprout, with the cartridge's SHA-1 in its head."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import sprout_player as sp

from pokered_rl.cli.measurement import provenance, write_json

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "docs" / "benchmarks" / "results"


def write(name: str, **content: Any) -> None:
    """Write ``docs/benchmarks/results/NAME.json``."""
    sha1 = hashlib.sha1(sp.CARTRIDGE.read_bytes()).hexdigest()
    write_json(RESULTS / f"{name}.json", {**provenance(folder=ROOT), "cartridge_sha1": sha1, **content})
