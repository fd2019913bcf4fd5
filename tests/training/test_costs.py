import dataclasses
import json
from pathlib import Path

import pytest

from pokered_rl.errors import ConfigError
from pokered_rl.training.config import Backend, Config, NetworkSize
from pokered_rl.training.costs import Costs, expected_speed, measured_costs, memory_needs

#: Round numbers: a frame 40 us, a step of 24 frames 960 us, a worker's step 1,000 us and 40 us for each emulator.
COSTS = Costs(
    frame_us=40.0,
    wait_frames=6.0,
    worker_step_us={"tiny": {"fixed": 1000.0, "each": 40.0}},
    drain_us=100.0,
    sample_step_us=8.0,
    update_us={"tiny": {"fixed": 10_000.0, "each": 40.0}},
    worker_bytes=300e6,
    emulator_bytes=3e6,
    learner_bytes=700e6,
)


def small_config(**collector):
    config = Config()
    config.network.size = NetworkSize.tiny
    config.env.wait_while_busy = False
    config.curriculum.enabled = False
    config.collector = dataclasses.replace(config.collector, emulators_per_worker=10, **collector)
    config.learner.batch_size = 8
    return config


def speed(config, *, cores, on_gpu=False):
    return expected_speed(config, COSTS, cores=cores, on_gpu=on_gpu)


def test_a_worker_makes_its_emulators_steps_in_the_sum_of_their_costs():
    # 10 emulators: 10 x 24 x 40 + 1000 + 10 x 40 = 11,000 us; 10 steps in them are 909.09 steps/s.
    assert speed(small_config(num_workers=1), cores=2).acting == pytest.approx(10e6 / 11_000)
    assert speed(small_config(num_workers=7), cores=8).acting == pytest.approx(70e6 / 11_000)


def test_all_processes_together_work_on_the_cores_that_there_are():
    # A step costs 1,100 us of acting, 200 us of taking in and drawing, and 50 ms / 80 = 625 us of learning.
    config = small_config(num_workers=2)
    assert speed(config, cores=1).steps == pytest.approx(1e6 / 1925)
    assert speed(config, cores=1).bound_by == "the cores"
    assert speed(config, cores=2).steps == pytest.approx(2e6 / 1925)
    assert speed(config, cores=4).bound_by == "learning"
    # A GPU learns by itself.
    assert speed(config, cores=1, on_gpu=True).steps == pytest.approx(1e6 / 1300)
    # Ray's workers are elsewhere.
    assert speed(small_config(num_workers=2, backend=Backend.ray), cores=1).cores == pytest.approx(1e6 / 825)


def test_waiting_for_the_game_costs_its_frames():
    config = small_config(num_workers=1)
    config.env.wait_while_busy = True
    assert speed(config, cores=2).acting == pytest.approx(10e6 / (10 * 30 * 40 + 1400))


def test_a_capture_of_the_archive_costs_as_much_as_some_steps():
    config = small_config(num_workers=1)
    config.curriculum.enabled, config.curriculum.capture_every_steps = True, 200
    costs = dataclasses.replace(COSTS, capture_steps=20.0)
    # A step of 1,100 us; 20 steps for every 200 are a tenth more.
    assert expected_speed(config, costs, cores=2).acting == pytest.approx(1e6 / 1210)


def test_capture_costs_are_those_of_the_measured_archive():
    file = Path(__file__).parents[2] / "docs" / "benchmarks" / "results" / "archive_cost.json"
    measured = json.loads(file.read_text())
    # The share is of all acting; what a capture is compared with is acting without the archive.
    steps = measured["share"] / (1 - measured["share"]) * measured["capture_every_steps"]
    assert measured_costs().capture_steps == pytest.approx(steps, rel=0.01)


def test_on_cores_half_as_fast_every_part_is_half_as_fast():
    config = small_config(num_workers=2)
    config.curriculum.enabled = True
    speed = expected_speed(config, COSTS, cores=2)
    slow = expected_speed(config, COSTS.scaled(2), cores=2)
    for part, limit in speed.limits.items():
        assert slow.limits[part] == pytest.approx(limit / 2)
    assert COSTS.scaled(2).worker_bytes == COSTS.worker_bytes
    assert COSTS.scaled(1) == COSTS


def test_the_slowest_of_acting_taking_in_and_learning_sets_the_pace():
    # An update: 10 ms and 8 x 125 stored steps x 40 us are 50 ms; 20 a second, for 8 x 80 / 8 = 80 steps each.
    few, many = (speed(small_config(num_workers=number), cores=64) for number in (1, 16))
    assert few.learning == pytest.approx(1600)
    assert (few.bound_by, many.bound_by) == ("acting", "learning")
    assert few.steps == few.acting
    assert many.steps == pytest.approx(1600)
    assert many.steps_per_update == 80
    # On a GPU updates are not estimated, but what the learner's process does for them: 100 us to take a step in,
    # 8 x 125 stored steps x 8 us / 80 to draw.
    fast = speed(small_config(num_workers=16), cores=64, on_gpu=True)
    assert fast.learning is None
    assert (fast.bound_by, fast.steps) == ("the learner's process", pytest.approx(1e6 / 200))


def test_workers_inside_the_learner_take_turns_with_it():
    config = small_config(backend=Backend.inline)
    # A step costs 1,100 us of acting, 200 us of taking in and drawing and 50 ms / 80 = 625 us of learning.
    assert speed(config, cores=2).steps == pytest.approx(1e6 / (1100 + 200 + 625))


def test_memory_grows_with_workers_and_emulators():
    config = small_config(num_workers=4)
    needs = memory_needs(config, COSTS, workers=4, sequences=1000)
    assert needs.worker == 300e6 + 10 * 3e6
    assert needs.total == needs.learner + 4 * needs.worker


def test_a_size_without_measured_costs_is_refused():
    config = small_config(num_workers=1)
    config.network.size = NetworkSize.large
    with pytest.raises(ConfigError, match=r"network\.size=large.*only tiny"):
        speed(config, cores=2)


def test_costs_come_with_the_package():
    costs = measured_costs()
    assert 10 < costs.frame_us < 200
    assert set(costs.worker_step_us) == set(costs.update_us) == {"tiny", "base"}
