import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pokered_rl.training.run_lock import RunLock, RunLockedError


def _write_lock(folder: Path, **changes: object) -> None:
    holder = {
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "process_start": "1",
        "token": "other",
        "heartbeat": time.time(),
        "heartbeat_seconds": 10.0,
    }
    (folder / "run.lock").write_text(json.dumps(holder | changes))


def test_two_jobs_cannot_have_one_folder(tmp_path: Path):
    with RunLock(tmp_path), pytest.raises(RunLockedError, match=f"process {os.getpid()}"), RunLock(tmp_path):
        pass
    with RunLock(tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []


def test_lock_of_a_dead_process_is_taken_over_with_a_message(tmp_path: Path):
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    _write_lock(tmp_path, pid=gone.pid)
    with pytest.warns(UserWarning, match=f"process {gone.pid}"), RunLock(tmp_path):
        assert json.loads((tmp_path / "run.lock").read_text())["pid"] == os.getpid()


def test_reused_process_id_does_not_keep_a_lock_alive(tmp_path: Path):
    # Our own process id, but another start time: not the process that wrote the lock.
    _write_lock(tmp_path, process_start="1")
    with pytest.warns(UserWarning, match="took over"), RunLock(tmp_path):
        pass


def test_lock_of_another_host_is_stale_only_after_six_missing_heartbeats(tmp_path: Path):
    _write_lock(tmp_path, host="elsewhere", heartbeat=time.time() - 50)
    with pytest.raises(RunLockedError, match="elsewhere"), RunLock(tmp_path):
        pass
    _write_lock(tmp_path, host="elsewhere", heartbeat=time.time() - 70)
    with pytest.warns(UserWarning, match="elsewhere"), RunLock(tmp_path):
        pass


def test_heartbeat_keeps_the_lock_fresh(tmp_path: Path):
    with RunLock(tmp_path, heartbeat_seconds=0.02):
        first = json.loads((tmp_path / "run.lock").read_text())["heartbeat"]
        time.sleep(0.2)
        assert json.loads((tmp_path / "run.lock").read_text())["heartbeat"] > first


def test_heartbeat_survives_a_disk_that_is_full_for_a_while(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    refusals = []

    def full(path: Path, content: bytes) -> None:
        refusals.append(path)
        raise OSError(28, "No space left on device")

    with RunLock(tmp_path, heartbeat_seconds=0.02):
        first = json.loads((tmp_path / "run.lock").read_text())["heartbeat"]
        with monkeypatch.context() as patch:
            patch.setattr("pokered_rl.training.run_lock.write_atomically", full)
            while len(refusals) < 2:
                time.sleep(0.01)
        deadline = time.monotonic() + 20
        while json.loads((tmp_path / "run.lock").read_text())["heartbeat"] == first:
            assert time.monotonic() < deadline, "the heartbeat has stopped"
            time.sleep(0.01)


def test_lock_that_cannot_be_read_is_not_deleted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """On a network drive the file may be replaced under its reader."""
    _write_lock(tmp_path)

    def stale(self: Path) -> str:
        raise OSError(116, "Stale file handle")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_text", stale)
        with pytest.raises(RunLockedError, match="Stale file handle"), RunLock(tmp_path):
            pass
    assert json.loads((tmp_path / "run.lock").read_text())["token"] == "other"


def test_lock_that_is_no_json_is_taken_over(tmp_path: Path):
    (tmp_path / "run.lock").write_text("{")
    with RunLock(tmp_path):
        assert json.loads((tmp_path / "run.lock").read_text())["pid"] == os.getpid()
