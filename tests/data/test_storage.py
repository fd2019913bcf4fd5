import errno
import os
import sys
from pathlib import Path

import pytest
import torch
from tensordict import MemoryMappedTensor

from pokered_rl.data.storage import MappedPages, create_reserved, reserve_files
from pokered_rl.errors import ConfigError

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


def test_system_without_fallocate_refuses_files_that_do_not_fit(tmp_path, monkeypatch):
    monkeypatch.delattr(os, "posix_fallocate", raising=False)
    create_reserved(tmp_path / "a.memmap", 8192)
    assert (tmp_path / "a.memmap").stat().st_size == 8192
    assert reserve_files(tmp_path) == 8192
    with (tmp_path / "b.memmap").open("wb") as file:
        file.truncate(2**42)  # 4 TiB without blocks
    with pytest.raises(ConfigError, match=r"the replay needs 4398\.05 GB at .*b\.memmap"):
        reserve_files(tmp_path)
    with pytest.raises(OSError, match="No space") as caught:
        create_reserved(tmp_path / "c.memmap", 2**42)
    assert caught.value.errno == errno.ENOSPC
