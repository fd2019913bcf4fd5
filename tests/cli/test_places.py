"""Folders that cannot be written, runs that do not exist: one line each, before the imports that take seconds."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pokered_rl.cli import main
from pokered_rl.failures import os_failure

#: What takes seconds to import; a place can be judged without it.
_SLOW = ("torch", "pyboy", "matplotlib")

_QUICK = ["train", "--config-name", "quickstart"]
#: Arguments with {bad}, a place that cannot be written, {run} and {log}, which exist; and the option to be named.
_WRITERS = {
    "train, run folder": ([*_QUICK, "run.folder={bad}"], "run.folder"),
    "train, scratch": ([*_QUICK, "run.folder={run}", "replay.scratch_folder={bad}"], "replay.scratch_folder"),
    "render": (["render", "{log}", "--out", "{bad}"], "--out"),
    "report": (["report", "{run}", "--out", "{bad}/report.html"], "--out"),
    "evaluate": (["evaluate", "{run}", "--json", "{bad}/a.json"], "--json"),
    "evaluate, logs": (["evaluate", "{run}", "--logs", "{bad}"], "--logs"),
    "verify": (["verify", "{log}", "--json", "{bad}/a.json"], "--json"),
    "live": (["live", "{run}", "--log", "{bad}"], "--log"),
    "play": (["play", "--log", "{bad}", "--terminal"], "--log"),
    "prove": (["prove", "{log}", "--milestone", "starter", "--out", "{bad}/a.proof"], "--out"),
    "leaderboard": (["leaderboard", "{run}", "--out", "{bad}/a.html"], "--out"),
    "curriculum, map": (["curriculum", "{run}", "--map", "{bad}/a.png"], "--map"),
    "curriculum, states": (["curriculum", "{run}", "--export", "{bad}"], "--export"),
}


@pytest.fixture
def places(tmp_path: Path) -> dict[str, str]:
    """A file where a folder should be, a name that is too long, a folder without files of ours; and an empty run."""
    (tmp_path / "run").mkdir()
    (tmp_path / "a.episode").write_bytes(b"")
    (tmp_path / "file").write_bytes(b"")
    return {
        "run": str(tmp_path / "run"),
        "log": str(tmp_path / "a.episode"),
        "below a file": str(tmp_path / "file" / "deeper"),
        "name too long": str(tmp_path / ("n" * 300)),
        "proc": "/proc/x" if Path("/proc/self").exists() else "/dev/null/x",
    }


@pytest.mark.parametrize("bad", ["below a file", "name too long", "proc"])
@pytest.mark.parametrize("writer", _WRITERS)
def test_place_that_cannot_be_written_is_one_line_that_names_the_option(places, capsys, writer: str, bad: str):
    arguments, option = _WRITERS[writer]
    before = sorted(Path(places["run"]).parent.rglob("*"))
    assert main([argument.format(**places, bad=places[bad]) for argument in arguments]) == 1
    message = capsys.readouterr().err
    assert len(message.splitlines()) == 1
    assert places[bad] in message
    assert option in message
    assert sorted(Path(places["run"]).parent.rglob("*")) == before


@pytest.mark.parametrize(
    "arguments",
    [
        ["evaluate", "{none}"],
        ["watch", "{none}"],
        ["report", "{none}"],
        ["report", "{run}", "--seeds", "{none}"],
        ["curriculum", "{none}"],
        ["render", "{none}"],
        ["verify", "{none}"],
        ["prove", "{none}", "--milestone", "starter"],
        ["leaderboard", "{none}"],
    ],
    ids=" ".join,
)
def test_run_that_does_not_exist_is_one_line(places, tmp_path: Path, capsys, arguments: list[str]):
    none = str(tmp_path / "none")
    assert main([argument.format(**places, none=none) for argument in arguments]) == 1
    message = capsys.readouterr().err
    assert len(message.splitlines()) == 1
    assert none in message


@pytest.mark.parametrize(
    "arguments", [["report", "{run}"], ["render", "{log}"], ["verify", "{log}"], ["play", "--terminal"]], ids=" ".join
)
def test_rom_that_does_not_exist_is_one_line(places, capsys, arguments: list[str]):
    rom = f"{places['run']}/none.gb"
    assert main([argument.format(**places) for argument in [*arguments, "--rom", rom]]) == 1
    message = capsys.readouterr().err
    assert len(message.splitlines()) == 1
    assert rom in message


def test_no_refusal_of_a_place_waits_for_slow_imports(places):
    commands = [
        [argument.format(**places, bad=places["proc"]) for argument in arguments] for arguments, _ in _WRITERS.values()
    ]
    program = f"""
import sys
from pokered_rl.cli import main
for arguments in {commands!r}:
    assert main(arguments) == 1, arguments
    slow = [name for name in {_SLOW!r} if name in sys.modules]
    assert not slow, (arguments, slow)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_folder_without_permission_is_one_line(places, tmp_path: Path, capsys):
    (tmp_path / "run").chmod(0o500)
    assert main([*_QUICK, f"run.folder={tmp_path / 'run'}"]) == 1
    assert "Permission denied" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ENOSPC, "make room"),
        (errno.EDQUOT, "quota"),
        (errno.EFBIG, "ulimit -f"),
        (errno.EROFS, "--out"),
        (errno.EIO, "--out"),
        (errno.EMFILE, "--out"),
    ],
)
def test_error_of_the_file_system_during_the_work_is_one_line(tmp_path, capsys, number: int, words: str):
    assert os_failure(OSError(number, os.strerror(number), str(tmp_path / "a")), remedy="use --out") == 1
    message = capsys.readouterr().err
    assert len(message.splitlines()) == 1
    for word in (words, str(tmp_path / "a"), os.strerror(number)):
        assert word in message


# 3 of 45 files and 90 of 100 blocks are free; then 30 of 45 files and 1 of 100 blocks.
@pytest.mark.parametrize(
    ("free_files", "free_blocks", "words"),
    [(0, 90, "number of files"), (3, 90, "number of files"), (30, 1, "the disk is full at")],
)
def test_disk_with_bytes_but_no_inodes_is_not_called_full(
    tmp_path, capsys, monkeypatch, free_files, free_blocks, words
):
    fields = {"f_files": 45, "f_favail": free_files, "f_blocks": 100, "f_bavail": free_blocks}
    monkeypatch.setattr(os, "statvfs", lambda path: type("Disk", (), fields))
    os_failure(OSError(errno.ENOSPC, "No space left on device", str(tmp_path / "a")), remedy="")
    assert words in capsys.readouterr().err


def test_defect_of_the_program_is_no_error_of_the_file_system():
    with pytest.raises(BrokenPipeError):
        os_failure(BrokenPipeError(errno.EPIPE, "Broken pipe"), remedy="")
