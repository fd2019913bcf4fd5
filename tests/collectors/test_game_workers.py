"""The workers on the real environment with the real network, on the bundled cartridge."""

import io
from functools import partial

import pytest
import torch
from tensordict import TensorDict

from counting_world import ListReplay
from pokered_rl.collectors import InlinePool
from pokered_rl.data import SequenceBuilder, SequenceCodec, SequenceLayout
from pokered_rl.envs import make_env
from pokered_rl.modules import R2D2Network, R2D2Policy

LAYOUT = SequenceLayout(burn_in_steps=4, unroll_steps=8, n_step=2)


class KeepValues(SequenceBuilder):
    """Keeps what the policy itself thought of the actions it took, which sequences do not store."""

    def _priority(self, sequences, taken_value, greedy_value):
        sequences["taken_value"] = taken_value
        return super()._priority(sequences, taken_value, greedy_value)


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    env = make_env(num_emulators=1)
    spec = env.observation_spec
    env.close()
    return R2D2Network(
        num_actions=8,
        size="tiny",
        hidden_size=16,
        num_quantiles=5,
        pixel_shape=tuple(spec["pixels"].shape[1:]),
        map_shape=tuple(spec["map_memory"].shape[1:]),
        context_size=spec["context"].shape[-1],
    )


@pytest.fixture
def make_pool(network):
    made = []

    def make():
        made.append(
            InlinePool(
                make_envs=[partial(make_env, num_emulators=2, max_episode_steps=30)],
                policy=R2D2Policy(network),
                emulators_per_worker=2,
                steps_per_batch=10,
                builder=KeepValues(layout=LAYOUT, observation_keys=(*network.observation_keys, "action_mask")),
                replay=ListReplay(SequenceCodec(two_bit_shapes={"map_memory": (2, 21, 21)}, num_actions=8)),
                epsilon_base=0.3,
            )
        )
        return made[-1]

    yield make
    for workers in made:
        workers.close()


def test_network_replayed_from_the_stored_state_gives_the_values_the_policy_had(make_pool, network):
    workers = make_pool()
    # The noise is the policy's own: without it, what the learner computes must be what the policy computed.
    for module in workers._policy.modules():
        if hasattr(module, "sample_noise"):
            module.noisy = False
    for _ in range(7):
        workers.collect()
    compared = 0
    for sequence in workers.sink.replay.items:
        batch = sequence.unsqueeze(0)
        rows = batch["mask"][0].nonzero().squeeze(-1)
        real = slice(int(rows[0]), int(rows[-1]) + 1)
        td = TensorDict({key: batch[key][:, real] for key in network.observation_keys}, batch_size=[1])
        for key in network.state_keys:
            td[key] = batch[key]
        with torch.no_grad():
            value = network(td)["quantiles"].mean(-1)[0]  # [T, A]
        taken = value.gather(-1, batch["action"][0, real].unsqueeze(-1)).squeeze(-1)
        torch.testing.assert_close(taken, batch["taken_value"][0, real], atol=1e-5, rtol=1e-5)
        compared += len(taken)
    # 70 steps of 2 emulators, episodes of 30: 60 of each are in ended episodes, overlap counted twice.
    assert compared > 120
    starts = torch.stack([sequence["recurrent_state_h"] for sequence in workers.sink.replay.items])
    assert starts.abs().sum(-1).count_nonzero() > 4  # most sequences really start in the middle of an episode


def test_restored_workers_play_on_where_they_stood(make_pool):
    workers = make_pool()
    for _ in range(4):
        workers.collect()
    buffer = io.BytesIO()
    torch.save(workers.state_dict(), buffer)
    random_state, before = torch.get_rng_state(), len(workers.sink.replay.items)
    for _ in range(5):
        workers.collect()
    expected = workers.sink.replay.items[before:]

    buffer.seek(0)
    torch.manual_seed(123)
    restored = make_pool()
    restored.load_state_dict(torch.load(buffer, weights_only=True))
    torch.set_rng_state(random_state)
    for _ in range(5):
        restored.collect()
    found = restored.sink.replay.items
    assert len(found) == len(expected) > 4
    for ours, theirs in zip(found, expected, strict=True):
        different = [key for key in theirs.keys() if not torch.equal(ours[key], theirs[key])]  # noqa: SIM118
        assert different == []
