import dataclasses
import json

import pytest

from pokered_rl.errors import ConfigError
from pokered_rl.training.config import Backend, Config, NetworkSize
from pokered_rl.training.plan import Costs, Machine, main, make_plan, measured_costs, memory_needs

#: Round numbers: a frame 40 us, a step of 24 frames 960 us, a worker's step 1,000 us and 40 us for each emulator.
COSTS = Costs(
    frame_us=40.0,
    wait_frames=6.0,
    worker_step_us={"tiny": {"fixed": 1000.0, "each": 40.0}},
    drain_us=100.0,
    learner_row_us={"tiny": 50.0},
    bytes_per_step=2000.0,
    worker_bytes=300e6,
    emulator_bytes=3e6,
    learner_bytes=700e6,
)


def small_config(**collector):
    config = Config()
    config.network.size = NetworkSize.tiny
    config.env.wait_while_busy = False
    config.collector = dataclasses.replace(config.collector, emulators_per_worker=10, **collector)
    config.learner.batch_size = 8
    return config


def plan(config, machine):
    return make_plan(config, machine, COSTS, replay=(1000, 160_000_000), macs=1_000_000, parameters=500_000)


def test_a_worker_makes_its_emulators_steps_in_the_sum_of_their_costs():
    # 10 emulators: 10 x 24 x 40 + 1000 + 10 x 40 = 11,000 us; 10 steps in them are 909.09 steps/s.
    assert plan(small_config(num_workers=1), Machine(cores=2)).acting_steps == pytest.approx(10e6 / 11_000)
    assert plan(small_config(num_workers=7), Machine(cores=8)).acting_steps == pytest.approx(70e6 / 11_000)


def test_more_workers_than_cores_share_them_with_the_learner():
    # Two workers and the learner on two cores: each gets two thirds of one.
    assert plan(small_config(num_workers=2), Machine(cores=2)).acting_steps == pytest.approx(2 * 2 / 3 * 10e6 / 11_000)


def test_waiting_for_the_game_costs_its_frames():
    config = small_config(num_workers=1)
    config.env.wait_while_busy = True
    assert plan(config, Machine(cores=2)).acting_steps == pytest.approx(10e6 / (10 * 30 * 40 + 1400))


def test_the_slowest_of_acting_taking_in_and_learning_sets_the_pace():
    # An update: 8 x 125 rows x 50 us = 50 ms, 20 a second, for 8 x 80 / 8 = 80 steps each: 1,600 steps/s.
    few, many = (
        plan(small_config(num_workers=1), Machine(cores=64)),
        plan(small_config(num_workers=16), Machine(cores=64)),
    )
    assert few.learning_steps == pytest.approx(1600)
    assert (few.bound_by, many.bound_by) == ("acting", "learning")
    assert many.steps == pytest.approx(1600)
    assert many.updates == pytest.approx(20)
    assert many.hours == pytest.approx(25e6 / 1600 / 3600)
    # On a GPU of 1 TFLOP/s: 2 x 4 x 1e6 x 1000 operations take 8 ms, so 10,000 steps/s; taking in allows as many.
    fast = plan(small_config(num_workers=16), Machine(cores=64, gpu_teraflops=1.0))
    assert fast.learning_steps == pytest.approx(10_000)
    assert fast.drain_steps == pytest.approx(10_000)


def test_workers_inside_the_learner_take_turns_with_it():
    config = small_config(backend=Backend.inline)
    # A step costs 1,100 us of acting, 100 us of taking in and 50 ms / 80 = 625 us of learning.
    assert plan(config, Machine(cores=2)).steps == pytest.approx(1e6 / (1100 + 100 + 625))


def test_only_what_crosses_between_nodes_counts_as_network():
    alone = plan(small_config(num_workers=2), Machine(cores=4))
    spread = plan(small_config(num_workers=2), Machine(cores=4, nodes=4))
    assert alone.network_bytes == 0
    pushes = spread.updates / 25
    assert spread.network_bytes == pytest.approx(0.75 * spread.steps * 2000 + 3 * pushes * 4 * 500_000)


def test_memory_grows_with_workers_and_emulators():
    config = small_config(num_workers=4)
    needs = memory_needs(config, COSTS, workers=4, sequences=1000)
    assert needs.worker == 300e6 + 10 * 3e6
    assert needs.total == needs.learner + 4 * needs.worker


def test_a_size_without_measured_costs_is_refused():
    config = small_config(num_workers=1)
    config.network.size = NetworkSize.large
    with pytest.raises(ConfigError, match=r"network\.size=large.*only tiny"):
        plan(config, Machine(cores=2))


def test_costs_come_with_the_package():
    costs = measured_costs()
    assert 10 < costs.frame_us < 200
    assert set(costs.worker_step_us) == set(costs.learner_row_us) == {"tiny", "base"}


def test_the_command_prints_a_plan_for_a_yaml_file(capsys):
    arguments = ["configs/quickstart.yaml", "--cores", "2", "--json", "collector.num_workers=1"]
    assert main(arguments) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["workers"] == 1
    assert printed["emulators"] == 16
    assert printed["steps"] > 0
    assert printed["replay_bytes"] > 100_000_000


@pytest.mark.parametrize("wrong", [("--gpu-teraflops", "-1"), ("--gpu-teraflops", "nan"), ("--nodes", "0")])
def test_a_machine_that_cannot_be_is_refused(capsys, wrong):
    assert main(["quickstart", *wrong]) == 1
    assert f"error: {wrong[0]} must be >=" in capsys.readouterr().err


def test_a_config_that_does_not_exist_is_one_error(capsys):
    assert main(["configs/nothing.yaml"]) == 1
    assert capsys.readouterr().err.startswith("error: ")
