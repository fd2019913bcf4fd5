"""Gymnasium's own checks, and the batched environment behind its vector interface."""

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode
from torchrl.data import Unbounded
from torchrl.envs import Transform

from pokered_rl import GYMNASIUM_ID
from pokered_rl.emulator import start_states
from pokered_rl.envs.gymnasium import PokemonRedGymEnv, PokemonRedVectorEnv
from pokered_rl.errors import ConfigError, SaveStateError


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


def test_masks_are_reached_through_make(arguments):
    env = gymnasium.make(GYMNASIUM_ID, cartridge=arguments["cartridge"], start_states=arguments["start_states"])
    env.reset()
    assert env.action_masks().all()
    env.close()
    limited = gymnasium.make(GYMNASIUM_ID, **arguments)  # Gymnasium's time limit is a wrapper
    limited.reset()
    assert limited.get_wrapper_attr("action_masks")().all()
    limited.close()


class _Depth(Transform):
    """Writes an entry of two numbers, and one of one."""

    def _call(self, next_tensordict):
        count = next_tensordict["step_count"]
        return next_tensordict.set("twice", 2 * count).set("pair", torch.cat([count, -count], -1))

    def _reset(self, tensordict, tensordict_reset):
        return self._call(tensordict_reset)

    def transform_observation_spec(self, observation_spec):
        e = observation_spec.shape
        observation_spec["twice"] = Unbounded(shape=(*e, 1), dtype=torch.int64)
        observation_spec["pair"] = Unbounded(shape=(*e, 2), dtype=torch.int64)
        return observation_spec


def test_fields_terms_and_further_transforms_are_in_info_of_one_and_of_many(arguments):
    further = {"game_fields": ("map_id", "x"), "reward": "exploration"}
    env = PokemonRedGymEnv(**arguments, **further, extra_transforms=[_Depth()])
    envs = PokemonRedVectorEnv(2, **arguments, **further, extra_transforms=[_Depth()])
    first, _ = env.reset(seed=0)[1], envs.reset(seed=0)
    assert (first["twice"], first["pair"].tolist()) == (0, [0, 0])
    one, many = env.step(np.int64(5))[-1], envs.step(np.array([0, 5]))[-1]
    assert (one["twice"], one["pair"].tolist()) == (2, [1, -1])
    assert many["twice"].tolist() == [2, 2]
    assert many["pair"].tolist() == [[1, -1], [1, -1]]
    assert set(one["game"]) == set(many["game"]) == {"map_id", "x"}
    assert one["game"]["x"] == many["game"]["x"][1]
    assert one["reward_terms"].keys() == many["reward_terms"].keys()
    for name, value in one["reward_terms"].items():
        assert many["reward_terms"][name][1] == pytest.approx(value)
    env.close()
    envs.close()


def test_episode_begins_in_the_start_state_that_reset_names(sprout, start, tmp_path):
    states = start_states("sprout")
    file = tmp_path / "home.state"
    file.write_bytes(start.to_bytes())
    fields = {"cartridge": sprout, "game_fields": ("map_id",)}
    env = PokemonRedGymEnv(**fields, start_states={"home": (start, 3.0), "rival": states["rival_1"]})
    places = {}
    for name, given in {"home": "home", "rival": "rival", "file": str(file), "state": start}.items():
        for _ in range(3):
            _, info = env.reset(options={"start_state": given})
            places.setdefault(name, set()).add(info["game"]["map_id"])
    assert places["home"] == places["file"] == places["state"]
    assert len(places["home"]) == len(places["rival"]) == 1
    assert places["home"] != places["rival"]
    for wrong, words in (({"start": "home"}, "start_state"), ({"start_state": 3}, "got int")):
        with pytest.raises(ConfigError, match=words):
            env.reset(options=wrong)
    with pytest.raises(SaveStateError, match="nowhere"):
        env.reset(options={"start_state": "nowhere"})
    drawn = {env.reset()[1]["game"]["map_id"] for _ in range(40)}
    assert drawn == places["home"] | places["rival"], "afterwards they are drawn again"
    env.close()
    envs = PokemonRedVectorEnv(2, **fields, start_states=states)
    _, info = envs.reset(options={"start_state": ["rival_1", "leave_home"]})
    assert {info["game"]["map_id"][0]} == places["rival"]
    assert info["game"]["map_id"][0] != info["game"]["map_id"][1]
    with pytest.raises(ConfigError, match="got 3"):
        envs.reset(options={"start_state": ["rival_1"] * 3})
    envs.close()


@pytest.mark.parametrize("make", [PokemonRedGymEnv, PokemonRedVectorEnv])
def test_use_after_close_is_one_clear_error(arguments, make):
    env = make(**arguments)
    env.reset()
    env.close()
    env.close()
    for use in (env.reset, lambda: env.step(np.zeros(1, np.int64))):
        with pytest.raises(gymnasium.error.ClosedEnvironmentError, match="was closed"):
            use()


def test_arguments_that_belong_elsewhere_are_refused_with_the_way_to_do_it(arguments):
    with pytest.raises(ConfigError, match="num_envs=8"):
        gymnasium.make(GYMNASIUM_ID, num_emulators=4, **arguments)
    with pytest.raises(ConfigError, match="num_envs"):
        gymnasium.make_vec(GYMNASIUM_ID, num_envs=2, num_emulators=4, **arguments)
    for mode in (AutoresetMode.NEXT_STEP, "Disabled"):
        with pytest.raises(ConfigError, match=r"AutoresetMode\.SAME_STEP.*vectorization_mode"):
            gymnasium.make_vec(GYMNASIUM_ID, num_envs=2, autoreset_mode=mode, **arguments)
    gymnasium.make_vec(GYMNASIUM_ID, num_envs=1, autoreset_mode=AutoresetMode.SAME_STEP, **arguments).close()


@pytest.mark.parametrize(
    ("reward", "words"),
    [
        ({"weigths": {"badges": 1}}, "weights"),
        ({"badges": 5.0}, r"\{'weights': \{'badges'"),
        ({"weights": {"badgess": 1}}, "badges"),
        ("explore", "exploration"),
        ({"goals": [{"name": "a", "map": "HOME_1"}]}, r"did you mean .*HOME_1F\b"),
        ({"goals": [{"name": "a", "event": "EVENT_GOT_STARTR"}]}, r"did you mean .*GOT_STARTER\b"),
    ],
)
def test_wrong_name_in_a_reward_is_answered_with_the_nearest(arguments, reward, words: str):
    with pytest.raises(ConfigError, match=words):
        PokemonRedGymEnv(**arguments, reward=reward)


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
