"""`MilestoneStates`: reached once, started from later."""

import pytest
import torch

from pokered_rl.envs import MilestoneStates, make_env
from pokered_rl.errors import ConfigError
from pokered_rl.game import CartridgeProfile, Milestone, Milestones


@pytest.fixture
def build(sprout, start, monkeypatch):
    """An environment in which map 0 is a milestone, and a way to pretend to be there."""
    import dataclasses

    envs = []
    profile = dataclasses.replace(CartridgeProfile.get("sprout"), milestones=Milestones((Milestone("out", maps=(0,)),)))

    def run(**arguments):
        env = make_env(
            sprout,
            num_emulators=2,
            start_states=start,
            extra_transforms=[MilestoneStates(profile=profile, **arguments)],
            seed=0,
        )
        envs.append(env)
        column = env.base_env.ram_layout.column(0xD35E)
        step = env.base_env._pool.step

        def outside(actions):
            out = step(actions)
            out.ram[1, column] = 0
            return out

        def go() -> None:
            monkeypatch.setattr(env.base_env._pool, "step", outside)

        return env, go

    yield run
    for env in envs:
        env.close()


def _step(env, td):
    td["action"] = torch.zeros(2, dtype=torch.int64)
    return env.step(td)["next"]


def test_a_milestone_becomes_a_start_state_once(build, start):
    env, go = build(weight=3.0)
    td = _step(env, env.reset())
    assert [entry.name for entry in env.base_env.start_states] == [start.sha256[:12]]
    go()
    td = _step(env, td)
    [state] = env.base_env.save_states([1])
    _step(env, td)
    names = [(entry.name, entry.weight, entry.state.sha256) for entry in env.base_env.start_states]
    assert names == [(start.sha256[:12], 1.0, start.sha256), ("out", 3.0, state.sha256)]


def test_environments_that_share_a_folder_share_what_they_reached(build, tmp_path):
    env, go = build(folder=tmp_path)
    td = env.reset()
    go()
    _step(env, td)
    assert [path.name for path in tmp_path.glob("*")] == ["out.state"]
    other, _ = build(folder=tmp_path)
    other.reset()
    assert "out" in {entry.name for entry in other.base_env.start_states}


def test_weight_must_be_positive():
    with pytest.raises(ConfigError, match="weight"):
        MilestoneStates(weight=0.0)
