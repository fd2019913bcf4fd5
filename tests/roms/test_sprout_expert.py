"""The expert in agent actions: its map, its first steps, and its logs."""

from __future__ import annotations

from itertools import permutations
from pathlib import Path

import pytest
import sprout_expert as expert

from pokered_rl.data.demonstrations import demonstrated_steps
from pokered_rl.episodes import EpisodeLog, find_logs, verify
from pokered_rl.training import load_policy

AGENT = Path(__file__).parents[2] / "examples" / "assets" / "sprout_taught"


def test_every_goal_of_the_expert_can_be_walked_to_from_power_on() -> None:
    bedroom = expert.Spot("HOME_2F", 3, 6)
    goals = [spot for _, spot in expert.STORY] + [spot for _, spots in expert.GROW.values() for spot in spots]
    goals += [expert.SOUP, expert.HEAL_BRINDLE, expert.HEAL_HIGHMERE]
    goals += [expert.Spot("CAVE_B1F", *at) for at in expert.PLATES]
    for goal in goals:
        assert bedroom in expert._distances(expert.Spot(*goal[:3]), frozenset()), goal


@pytest.mark.parametrize("noise", [0.0, 0.2])
def test_the_expert_gets_its_starter_and_its_log_replays(tmp_path: Path, noise: float) -> None:
    steps, reached = expert.play(tmp_path, noise=noise, seed=1, until="starter", max_steps=600)
    assert reached[-1] == "starter"
    [path] = find_logs([tmp_path])
    log = EpisodeLog.load(path)
    assert log.steps == steps
    assert log.header.actions == expert.ACTIONS
    assert verify(log) >= 2


def test_random_steps_of_the_expert_show_nothing(tmp_path: Path) -> None:
    expert.play(tmp_path, noise=0.2, seed=1, until="leave_home", max_steps=600)
    log = EpisodeLog.load(find_logs([tmp_path])[0])
    assert 0.1 < 1 - demonstrated_steps(log).float().mean() < 0.35


def test_the_expert_corrects_an_agent_and_the_log_notes_who_acted(tmp_path: Path) -> None:
    agent = load_policy(AGENT)
    expert.play(tmp_path, noise=0.0, seed=1, max_steps=500, agent=agent)
    log = EpisodeLog.load(find_logs([tmp_path])[0])
    assert {"policy", "script"} <= {mark.who for mark in log.acted} <= {"policy", "script", "random"}
    assert log.header.weights_sha256 == agent.weights_sha256
    assert 0 < int(demonstrated_steps(log).sum()) < log.steps
    assert verify(log) >= 2


@pytest.mark.parametrize(("seed", "order"), [(2, ["parcel", "badge_stone"]), (1, ["badge_stone", "parcel"])])
def test_an_odd_seed_fights_the_first_leader_before_the_parcel(tmp_path: Path, seed: int, order: list[str]) -> None:
    assert sorted(expert.LEADER_FIRST) == sorted(expert.STORY)
    _, reached = expert.play(tmp_path, noise=0.0, seed=seed, until=order[-1], max_steps=2_500)
    assert [name for name in reached if name in order] == order


@pytest.mark.parametrize("order", permutations(expert.PLATES))
def test_the_expert_finds_any_order_of_the_plates(order: tuple[tuple[int, int], ...]) -> None:
    plates, down = expert.Plates(), 0
    for _ in range(16):  # the game's own rule
        plate = plates.wanted
        stays = plate == order[down]
        down = down + 1 if stays else int(plate == order[0])
        if down == 4:
            break
        plates.stepped_on(plate, stays=stays)
    assert down == 4


def test_the_expert_forgets_an_order_that_others_have_led_it_to() -> None:
    plates, (first, second, third, _) = expert.Plates(), expert.PLATES
    plates.stepped_on(second, stays=True)  # another one lay already
    plates.released()
    assert plates.wanted == second
    plates.stepped_on(second, stays=False)
    assert plates.wanted == first
    plates.stepped_on(first, stays=True)
    assert plates.wanted in (second, third)


@pytest.mark.long  # a minute
def test_the_expert_finishes_the_game(tmp_path: Path) -> None:
    steps, reached = expert.play(tmp_path, noise=0.02, seed=0, max_steps=30_000)
    assert reached[-1] == "hall_of_fame"
    assert steps < 8192  # an episode of configs/sprout.yaml
