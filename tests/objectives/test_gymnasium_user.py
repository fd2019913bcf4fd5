"""What the docs show to a Gymnasium user, and what follows it: rollouts, sequences, replay, updates."""

import tempfile

import torch
from torchrl.envs import (
    ExplorationType,
    GymEnv,
    InitTracker,
    SerialEnv,
    StepCounter,
    TransformedEnv,
    set_exploration_type,
)
from torchrl.modules import MLP
from torchrl.objectives import HardUpdate

from pokered_rl.data import SequenceBuilder, SequenceLayout, make_replay
from pokered_rl.modules import R2D2Policy, RecurrentQuantileNetwork
from pokered_rl.objectives import R2D2Loss

LAYOUT = SequenceLayout(burn_in_steps=4, unroll_steps=8, n_step=2)


def make_parts(**changes):
    network = RecurrentQuantileNetwork(
        encoder=MLP(in_features=4, out_features=16, num_cells=[16]),
        observation_keys=["observation"],
        num_features=16,
        num_actions=2,
        hidden_size=16,
        head_size=16,
        **changes,
    )
    policy = R2D2Policy(network)
    env = TransformedEnv(SerialEnv(2, lambda: GymEnv("CartPole-v1", categorical_action_encoding=True)))
    env.append_transform(policy.make_primers(epsilon=0.2)).append_transform(InitTracker()).append_transform(
        StepCounter()
    )
    with torch.no_grad(), set_exploration_type(ExplorationType.RANDOM):
        rollout = env.rollout(100, policy, break_when_any_done=False)
    env.close()
    builder = SequenceBuilder(layout=LAYOUT, observation_keys=["observation"], state_keys=network.state_keys)
    loss = R2D2Loss(network, burn_in_steps=4, n_step=2)
    return network, builder.extend(rollout), loss, HardUpdate(loss, value_network_update_interval=10)


def test_a_gymnasium_environment_is_learned_from_with_an_mlp_and_an_lstm():
    network, sequences, loss, updater = make_parts(num_quantiles=5)
    optimizer = torch.optim.Adam(loss.parameters(), lr=1e-2)
    before = [parameter.detach().clone() for parameter in network.parameters()]
    with tempfile.TemporaryDirectory() as folder:
        replay = make_replay(scratch_dir=folder, capacity_transitions=2000, layout=LAYOUT, batch_size=8)
        replay.extend(sequences)
        for _ in range(5):
            batch = replay.sample()
            optimizer.zero_grad()
            loss(batch)["loss_quantile"].backward()
            optimizer.step()
            updater.step()
            replay.update_tensordict_priority(batch)
            assert torch.isfinite(batch["td_error"]).all()
    assert all((a != b).any() for a, b in zip(before, network.parameters(), strict=True))


def test_priority_of_the_policy_is_the_learners_for_the_same_weights():
    # Collector, sequences, burn-in from stored states, n-step targets and rescaling, all at once: the policy computes
    # its errors while it plays, the learner from the stored sequence. CartPole terminates, so no final value is needed.
    # One quantile: with more, the policy rescales the mean where the learner takes the mean of rescaled quantiles.
    _, sequences, loss, _ = make_parts(num_quantiles=1, noise_std=0.0)
    expected = sequences["td_error"].clone()
    assert len(expected) > 10
    loss(sequences)
    torch.testing.assert_close(sequences["td_error"], expected, rtol=1e-4, atol=1e-4)
