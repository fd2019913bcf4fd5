"""Real RAM images of the game, which are not part of the repository, and RAM made by hand."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from pokered_rl.game import FULL_LAYOUT, RAM_MAP

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def real_images() -> dict[str, tuple[Tensor, dict[str, Any]]]:
    """Name -> (full RAM uint8 [8319], what is known about it)."""
    folder = os.environ.get("POKERED_REAL_RAM")
    if not folder:
        pytest.skip("POKERED_REAL_RAM is not set: no RAM images of the real game")
    expected = json.loads((Path(folder) / "expected.json").read_text())
    return {
        name: (torch.frombuffer(bytearray((Path(folder) / f"{name}.bin").read_bytes()), dtype=torch.uint8), facts)
        for name, facts in expected.items()
    }


@pytest.fixture(scope="session")
def blank_ram() -> Callable[..., Tensor]:
    """Builds RAM by hand: ``blank_ram(wCurMap=3, bytes_at={0xC4F2: 0xEE})``, everything else 0."""

    def build(*, bytes_at: dict[int, int] | None = None, **labels: int | list[int]) -> Tensor:
        ram = torch.zeros(FULL_LAYOUT.size, dtype=torch.uint8)
        for label, value in labels.items():
            for offset, byte in enumerate(value if isinstance(value, list) else [value]):
                ram[FULL_LAYOUT.column(RAM_MAP[label].address + offset)] = byte
        for at, byte in (bytes_at or {}).items():
            ram[FULL_LAYOUT.column(at)] = byte
        return ram

    return build
