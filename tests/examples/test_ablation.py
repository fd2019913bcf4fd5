"""The ablation's configs differ where they say, and its table is made from CSV files alone."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from pokered_rl.training.load_config import load_config

ROOT = Path(__file__).parents[2]


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


def _write(path, header, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])


def _results(folder, coverage):
    for variant, seeds in coverage.items():
        for seed, value in enumerate(seeds):
            run = folder / f"{variant}-s{seed}"
            # Two episodes each, one below and one above the mean.
            rows = [("trained", value - 1, 5, 256), ("trained", value + 1, 5, 256), ("random", 30, 4, 256)]
            _write(run / "evaluation.csv", ("policy", "coverage", "return", "length"), rows)
            _write(run / "episodes.csv", ("steps", "return"), [(256 * k, k) for k in range(1, 9)])
            _write(run / "train.csv", ("steps",), [(1000,), (2048,)])


def _ablation(folder, *arguments):
    command = [sys.executable, str(ROOT / "examples" / "ablation.py"), "--results", str(folder), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def test_difference_inside_the_spread_is_reported_as_none(tmp_path):
    coverage = {
        "full": (100, 110, 120),
        "no_lstm": (50, 60, 70),  # every seed below every one of full: 60 - 110
        "no_mask": (90, 95, 101),  # its best is above full's worst
        "no_reconstruction": (121, 130, 140),
        "one_step": (100, 110, 120),
    }
    _results(tmp_path / "results", coverage)
    done = _ablation(tmp_path / "results")
    assert done.returncode == 0, done.stderr
    result = json.loads((tmp_path / "results.json").read_text())
    verdicts = {name: row["verdict"] for name, row in result["variants"].items()}
    assert verdicts == {
        "full": "-",
        "no_lstm": "-50.0",
        "no_mask": "none",
        "no_reconstruction": "+20.0",
        "one_step": "none",
        "random": "-80.0",
    }
    assert result["samples"]["no_lstm"] == [50.0, 60.0, 70.0]
    assert result["steps"]["full-s0"] == 2048
    assert (tmp_path / "results.png").read_bytes().startswith(b"\x89PNG")


def test_missing_runs_are_named(tmp_path):
    _results(tmp_path / "results", {"full": (100,)})
    (tmp_path / "results" / "full-s0" / "train.csv").unlink()
    done = _ablation(tmp_path / "results")
    assert done.returncode == 1
    assert "no finished runs of full, no_lstm, no_mask, no_reconstruction, one_step" in done.stderr
    assert "--train" in done.stderr
    assert not (tmp_path / "results.json").exists()


def test_run_that_fails_is_named_and_the_others_are_collected(tmp_path):
    failing, complete = (tmp_path / "runs" / name for name in ("full-s0", "full-s1"))
    failing.mkdir(parents=True)
    # A run of this name that began with another seed: training refuses to go on with it.
    (failing / "config.yaml").write_text("run: {seed: 7}\n")
    for name in ("episodes.csv", "train.csv"):
        _write(complete / "metrics" / name, ("steps",), [(2048,)])
    played = {"coverage": [3], "returns": [1.0], "lengths": [256]}
    (complete / "evaluation.json").write_text(json.dumps({"trained": played, "random": played}))
    options = ("--train", str(tmp_path / "runs"), "--variants", "full", "--seeds", "0", "1")
    done = _ablation(tmp_path / "results", *options)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "run.seed was 7" in done.stderr
    assert (
        f"full-s0 ended with exit status 1 before it was complete; what it said stands above, its folder is {failing}"
        in (done.stderr)
    )
    assert (tmp_path / "results" / "full-s1" / "evaluation.csv").is_file()
    assert not (tmp_path / "results.json").exists()
