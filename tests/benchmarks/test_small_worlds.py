"""The small worlds can be solved and only as they say, each agent differs where it says, and the agents learn them."""

import json
import math
from dataclasses import fields

import pytest
import torch
from omegaconf import OmegaConf

import small_worlds
from pokered_rl.training.load_config import load_config
from small_worlds import AGENTS, Chain, CueRecall, Plates, Shop
from tiny_run import TINY

SMALL = [name for name in AGENTS if name != "starter"]


def _play(world, choose):
    """Outcomes of the first episodes, by an action for each environment that may look at the hidden state."""
    env = world(16)
    done, outcomes = torch.zeros(16, dtype=torch.bool), [[] for _ in range(16)]
    step = env.reset()
    for _ in range(world.limit):
        step = env.step(step.set("action", choose(env)))["next"]
        for index in (~done & ~step["outcome"].isnan().squeeze(-1)).nonzero().flatten():
            outcomes[index].append(step["outcome"][index].item())
        done |= step["done"].squeeze(-1)
    assert done.all()
    return outcomes


def _recall(env):
    return (env.cue + (env.now > env.late)) % env.cues


def _walk_to_the_paying_end(env):
    return torch.where(env.place > 0, 0, 1 + env.cue)


def _press_in_order(env):
    """Walk to the next plate along the corner that has none."""
    goal = env.plates[env.order.gather(1, env.down.clamp(max=2).unsqueeze(-1)).squeeze(-1)]
    y, x, to_y, to_x = env.tile // 3, env.tile % 3, goal // 3, goal % 3
    vertical = torch.where(to_y > y, 1, 0)
    sideways = torch.where(to_x > x, 3, 2)
    return torch.where((to_y == y) | ((y == 2) & (to_x != x)), sideways, vertical)


def _buy(env):
    down = (env.screen == env.GOODS) & (env.cursor < env.wanted)
    return torch.where(down, env.DOWN, env.A)


@pytest.mark.parametrize(
    ("world", "choose"),
    [(CueRecall, _recall), (Chain, _walk_to_the_paying_end), (Plates, _press_in_order), (Shop, _buy)],
)
def test_who_knows_the_hidden_state_always_succeeds(world, choose):
    torch.manual_seed(0)
    outcomes = _play(world, choose)
    assert all(values and set(values) == {1.0} for values in outcomes)


@pytest.mark.parametrize(
    ("world", "choose"),
    [
        (CueRecall, lambda env: (_recall(env) + 1) % env.cues),
        (Chain, lambda env: torch.where(env.place > 0, 0, 2 - env.cue)),
        (Plates, lambda env: torch.full_like(env.tile, 4)),
        (Shop, lambda env: torch.full_like(env.screen, env.A)),  # the first thing of the list
    ],
)
def test_what_is_not_asked_for_is_a_failure(world, choose):
    torch.manual_seed(0)
    assert all(values and set(values) == {0.0} for values in _play(world, choose))


def test_the_stone_is_read_once():
    env = Plates(1)
    order = env.reset()["observation"][:, 9:18]
    assert not order.any()
    read = torch.tensor([4])
    shown = env.step(env.reset().set("action", read))["next"]
    assert shown["observation"][0, 9:18].reshape(3, 3).argmax(-1).tolist() == env.order[0].tolist()
    assert not env.step(shown.set("action", read))["next"]["observation"][:, 9:18].any()


@pytest.mark.parametrize("variant", [name for name in AGENTS["starter"] if name != "full"])
def test_each_variant_on_sprout_changes_one_option(variant):
    def flat(overrides):
        tree = OmegaConf.to_container(OmegaConf.structured(load_config("sprout", overrides)), enum_to_str=True)
        return {f"{section}.{key}": value for section, options in tree.items() for key, value in options.items()}

    full, changed = flat([]), flat(AGENTS["starter"][variant])
    assert [key for key in full if full[key] != changed[key]] == [AGENTS["starter"][variant][0].split("=")[0]]


@pytest.mark.parametrize(("world", "variant"), [(world, name) for world in SMALL for name in AGENTS[world]])
def test_each_variant_takes_one_thing_away(world, variant):
    full, agent = AGENTS[world]["full"], AGENTS[world][variant]
    if agent is not None:  # the table
        changed = [field.name for field in fields(full) if getattr(full, field.name) != getattr(agent, field.name)]
        assert len(changed) == (variant != "full")


@pytest.mark.parametrize(("world", "variant"), [*((world, "full") for world in SMALL), ("chain", "table")])
def test_each_world_trains_for_a_few_steps(world, variant):
    result = small_worlds.train(world, variant, 0, max_steps=2560)
    assert result["steps"] == 2560
    assert 0 <= result["success"] <= 1


def test_sprout_trains_for_a_few_episodes(monkeypatch):
    monkeypatch.setitem(AGENTS["starter"], "tiny", [*TINY, "curriculum.enabled=false"])
    monkeypatch.setattr(small_worlds, "STARTER_WINDOW", 2)
    result = small_worlds.train("starter", "tiny", 0, max_steps=200)
    assert result["success"] == 0  # nobody takes a creature within 40 steps of the door


def test_runs_that_miss_the_goal_count_as_the_slowest(tmp_path):
    file = tmp_path / "results.json"
    run = {"world": "shop", "variant": "full", "success": 0.5, "steps": 900, "cpu_seconds": 1, "commit": "abc"}
    for seed, steps in enumerate([300, None, 100, None, None]):
        small_worlds._write(file, run | {"seed": seed, "steps_to_goal": steps}, [[900, 0.5]])
    written = json.loads(file.read_text())
    row = written["worlds"]["shop"]["full"]
    assert (row["runs"], row["reached"], row["low_steps"], row["high_steps"]) == (5, 2, 100, 300)
    assert row["median_steps"] is None
    small_worlds._write(file, run | {"seed": 1, "steps_to_goal": 200}, [[900, 0.5]])
    row = json.loads(file.read_text())["worlds"]["shop"]["full"]
    assert (row["runs"], row["reached"], row["median_steps"]) == (5, 3, 300)


def _success(world, variant):
    success = small_worlds.train(world, variant, 0)["success"]
    assert not math.isnan(success)
    return success


@pytest.mark.long
@pytest.mark.parametrize("world", SMALL)
def test_the_full_agent_learns_each_world(world):
    # The chain is not learned to its end in the steps of a run.
    assert _success(world, "full") > (0.75 if world == "chain" else 0.9)


@pytest.mark.long
@pytest.mark.parametrize(
    ("world", "variant"),
    [("cue_recall", "zero_start"), ("cue_recall", "no_lstm"), ("chain", "no_lstm"), ("plates", "no_lstm")],
)
def test_without_memory_the_hidden_state_is_guessed(world, variant):
    assert _success(world, variant) < 0.6
