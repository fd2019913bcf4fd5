import errno
import json
import os
import pickle
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pokered_rl.atomic import check_lock, write_atomically
from pokered_rl.errors import RunLostError
from pokered_rl.training import run_lock
from pokered_rl.training.run_lock import RunLock, RunLockedError

BOOT = Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def _write_lock(folder: Path, **changes: object) -> None:
    holder = {
        "host": socket.gethostname(),
        "process_table": f"{BOOT} {Path('/proc/self/ns/pid').readlink()}",
        "pid": os.getpid(),
        "process_start": "1",
        "token": "other",
        "heartbeat": time.time(),
        "heartbeat_seconds": 10.0,
    }
    (folder / "run.lock").write_text(json.dumps(holder | changes))


def _check_for_20_seconds(lock: RunLock) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        lock.check()
        time.sleep(0.01)


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

    def full(*_: object) -> None:
        refusals.append(True)
        raise OSError(errno.ENOSPC, "No space left on device")

    with RunLock(tmp_path, heartbeat_seconds=0.02) as lock:
        first = json.loads((tmp_path / "run.lock").read_text())["heartbeat"]
        with monkeypatch.context() as patch:
            patch.setattr(os, "pwrite", full)
            while len(refusals) < 10:
                time.sleep(0.01)
        lock.check()  # the lock could be read all the while
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


@pytest.mark.parametrize("table", [None, "other-boot pid:[1]"], ids=["unknown", "another boot or namespace"])
def test_fresh_heartbeat_of_this_host_is_respected_where_its_process_ids_say_nothing(tmp_path: Path, table: str | None):
    _write_lock(tmp_path, process_table=table, pid=2**22 + 1)
    with pytest.raises(RunLockedError, match="in use"), RunLock(tmp_path):
        pass
    _write_lock(tmp_path, process_table=table, pid=2**22 + 1, heartbeat=time.time() - 70)
    with pytest.warns(UserWarning, match="took over"), RunLock(tmp_path):
        pass


def test_system_without_proc_finds_a_dead_holder_by_its_heartbeat(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(run_lock, "_process_table", lambda: None)
    monkeypatch.setattr(run_lock, "_process_start", lambda pid: None)
    _write_lock(tmp_path, process_table=None, process_start=None, heartbeat=time.time() - 50)
    with pytest.raises(RunLockedError, match="in use"), RunLock(tmp_path):
        pass
    _write_lock(tmp_path, process_table=None, process_start=None, heartbeat=time.time() - 70)
    with pytest.warns(UserWarning, match="took over"), RunLock(tmp_path):
        pass


@pytest.mark.parametrize("number", [errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK])
def test_disk_without_hard_links_still_has_one_writer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int):
    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "link", refuse)
    with RunLock(tmp_path) as lock:
        assert lock.made_by == "exclusive creation"
        with pytest.raises(RunLockedError, match=f"process {os.getpid()}"), RunLock(tmp_path):
            pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("change", ["taken over", "gone"])
def test_job_that_lost_its_lock_writes_nothing_more(tmp_path: Path, change: str):
    lock_path = tmp_path / "run.lock"
    with RunLock(tmp_path, heartbeat_seconds=0.05) as lock:
        write_atomically(tmp_path / "progress.json", b"mine")
        if change == "gone":
            lock_path.unlink()
        else:
            other = tmp_path / "other"
            other.write_text(json.dumps(json.loads(lock_path.read_text()) | {"token": "other", "host": "elsewhere"}))
            other.rename(lock_path)
        with pytest.raises(RunLostError, match=r"run\.lock is no longer this job's"):
            write_atomically(tmp_path / "progress.json", b"late")
        with pytest.raises(RunLostError):
            _check_for_20_seconds(lock)
    assert (tmp_path / "progress.json").read_bytes() == b"mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == (
        ["progress.json"] if change == "gone" else ["progress.json", "run.lock"]
    ), "the lock of the other job stays"
    write_atomically(tmp_path / "progress.json", b"a reader of another program may write again")


def test_lock_is_lost_when_its_disk_is_away_for_too_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with RunLock(tmp_path, heartbeat_seconds=0.02) as lock, monkeypatch.context() as patch:

        def away(*_: object, **__: object) -> None:
            raise OSError(errno.EIO, "Input/output error")

        patch.setattr(Path, "read_text", away)
        with pytest.raises(RunLostError, match="out of reach"):
            _check_for_20_seconds(lock)


def test_workers_check_the_lock_of_the_job_that_started_them(tmp_path: Path):
    """A token crosses to another process by pickle; there, `guard` binds it to the folder."""
    code = (
        "import pickle, sys\n"
        "from pokered_rl.atomic import write_atomically\n"
        "from pokered_rl.errors import RunLostError\n"
        "from pathlib import Path\n"
        "token = pickle.loads(bytes.fromhex(sys.argv[1]))\n"
        "token.guard(token.path.parent)\n"
        "write_atomically(token.path.parent / 'log', b'1')\n"
        "token.path.unlink()\n"
        "try: write_atomically(token.path.parent / 'log', b'2')\n"
        "except RunLostError: print('lost')\n"
    )
    with RunLock(tmp_path) as lock:
        done = subprocess.run(
            [sys.executable, "-c", code, pickle.dumps(lock.token).hex()],
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        assert done.stdout == "lost\n"
    assert (tmp_path / "log").read_bytes() == b"1"


def test_what_lies_outside_of_the_run_is_nobodys_business(tmp_path: Path):
    with RunLock(tmp_path / "a"):
        (tmp_path / "a" / "run.lock").unlink()
        check_lock(tmp_path / "a-second" / "file", now=True)
        with pytest.raises(RunLostError):
            check_lock(tmp_path / "a" / "file", now=True)
