"""What macOS lacks: affinity, reserved files and /proc; and Windows, which is refused."""

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.fixture
def macos(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take away what CPython has on Linux only, and /proc."""
    real_open = io.open

    def is_hidden(path: object) -> bool:
        return isinstance(path, str | Path) and str(path).startswith("/proc")

    def open_without_proc(file, *arguments, **options):
        if is_hidden(file):
            raise FileNotFoundError(2, "No such file or directory", str(file))
        return real_open(file, *arguments, **options)

    for name in ("sched_getaffinity", "sched_setaffinity", "posix_fallocate", "posix_fadvise"):
        monkeypatch.delattr(os, name, raising=False)
    monkeypatch.setattr(io, "open", open_without_proc)
    monkeypatch.setattr("builtins.open", open_without_proc)
    for name in ("exists", "is_file", "is_dir"):
        real = getattr(Path, name)
        monkeypatch.setattr(
            Path, name, lambda path, _real=real, **options: not is_hidden(path) and _real(path, **options)
        )
    monkeypatch.setattr(sys, "platform", "darwin")


@pytest.mark.usefixtures("macos")
def test_run_is_trained_and_continued_without_what_only_linux_has(train):
    with pytest.raises(FileNotFoundError):
        Path("/proc/self/stat").read_text()
    assert train("run.target_total_steps=60") == 0
    assert train("run.target_total_steps=120") == 0


def test_windows_is_refused_in_one_sentence_that_names_wsl():
    program = "import sys, pokered_rl; sys.platform = 'win32'; import pokered_rl.cli.train"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert "WSL" in done.stderr
