import subprocess
import sys
from pathlib import Path

import pytest

from pokered_rl.training.main import main

ROOT = Path(__file__).parents[2]


def _example(*arguments: str) -> subprocess.CompletedProcess[str]:
    script = str(ROOT / "examples" / "train_r2d2.py")
    return subprocess.run(
        [sys.executable, script, *arguments], capture_output=True, text=True, timeout=120, check=False, cwd=ROOT
    )


def test_unknown_key_is_one_message_with_the_nearest_name_and_no_traceback():
    done = _example("--config-name", "quickstart", "collector.num_worker=8")
    assert done.returncode == 1
    assert done.stderr.startswith("error: there is no config key 'collector.num_worker'")
    assert "collector.num_workers" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert done.stdout == ""


def test_whole_config_can_be_shown_without_training(capsys):
    assert main(["--config-name", "quickstart", "--print-config", "run.name=b"]) == 0
    shown = capsys.readouterr().out
    assert "name: b" in shown
    assert "noise_std:" in shown


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--config-name", "quickstat"], ["'quickstat'", "quickstart"]),
        (["--config-dir", "/nowhere"], ["--config-dir", "/nowhere"]),
        (["run.name"], ["run.name"]),
        (["loss.gamma=2"], ["loss.gamma", "2.0"]),
        (["reward=explore"], ["reward/explore", "reward/exploration"]),
    ],
)
def test_wrong_arguments_are_one_message(capsys, arguments, words):
    assert main(arguments) == 1
    message = capsys.readouterr().err
    assert message.startswith("error: ")
    assert len(message.splitlines()) == 1
    for word in words:
        assert word in message


def test_installed_package_has_the_same_command():
    done = subprocess.run(
        [sys.executable, "-m", "pokered_rl", "train", "loss.gama=1"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 1
    assert "loss.gamma" in done.stderr
