"""Options of the config reach the parts that they are for."""

import csv
import pickle

import pytest
import torch

from pokered_rl.emulator import Cartridge
from pokered_rl.envs import MapMemory, RewardTerms
from pokered_rl.modules import R2D2Network
from pokered_rl.training.builders import _schedule, transform_factory
from pokered_rl.training.load_config import load_config


def _learner_rows(folder):
    with (folder / "a" / "metrics" / "train.csv").open() as file:
        return list(csv.DictReader(file))


def test_every_run_logs_how_far_its_stored_states_have_drifted(finished):
    with (finished / "metrics" / "train.csv").open() as file:
        values = [float(row["delta_q"]) for row in csv.DictReader(file) if row.get("delta_q")]
    assert values
    assert max(values) > 0  # a difference between weights of different ages, not a constant
    assert all(value < 1e6 for value in values)


def test_map_reconstruction_and_random_shift_are_options_of_a_run(runs, train):
    assert train("network.reconstruct_map=true", "learner.random_shift_pixels=2") == 0
    rows = _learner_rows(runs)
    assert any(float(row["loss_map_reconstruction"] or 0) > 0 for row in rows)


def test_network_without_memory_has_no_state_to_compare(runs, train):
    assert train("network.recurrent=false") == 0
    assert "delta_q" not in _learner_rows(runs)[-1]


def test_compiled_run_compiles_encoder_heads_and_mathematics(runs, train, monkeypatch):
    compiled = []

    def compile_eagerly(function, **options):
        compiled.append(options)
        return torch_compile(function, backend="eager", **options)

    torch_compile = torch.compile
    monkeypatch.setattr(torch, "compile", compile_eagerly)
    assert train("runtime.compile=true", "run.target_total_steps=100") == 0
    # encoder, quantile head, context reconstruction and the loss's mathematics, all without a graph break
    assert [options["fullgraph"] for options in compiled] == [True] * 4


def test_compiled_network_travels_to_a_worker_uncompiled():
    network = R2D2Network(num_actions=3, size="tiny", context_size=4, num_quantiles=5, hidden_size=8)
    network.compile_parts(backend="eager")
    assert network.encoder._compiled_call_impl is not None
    assert pickle.loads(pickle.dumps(network)).encoder._compiled_call_impl is None


@pytest.mark.long
@pytest.mark.timeout(1200)
def test_run_compiled_for_real_learns_with_finite_losses(runs, train):
    assert train("runtime.compile=true") == 0
    assert all(float(row["loss_quantile"]) < 1e3 for row in _learner_rows(runs) if row["loss_quantile"])


def test_events_of_the_story_renew_the_ground_where_the_config_says_so():
    profile = Cartridge.bundled().profile
    for overrides, events in (([], ()), (["env.renew_visits=true"], profile.required_events)):
        transforms = transform_factory(load_config("quickstart", overrides))(profile=profile)
        renewing = [each.renewing_events for each in transforms if isinstance(each, MapMemory | RewardTerms)]
        assert renewing == [events, events]


def test_step_size_falls_in_a_straight_line(runs, train):
    options = ("learner.learning_rate=1e-3", "learner.final_learning_rate=1e-4", "learner.fall_updates=1000000")
    schedule = _schedule(load_config("quickstart", list(options)))
    assert [schedule(updates) for updates in (0, 500_000, 1_000_000, 3_000_000)] == pytest.approx(
        [1e-3, 5.5e-4, 1e-4, 1e-4]
    )
    assert train(*options) == 0
    [checkpoint, *_] = sorted(runs.glob("*/checkpoints/*/state.pt"))
    learner = torch.load(checkpoint, weights_only=False)["learner"]
    assert learner["updates"] > 1
    assert learner["optimizer"]["param_groups"][0]["lr"] == schedule(learner["updates"] - 1) < 1e-3
