"""`evaluate` on a run that the test itself has trained for a few steps."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from pokered_rl.cli import main
from pokered_rl.emulator import Cartridge
from pokered_rl.episodes import EpisodeLog, find_logs, verify
from pokered_rl.training import load_policy


@pytest.fixture
def run(monkeypatch, capsys):
    monkeypatch.delenv("POKERED_ROM", raising=False)
    monkeypatch.setenv("COLUMNS", "200")

    def evaluate(*arguments: str) -> tuple[int, str, str]:
        try:
            status = main(["evaluate", *arguments])
        except SystemExit as end:  # argparse refuses the arguments
            status = end.code
        shown = capsys.readouterr()
        return status, shown.out, shown.err

    return evaluate


def test_agent_and_random_policy_are_evaluated_side_by_side(run, trained, tmp_path):
    file = tmp_path / "evaluation.json"
    status, out, _ = run(str(trained), "--episodes", "3", "--random", "--json", str(file))
    assert status == 0
    assert "coverage" in out
    content = json.loads(file.read_text())
    assert {name: result["episodes"] for name, result in content["results"].items()} == {
        "epsilon 0": 1,  # from one start state all greedy episodes are the same
        "epsilon 0.01": 3,
        "random": 3,
    }
    assert content["samples"]["random"]["lengths"] == [20, 20, 20]
    assert content["agent"]["steps"] == 80
    assert {"commit", "machine", "date", "samples"} <= set(content)
    assert content["command"] == f"pokered_rl evaluate {trained} --episodes 3 --random --json {file}"
    assert list(content["results"]["random"]["milestones"])  # those of the story, reached or not


def test_the_same_seed_gives_the_same_random_episodes(run, trained, tmp_path):
    contents = []
    for name in ("first", "second"):
        run(str(trained), "--episodes", "2", "--epsilon", "0", "--random", "--json", str(tmp_path / name))
        contents.append(json.loads((tmp_path / name).read_text())["samples"])
    assert contents[0] == contents[1]


def test_the_same_seed_gives_the_same_episodes_of_the_agent(run, trained, tmp_path):
    returns = []
    for number, seed in enumerate(("5", "5", "6")):
        torch.manual_seed(number)  # each program begins with another state
        file = tmp_path / f"{number}.json"
        run(str(trained), "--episodes", "3", "--epsilon", "0.5", "--steps", "40", "--seed", seed, "--json", str(file))
        returns.append(json.loads(file.read_text())["samples"]["epsilon 0.5"]["returns"])
    assert returns[0] == returns[1]
    assert returns[0] != returns[2]


def test_the_logs_of_the_episodes_are_kept_and_replay(run, trained, tmp_path):
    file, logs = tmp_path / "e.json", tmp_path / "logs"
    status, _, err = run(
        str(trained), "--episodes", "2", "--epsilon", "0.5", "--random", "--json", str(file), "--logs", str(logs)
    )
    assert status == 0, err
    samples = json.loads(file.read_text())["samples"]
    for acting, name in (("policy", "epsilon 0.5"), ("random", "random")):
        kept = [log for log in map(EpisodeLog.load, find_logs([logs])) if log.acted == ((0, acting),)]
        assert sorted(round(log.episode_return, 3) for log in kept) == sorted(
            round(each, 3) for each in samples[name]["returns"]
        )
        assert all(verify(log) for log in kept)


def test_what_is_no_run_is_one_message(run, tmp_path):
    status, _, err = run(str(tmp_path))
    assert status == 1
    assert err.startswith("error: ")
    assert str(tmp_path) in err


@pytest.mark.parametrize("wrong", [("--episodes", "0"), ("--epsilon", "1.5")])
def test_wrong_arguments_are_refused(run, trained, wrong):
    status, _, err = run(str(trained), *wrong)
    assert status == 2
    assert "--epsilon" in err


def test_evaluation_needs_nothing_but_the_package_itself():
    # The README offers it after `pip install -e .`, where psutil and the like are not there.
    code = "import sys; sys.modules |= {'psutil': None, 'ray': None}; import pokered_rl.cli.evaluate as evaluate"
    code += ", pokered_rl.training.policy, pokered_rl.training.evaluation"
    assert subprocess.run([sys.executable, "-c", code], timeout=120, check=False).returncode == 0


ASSET = Path(__file__).parents[2] / "examples" / "assets" / "sprout"


def test_the_agent_that_is_shipped_is_small_and_belongs_to_the_shipped_cartridge():
    evaluation = json.loads((ASSET / "evaluation.json").read_text())
    assert sum(file.stat().st_size for file in ASSET.iterdir()) < 5_000_000
    assert evaluation["cartridge"]["sha1"] == Cartridge.bundled().sha1
    assert evaluation["agent"]["steps"] == load_policy(ASSET).steps
