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
def real_folder() -> Path:
    """The folder of RAM images of the real game."""
    folder = os.environ.get("POKERED_REAL_RAM")
    if not folder:
        pytest.skip("POKERED_REAL_RAM is not set: no RAM images of the real game")
    return Path(folder)


@pytest.fixture(scope="session")
def real_images(real_folder: Path) -> dict[str, Tensor]:
    """Name -> full RAM uint8 [8319]."""
    files = sorted(real_folder.glob("*.bin"))
    return {file.stem: torch.frombuffer(bytearray(file.read_bytes()), dtype=torch.uint8) for file in files}


@pytest.fixture(scope="session")
def real_facts(real_folder: Path) -> dict[str, dict[str, Any]]:
    """Name -> decoded values, for the images of which they are known."""
    facts: dict[str, dict[str, Any]] = json.loads((real_folder / "expected.json").read_text())
    return facts


@pytest.fixture(scope="session")
def real_screens(real_folder: Path) -> dict[str, dict[str, Any]]:
    """Name -> kind of screen, usable buttons, whether input is ignored, where it is not the overworld."""
    screens: dict[str, dict[str, Any]] = json.loads((real_folder / "screens.json").read_text())
    return screens


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
