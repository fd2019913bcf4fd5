"""Giving mapped pages of files back to the page cache, so that a process does not seem to own what it has touched.

Every page of a memory map that a process reads or writes stays in its page tables. With one process mapping the file,
Linux counts these pages as private, and control groups with a memory limit charge and kill for them. Dropping the
mappings from time to time loses nothing: the pages stay in the page cache, dirty ones included, and come back with a
minor fault. How much a look at a row maps is the kernel's choice, from 64 KiB around each page to whole large folios,
fourteen times the row's bytes on Linux 6.18: so it is not estimated from the traffic but read from the process's
counters.
"""

import ctypes
import mmap
import sys
from collections.abc import Iterable
from pathlib import Path

from torch import Tensor

__all__ = ["MappedPages"]

_MADV_DONTNEED = 4
_PAGE_BYTES = mmap.PAGESIZE


class MappedPages:
    """Drops the page-table entries of memory-mapped tensors when there are too many of them.

    Only maps that are shared with their file are touched: on a private map the same call would discard what was
    written. Does nothing where the operating system is not Linux.

    Args:
        tensors: memory-mapped tensors, each from the start of its file.
        budget_bytes: mapped bytes beyond those after the last time above which the pages are dropped.
    """

    def __init__(self, tensors: Iterable[Tensor], *, budget_bytes: int) -> None:
        self._budget_bytes = budget_bytes
        shared = _shared_maps()
        spans = [(value.data_ptr(), value.numel() * value.element_size()) for value in tensors]
        self._spans = [(start, size) for start, size in spans if size >= _PAGE_BYTES and start in shared]
        self._libc = ctypes.CDLL(None, use_errno=True) if self._spans else None
        self._bytes_before = _mapped_bytes() if self._spans else 0

    def check(self) -> None:
        """Drops the entries if there are too many; to be called after each batch that was read or written."""
        if self._spans and _mapped_bytes() - self._bytes_before > self._budget_bytes:
            self.drop()
            self._bytes_before = _mapped_bytes()

    def drop(self) -> None:
        """Drops the entries now."""
        for start, size in self._spans:
            # The length is rounded down: the last page of a file may hold nothing else, but need not.
            length = size // _PAGE_BYTES * _PAGE_BYTES
            self._libc.madvise(ctypes.c_void_p(start), ctypes.c_size_t(length), _MADV_DONTNEED)  # type: ignore[union-attr]


def _mapped_bytes() -> int:
    """Bytes of files and shared memory in this process's page tables."""
    return int(Path("/proc/self/statm").read_text().split()[2]) * _PAGE_BYTES


def _shared_maps() -> set[int]:
    """Start addresses of this process's shared, file-backed maps."""
    if sys.platform != "linux":
        return set()
    starts = set()
    for line in Path("/proc/self/maps").read_text().splitlines():
        span, permissions, *_ = line.split(maxsplit=2)
        if permissions.endswith("s"):
            starts.add(int(span.split("-")[0], 16))
    return starts
