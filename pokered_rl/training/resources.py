"""What this job may use: the CPU cores of its allocation, not those of the host."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

__all__ = ["available_cpus", "worker_count"]


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
