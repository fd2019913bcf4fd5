import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from pokered_rl.atomic import write_atomically

# Opens the staging file and dies while its bytes are on their way.
_KILLED_WHILE_WRITING = """
import os, signal, sys
from pathlib import Path
from pokered_rl import atomic
atomic.os.fsync = lambda _: os.kill(os.getpid(), signal.SIGKILL)
atomic.write_atomically(Path(sys.argv[1]), b"half")
"""


def test_file_holds_what_was_written_last_and_has_no_company(tmp_path: Path):
    path = tmp_path / "new" / "progress.json"
    write_atomically(path, b"old")
    assert write_atomically(path, memoryview(b"new")) == path
    assert path.read_bytes() == b"new"
    assert list(path.parent.iterdir()) == [path]


def test_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = write_atomically(tmp_path / "progress.json", b"old")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_atomically(path, b"new")
    assert list(tmp_path.iterdir()) == [path]
    assert path.read_bytes() == b"old"


def test_what_killed_writers_leave_does_not_pile_up(tmp_path: Path):
    path = write_atomically(tmp_path / "progress.json", b"old")
    for _ in range(2):
        killed = subprocess.run([sys.executable, "-c", _KILLED_WHILE_WRITING, str(path)], check=False, timeout=60)
        assert killed.returncode == -signal.SIGKILL
        assert path.read_bytes() == b"old"
        assert len(list(tmp_path.iterdir())) == 2
    write_atomically(path, b"new")
    assert list(tmp_path.iterdir()) == [path]


def test_writers_of_one_shared_path_do_not_meet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "state"
    both_have_written = threading.Barrier(2, timeout=30)
    flush = os.fsync

    def flush_together(handle: int) -> None:
        flush(handle)
        both_have_written.wait()

    monkeypatch.setattr(os, "fsync", flush_together)
    errors = []

    def write(content: bytes) -> None:
        try:
            write_atomically(path, content, shared=True)
        except OSError as error:
            errors.append(error)

    writers = [threading.Thread(target=write, args=(bytes([mark]) * 1000,)) for mark in (1, 2)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    # With one staging file for both, the second rename finds nothing.
    assert errors == []
    assert path.read_bytes() in (b"\1" * 1000, b"\2" * 1000)
    assert list(tmp_path.iterdir()) == [path]
