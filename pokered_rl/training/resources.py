"""What this job may use: CPU cores of the allocation, and disk space reserved before the first step."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from pokered_rl.errors import ConfigError

__all__ = ["available_cpus", "reserve_file", "worker_count"]


def _cgroup_cpus(root: Path) -> float | None:
    """The CPU quota of the control group, in cores (cgroup v2, then v1)."""
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
    """CPU cores that this job may use: the smallest of affinity, control group and SLURM allocation.

    The number of cores of the host says nothing on a shared node.
    """
    limits: list[float] = [len(os.sched_getaffinity(0))]
    quota = _cgroup_cpus(cgroup_root)
    if quota is not None:
        limits.append(quota)
    for name in ("SLURM_CPUS_PER_TASK", "SLURM_CPUS_ON_NODE"):
        if environment.get(name, "").isdigit():
            limits.append(int(environment[name]))
            break
    return max(1, int(min(limits)))


def worker_count(setting: int | str, cpus: int) -> int:
    """Worker processes for a setting: a number, or ``auto`` for one less than the cores, at least one."""
    return max(1, cpus - 1) if setting == "auto" else int(setting)


def reserve_file(path: Path, num_bytes: int) -> None:
    """Give a file its blocks on the disk now.

    A sparse file under a memory map on a full disk ends the process with SIGBUS at some later write.

    Raises:
        ConfigError: The disk is too small.
    """
    with path.open("r+b" if path.exists() else "w+b") as file:
        try:
            os.posix_fallocate(file.fileno(), 0, num_bytes)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EFBIG, errno.EDQUOT):
                raise
            free = shutil.disk_usage(path.parent).free
            raise ConfigError(
                f"replay.capacity_transitions needs {num_bytes / 1e9:.1f} GB for {path}, and {free / 1e9:.1f} GB are"
                " free; lower it, or set replay.scratch_folder to a larger disk"
            ) from error
