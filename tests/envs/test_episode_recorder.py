"""`EpisodeRecorder`: what it writes plays again."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from torchrl.data import Unbounded
from torchrl.envs import TensorDictPrimer

from pokered_rl.envs import EpisodeRecorder, make_env
from pokered_rl.envs.rewards import NewTiles, Steps
from pokered_rl.envs.transforms import RewardTerms
from pokered_rl.episodes import EpisodeFolder, EpisodeLog, Outcome, load_start_state, verify
from pokered_rl.errors import ConfigError


@pytest.fixture
def play(sprout, start, tmp_path):
    """Plays random steps and returns the environment's rollout and the logs."""

    def run(steps: int, *, close: bool = True, extra=(), **arguments):
        recorder = {"folder": tmp_path, "run_name": "test", "ram_hash_every_steps": 4, **arguments.pop("recorder", {})}
        env = make_env(sprout, start_states=start, recorder=recorder, extra_transforms=extra, **arguments)
        torch.manual_seed(0)
        env.set_seed(0)
        td = env.rollout(steps, break_when_any_done=False)
        if close:
            env.close()
        return td, list(EpisodeFolder(tmp_path))

    return run


def _of(logs: list[EpisodeLog], index: int) -> list[EpisodeLog]:
    return [log for log in logs if log.header.emulator == index]


def test_every_episode_becomes_a_log_with_its_actions_and_rewards(play, sprout, start):
    td, logs = play(25, num_emulators=2, max_episode_steps=10)
    for index in (0, 1):
        first, second, third = _of(logs, index)
        # 25 steps: two whole episodes of ten, and five steps that the end cut off.
        assert [first.outcome, second.outcome, third.outcome] == [Outcome.TRUNCATED] * 2 + [Outcome.SHUTDOWN]
        assert second.actions.tolist() == td["action"][index, 10:20].tolist()
        assert first.wait_frames.tolist() == td["next", "wait_frames"][index, :10, 0].tolist()
        torch.testing.assert_close(torch.tensor(third.rewards), td["next", "reward"][index, 20:, 0])
        names = first.header.reward_terms
        term = names.index("revisit")
        torch.testing.assert_close(
            torch.tensor(first.term_rewards[:, term]), td["next", "reward_terms", "revisit"][index, :10, 0]
        )
        assert first.header.cartridge_sha1 == sprout.sha1
        assert first.header.start_state_sha256 == start.sha256
        assert load_start_state(first).pyboy == start.pyboy
        assert [log.header.episode for log in (first, second, third)] == [0, 1, 2]


def test_hashes_stand_at_the_start_every_few_steps_and_at_the_end(play):
    _, logs = play(10, num_emulators=1, max_episode_steps=10)
    [log] = logs
    assert sorted(log.ram_hashes) == [0, 4, 8, 10]


def test_a_log_played_again_gives_its_hashes(play, sprout):
    _, logs = play(20, num_emulators=3, max_episode_steps=20)
    from pokered_rl.emulator import ActionSet, ActionTiming, EmulatorPool

    log = _of(logs, 2)[0]
    pool = EmulatorPool(
        sprout,
        num_emulators=1,
        actions=ActionSet(log.header.actions),
        timing=ActionTiming(frames_per_action=log.header.frames_per_action, hold_frames=log.header.hold_frames),
    )
    with pool:
        pool.reset([0], [load_start_state(log)])
        assert pool.ram_hash(0) == log.ram_hashes[0]
        for k, action in enumerate(log.actions.tolist()):
            step = pool.step([action])
            assert step.wait_frames[0] == log.wait_frames[k]
            if k + 1 in log.ram_hashes:
                assert pool.ram_hash(0) == log.ram_hashes[k + 1]


def test_an_episode_that_is_reset_before_its_end_is_kept(sprout, start, tmp_path):
    env = make_env(sprout, num_emulators=2, start_states=start, recorder={"folder": tmp_path})
    td = env.reset()
    for _ in range(3):
        td = env.step(env.rand_action(td))["next"]
    end = env.base_env.ram_hash(1)
    td = env.reset(td.set("_reset", torch.tensor([[False], [True]])))
    [log] = EpisodeFolder(tmp_path)
    assert (log.header.emulator, log.outcome, len(log.actions)) == (1, Outcome.SHUTDOWN, 3)
    assert log.ram_hashes[3] == end
    env.close()
    # The other emulator had played three steps; the one that was reset had played none, which makes no log.
    assert len(EpisodeFolder(tmp_path).logs()) == 2


def test_only_each_nth_episode_is_logged(play):
    _, logs = play(25, num_emulators=1, max_episode_steps=5, recorder={"every_episodes": 2})
    assert [log.header.episode for log in logs] == [0, 2, 4]


def test_logs_carry_the_count_of_the_whole_run(sprout, start, tmp_path):
    recorder = {"folder": tmp_path, "num_workers": 3}
    env = make_env(sprout, start_states=start, num_emulators=2, max_episode_steps=10, recorder=recorder)
    next(t for t in env.transform if isinstance(t, EpisodeRecorder)).follow(global_step=1000, weights_version=0)
    env.rollout(20, break_when_any_done=False)
    env.close()
    # Ten steps of two emulators in each of three workers make sixty.
    assert sorted({log.header.global_step for log in EpisodeFolder(tmp_path)}) == [1000, 1060]


def test_the_exploration_rate_of_each_emulator_is_noted(play):
    epsilon = TensorDictPrimer({"epsilon": Unbounded(shape=(1,))}, default_value=0.125, expand_specs=True)
    _, logs = play(4, num_emulators=2, max_episode_steps=4, extra=[epsilon])
    assert [log.header.epsilon for log in logs] == [0.125, 0.125]


def test_reaching_another_map_is_a_milestone(sprout, start, tmp_path, monkeypatch):
    env = make_env(sprout, num_emulators=1, start_states=start, recorder={"folder": tmp_path})
    td = env.reset()
    column = env.base_env.ram_layout.column(0xD35E)
    step = env.base_env._pool.step

    def elsewhere(actions):
        out = step(actions)
        out.ram[:, column] = 0
        return out

    td = env.step(env.rand_action(td))["next"]
    monkeypatch.setattr(env.base_env._pool, "step", elsewhere)
    td = env.step(env.rand_action(td))["next"]
    env.step(env.rand_action(td))
    env.close()
    [log] = EpisodeFolder(tmp_path)
    name = sprout.profile.maps.name(0)
    assert (2, f"map:{name}") in [(m.step, m.name) for m in log.milestones]


def test_terms_of_other_transforms_are_recorded_by_name(sprout, start, tmp_path):
    transforms = [RewardTerms(terms=[Steps(weight=1.0), NewTiles()]), EpisodeRecorder(folder=tmp_path)]
    env = make_env(sprout, start_states=start, transforms=transforms, max_episode_steps=3)
    env.rollout(3)
    env.close()
    [log] = EpisodeFolder(tmp_path)
    assert log.header.reward_terms == ("steps", "new_tiles")
    assert log.term_rewards[:, 0].tolist() == [-1.0, -1.0, -1.0]


def test_without_an_emulator_it_says_so():
    from tensordict import TensorDict

    with pytest.raises(RuntimeError, match="append it"):
        EpisodeRecorder(folder="logs")(TensorDict({"ram": torch.zeros(1, 8319, dtype=torch.uint8)}, [1]))


def test_an_endless_episode_is_logged_in_segments_that_follow_each_other(play, sprout):
    td, logs = play(25, num_emulators=2, max_episode_steps=None, recorder={"segment_steps": 10})
    for index in (0, 1):
        segments = _of(logs, index)
        assert [log.steps for log in segments] == [10, 10, 5]
        assert [log.outcome for log in segments] == [Outcome.CONTINUED] * 2 + [Outcome.SHUTDOWN]
        assert [log.header.segment for log in segments] == [0, 1, 2]
        assert {log.header.episode for log in segments} == {0}
        # Ten steps of two emulators lie between the starts.
        assert [log.header.global_step for log in segments] == [0, 20, 40]
        assert np.concatenate([log.actions for log in segments]).tolist() == td["action"][index].tolist()
        for log, following in pairwise(segments):
            assert following.ram_hashes[0] == log.final_ram_hash
        for log in segments:
            # At 0, 4, 8 and at the end.
            assert verify(log, cartridge=sprout) == len(range(0, log.steps, 4)) + 1
    assert not td["next", "done"].any()


def test_an_episode_that_goes_on_in_another_process_goes_on_in_a_further_segment(sprout, start, tmp_path):
    def build():
        recorder = {"folder": tmp_path, "every_episodes": 2}
        return make_env(sprout, num_emulators=2, start_states=start, max_episode_steps=12, recorder=recorder, seed=1)

    torch.manual_seed(3)
    env = build()
    td = env.rollout(5, break_when_any_done=False)[:, -1]["next"]
    states = env.base_env.episode_state(), env.state_dict()
    env.close()
    env = build()
    env.reset()
    env.base_env.load_episode_state(states[0])
    env.load_state_dict(states[1])
    # Seven steps end the episode, twelve are one that is not logged, then comes the next one.
    env.rollout(7 + 12 + 3, auto_reset=False, tensordict=td, break_when_any_done=False)
    env.close()
    for index in (0, 1):
        first, second, third = _of(list(EpisodeFolder(tmp_path)), index)
        assert [log.header.episode for log in (first, second, third)] == [0, 0, 2]
        assert [log.header.segment for log in (first, second, third)] == [0, 1, 0]
        assert [log.steps for log in (first, second, third)] == [5, 7, 3]
        assert [log.outcome for log in (first, second)] == [Outcome.SHUTDOWN, Outcome.TRUNCATED]
        assert second.ram_hashes[0] == first.final_ram_hash
        assert second.header.global_step == 10
        for log in (first, second, third):
            verify(log, cartridge=sprout)
        # The map in which the episode began was no milestone then, and is none now.
        assert not any(m.name == f"map:{sprout.profile.maps.name(38)}" for m in second.milestones)


def test_a_log_says_what_the_run_had_come_to_when_it_began(sprout, start, tmp_path):
    env = make_env(sprout, start_states=start, max_episode_steps=4, recorder={"folder": tmp_path, "num_workers": 2})
    recorder = next(t for t in env.transform if isinstance(t, EpisodeRecorder))
    td = env.reset()
    recorder.seeds["worker"] = 17
    recorder.follow(global_step=100, weights_version=3)  # known before the first step, after the reset
    td = env.rollout(6, auto_reset=False, tensordict=td, break_when_any_done=False)[:, -1]["next"]
    # The second episode began at 100 + 4 * 2; the learner has not seen all of that yet.
    recorder.follow(global_step=104, weights_version=5)
    env.rollout(6, auto_reset=False, tensordict=td, break_when_any_done=False)
    env.close()
    logs = list(EpisodeFolder(tmp_path))
    assert [log.header.weights_version for log in logs] == [3, 3, 5]
    assert [log.header.global_step for log in logs] == [100, 108, 112]
    assert all(log.header.seeds == {"worker": 17} for log in logs)


@pytest.mark.parametrize("name", ["ram_hash_every_steps", "every_episodes", "segment_steps"])
def test_distances_must_be_positive(name):
    with pytest.raises(ConfigError, match=name):
        EpisodeRecorder(folder="logs", **{name: 0})
