import sys
from pathlib import Path

import pytest
import torch
from tensordict import MemoryMappedTensor

from pokered_rl.data.storage import MappedPages

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="page tables are looked at through /proc")


def private_bytes():
    fields = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) * 1024 for line in fields if line.startswith("Private_"))


def test_dropped_pages_are_no_longer_private_and_keep_what_was_written(tmp_path):
    size = 50_000_000
    values = MemoryMappedTensor.empty((size,), dtype=torch.uint8, filename=tmp_path / "values.memmap")
    pages = MappedPages([values], budget_bytes=2 * size)  # counted from here
    values.fill_(7)
    before = private_bytes()
    pages.check()
    assert private_bytes() > before - size // 2  # within the budget nothing happens
    more = MemoryMappedTensor.empty((2 * size,), dtype=torch.uint8, filename=tmp_path / "more.memmap").fill_(7)
    pages.check()
    assert private_bytes() < before + len(more) - 0.9 * size
    assert int(values.min()) == int(values.max()) == 7
    again = MemoryMappedTensor.from_filename(tmp_path / "values.memmap", dtype=torch.uint8, shape=(size,))
    assert int(again.min()) == int(again.max()) == 7


def test_memory_that_belongs_to_no_file_is_left_alone():
    values = torch.full((10_000_000,), 7, dtype=torch.uint8)
    pages = MappedPages([values], budget_bytes=1)
    pages.check()
    assert int(values.min()) == 7
