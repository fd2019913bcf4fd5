import os
from pathlib import Path

import pytest

from pokered_rl.resources import available_cpus, worker_count


def test_allocation_limits_the_cores_not_the_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(64)))
    assert available_cpus({}, cgroup_root=tmp_path) == 64
    assert available_cpus({"SLURM_CPUS_PER_TASK": "12", "SLURM_CPUS_ON_NODE": "48"}, cgroup_root=tmp_path) == 12
    assert available_cpus({"SLURM_CPUS_ON_NODE": "48"}, cgroup_root=tmp_path) == 48
    (tmp_path / "cpu.max").write_text("650000 100000\n")  # 6.5 cores
    assert available_cpus({"SLURM_CPUS_PER_TASK": "12"}, cgroup_root=tmp_path) == 6
    (tmp_path / "cpu.max").write_text("max 100000\n")
    assert available_cpus({}, cgroup_root=tmp_path) == 64


def test_auto_leaves_a_core_to_the_learner():
    assert [worker_count("auto", cpus) for cpus in (1, 2, 8)] == [1, 1, 7]
    assert worker_count(3, 64) == 3
