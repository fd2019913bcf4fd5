"""The comparison of shares changes what it says, and its figure is the median of the seeds."""

import json
from functools import partial

import pytest

import demonstrations
from pokered_rl.training.load_config import load_config

QUICKSTART = partial(load_config, "quickstart")


@pytest.mark.parametrize(("variant", "share"), [("none", 0), ("1/64", 1 / 64), ("1/8", 1 / 8), ("1/4", 1 / 4)])
def test_a_variant_that_plays_differs_from_the_preset_in_its_share_only(variant, share):
    config, preset = QUICKSTART(demonstrations.VARIANTS[variant][1]), QUICKSTART([])
    assert share == (config.demonstrations.ratio if config.demonstrations.logs else 0)
    config.demonstrations = preset.demonstrations
    assert config == preset


def test_cloned_policies_have_as_many_updates_and_play_nothing():
    config = QUICKSTART(demonstrations.VARIANTS["cloning"][1])
    assert config.run.target_total_steps == 1
    played = QUICKSTART([])
    inserted = demonstrations.STEPS / played.replay.sequence_period_steps
    updates = inserted * played.replay.samples_per_insert / played.learner.batch_size
    assert config.demonstrations.pretrain_updates == pytest.approx(
        played.demonstrations.pretrain_updates + updates, rel=0.05
    )


def test_the_median_of_the_seeds_is_shown(tmp_path, monkeypatch, capsys):
    rates = [0.2, 0.9, 0.4]
    runs = {
        f"seed {seed}": {"rates": dict.fromkeys(demonstrations.MILESTONES, rate)} for seed, rate in enumerate(rates)
    }
    file = tmp_path / "a.json"
    file.write_text(json.dumps({"samples": {"1/8": runs}}))
    monkeypatch.setattr("sys.argv", ["demonstrations.py", "--json", str(file)])
    assert demonstrations.main() == 0
    shown = capsys.readouterr().out
    assert "1/8" in shown
    assert "40%" in shown
    assert "90%" not in shown


def test_without_results_it_says_how_to_make_them(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["demonstrations.py", "--json", str(tmp_path / "none.json")])
    assert demonstrations.main() == 1
    assert "--train" in capsys.readouterr().err
