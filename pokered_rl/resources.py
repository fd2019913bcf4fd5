"""CPU cores and memory of this job's allocation, which may be less than the host has, and its memory allocator."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

__all__ = ["available_cpus", "available_memory_bytes", "keep_freed_memory", "worker_count"]

# Parameters of glibc's mallopt (malloc.h).
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4

_CGROUPS = Path("/sys/fs/cgroup")
_MEMBERSHIP = Path("/proc/self/cgroup")
#: SLURM's suffixes of sizes in megabytes, its own unit.
_MEGABYTES = {"K": 1 / 1024, "M": 1, "G": 1024, "T": 1024**2}


def _control_groups(controller: str, root: Path, membership: Path) -> Iterator[Path]:
    """Yield the folders of this process's control groups from its own up to the root, of v2 and then of v1.

    In a container the paths may be those of the host, which it does not see: the part that exists counts, and that is
    at least the root.
    """
    try:
        lines = [line.split(":", 2) for line in membership.read_text().splitlines()]
    except OSError:
        lines = []
    unified = next((path for number, controllers, path in lines if number == "0" and not controllers), "/")
    divided = next((path for _, controllers, path in lines if controller in controllers.split(",")), "/")
    # A machine with both has v2 in unified/.
    for mount, group in ((root, unified), (root / "unified", unified), (root / controller, divided)):
        own = mount / group.lstrip("/")
        yield from (folder for folder in (own, *own.parents) if folder == mount or folder.is_relative_to(mount))


def _numbers(file: Path) -> list[int]:
    """Return the whole numbers in a file, none where it is missing or says "max"."""
    try:
        return [int(word) for word in file.read_text().split()]
    except (OSError, ValueError):
        return []


def _group_cpus(group: Path) -> float | None:
    """Return the CPU quota of one control group, in cores; None for none."""
    pair = _numbers(group / "cpu.max") or [
        *_numbers(group / "cpu.cfs_quota_us"),
        *_numbers(group / "cpu.cfs_period_us"),
    ]
    return pair[0] / pair[1] if len(pair) == 2 and pair[0] > 0 else None


def _group_memory(group: Path) -> int | None:
    """Return the bytes left in one control group, its page cache counted as free; None without a limit."""
    for limit, used, cache in (
        ("memory.max", "memory.current", ("inactive_file", "active_file")),
        ("memory.limit_in_bytes", "memory.usage_in_bytes", ("total_inactive_file", "total_active_file")),
    ):
        most, now = _numbers(group / limit), _numbers(group / used)
        if not most or not now:
            continue
        try:
            entries = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
        except (OSError, ValueError):
            entries = {}
        return max(0, most[0] - now[0] + sum(int(entries.get(name, 0)) for name in cache))
    return None


def _slurm_cpus(environment: Mapping[str, str]) -> int | None:
    for name in ("SLURM_CPUS_PER_TASK", "SLURM_CPUS_ON_NODE"):
        if environment.get(name, "").isdigit():
            return int(environment[name])
    return None


def _slurm_bytes(text: str) -> int:
    """Return the bytes of a size as SLURM writes it, in megabytes unless it has a suffix; 0 for no limit."""
    number, unit = (text[:-1], text[-1].upper()) if text[-1:].isalpha() else (text, "M")
    return int(int(number) * _MEGABYTES[unit] * 2**20) if number.isdigit() and unit in _MEGABYTES else 0


def _slurm_memory(environment: Mapping[str, str]) -> int | None:
    """Return the memory of a SLURM job on this node; None where it has no limit (``--mem=0``) or there is no job."""
    cpus = environment.get("SLURM_CPUS_ON_NODE", "")
    count = int(cpus) if cpus.isdigit() else _slurm_cpus(environment) or 1
    of_node = _slurm_bytes(environment.get("SLURM_MEM_PER_NODE", ""))
    return of_node or count * _slurm_bytes(environment.get("SLURM_MEM_PER_CPU", "")) or None


def available_cpus(
    environment: Mapping[str, str] = os.environ, *, cgroup_root: Path = _CGROUPS, membership: Path = _MEMBERSHIP
) -> int:
    """Return how many CPU cores this job may use: the smallest of affinity, control groups and SLURM allocation.

    Args:
        environment: Environment variables, read for SLURM's.
        cgroup_root: Mount point of the control groups.
        membership: Linux's list of the control groups of this process.
    """
    has_affinity = hasattr(os, "sched_getaffinity")  # Linux only
    limits = [
        len(os.sched_getaffinity(0)) if has_affinity else os.cpu_count() or 1,
        _slurm_cpus(environment),
        *(_group_cpus(group) for group in _control_groups("cpu", cgroup_root, membership)),
    ]
    return max(1, int(min(limit for limit in limits if limit is not None)))


def available_memory_bytes(
    environment: Mapping[str, str] = os.environ,
    *,
    cgroup_root: Path = _CGROUPS,
    membership: Path = _MEMBERSHIP,
    meminfo: Path = Path("/proc/meminfo"),
) -> int:
    """Return the memory that this job can still allocate: the least of machine, control groups and SLURM allocation.

    Where none is known, return the installed memory. What the job has allocated already is taken off the limits of
    machine and control groups only.

    Args:
        environment: Environment variables, read for SLURM's.
        cgroup_root: Mount point of the control groups.
        membership: Linux's list of the control groups of this process.
        meminfo: Linux's table of memory use.
    """
    limits = [
        _slurm_memory(environment),
        *(_group_memory(group) for group in _control_groups("memory", cgroup_root, membership)),
    ]
    if meminfo.is_file():
        fields = dict(line.split(":", 1) for line in meminfo.read_text().splitlines() if ":" in line)
        if "MemAvailable" in fields:
            limits.append(int(fields["MemAvailable"].split()[0]) * 1024)
    known = [limit for limit in limits if limit is not None]
    return min(known) if known else os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


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
