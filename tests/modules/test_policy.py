import copy
import pickle
from itertools import pairwise

import pytest
import torch
from tensordict import TensorDict
from torchrl.envs import ExplorationType, GymEnv, TransformedEnv, set_exploration_type
from torchrl.modules import MLP

from pokered_rl.errors import ConfigError
from pokered_rl.modules import R2D2Policy, RecurrentQuantileNetwork

ACTIONS = 3


def make_network(num_actions=ACTIONS, **changes):
    return RecurrentQuantileNetwork(
        **{
            "encoder": MLP(in_features=4, out_features=8, num_cells=[8]),
            "observation_keys": ["observation"],
            "num_features": 8,
            "num_actions": num_actions,
            "num_quantiles": 5,
            "hidden_size": 8,
            "head_size": 8,
            **changes,
        }
    )


def step_input(network, num_emulators, *, epsilon=0.0, mask=None):
    td = network.initial_state([num_emulators])
    td["observation"] = torch.randn(num_emulators, 4)
    td["epsilon"] = torch.full((num_emulators, 1), epsilon)
    if mask is not None:
        td["action_mask"] = torch.tensor(mask).expand(num_emulators, -1)
    return td


def explore(policy, td):
    with set_exploration_type(ExplorationType.RANDOM):
        return policy(td)


def test_greedy_action_is_the_best_allowed_one():
    network = make_network(noise_std=0.0)
    with torch.no_grad():
        network.head.advantage.bias.view(ACTIONS, 5)[1] += 10.0  # action 1 is the best everywhere
    policy = R2D2Policy(network)
    td = policy(step_input(network, 50))
    assert set(td["action"].tolist()) == {1}
    masked = policy(step_input(network, 50, mask=[True, False, True]))
    assert set(masked["action"].tolist()) <= {0, 2}
    expected = masked["action_value"].clone()
    expected[:, 1] = -torch.inf
    assert torch.equal(masked["action"], expected.argmax(-1))


def test_random_actions_are_uniform_over_the_allowed_ones():
    network = make_network()
    td = explore(R2D2Policy(network), step_input(network, 9000, epsilon=1.0, mask=[True, False, True]))
    counts = td["action"].bincount(minlength=3)
    assert counts[1] == 0
    assert abs(counts[0] / 9000 - 0.5) < 0.03  # 5.7 standard deviations


def test_a_mask_that_allows_nothing_counts_as_all_allowed():
    # Collectors probe a policy with TensorDicts of zeros.
    network = make_network()
    td = explore(R2D2Policy(network), step_input(network, 9000, epsilon=1.0, mask=[False, False, False]))
    assert (td["action"].bincount(minlength=3) > 2700).all()
    greedy = R2D2Policy(network)(step_input(network, 20, mask=[False, False, False]))
    assert torch.equal(greedy["action"], greedy["action_value"].argmax(-1))


def test_epsilon_is_read_for_each_emulator():
    network = make_network(noise_std=0.0)
    td = step_input(network, 4000)
    td["epsilon"][2000:] = 0.6
    td = explore(R2D2Policy(network), td)
    random = td["action"] != td["action_value"].argmax(-1)
    assert not random[:2000].any()
    assert abs(random[2000:].float().mean() - 0.4) < 0.05  # 0.6 * 2/3: a random action can be the greedy one


def test_without_exploration_neither_epsilon_nor_noise_act():
    network = make_network()
    policy = R2D2Policy(network)
    td = step_input(network, 20, epsilon=1.0)
    values = [policy(td.clone())["action_value"] for _ in range(2)]
    assert torch.equal(values[0], values[1])
    assert torch.equal(policy(td.clone())["action"], values[0].argmax(-1))


def test_every_emulator_and_every_step_has_its_own_noise():
    network = make_network()
    policy = R2D2Policy(network, noise_interval_steps=1)
    td = step_input(network, 1)
    td = torch.cat([td] * 3)  # three emulators in one and the same state
    first, second = (explore(policy, td.clone())["action_value"] for _ in range(2))
    assert (first[0] - first[1]).abs().max() > 1e-4
    assert (first - second).abs().amax(-1).min() > 1e-4


def test_noise_is_held_for_the_interval():
    network = make_network()
    policy = R2D2Policy(network, noise_interval_steps=3)
    td = step_input(network, 2)
    values = [explore(policy, td.clone())["action_value"] for _ in range(7)]
    same = [torch.equal(a, b) for a, b in pairwise(values)]
    assert same == [True, True, False, True, True, False]


def test_noise_survives_weight_updates_and_is_not_in_the_weights():
    # TorchRL copies buffers to the workers with the weights: noise kept there would be one for all, and frozen.
    network = make_network()
    policy = R2D2Policy(network, noise_interval_steps=100)
    td = step_input(network, 2)
    before = explore(policy, td.clone())["action_value"]
    learner = copy.deepcopy(network)
    for module in learner.modules():
        if hasattr(module, "reset_noise"):
            module.reset_noise()
    network.load_state_dict(learner.state_dict())
    assert torch.equal(explore(policy, td.clone())["action_value"], before)


def step_input_fixed(network):
    td = network.initial_state([1])
    td["observation"] = torch.ones(1, 4)
    td["epsilon"] = torch.zeros(1, 1)
    return td


def test_noise_differs_between_processes_with_the_same_seed_and_repeats_in_a_second_run(monkeypatch):
    policy = R2D2Policy(make_network())

    def value(name, seed):
        monkeypatch.setattr("multiprocessing.current_process", lambda: type("P", (), {"name": name}))
        torch.manual_seed(seed)
        worker = pickle.loads(pickle.dumps(policy))
        return explore(worker, step_input_fixed(worker.network))["action_value"]

    torch.manual_seed(0)
    explore(policy, step_input_fixed(policy.network))  # collectors probe the policy before they send it to the workers
    first = value("worker-1", 0)
    assert (first - value("worker-2", 0)).abs().max() > 1e-4
    assert (first - value("worker-1", 1)).abs().max() > 1e-4
    assert torch.equal(first, value("worker-1", 0))


@pytest.mark.parametrize("epsilon", [0.3, torch.tensor([0.1, 0.7])])
def test_primer_supplies_zero_states_at_each_reset_and_epsilon_for_each_emulator(epsilon):
    from torchrl.envs import SerialEnv

    network = make_network(num_actions=2)
    policy = R2D2Policy(network)
    env = TransformedEnv(SerialEnv(2, lambda: GymEnv("CartPole-v1", categorical_action_encoding=True)))
    env.append_transform(policy.make_primers(epsilon=epsilon))
    with torch.no_grad(), set_exploration_type(ExplorationType.RANDOM):
        rollout = env.rollout(60, policy, break_when_any_done=False)
    assert torch.equal(rollout["epsilon"][..., 0], torch.as_tensor(epsilon).view(-1, 1).expand(2, 60))
    is_first = torch.zeros(2, 60, dtype=torch.bool)
    is_first[:, 0] = True
    is_first[:, 1:] = rollout["next", "done"][:, :-1, 0]
    assert is_first[:, 1:].any()
    assert (rollout["recurrent_state_h"].abs().sum(-1) == 0).equal(is_first)
    # Between resets the state of a step is the state that the step before wrote.
    carried = rollout["next", "recurrent_state_h"][:, :-1][~is_first[:, 1:]]
    assert torch.equal(rollout["recurrent_state_h"][:, 1:][~is_first[:, 1:]], carried)
    env.close()


def test_an_environment_without_a_batch_is_served():
    network = make_network(num_actions=2)
    policy = R2D2Policy(network)
    env = TransformedEnv(GymEnv("CartPole-v1", categorical_action_encoding=True), policy.make_primers(epsilon=0.5))
    rollout = env.rollout(5, policy)
    assert rollout["action_value"].shape == (len(rollout), 2)
    env.close()


def test_a_missing_primer_is_an_error_and_not_an_agent_without_memory():
    network = make_network()
    with pytest.raises(KeyError, match="recurrent_state_h"):
        R2D2Policy(network)(TensorDict({"observation": torch.randn(2, 4)}, [2]))


def test_noise_interval_must_be_positive():
    with pytest.raises(ConfigError, match="noise_interval_steps must be >= 1, got 0"):
        R2D2Policy(make_network(), noise_interval_steps=0)


# ------------------------------------------------------------------ repeated random actions


def greedy_is(network, action):
    with torch.no_grad():
        network.head.advantage.bias.view(network.num_actions, 5)[action] += 10.0


def play(policy, td, num_steps):
    """Act num_steps times on the same input: actions [E, T]."""
    return torch.stack([explore(policy, td.clone())["action"] for _ in range(num_steps)], -1)


def run_lengths(actions, action):
    """Lengths of the runs of an action in [E, T], those that touch either end left out."""
    lengths = []
    for line in (actions == action).tolist():
        runs = "".join("x" if hit else " " for hit in line).split(" ")
        lengths += [len(run) for run in runs[1:-1] if run]
    return torch.tensor(lengths)


def test_durations_of_random_actions_follow_the_truncated_zeta_distribution():
    # Only action 0 differs from the greedy one, and repetitions start seldom: a run of zeros is one repetition.
    # Chances of 1, 2, 3 and 4 steps are proportional to 1, 1/4, 1/9 and 1/16: 144, 36, 16 and 9 of 205.
    network = make_network(num_actions=2, noise_std=0.0)
    greedy_is(network, 1)
    policy = R2D2Policy(network, max_hold_steps=4)
    lengths = run_lengths(play(policy, step_input(network, 1500, epsilon=0.01), 300), 0)
    expected = torch.tensor([144, 36, 16, 9]) / 205
    found = lengths.bincount(minlength=5)[1:5] / len(lengths)
    # Some 2,000 runs: three standard deviations are below 0.03; one run in a hundred is two that met.
    torch.testing.assert_close(found, expected, atol=0.035, rtol=0)


def test_a_repetition_ends_where_the_mask_forbids_its_action():
    network = make_network(noise_std=0.0)
    greedy_is(network, 1)
    policy = R2D2Policy(network, max_hold_steps=1000, hold_exponent=0.0)  # all durations are equally likely
    td = step_input(network, 50, epsilon=1.0)
    held = play(policy, td, 3)
    assert (held == held[:, :1]).float().mean() > 0.95
    td["epsilon"][:] = 0.0
    free = explore(policy, td.clone())["action"]
    assert (free != 1).float().mean() > 0.5  # repetitions go on without a new draw
    masked = step_input(network, 50, epsilon=0.0, mask=[False, True, False])
    masked["observation"] = td["observation"]
    assert set(explore(policy, masked)["action"].tolist()) == {1}
    assert set(explore(policy, td.clone())["action"].tolist()) == {1}  # ended, not interrupted


def test_a_repetition_ends_with_its_episode():
    network = make_network(noise_std=0.0)
    greedy_is(network, 1)
    policy = R2D2Policy(network, max_hold_steps=1000, hold_exponent=0.0)
    td = step_input(network, 50, epsilon=1.0)
    explore(policy, td.clone())
    td["epsilon"][:] = 0.0
    td["is_init"] = torch.arange(50).view(-1, 1) < 25
    action = explore(policy, td.clone())["action"]
    assert set(action[:25].tolist()) == {1}
    assert (action[25:] != 1).any()


def test_exploration_continues_from_its_saved_state():
    network = make_network()
    td = step_input(network, 20, epsilon=0.2)
    policy = R2D2Policy(network, max_hold_steps=8, noise_interval_steps=5)
    play(policy, td, 7)
    state = copy.deepcopy(policy.exploration_state())
    expected = play(policy, td, 30)
    other = R2D2Policy(network, max_hold_steps=8, noise_interval_steps=5)
    assert other.exploration_state() is None
    play(other, td, 3)
    other.load_exploration_state(state)
    assert torch.equal(play(other, td, 30), expected)


def test_longest_repetition_must_be_positive():
    with pytest.raises(ConfigError, match="max_hold_steps must be >= 1, got 0"):
        R2D2Policy(make_network(), max_hold_steps=0)


@pytest.mark.parametrize(("max_hold_steps", "diffusion"), [(1, 1.0), (32, 32 / 4.0585)])
def test_repetitions_carry_a_random_walk_further(max_hold_steps, diffusion):
    # Four directions, every action random. A walk of n-step runs has a mean square distance of E[n^2] / E[n] a step.
    # With chances in proportion to 1 / n^2 that is 32 over the sum of 1 / n, n = 1..32, which is 4.0585.
    network = make_network(num_actions=4, noise_std=0.0)
    policy = R2D2Policy(network, max_hold_steps=max_hold_steps)
    actions = play(policy, step_input(network, 2000, epsilon=1.0), 300)
    moves = torch.tensor([[1, 0], [-1, 0], [0, 1], [0, -1]])[actions]  # [E, T, 2]
    square_distance = moves.sum(1).square().sum(-1).float().mean()
    assert square_distance / 300 == pytest.approx(diffusion, rel=0.15)  # the last run is cut off
