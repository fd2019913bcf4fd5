"""Gymnasium's own checks, and the batched environment behind its vector interface."""

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from pokered_rl import GYMNASIUM_ID
from pokered_rl.envs.gymnasium import PokemonRedGymEnv, PokemonRedVectorEnv
from pokered_rl.errors import ConfigError


@pytest.fixture
def arguments(sprout, start) -> dict:
    return {"cartridge": sprout, "start_states": start, "max_episode_steps": 5}


def test_passes_the_check_of_gymnasium(arguments):
    env = gymnasium.make(GYMNASIUM_ID, render_mode="rgb_array", **arguments)
    check_env(env.unwrapped)


def test_is_made_by_name(arguments):
    env = gymnasium.make(GYMNASIUM_ID, **arguments)
    observation, info = env.reset(seed=1)
    assert observation["pixels"].shape == (72, 80, 1)
    assert set(np.unique(observation["pixels"])) <= {0, 85, 170, 255}
    assert info["step_count"] == 0
    for _ in range(5):
        observation, reward, terminated, truncated, info = env.step(env.action_space.sample(info["action_mask"]))
        assert reward == pytest.approx(sum(info["reward_terms"].values()), abs=1e-6)
    assert truncated
    assert not terminated
    env.close()


def test_masks_are_those_of_the_screen(arguments):
    env = PokemonRedGymEnv(**arguments)
    env.reset()
    assert env.action_masks().all()
    env.step(np.int64(3))  # START
    # LEFT and RIGHT do nothing in the START menu.
    assert env.action_masks().tolist() == [True] * 4 + [False] * 2 + [True] * 2
    env.close()


def test_shows_the_whole_screen(arguments):
    for screen in ("half", "full"):
        env = PokemonRedGymEnv(**arguments, screen=screen, render_mode="rgb_array")
        env.reset()
        picture = env.render()
        assert picture.shape == (144, 160, 3)
        assert picture.std() > 0
        env.close()


def test_the_vector_environment_steps_as_the_single_one_does(arguments):
    envs = gymnasium.make_vec(GYMNASIUM_ID, num_envs=2, **arguments)
    env = PokemonRedGymEnv(**arguments)
    assert isinstance(envs.unwrapped, PokemonRedVectorEnv)
    many, _ = envs.reset(seed=0)
    one, _ = env.reset(seed=0)
    for action in (7, 5, 5, 4):
        many, rewards, _, _, _ = envs.step(np.array([0, action]))
        one, reward, _, _, _ = env.step(np.int64(action))
        for key in one:
            assert (many[key][1] == one[key]).all()
        assert rewards[1] == pytest.approx(reward)
    assert envs.observation_space.contains(many)
    envs.close()
    env.close()


def test_episodes_that_end_are_reset_in_the_same_step(arguments):
    envs = PokemonRedVectorEnv(2, **arguments)
    first, _ = envs.reset(seed=0)
    for _ in range(5):
        observation, _, terminated, truncated, info = envs.step(np.array([7, 0]))
    assert truncated.all()
    assert not terminated.any()
    assert (observation["context"] == first["context"]).all()
    assert info["final_info"]["step_count"].tolist() == [5, 5]
    assert info["step_count"].tolist() == [0, 0]
    assert (info["final_obs"][0]["map_memory"] != first["map_memory"][0]).any()
    envs.close()


def test_stepping_before_the_first_reset_is_an_error(arguments):
    env = PokemonRedGymEnv(**arguments)
    with pytest.raises(gymnasium.error.ResetNeeded):
        env.step(np.int64(0))
    env.close()


def test_unknown_render_modes_are_refused(arguments):
    for make in (PokemonRedGymEnv, PokemonRedVectorEnv):
        with pytest.raises(ConfigError, match="render_mode"):
            make(render_mode="human", **arguments)


@pytest.mark.long
@pytest.mark.parametrize("module", ["stable_baselines3", "sb3_contrib"])
def test_stable_baselines_trains_on_it_with_and_without_the_mask(arguments, module):
    reason = "pip install stable-baselines3 sb3-contrib to try them"
    library = pytest.importorskip(module, reason=reason)
    algorithm = library.MaskablePPO if module == "sb3_contrib" else library.PPO
    env = gymnasium.make(GYMNASIUM_ID, **arguments | {"max_episode_steps": 200})
    model = algorithm("MultiInputPolicy", env, n_steps=200, batch_size=50, n_epochs=1)
    before = [parameter.detach().clone() for parameter in model.policy.parameters()]
    model.learn(2000)
    assert model.num_timesteps >= 2000
    assert any((a != b).any() for a, b in zip(before, model.policy.parameters(), strict=True))
    env.close()
