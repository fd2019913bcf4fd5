"""Environment, policy, sequences and loss together, against whole episodes computed in one pass."""

import pytest
import torch
from tensordict import TensorDict
from torchrl.envs import ExplorationType, set_exploration_type
from torchrl.objectives import HardUpdate

from pokered_rl.data import SequenceBuilder, SequenceLayout
from pokered_rl.emulator import Cartridge
from pokered_rl.envs import make_env
from pokered_rl.modules import R2D2Network, R2D2Policy
from pokered_rl.objectives import R2D2Loss, value_rescale, value_rescale_inverse

EMULATORS, STEPS, EPISODE, GAMMA = 3, 120, 43, 0.97


@pytest.fixture(scope="module")
def played():
    """Three emulators for 120 steps, episodes of 43: rollout [3, 120] and the network that played it."""
    torch.manual_seed(0)
    env = make_env(
        Cartridge.bundled(),
        num_emulators=EMULATORS,
        max_episode_steps=EPISODE,
        seed=0,
        actions=("a", "b", "right", "left", "up", "down"),
        reward={"weights": {"new_tiles": 1.0, "new_maps": 5.0}},
    )
    spec = env.observation_spec
    network = R2D2Network(
        num_actions=6,
        size="tiny",
        hidden_size=32,
        num_quantiles=5,
        noise_std=0.0,
        map_shape=tuple(spec["map_memory"].shape[1:]),
        context_size=spec["context"].shape[-1],
    )
    policy = R2D2Policy(network)
    env.append_transform(policy.make_primers(epsilon=0.5))
    with set_exploration_type(ExplorationType.RANDOM), torch.no_grad():
        rollout = env.rollout(STEPS, policy, break_when_any_done=False)
    env.close()
    return rollout, network


def episodes(rollout, network):
    """Yield emulator, first step, end, whether it ended, and the network's output of each episode."""
    is_first, done = rollout["is_init"].squeeze(-1), rollout["next", "done"].squeeze(-1)
    for emulator in range(EMULATORS):
        starts = is_first[emulator].nonzero().flatten().tolist()
        for start, end in zip(starts, [*starts[1:], STEPS], strict=True):
            ended = bool(done[emulator, end - 1])
            td = network.initial_state([1])
            for key in (*network.observation_keys, "action_mask"):
                value = rollout[key][emulator, start:end]
                if ended:
                    value = torch.cat([value, rollout["next", key][emulator, end - 1 : end]])
                td[key] = value[None]
            with torch.no_grad():
                yield emulator, start, end, ended, network(td)


def test_states_that_the_policy_wrote_are_those_of_an_unroll_of_the_episode(played):
    rollout, network = played
    for emulator, start, end, _, unrolled in episodes(rollout, network):
        written = rollout["recurrent_state_h"][emulator, start:end]
        assert not written[0].any()
        torch.testing.assert_close(written[1:], unrolled["core_output"][0, : end - start - 1], rtol=0, atol=1e-5)


def td_errors(rollout, unrolled, emulator, start, end, ended, n_step):
    """Compute the TD error of each step of an episode with loops, NaN where its successor is not known yet."""
    reward, action = rollout["next", "reward"][emulator, start:end, 0], rollout["action"][emulator, start:end]
    quantiles, mask = unrolled["quantiles"][0], unrolled["action_mask"][0]
    best = quantiles.mean(-1).masked_fill(~mask, -torch.inf).argmax(-1)
    value = value_rescale_inverse(quantiles[torch.arange(len(best)), best])  # [K (+ 1), N]
    length = end - start
    errors = torch.full((length,), torch.nan)
    for t in range(length):
        steps = min(n_step, length - t) if ended else n_step
        if t + steps >= len(value):
            continue
        target = sum(GAMMA**k * reward[t + k] for k in range(steps)) + GAMMA**steps * value[t + steps]
        errors[t] = value_rescale(target).mean() - quantiles[t, action[t]].mean()
    return errors


@pytest.mark.parametrize(("burn_in", "unroll", "n_step", "period"), [(8, 16, 5, 16), (10, 12, 3, 6)])
def test_td_errors_of_stored_sequences_are_those_of_the_whole_episode(played, burn_in, unroll, n_step, period):
    rollout, network = played
    builder = SequenceBuilder(
        layout=SequenceLayout(burn_in_steps=burn_in, unroll_steps=unroll, n_step=n_step, period_steps=period),
        observation_keys=(*network.observation_keys, "action_mask"),
        state_keys=network.state_keys,
        gamma=GAMMA,
    )
    # A random reward identifies each step in the sequences.
    rollout = rollout.clone()
    rollout["next", "reward"] = torch.randn(EMULATORS, STEPS, 1, generator=torch.Generator().manual_seed(1))
    expected = {}
    for emulator, start, end, ended, unrolled in episodes(rollout, network):
        errors = td_errors(rollout, unrolled, emulator, start, end, ended, n_step)
        rewards = rollout["next", "reward"][emulator, start:end, 0]
        expected |= dict(zip(rewards.tolist(), errors.tolist(), strict=True))
    sequences = torch.cat([builder.extend(rollout[:, :77]), builder.extend(rollout[:, 77:])])
    batch = TensorDict(dict(sequences.items()), sequences.batch_size)
    loss = R2D2Loss(network, burn_in_steps=burn_in, n_step=n_step, gamma=GAMMA)
    HardUpdate(loss, value_network_update_interval=10)
    loss(batch)
    learned = batch["mask"].clone()
    learned[:, :burn_in] = False
    learned[:, burn_in + unroll :] = False
    found = batch["td_error_steps"][learned]
    wanted = torch.tensor([expected[reward] for reward in batch["reward"][learned].tolist()])
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-5)
    # Every step of the two episodes of each emulator that ended is learned from.
    assert len(set(batch["reward"][learned].tolist())) >= EMULATORS * 2 * EPISODE
