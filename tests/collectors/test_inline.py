import copy
import io
import math

import pytest
import torch
from tensordict import TensorDict
from torch import nn
from torchrl.envs import Transform

from counting_world import ListReplay
from pokered_rl.collectors import InlinePool
from pokered_rl.collectors.experience import _finite
from pokered_rl.collectors.worker import unpack_message
from pokered_rl.data import RateLimiter, SequenceBuilder, SequenceLayout
from pokered_rl.errors import ConfigError, RunLostError, SaveStateError

LAYOUT = SequenceLayout(burn_in_steps=2, unroll_steps=4, n_step=2)


@pytest.fixture
def make_pool(counting_env, counting_policy):
    made = []

    def make(**options):
        defaults = {
            "make_envs": [counting_env],
            "policy": counting_policy,
            "emulators_per_worker": 2,
            "steps_per_batch": 7,
            "builder": SequenceBuilder(layout=LAYOUT, observation_keys=("pixels", "action_mask")),
            "replay": ListReplay(),
        }
        made.append(InlinePool(**(defaults | options)))
        return made[-1]

    yield make
    for workers in made:
        workers.close()


def test_sequences_of_whole_episodes_reach_the_replay(make_pool):
    workers = make_pool()
    for _ in range(10):
        workers.collect()
    # 70 steps of 2 emulators with episodes of 5 and 8 steps: 14 and 8 episodes are complete.
    assert workers.steps == 140
    assert workers.episodes == 14 + 8
    first = workers.sink.replay.items[0]
    assert first["pixels"][:, 2].tolist() == [0, 0, 0, 1, 2, 3, 4, 5]  # two rows of padding, five steps, the end
    assert first["mask"].tolist() == [False, False, True, True, True, True, True, False]


def test_stored_state_is_the_one_the_policy_had_and_is_zero_at_every_episode_start(make_pool):
    workers = make_pool()
    for _ in range(20):
        workers.collect()
    for sequence in workers.sink.replay.items:
        first_real = int(sequence["mask"].long().argmax())
        assert sequence["recurrent_state_h"].tolist() == [sequence["pixels"][first_real, 2].item()] * 3
        assert sequence["recurrent_state_c"].tolist() == [-sequence["pixels"][first_real, 2].item()] * 3


def test_random_actions_respect_the_mask_and_epsilon_is_per_emulator(make_pool):
    workers = make_pool(epsilon_base=1.0, epsilon_alpha=0.0)
    for _ in range(20):
        workers.collect()
    taken = torch.cat([item["action"][item["mask"]] for item in workers.sink.replay.items])
    assert set(taken.tolist()) == {0, 1, 2}  # 3 is masked
    greedy = make_pool(epsilon_base=1e-9, epsilon_alpha=0.0)
    for _ in range(5):
        greedy.collect()
    taken = torch.cat([item["action"][item["mask"]] for item in greedy.sink.replay.items])
    assert set(taken.tolist()) == {2}  # the largest allowed value


def test_pushed_weights_act_from_the_next_rollout_on(make_pool, counting_policy):
    workers = make_pool(epsilon_base=1e-9, epsilon_alpha=0.0)
    workers.collect()
    nn.init.constant_(counting_policy.network.weight, -1.0)  # the learner's own copy changes ...
    workers.collect()
    assert {item["action"][item["mask"]].unique().item() for item in workers.sink.replay.items} == {2}
    assert workers.set_weights(counting_policy.network, version=5)
    assert not workers.set_weights(counting_policy.network, version=5)  # ... and is handed over once
    before = len(workers.sink.replay.items)
    for _ in range(4):
        workers.collect()
    assert workers.sink.replay.items[-1]["action"][3] == 0
    assert len(workers.sink.replay.items) > before
    assert workers.stats()["weight_age_versions"] == 0


def test_warmup_counts_steps_of_the_whole_run(make_pool):
    workers = make_pool(epsilon_base=1e-9, epsilon_alpha=0.0, warmup_steps=28)
    for _ in range(8):
        workers.collect()  # 14 steps each: two random batches, then greedy
    actions = torch.cat([item["action"][item["mask"]] for item in workers.sink.replay.items])
    assert set(actions[:8].tolist()) - {2}
    assert set(actions[-8:].tolist()) == {2}


def test_episode_returns_are_summed_over_batches(make_pool):
    workers = make_pool(epsilon_base=1e-9, epsilon_alpha=0.0)
    for _ in range(5):
        workers.collect()
    # Greedy actions are 2 and the reward is the action: 5 steps pay 10, 8 steps pay 16.
    assert {(r.emulator, r.total_reward, r.steps) for r in workers.sink.recent} == {(0, 10.0, 5), (1, 16.0, 8)}
    finished = list(workers.sink.recent)
    assert len(finished) == workers.episodes > 2
    assert [workers.sink.finished_since(count) for count in (0, 2, len(finished))] == [finished, finished[2:], []]


def test_limiter_is_told_what_was_inserted(make_pool):
    limiter = RateLimiter(samples_per_insert=1.0, min_fill_sequences=1)
    workers = make_pool(limiter=limiter)
    for _ in range(5):
        workers.collect()
    assert limiter.credit == len(workers.sink.replay.items) - 1


def test_restored_workers_continue_as_if_nothing_had_happened(make_pool):
    workers = make_pool(epsilon_base=0.5, epsilon_alpha=0.0)
    for _ in range(3):
        workers.collect()
    buffer = io.BytesIO()
    torch.save(workers.state_dict(), buffer)
    before = len(workers.sink.replay.items)
    random_state = torch.get_rng_state()
    for _ in range(4):
        workers.collect()
    expected = workers.sink.replay.items[before:]

    buffer.seek(0)
    state = torch.load(buffer, weights_only=True)
    restored = make_pool(epsilon_base=0.5, epsilon_alpha=0.0)
    restored.load_state_dict(copy.deepcopy(state))
    torch.set_rng_state(random_state)
    for _ in range(4):
        restored.collect()
    found = restored.sink.replay.items
    assert len(found) == len(expected) > 0
    for ours, theirs in zip(found, expected, strict=True):
        assert (ours == theirs).all()
    assert (restored.steps, restored.episodes, restored.sequences) == (
        workers.steps,
        workers.episodes,
        workers.sequences,
    )
    assert list(restored.sink.recent) == list(workers.sink.recent)


def test_weights_that_acted_act_on_after_a_restart_until_the_next_regular_push(make_pool, counting_policy):
    workers = make_pool(epsilon_base=1e-9, epsilon_alpha=0.0)
    workers.collect()
    state = workers.state_dict()
    nn.init.constant_(counting_policy.network.weight, -1.0)  # what the learner has made of them since the last push
    restored = make_pool(epsilon_base=1e-9, epsilon_alpha=0.0)
    restored.load_state_dict(state)
    assert not restored.set_weights(counting_policy.network)  # the push at the start of a job
    for _ in range(4):
        restored.collect()
    assert restored.sink.replay.items[-1]["action"].max() == 2
    assert restored.set_weights(counting_policy.network)
    for _ in range(4):
        restored.collect()
    assert restored.sink.replay.items[-1]["action"].max() == 0


def test_state_of_another_number_of_emulators_is_dropped(make_pool, counting_env):
    workers = make_pool()
    workers.collect()
    state = workers.state_dict()
    other = make_pool(make_envs=[lambda seed: counting_env(seed=seed, num_emulators=3)], emulators_per_worker=3)
    other.load_state_dict(state)
    other.collect()
    assert other.steps == 14 + 21


def test_error_of_the_environment_keeps_its_class(make_pool, counting_env, tmp_path):
    workers = make_pool(make_envs=[lambda seed: counting_env(seed=seed, fault=("poison", tmp_path / "fault", 3))])
    with pytest.raises(SaveStateError, match="poisoned"):
        workers.collect()


class _Fails(SequenceBuilder):
    def extend(self, batch):
        raise SaveStateError("no sequences")


def test_error_of_the_builder_is_sent_by_the_worker_that_it_ends(make_pool):
    workers = make_pool(builder=_Fails(layout=LAYOUT, observation_keys=("pixels", "action_mask")))
    workers.start()
    assert unpack_message(next(workers._batches)["message"]).error[:2] == ("SaveStateError", "no sequences")
    with pytest.raises(SystemExit):
        next(workers._batches)


def test_more_than_one_worker_is_refused(counting_env, make_pool):
    with pytest.raises(ConfigError, match="one worker"):
        make_pool(make_envs=[counting_env, counting_env])


class _Poison(Transform):
    """Makes the rewards of some emulators something that is not a number, once in some steps."""

    def __init__(self, emulators, value, *, every_steps):
        super().__init__()
        self.emulators, self.value, self.every_steps, self.steps = emulators, value, every_steps, 0

    def _step(self, tensordict, next_tensordict):
        if self.steps % self.every_steps == 0:
            next_tensordict["reward"][self.emulators] = float(self.value)
        self.steps += 1
        return next_tensordict


def test_sequences_with_a_priority_that_is_not_finite_are_left_out():
    """As a policy whose values are not finite computes them."""
    sequences = TensorDict({"reward": torch.zeros(3, 4), "td_error": torch.tensor([1.0, math.nan, math.inf])}, [3])
    assert _finite(sequences)["td_error"].tolist() == [1.0]


def test_sequences_with_a_reward_that_is_not_finite_are_left_out_and_the_run_goes_on(make_pool, counting_env, caplog):
    def make_env(**options):
        return counting_env(**options).append_transform(_Poison(1, "nan", every_steps=28))

    workers = make_pool(make_envs=[make_env], steps_per_batch=28)
    for _ in range(5):
        workers.collect()
    items = workers.sink.replay.items
    assert workers.stats()["sequences_not_finite"] == workers.sink.not_finite > 0
    assert len(items) == workers.sink.sequences > 0
    assert all(bool(torch.isfinite(item["reward"]).all()) for item in items)
    assert all(result.total_reward == result.total_reward for result in workers.sink.recent), "returns stay numbers"
    assert "worker 0, emulator 1: a reward in its episode that began 4 steps before this batch" in caplog.text


def test_run_ends_when_most_sequences_would_be_left_out(make_pool, counting_env):
    def make_env(**options):
        return counting_env(**options).append_transform(_Poison(slice(None), "inf", every_steps=1))

    workers = make_pool(make_envs=[make_env], steps_per_batch=28 * 20)
    with pytest.raises(ConfigError, match=r"not finite, more than the 0 others"):
        workers.collect()


def test_what_a_lost_worker_has_not_sent_is_counted(make_pool):
    workers = make_pool(steps_per_batch=7)
    workers.collect()
    # Emulator 0 is at step 2 of its second episode. Emulator 1 is at step 7 of 8: the sequence of steps 0..3 is sent.
    workers.sink.cut(0)
    workers.sink.cut(0)
    assert workers.sink.counts == {"steps_lost": 2 + 3, "episodes_cut": 2}
    whole = SequenceBuilder(layout=LAYOUT, observation_keys=("pixels", "action_mask"), send="episodes")
    workers = make_pool(steps_per_batch=7, builder=whole)
    workers.collect()
    workers.sink.cut(0)
    assert workers.sink.counts == {"steps_lost": 2 + 7, "episodes_cut": 2}


def test_state_of_worker_processes_goes_on_inline(make_pool):
    before = make_pool()
    before.collect()
    state = before.state_dict()
    del state["weights"], state["weights_number"]  # which only a pool in this process saves
    after = make_pool()
    after.load_state_dict(state)
    after.collect()
    assert after.steps == 2 * before.steps


def test_worker_of_a_lost_run_ends_in_silence(make_pool, monkeypatch):
    workers = make_pool()
    workers.collect()

    def write_the_last_log(*_, **__):
        raise RunLostError("another job has it")

    monkeypatch.setattr(type(workers._collector.env), "close", write_the_last_log)
    workers.close()
