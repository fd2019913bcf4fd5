"""`PokemonRedEnv` on the bundled cartridge."""

import pickle
from functools import partial

import pytest
import torch
from tensordict import TensorDict
from torchrl.data import OneHot
from torchrl.envs.utils import check_env_specs

from pokered_rl.emulator import ActionSet, SaveState
from pokered_rl.envs import PokemonRedEnv, StartStates, make_env
from pokered_rl.errors import CheckpointError, ConfigError, SaveStateError
from pokered_rl.game import FULL_LAYOUT, RamLayout


@pytest.fixture
def make(sprout, start):
    envs = []

    def build(**arguments) -> PokemonRedEnv:
        env = PokemonRedEnv(sprout, **{"start_states": start, **arguments})
        envs.append(env)
        return env

    yield build
    for env in envs:
        env.close()


def _step(env: PokemonRedEnv, td: TensorDict, *actions: int) -> TensorDict:
    td["action"] = torch.tensor(actions)
    return env.step(td)["next"]


@pytest.mark.parametrize("num_emulators", [1, 5])
def test_passes_the_check_of_torchrl(make, num_emulators):
    check_env_specs(make(num_emulators=num_emulators))


@pytest.mark.parametrize("num_emulators", [1, 5])
def test_with_all_transforms_passes_the_check_of_torchrl(sprout, start, num_emulators, tmp_path):
    env = make_env(sprout, num_emulators=num_emulators, start_states=start, recorder={"folder": tmp_path})
    try:
        check_env_specs(env)
    finally:
        env.close()


def test_reset_shows_the_start_state(make, sprout, start):
    env = make(num_emulators=2)
    td = env.reset()
    assert td["ram"].shape == (2, FULL_LAYOUT.size)
    assert torch.equal(td["ram"][0], td["ram"][1])
    assert torch.equal(td["ram"][0], env.full_ram(0))
    assert td["step_count"].tolist() == [[0], [0]]
    assert env.start_state(1) is start
    assert env.start_state(0).sha256 == start.sha256


def test_partial_reset_leaves_the_other_emulators_untouched(make):
    env, twin = make(num_emulators=3), make(num_emulators=3)
    first = td = env.reset()
    first, other = first.clone(), twin.reset()
    down, left = env.actions.index("down"), env.actions.index("left")
    for action in (down, down, left):
        td = _step(env, td, action, action, action)
        other = _step(twin, other, action, action, action)
    mask = torch.tensor([[False], [True], [False]])
    reset = env.reset(td.clone().set("_reset", mask))
    for key in ("pixels", "ram", "step_count", "wait_frames"):
        assert torch.equal(reset[key][::2], td[key][::2]), key
    assert reset["step_count"].tolist() == [[3], [0], [3]]
    assert torch.equal(reset["ram"][1], first["ram"][1])
    # They go on as in an env that was never reset.
    td = _step(env, reset, left, left, left)
    other = _step(twin, other, left, left, left)
    assert td["step_count"].tolist() == [[4], [1], [4]]
    for index in (0, 2):
        assert env.ram_hash(index) == twin.ram_hash(index)
        assert torch.equal(td["pixels"][index], other["pixels"][index])


def test_step_limit_truncates_and_does_not_terminate(make):
    env = make(num_emulators=2, max_episode_steps=3)
    td = env.rollout(10)
    assert td.shape == (2, 3)
    assert td["next", "truncated"][:, -1].all()
    assert not td["next", "truncated"][:, :-1].any()
    assert not td["next", "terminated"].any()
    assert td["next", "done"][:, -1].all()


def test_final_observation_survives_the_reset_that_follows(make):
    env = make(num_emulators=2, max_episode_steps=4)
    down = env.actions.index("down")
    td = env.reset()
    # Emulator 1 is reset once, so that the two episodes do not end together.
    td = _step(env, td, down, down)
    td = env.reset(td.set("_reset", torch.tensor([[False], [True]])))
    for _ in range(3):
        td["action"] = torch.tensor([down, down])
        step, td = env.step_and_maybe_reset(td)
    assert step["next", "truncated"].tolist() == [[True], [False]]
    assert step["next", "step_count"].tolist() == [[4], [3]]
    assert td["step_count"].tolist() == [[0], [3]]
    assert not torch.equal(step["next", "ram"][0], td["ram"][0])


def test_hands_out_new_buffers_every_step(make):
    env = make()
    td = env.reset()
    seen = [td["pixels"].data_ptr()]
    kept = [td]
    for _ in range(4):
        td = _step(env, td, 0)
        kept.append(td)
        assert td["pixels"].data_ptr() not in seen
        seen.append(td["pixels"].data_ptr())


def test_same_start_and_actions_give_the_same_memory_on_any_number_of_threads(make):
    one, two = make(num_emulators=3), make(num_emulators=3, num_threads=2)
    torch.manual_seed(0)
    actions = torch.randint(0, 8, (15, 3))
    tds = [env.reset() for env in (one, two)]
    for row in actions:
        tds = [_step(env, td, *row.tolist()) for env, td in zip((one, two), tds, strict=True)]
        assert torch.equal(tds[0]["ram"], tds[1]["ram"])
        assert torch.equal(tds[0]["wait_frames"], tds[1]["wait_frames"])


def test_a_stream_of_actions_from_its_start_state_reproduces_every_hash(make):
    env = make(num_emulators=2)
    torch.manual_seed(1)
    actions = torch.randint(0, 8, (25, 2))
    td = env.reset()
    hashes, waits = [], []
    for row in actions:
        td = _step(env, td, *row.tolist())
        hashes.append([env.ram_hash(0), env.ram_hash(1)])
        waits.append(td["wait_frames"].flatten().tolist())
    state = SaveState.from_bytes(env.start_state(1).to_bytes())
    alone = make(num_emulators=1, start_states=state)
    td = alone.reset()
    for k, row in enumerate(actions):
        td = _step(alone, td, int(row[1]))
        assert alone.ram_hash(0) == hashes[k][1]
        assert td["wait_frames"].item() == waits[k][1]


def test_the_seed_decides_which_start_states_are_drawn(make, start):
    env = make()
    td = env.reset()
    for _ in range(3):
        td = _step(env, td, env.actions.index("down"))
    [moved] = env.save_states()
    pool = {start: 1.0, moved: 1.0}
    assert moved.sha256 != start.sha256

    def drawn(seed: int) -> list[str]:
        env.set_seed(seed)
        out = []
        for _ in range(8):
            env.reset()
            out.append(env.start_state(0).sha256)
        return out

    env = make(start_states=pool)
    third = drawn(3)
    assert drawn(3) == third
    assert drawn(4) != third
    assert set(third) == {start.sha256, moved.sha256}


def test_start_states_are_read_from_files(make, start, tmp_path):
    path = tmp_path / "bedroom.state"
    start.save(path)
    env = make(start_states=[path])
    env.reset()
    assert env.start_state(0).sha256 == start.sha256
    assert env.start(0).name == "bedroom"


@pytest.mark.parametrize(
    "wrong", [5, True, b"a.state", object, [5], [None], [b"a.state"], {5: 1.0}, {"a": None}, {"a": []}], ids=repr
)
def test_start_states_of_a_wrong_kind_are_refused_at_construction(make, wrong):
    with pytest.raises(ConfigError, match=r"start_states must be files or states, .*; got "):
        make(start_states=wrong)


@pytest.mark.parametrize("build", [PokemonRedEnv, make_env])
def test_use_after_close_is_one_clear_error(sprout, start, build):
    env = build(sprout, num_emulators=2, start_states=start)
    td = env.rand_action(env.reset())
    env.close()
    env.close(raise_if_closed=False)
    save_states = getattr(env, "base_env", env).save_states
    for use in (env.reset, lambda: env.step(td), lambda: env.rollout(2), save_states):
        with pytest.raises(RuntimeError, match=r"the environment was closed.*make a new one"):
            use()


def test_weights_of_start_states_are_respected(start, make):
    env = make()
    td = env.reset()
    td = _step(env, td, env.actions.index("down"))
    [moved] = env.save_states()
    states = StartStates({start: 3.0, moved: 1.0})
    import numpy as np

    generator = np.random.default_rng(0)
    share = sum(states.draw(generator).state is start for _ in range(4000)) / 4000
    # Binomial: 0.75 with a standard deviation of 0.007.
    assert 0.72 < share < 0.78


def test_only_the_declared_memory_is_read(make):
    layout = RamLayout.of("wCurMap", "wXCoord", "wYCoord")
    env = make(ram_layout=layout)
    td = env.reset()
    assert td["ram"].shape == (1, 3)
    # In the order of the addresses: map D35E, row D361, column D362.
    full = env.full_ram(0)
    assert td["ram"][0].tolist() == [full[FULL_LAYOUT.column(at)].item() for at in (0xD35E, 0xD361, 0xD362)]


def test_full_screen_is_four_times_the_half_one(make):
    env = make(screen="full")
    assert env.reset()["pixels"].shape == (1, 144, 40)


def test_one_hot_actions_do_what_their_indices_do(make):
    index, hot = make(), make(one_hot_actions=True)
    assert isinstance(hot.action_spec, OneHot)
    a, b = index.reset(), hot.reset()
    for action in (7, 7, 4):
        a = _step(index, a, action)
        b["action"] = torch.nn.functional.one_hot(torch.tensor([action]), 8).bool()
        b = hot.step(b)["next"]
    assert index.ram_hash(0) == hot.ram_hash(0)


def test_waiting_counts_frames_beyond_the_action(make):
    patient, hasty = make(), make(wait_while_busy=False)
    tds = [env.reset() for env in (patient, hasty)]
    start_frames = [env._pool.emulators[0].frame_count for env in (patient, hasty)]
    for action in (7, 7, 4, 4, 6, 1):
        tds = [_step(env, td, action) for env, td in zip((patient, hasty), tds, strict=True)]
        frames = patient._pool.emulators[0].frame_count - start_frames[0]
        assert frames == 24 + tds[0]["wait_frames"].item()
        start_frames[0] += frames
        assert tds[1]["wait_frames"].item() == 0


def test_hall_of_fame_terminates_when_asked_to(make, monkeypatch):
    env = make(num_emulators=2, terminate_at_hall_of_fame=True, ram_layout=RamLayout.of("wCurMap"))
    td = env.reset()
    step = env._pool.step

    def finish(actions):
        out = step(actions)
        out.ram[1, env._hall_of_fame] += 1
        return out

    monkeypatch.setattr(env._pool, "step", finish)
    out = _step(env, td, 0, 0)
    assert out["terminated"].tolist() == [[False], [True]]
    assert out["done"].tolist() == [[False], [True]]
    assert not out["truncated"].any()


def test_is_built_in_another_process_from_a_pickled_recipe(sprout, start):
    recipe = pickle.loads(pickle.dumps(partial(make_env, sprout, num_emulators=2, start_states=start, seed=3)))
    env = recipe()
    try:
        assert env.reset()["context"].shape[0] == 2
    finally:
        env.close()


def test_closing_twice_does_nothing_and_closes_the_emulators(make):
    env = make()
    calls = []
    env.before_close.append(lambda: calls.append(1))
    env.close()
    env.close()
    assert calls == [1]
    assert env.is_closed


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"max_episode_steps": 0}, "max_episode_steps"), ({"num_emulators": 0}, "num_emulators")],
)
def test_numbers_out_of_range_are_refused(make, arguments, message):
    with pytest.raises(ConfigError, match=message):
        make(**arguments)


def test_unreadable_start_state_is_refused(make, tmp_path):
    path = tmp_path / "broken.state"
    path.write_bytes(b"no state")
    with pytest.raises(SaveStateError, match=r"broken\.state"):
        make(start_states=path)


def test_actions_may_be_chosen(make):
    env = make(actions=ActionSet(("noop", "down")))
    assert env.action_spec.space.n == 2


def test_empty_and_weightless_start_states_are_refused(start):
    with pytest.raises(ConfigError, match="at least one"):
        StartStates([])
    with pytest.raises(ConfigError, match="weight"):
        StartStates({start: 0.0})


def test_start_state_before_the_first_reset_is_an_error(make):
    with pytest.raises(RuntimeError, match="reset"):
        make().start_state(0)


def test_episodes_go_on_in_another_environment_where_they_were(make):
    env, other = make(num_emulators=2, seed=5), make(num_emulators=2, seed=6)
    td = env.reset()
    for action in (7, 7, 4):
        td = _step(env, td, action, action)
    other.load_episode_state(env.episode_state())
    for action in (4, 4, 1):
        td = _step(env, td, action, action)
        there = _step(other, td.clone(), action, action)
    assert [other.ram_hash(row) for row in (0, 1)] == [env.ram_hash(row) for row in (0, 1)]
    assert there["step_count"].tolist() == td["step_count"].tolist() == [[6], [6]]
    assert other.start_state(0).sha256 == env.start_state(0).sha256
    assert other._generator.random() == env._generator.random()


def test_episodes_saved_by_a_version_that_kept_more_of_a_start_go_on(make):
    env, other = make(num_emulators=1, seed=5), make(num_emulators=1, seed=6)
    env.reset()
    state = env.episode_state()
    state["starts"] = [start | {"is_novel": False} for start in state["starts"]]
    other.load_episode_state(state)
    assert other.start(0) == env.start(0)


def test_episodes_of_another_number_of_emulators_are_refused(make):
    env = make(num_emulators=2)
    env.reset()
    with pytest.raises(CheckpointError, match="2 emulators"):
        make(num_emulators=1).load_episode_state(env.episode_state())
