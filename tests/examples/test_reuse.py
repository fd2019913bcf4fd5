"""The examples of reuse run as they stand, with budgets of a few steps, and stay as short as they promise."""

import csv
import re
import runpy
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
REUSE = sorted((EXAMPLES / "reuse").glob("*.py"))


@pytest.fixture
def run(monkeypatch, capsys):
    """Runs an example in this process and returns what it printed."""

    def run_example(name: str, *arguments: str) -> str:
        monkeypatch.delenv("POKERED_ROM", raising=False)
        monkeypatch.setattr(sys, "argv", [name, *arguments])
        runpy.run_path(str(EXAMPLES / "reuse" / name), run_name="__main__")
        return capsys.readouterr().out

    return run_example


def test_ppo_of_torchrl_trains_on_our_environment(run):
    rewards = re.findall(r"reward of a step: (-?\d\.\d+)", run("ppo.py", "--steps", "128", "--batch", "64"))
    assert len(rewards) == 2


@pytest.mark.parametrize("memory", [(), ("--no-memory",)])
def test_our_loss_network_and_replay_train_on_a_gymnasium_task(run, memory):
    assert "4000 steps: a pole falls every" in run("r2d2_on_gymnasium.py", "--steps", "4000", *memory)


def test_our_transforms_work_on_an_environment_written_by_hand(run):
    shown = run("transforms_on_own_env.py", "--steps", "30")
    assert "'map_memory': (2, 30, 2, 21, 21)" in shown
    # A random walk of 30 steps sees at least one new tile, and never more than 30.
    walkers = [float(value) for value in re.findall(r"\d+\.\d+", shown.splitlines()[-1])]
    assert len(walkers) == 2
    assert all(1 <= tiles <= 30 for tiles in walkers)


def test_a_reward_term_of_ones_own_is_paid_beside_ours(run):
    rows = dict(line.split()[:2] for line in run("reward_term.py", "--steps", "60").splitlines())
    assert set(rows) == {"new_tiles", "badges", "texts"}
    assert float(rows["texts"]) > 0


def test_a_network_of_ones_own_trains_under_the_same_loss(run):
    losses = re.findall(r"loss (\d+\.\d+)", run("own_network.py", "--updates", "2"))
    assert len(losses) == 2


@pytest.mark.parametrize("path", REUSE, ids=lambda path: path.name)
def test_reuse_programs_are_short(path):
    parts = 5 if path.name == "own_parts.py" else 1  # it replaces five parts at once: as long as it takes to read them
    assert len(path.read_text().splitlines()) <= 50 + 10 * parts


@pytest.mark.parametrize("path", [*REUSE, *sorted(EXAMPLES.glob("*.py"))], ids=lambda path: path.name)
def test_every_example_has_a_help_that_says_what_it_is_for(path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [path.name, "--help"])
    monkeypatch.syspath_prepend(str(EXAMPLES))  # as for a script in that folder
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(path), run_name="__main__")
    shown = capsys.readouterr().out
    assert end.value.code == 0
    assert shown.startswith("usage:")
    assert len(shown.splitlines()) > 4


def test_a_network_learns_from_logs_to_press_what_was_pressed(monkeypatch, tmp_path):
    small = ("demonstrations.pretrain_updates=60", "run.target_total_steps=1", "run.evaluation_episodes=0")
    arguments = ["--config-name", "quickstart", f"run.folder={tmp_path}", *small, "collector.backend=inline"]
    monkeypatch.setattr(sys, "argv", ["behaviour_cloning.py", *arguments])
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(EXAMPLES / "reuse" / "behaviour_cloning.py"), run_name="__main__")
    assert end.value.code == 0
    with (tmp_path / "quickstart" / "metrics" / "train.csv").open(newline="") as file:
        *_, last = csv.DictReader(file)
    assert last["updates"] == "60"
    assert "loss_quantile" not in last
    assert float(last["demonstration_agreement"]) > 0.6  # 0.07 without the margin loss


@pytest.mark.parametrize("lacking", ["demonstrations.logs=[]", "demonstrations.margin_weight=0"])
def test_cloning_without_logs_or_margin_is_refused(monkeypatch, tmp_path, capsys, lacking):
    arguments = ["--config-name", "quickstart", f"run.folder={tmp_path}", "collector.backend=inline", lacking]
    monkeypatch.setattr(sys, "argv", ["behaviour_cloning.py", *arguments])
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(EXAMPLES / "reuse" / "behaviour_cloning.py"), run_name="__main__")
    assert end.value.code not in (0, None)
    assert "nothing to clone" in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "quickstart").exists()
