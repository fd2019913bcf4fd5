"""The calibration's variants differ where they say, and its figure is made from the training episodes."""

import pytest
from omegaconf import OmegaConf

import calibration
from pokered_rl.training.load_config import load_config


def _flat(overrides):
    tree = OmegaConf.to_container(OmegaConf.structured(load_config("calibration", overrides)), enum_to_str=True)
    return {f"{section}.{key}": value for section, options in tree.items() for key, value in options.items()}


@pytest.mark.parametrize("variant", calibration.VARIANTS)
def test_each_variant_changes_the_options_of_its_parts_only(variant):
    everything, found = _flat([]), _flat(calibration.VARIANTS[variant])
    changed = {key for key in everything if everything[key] != found[key]}
    off = {override.split("=")[0] for override in calibration.PARTS.values()}
    kept = {"none": set(), "all": off, "all_epsilon_z": off}.get(variant)
    kept = {calibration.PARTS[variant].split("=")[0]} if kept is None else kept
    assert changed == (off - kept) | ({"collector.exploration"} if variant == "all_epsilon_z" else set())


def test_the_last_fifth_of_the_steps_is_compared(tmp_path):
    metrics = tmp_path / "none-s0" / "metrics"
    metrics.mkdir(parents=True)
    # 100 steps: the last fifth begins behind step 80, its mean is (10 + 20) / 2.
    metrics.joinpath("episodes.csv").write_text("steps,return\n10,1\n80,5\n90,10\n100,20\n")
    metrics.joinpath("train.csv").write_text(
        "steps,lr_share_core,q_share_pixels,loss\n50,0.1,0.2,3\n90,0.5,0.25,3\n95,,,3\n"
    )
    result = calibration.collect(metrics.parent)
    assert result["last_fifth"] == 15
    assert result["steps"] == [15, 85, 95, 100]
    assert result["return"] == [1, 5, 10, 20]
    assert result["episodes"] == 4
    assert result["diagnostics"] == {"lr_share_core": 0.5, "q_share_pixels": 0.25}  # the last row that has them
