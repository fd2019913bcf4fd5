"""The ablation's configs differ where they say, and its table is made from the collected results alone."""

import csv
import json
import subprocess
import sys

import pytest
from omegaconf import OmegaConf

import ablation
from drawing import draw_ablation
from pokered_rl.training.load_config import load_config


def _flat(name):
    tree = OmegaConf.to_container(OmegaConf.structured(load_config(f"ablation/{name}")))
    return {f"{section}.{key}": value for section, options in tree.items() for key, value in options.items()}


@pytest.mark.parametrize(
    ("name", "key", "value"),
    [
        ("no_lstm", "network.recurrent", False),
        ("no_mask", "env.action_mask", False),
        ("no_reconstruction", "loss.reconstruction_weight", 0.0),
        ("one_step", "loss.n_step", 1),
    ],
)
def test_each_variant_takes_one_thing_away(name, key, value):
    full, variant = _flat("full"), _flat(name)
    assert {k: variant[k] for k in full if variant[k] != full[k]} == {"run.name": name, key: value}


def _run(coverage, *, steps=2048, random=30):
    # Two episodes each, one below and one above the mean.
    def played(mean):
        return {"coverage": [mean - 1, mean + 1], "return": [5.0, 5.0], "length": [256, 256]}

    curve = {"steps": [256 * number for number in range(1, 9)], "return": list(range(1, 9))}
    return {"steps": steps, "curve": curve, "trained": played(coverage), "random": played(random)}


def _runs(coverage):
    return {
        f"{variant}-s{seed}": _run(value) for variant, seeds in coverage.items() for seed, value in enumerate(seeds)
    }


def test_difference_inside_the_spread_is_reported_as_none(tmp_path):
    coverage = {
        "full": (100, 110, 120),
        "no_lstm": (50, 60, 70),  # every seed below every one of full: 60 - 110
        "no_mask": (90, 95, 101),  # its best is above full's worst
        "no_reconstruction": (121, 130, 140),
        "one_step": (100, 110, 120),
    }
    result = ablation.summary(_runs(coverage))
    assert {name: row["verdict"] for name, row in result["variants"].items()} == {
        "full": "-",
        "no_lstm": "-50.0",
        "no_mask": "none",
        "no_reconstruction": "+20.0",
        "one_step": "none",
        "random": "-80.0",
    }
    assert result["coverage"]["no_lstm"] == [50.0, 60.0, 70.0]
    assert result["steps"]["full-s0"] == 2048
    draw_ablation(result, tmp_path / "ablation.svg")
    assert "one_step" in (tmp_path / "ablation.svg").read_text()


def test_missing_runs_are_named(tmp_path, monkeypatch, capsys):
    file = tmp_path / "ablation.json"
    file.write_text(json.dumps({"samples": _runs({"full": (100,)})}))
    monkeypatch.setattr("sys.argv", ["ablation.py", "--json", str(file)])
    assert ablation.main() == 1
    message = capsys.readouterr().err
    assert "has no runs of no_lstm, no_mask, no_reconstruction, one_step;" in message
    assert "--train" in message


def test_curves_have_at_most_two_hundred_points_of_mean_returns(tmp_path):
    _finished_run(tmp_path / "full-s0", episodes=401)
    curve = ablation.collect(tmp_path / "full-s0")["curve"]
    # Threes: 401 episodes are 133 groups of three, and one of two.
    assert len(curve["steps"]) == len(curve["return"]) == 134
    assert curve["steps"][0] == 2048  # of 1024, 2048 and 3072
    assert curve["return"][0] == 1.0  # of 0, 1 and 2
    assert curve["return"][-1] == 399.5


def _finished_run(run, *, episodes=1):
    (run / "metrics").mkdir(parents=True)
    with (run / "metrics" / "episodes.csv").open("w", newline="") as file:
        rows = [(1024 * (number + 1), number) for number in range(episodes)]
        csv.writer(file).writerows([("steps", "return"), *rows])
    played = {"coverage": [3], "returns": [1.0], "lengths": [256]}
    (run / "evaluation.json").write_text(json.dumps({"trained": played, "random": played}))
    (run / "progress.json").write_text('{"steps": 2048}')


def test_run_that_fails_is_named_and_the_others_are_collected(tmp_path):
    failing, complete = (tmp_path / "runs" / name for name in ("full-s0", "full-s1"))
    failing.mkdir(parents=True)
    # A run of this name that began with another seed: training refuses to go on with it.
    (failing / "config.yaml").write_text("run: {seed: 7}\n")
    _finished_run(complete)
    file = tmp_path / "ablation.json"
    options = ("--train", str(tmp_path / "runs"), "--variants", "full", "--seeds", "0", "1", "--json", str(file))
    command = [sys.executable, ablation.__file__, *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "run.seed was 7" in done.stderr
    assert "full-s0 ended with exit status 1 before it was complete" in done.stderr
    assert str(failing) in done.stderr
    assert list(json.loads(file.read_text())["samples"]) == ["full-s1"]
