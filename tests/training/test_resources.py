import errno
import os
from pathlib import Path

import pytest

from pokered_rl.errors import ConfigError
from pokered_rl.training.resources import available_cpus, reserve_file, worker_count


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


def test_reserved_file_owns_its_blocks(tmp_path: Path):
    path = tmp_path / "rows.memmap"
    path.write_bytes(b"abc")
    reserve_file(path, 1_000_000)
    assert path.stat().st_size == 1_000_000
    assert path.stat().st_blocks * 512 >= 1_000_000
    assert path.read_bytes()[:3] == b"abc"


def test_too_small_a_disk_is_refused_with_the_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def full(*args: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(ConfigError, match=r"replay\.capacity_transitions needs 5\.0 GB.*replay\.scratch_folder"):
        reserve_file(tmp_path / "rows.memmap", 5_000_000_000)
