import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from pokered_rl.resources import available_cpus, available_memory_bytes, worker_count

GB = 2**30


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    """A machine of 64 cores with 32 GiB free and no control group."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(64)), raising=False)
    (tmp_path / "meminfo").write_text(f"MemTotal: 99999999 kB\nMemAvailable: {32 * GB // 1024} kB\n")
    (tmp_path / "membership").write_text("")
    (tmp_path / "cgroup").mkdir()
    return {"cgroup_root": tmp_path / "cgroup", "membership": tmp_path / "membership"}


def _group(folder: Path, **files: object) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        # cpu_max -> cpu.max, memory_limit_in_bytes -> memory.limit_in_bytes
        (folder / name.replace("_", ".", 1)).write_text(f"{content}\n")


def _memory(host: dict[str, Path], environment: dict[str, str] | None = None) -> int:
    return available_memory_bytes(environment or {}, **host, meminfo=host["cgroup_root"].parent / "meminfo")


def test_slurm_task_limits_the_cores_and_without_one_the_node(host):
    assert available_cpus({}, **host) == 64
    assert available_cpus({"SLURM_CPUS_PER_TASK": "12", "SLURM_CPUS_ON_NODE": "48"}, **host) == 12
    assert available_cpus({"SLURM_CPUS_ON_NODE": "48"}, **host) == 48


def test_affinity_limits_the_cores(host, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {3, 5})
    assert available_cpus({"SLURM_CPUS_PER_TASK": "12"}, **host) == 2


def test_system_without_affinity_proc_and_control_groups_has_its_own_cores_and_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 10)
    nothing = {"cgroup_root": tmp_path / "none", "membership": tmp_path / "none"}
    assert available_cpus({}, **nothing) == 10
    assert available_memory_bytes({}, **nothing, meminfo=tmp_path / "none") > GB // 4


@pytest.mark.parametrize(
    ("quota", "cores"), [("650000 100000", 6), ("50000 100000", 1), ("max 100000", 64)], ids=["6.5", "0.5", "no quota"]
)
def test_quota_of_the_root_group_limits_the_cores_to_whole_ones(host, quota: str, cores: int):
    _group(host["cgroup_root"], cpu_max=quota)
    assert available_cpus({}, **host) == cores


@pytest.mark.parametrize("limited", ["", "slurm", "slurm/job_7", "slurm/job_7/step_0"])
def test_limit_of_a_v2_group_holds_wherever_it_is_between_the_own_group_and_the_root(host, limited: str):
    host["membership"].write_text("0::/slurm/job_7/step_0\n")
    own = host["cgroup_root"] / "slurm" / "job_7" / "step_0"
    _group(own, cpu_max="max 100000", memory_max="max", memory_current=GB)
    stat = f"anon {GB}\ninactive_file {GB}\nactive_file {GB}\nfile {3 * GB}"  # a third of the cache is shared memory
    _group(
        host["cgroup_root"] / limited,
        cpu_max="300000 100000",
        memory_max=8 * GB,
        memory_current=5 * GB,
        memory_stat=stat,
    )
    assert available_cpus({}, **host) == 3
    assert _memory(host) == 5 * GB  # 8 - 5 + 2 of files


@pytest.mark.parametrize("limited", ["", "slurm", "slurm/job_7"])
def test_limit_of_a_v1_group_holds_wherever_it_is_between_the_own_group_and_the_root(host, limited: str):
    host["membership"].write_text("9:name=systemd:/\n4:memory:/slurm/job_7\n2:cpu,cpuacct:/slurm/job_7\n0::/\n")
    root = host["cgroup_root"]
    _group(root / "cpu" / "slurm" / "job_7", cpu_cfs_quota_us=-1, cpu_cfs_period_us=100_000)
    _group(root / "memory" / "slurm" / "job_7", memory_limit_in_bytes=2**63 - 4096, memory_usage_in_bytes=GB)
    _group(root / "cpu" / limited, cpu_cfs_quota_us=200_000, cpu_cfs_period_us=100_000)
    _group(
        root / "memory" / limited,
        memory_limit_in_bytes=4 * GB,
        memory_usage_in_bytes=3 * GB,
        memory_stat=f"total_inactive_file {GB}\ntotal_active_file {GB // 2}",
    )
    assert available_cpus({}, **host) == 2
    assert _memory(host) == 2.5 * GB  # 4 - 3 + 1.5


def test_container_that_sees_only_its_own_group_as_the_root_is_limited_by_it(host):
    host["membership"].write_text("0::/../../docker/0123\n4:memory:/docker/0123\n")
    _group(host["cgroup_root"], cpu_max="200000 100000")
    _group(host["cgroup_root"] / "memory", memory_limit_in_bytes=3 * GB, memory_usage_in_bytes=GB)
    assert available_cpus({}, **host) == 2
    assert _memory(host) == 2 * GB


@pytest.mark.parametrize(
    ("environment", "gigabytes"),
    [
        ({}, 32),
        ({"SLURM_MEM_PER_NODE": "4096"}, 4),
        ({"SLURM_MEM_PER_NODE": "4G"}, 4),
        ({"SLURM_MEM_PER_NODE": "0"}, 32),  # --mem=0: all memory of the node
        ({"SLURM_MEM_PER_CPU": "1024", "SLURM_CPUS_ON_NODE": "6"}, 6),
        ({"SLURM_MEM_PER_CPU": "1024", "SLURM_CPUS_PER_TASK": "5"}, 5),
        ({"SLURM_MEM_PER_NODE": "a lot"}, 32),
    ],
)
def test_slurm_allocation_limits_the_memory(host, environment: dict[str, str], gigabytes: int):
    assert _memory(host, environment) == gigabytes * GB


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
