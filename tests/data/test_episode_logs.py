import pickle
from functools import partial

import pytest
import torch
from torchrl.data import LazyTensorStorage, TensorDictReplayBuffer

from pokered_rl.data import from_episode_logs
from pokered_rl.emulator import Cartridge, Emulator, boot
from pokered_rl.envs import default_transforms, make_env
from pokered_rl.episodes import EpisodeLog, find_logs, trajectory
from pokered_rl.errors import EpisodeLogError

STEPS = 90
_OPTIONS = {"game_fields": None, "map_memory": {"radius": 4}, "reward": {"weights": {"new_tiles": 2.0}}}


def _player(seed):
    """Draws allowed actions and likes to walk and to press A, so that menus and text come up."""
    likes = torch.tensor([0.05, 0.25, 0.1, 0.1, 0.15, 0.15, 0.15, 0.15])
    generator = torch.Generator().manual_seed(seed)

    def act(tensordict):
        action = torch.multinomial(likes * tensordict["action_mask"], 1, generator=generator).squeeze(-1)
        return tensordict.set("action", action)

    return act


@pytest.fixture(scope="module")
def played(tmp_path_factory):
    """What two emulators gave out over one episode each, and the folder of their logs."""
    folder = tmp_path_factory.mktemp("played") / "episode_logs"
    sprout = Cartridge.bundled()
    with Emulator(sprout) as emulator:
        start = boot(emulator)
    env = make_env(
        sprout, num_emulators=2, start_states=[start], max_episode_steps=STEPS, recorder={"folder": folder}, **_OPTIONS
    )
    live = env.rollout(STEPS, _player(seed=4))
    env.close()
    return live, folder


@pytest.fixture
def options():
    return {"transforms": partial(default_transforms, **_OPTIONS)}


def test_a_log_gives_back_what_the_policy_saw_did_and_got(played, options):
    live, folder = played
    episodes = from_episode_logs(folder, **options)
    assert len(episodes) == 2
    for row, steps in enumerate(episodes):
        assert steps.batch_size == torch.Size([STEPS])
        ours, theirs = (set(td.keys(True, True)) for td in (steps, live[row]))
        assert ours == theirs
        for key in theirs:
            assert steps[key].dtype == live[key].dtype, key
            assert torch.equal(steps[key], live[row][key]), key
    # Otherwise nothing would have been shown.
    assert live["next", "reward"].any()
    assert not live["action_mask"].all()
    assert live["map_memory"].any()
    assert live["next", "wait_frames"].any()


def test_bare_trajectories_are_those_of_the_replay(played):
    _, folder = played
    bare = from_episode_logs(folder, transforms=None)[0]
    known = trajectory(EpisodeLog.load(find_logs([folder])[0]))
    for key in known.keys(True, True):
        assert torch.equal(bare[key], known[key]), key
    assert bare["is_init"].flatten().nonzero().tolist() == [[0]]


def test_another_reward_is_paid_only_when_asked_for(played):
    live, folder = played
    other = partial(default_transforms, reward={"weights": {"new_tiles": 20.0}})
    logged = from_episode_logs(folder, transforms=other)[0]
    assert torch.equal(logged["next", "reward"], live[0]["next", "reward"])
    rescored = from_episode_logs(folder, transforms=other, rescore=True)[0]
    torch.testing.assert_close(
        rescored["next", "reward_terms", "new_tiles"], 10 * live[0]["next", "reward_terms", "new_tiles"]
    )
    # The reward that the network is shown is the one that is paid.
    assert torch.equal(rescored["next", "last_reward"], rescored["next", "reward"])


def test_nothing_is_played_before_it_is_asked_for(played, monkeypatch):
    _, folder = played
    loaded = []
    load = EpisodeLog.load
    monkeypatch.setattr(EpisodeLog, "load", lambda path: loaded.append(path) or load(path))
    episodes = from_episode_logs(folder, transforms=None)
    assert loaded == []
    next(iter(episodes))
    assert loaded == episodes.paths[:1]


def test_a_bad_log_raises_or_is_skipped_and_named(played, options, tmp_path):
    _, folder = played
    good = [EpisodeLog.load(path) for path in find_logs([folder])]
    (tmp_path / "start_states").symlink_to(folder / "start_states")
    wrong = good[0].actions.copy()
    wrong[:10] = (wrong[:10] + 3) % 8  # one press alone may be without effect
    damaged = tmp_path / "0.episode"
    damaged.write_bytes(good[0].path.read_bytes()[:-5])
    diverging = good[1].__class__(**{**good[0].__dict__, "actions": wrong}).save(tmp_path)
    kept = good[1].save(tmp_path)
    episodes = from_episode_logs([damaged, diverging, kept], on_error="skip", **options)
    (steps,) = list(episodes)
    assert steps["action"].tolist() == good[1].actions.tolist()
    assert list(episodes.errors) == [damaged, diverging]
    assert "cut off" in str(episodes.errors[damaged])
    assert "the replay is not the recorded episode" in str(episodes.errors[diverging])
    with pytest.raises(EpisodeLogError, match=r"0\.episode: cut off"):
        list(from_episode_logs([damaged, kept], **options))
    with pytest.raises(EpisodeLogError, match="no such run folder or episode log"):
        from_episode_logs(tmp_path / "gone.episode")


def test_episodes_can_be_sent_to_other_processes(played, options):
    live, folder = played
    sent = pickle.loads(pickle.dumps(from_episode_logs(folder, **options)))
    assert torch.equal(sent[1]["context"], live[1]["context"])


def test_steps_of_all_episodes_go_into_one_replay_buffer(played, options):
    live, folder = played
    buffer = TensorDictReplayBuffer(storage=LazyTensorStorage(1000), batch_size=64)
    for steps in from_episode_logs(folder, **options):
        buffer.extend(steps)
    assert torch.equal(buffer[:]["action"], live["action"].flatten())
    sampled = buffer.sample()
    assert sampled.batch_size == torch.Size([64])
    row, step = sampled["index"] // STEPS, sampled["index"] % STEPS
    assert torch.equal(sampled["next", "context"], live["next", "context"][row, step])


def test_some_of_the_episodes(played, options):
    _, folder = played
    last = from_episode_logs(folder, **options)[1:]
    assert len(last) == 1
    assert last[0]["action"].shape == (STEPS,)
