"""`python -m pokered_rl`: commands, help, and the status where there is neither."""

import runpy
import sys

import pytest


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
    assert "train" in out
    assert "doctor" in out


@pytest.mark.parametrize("arguments", [(), ("teach",)])
def test_without_a_known_command_the_usage_goes_to_stderr(run, arguments):
    status, out, err = run(*arguments)
    assert status == 2
    assert out == ""
    assert "usage: python -m pokered_rl COMMAND" in err
    assert all(repr(argument) in err for argument in arguments)


@pytest.mark.parametrize("command", ["train", "doctor"])
def test_commands_have_a_help_under_their_own_name_that_says_the_exit_statuses(run, command):
    status, out, _ = run(command, "--help")
    assert status == 0
    assert out.startswith(f"usage: python -m pokered_rl {command}")
    assert "exit status: 0" in out
