"""`pokered_rl` and `python -m pokered_rl`: commands, help, version, and the status without a known command."""

import runpy
import subprocess
import sys
from importlib import metadata

import pytest

from pokered_rl.cli import main
from pokered_rl.record.palettes import PALETTES

COMMANDS = (
    *("train", "render", "evaluate", "report", "curriculum"),
    *("verify", "prove", "leaderboard", "live", "watch", "play", "doctor"),
)


@pytest.fixture
def run(monkeypatch, capsys):
    def command(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["pokered_rl", *arguments])
        with pytest.raises(SystemExit) as end:
            runpy.run_module("pokered_rl", run_name="__main__")
        return end.value.code, *capsys.readouterr()

    return command


def test_help_lists_the_commands(run):
    status, out, _ = run("--help")
    assert status == 0
    assert [line.split()[0] for line in out.splitlines() if line.startswith("  ")] == list(COMMANDS)


def test_version_is_that_of_the_distribution(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"pokered_rl {metadata.version('pokered_rl')}\n"


@pytest.mark.parametrize("arguments", [(), ("teach",)])
def test_without_a_known_command_the_usage_goes_to_stderr(run, arguments):
    status, out, err = run(*arguments)
    assert status == 2
    assert out == ""
    assert "usage: python -m pokered_rl COMMAND" in err
    assert all(repr(argument) in err for argument in arguments)


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_have_a_help_under_their_own_name_that_says_the_exit_statuses(run, command):
    status, out, _ = run(command, "--help")
    assert status == 0
    assert out.startswith(f"usage: python -m pokered_rl {command}")
    assert "exit status: 0" in out.lower()


@pytest.mark.parametrize("command", ["render", "report"])
def test_palettes_are_named_in_the_help_and_another_name_is_refused(run, command):
    _, out, _ = run(command, "--help")
    assert all(name in out for name in PALETTES)
    status, _, err = run(command, "runs/a", "--palette", "sepia")
    assert status == 2
    assert "'sepia'" in err


def test_no_help_imports_what_takes_seconds():
    for_each = f"""
import contextlib, io, sys
from pokered_rl.cli import main
for command in {COMMANDS}:
    with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()):
        main([command, "--help"])
    heavy = {{"torch", "torchrl", "pyboy", "av", "matplotlib", "tensorboard"}} & set(sys.modules)
    assert not heavy, (command, heavy)
"""
    done = subprocess.run([sys.executable, "-c", for_each], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
