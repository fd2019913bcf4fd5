import os
import platform
import subprocess
import sys
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


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other allocators have no such setting")
def test_freed_memory_is_used_again_without_page_faults():
    # 64 MiB are 16,384 pages, which glibc maps anew for every array unless it keeps them.
    program = """
import resource
from pokered_rl.resources import keep_freed_memory
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(4):
        bytes([1]) * 2**26
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
before = faults()
assert keep_freed_memory()
faults()
print(before, faults())
"""
    command = [sys.executable, "-c", program]
    before, after = map(int, subprocess.run(command, capture_output=True, text=True, check=True).stdout.split())
    assert before > 60_000
    assert after < 1_000
