"""CPU cores and memory of this job's allocation, which may be less than the host has, and its memory allocator."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Mapping
from pathlib import Path

__all__ = ["available_cpus", "available_memory_bytes", "keep_freed_memory", "worker_count"]

# Parameters of glibc's mallopt (malloc.h).
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4


def _cgroup_cpus(root: Path) -> float | None:
    """Return the CPU quota of the control group, in cores (cgroup v2, then v1)."""
    try:
        quota, period = (root / "cpu.max").read_text().split()
        if quota != "max":
            return int(quota) / int(period)
    except (OSError, ValueError):
        pass
    try:
        quota_us = int((root / "cpu" / "cpu.cfs_quota_us").read_text())
        period_us = int((root / "cpu" / "cpu.cfs_period_us").read_text())
        if quota_us > 0:
            return quota_us / period_us
    except (OSError, ValueError):
        pass
    return None


def available_cpus(environment: Mapping[str, str] = os.environ, *, cgroup_root: Path = Path("/sys/fs/cgroup")) -> int:
    """Return how many CPU cores this job may use: the smallest of affinity, control group and SLURM allocation.

    Args:
        environment: Environment variables, read for SLURM's.
        cgroup_root: Mount point of the control group.
    """
    has_affinity = hasattr(os, "sched_getaffinity")  # Linux only
    limits: list[float] = [len(os.sched_getaffinity(0)) if has_affinity else os.cpu_count() or 1]
    quota = _cgroup_cpus(cgroup_root)
    if quota is not None:
        limits.append(quota)
    for name in ("SLURM_CPUS_PER_TASK", "SLURM_CPUS_ON_NODE"):
        if environment.get(name, "").isdigit():
            limits.append(int(environment[name]))
            break
    return max(1, int(min(limits)))


def _cgroup_memory(root: Path) -> int | None:
    """Return the bytes left in the control group, page cache counted as free (cgroup v2, then v1)."""
    for limit, used, cache in (
        ("memory.max", "memory.current", "file"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "total_cache"),
    ):
        try:
            most = int((root / limit).read_text())
            now = int((root / used).read_text())
            lines = (root / used).with_name("memory.stat").read_text().splitlines()
        except (OSError, ValueError):  # no such group, or "max"
            continue
        cached = next((int(line.split()[1]) for line in lines if line.split()[0] == cache), 0)
        return max(0, most - now + cached)
    return None


def available_memory_bytes(*, cgroup_root: Path = Path("/sys/fs/cgroup"), meminfo: Path = Path("/proc/meminfo")) -> int:
    """Return the memory that this job can still allocate: the smaller of the machine's and its control group's.

    Where neither is known, return the installed memory.

    Args:
        cgroup_root: Mount point of the control group.
        meminfo: Linux's table of memory use.
    """
    limits = []
    if meminfo.is_file():
        fields = dict(line.split(":", 1) for line in meminfo.read_text().splitlines() if ":" in line)
        if "MemAvailable" in fields:
            limits.append(int(fields["MemAvailable"].split()[0]) * 1024)
    group = _cgroup_memory(cgroup_root)
    if group is not None:
        limits.append(group)
    return min(limits) if limits else os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def keep_freed_memory() -> bool:
    """Let this process keep the memory that it frees, instead of mapping and zeroing it anew for each large tensor.

    glibc maps every block above at most 32 MiB by itself and returns it to the kernel when it is freed. An update frees
    and allocates hundreds of megabytes: 29,000 page faults each, a quarter of its CPU time.

    Returns:
        Whether the allocator takes the setting; only glibc's does.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and bool(mallopt(_M_MMAP_MAX, 0)) and bool(mallopt(_M_TRIM_THRESHOLD, 2**31 - 1))


def worker_count(setting: int | str, cpus: int) -> int:
    """Return the number of worker processes for a setting.

    Args:
        setting: A number, or ``auto`` for one less than the cores, at least one.
        cpus: Cores of this job.
    """
    return max(1, cpus - 1) if setting == "auto" else int(setting)
