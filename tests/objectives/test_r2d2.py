"""The R2D2 loss on networks whose values can be computed in the head."""

import copy

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tensordict import TensorDict
from torchrl.objectives import HardUpdate, SoftUpdate

from pokered_rl.errors import ConfigError
from pokered_rl.objectives import R2D2Loss, value_rescale


def make_loss(network, **changes):
    loss = R2D2Loss(
        network, **{"burn_in_steps": 0, "n_step": 1, "gamma": 0.5, "rescale_eps": None, "eta": 0.9, **changes}
    )
    HardUpdate(loss, value_network_update_interval=1000)
    return loss


def set_target(loss, **values):
    for name, value in values.items():
        loss.target_network_params.get(name).data.copy_(torch.as_tensor(value))


# ------------------------------------------------------------------ successors, steps of the return


def test_successor_of_a_step_is_the_next_step_of_the_same_unroll(adding_network, make_batch):
    loss = make_loss(adding_network())
    batch = make_batch({"x": [1.0, 2.0, 4.0, 8.0], "state": [10.0]}, reward=[100.0, 200.0, 300.0, 0.0])
    loss(batch)
    # Values are 11, 13, 17, 25. Targets: 100 + 13/2, 200 + 17/2, 300 + 25/2. An unroll that is one step off, or a
    # target network without its state, gives other numbers.
    expected = [[100 + 6.5 - 11, 200 + 8.5 - 13, 300 + 12.5 - 17, 0.0]]
    torch.testing.assert_close(batch["td_error_steps"], torch.tensor(expected))


def test_target_network_carries_its_own_state_through_the_sequence(adding_network, make_batch):
    loss = make_loss(adding_network(), burn_in_steps=1)
    set_target(loss, gain=3.0)
    batch = make_batch({"x": [1.0, 2.0, 4.0], "state": [10.0]}, reward=[0.0, 100.0, 0.0])
    loss(batch)
    # Online: burn-in to 11, step 1 is 13. Target: burn-in to 13, step 1 is 19, step 2 is 31. 100 + 31/2 - 13.
    torch.testing.assert_close(batch["td_error_steps"], torch.tensor([[0.0, 102.5, 0.0]]))


@pytest.mark.parametrize(("n_step", "target"), [(1, 1 + 13 / 2), (2, 1 + 2 / 2 + 17 / 4), (3, 1 + 1 + 1 + 25 / 8)])
def test_number_of_steps_of_the_return_is_the_one_configured(adding_network, make_batch, n_step, target):
    loss = make_loss(adding_network(), n_step=n_step)
    batch = make_batch({"x": [1.0, 2.0, 4.0, 8.0], "state": [10.0]}, reward=[1.0, 2.0, 4.0, 8.0])
    loss(batch)
    torch.testing.assert_close(batch["td_error_steps"][0, 0], torch.tensor(target - 11.0))
    # The last n_step steps are successors and get no loss of their own.
    assert (batch["td_error_steps"][0] != 0).tolist() == [t < 4 - n_step for t in range(4)]


def test_terminated_step_has_no_bootstrap_and_truncated_step_has_one(adding_network, make_batch):
    # Values: 11, 13, then the final observation 17 and padding (x = 0).
    for flag, target in (("terminated", 2.0), ("truncated", 2.0 + 17 / 2)):
        loss = make_loss(adding_network())
        batch = make_batch(
            {"x": [1.0, 2.0, 4.0, 0.0], "state": [10.0]},
            reward=[1.0, 2.0, 0.0, 0.0],
            mask=[True, True, False, False],
            **{flag: (1,)},
        )
        loss(batch)
        expected = [[1 + 13 / 2 - 11, target - 13, 0.0, 0.0]]
        torch.testing.assert_close(batch["td_error_steps"], torch.tensor(expected))


def test_targets_are_formed_in_plain_and_compared_in_rescaled_space(table_network, make_batch):
    loss = make_loss(table_network(), rescale_eps=1e-3, gamma=1.0)
    # The successor's rescaled value 1.003 is 3 in plain units; with reward 5 the target is h(8) = 2 + 0.008.
    batch = make_batch({"table": [[[0.5]], [[1.003]]]}, reward=[5.0, 0.0])
    loss(batch)
    torch.testing.assert_close(batch["td_error_steps"], torch.tensor([[2.008 - 0.5, 0.0]]))


# ------------------------------------------------------------------ burn-in


def test_padded_burn_in_leaves_the_stored_state_and_a_real_one_moves_it(adding_network, make_batch):
    entries = {"x": [5.0, 6.0, 1.0, 2.0], "state": [10.0]}
    for mask, carried in (([True] * 4, 21.0), ([False, False, True, True], 10.0)):
        loss = make_loss(adding_network(), burn_in_steps=2)
        batch = make_batch(entries, reward=[0.0] * 4, mask=mask)
        loss(batch)
        # Step 2 is carried + 1, step 3 is carried + 3, for both networks.
        expected = (carried + 3) / 2 - (carried + 1)
        torch.testing.assert_close(batch["td_error_steps"][0, 2], torch.tensor(expected))
        assert batch["td_error_steps"][0, [0, 1, 3]].tolist() == [0, 0, 0]


def test_real_and_padded_burn_in_can_share_a_batch(adding_network, make_batch):
    entries = {"x": [5.0, 6.0, 1.0, 2.0], "state": [10.0]}
    batches = [make_batch(entries, reward=[0.0] * 4, mask=m) for m in ([True] * 4, [False, False, True, True])]
    loss = make_loss(adding_network(), burn_in_steps=2)
    for batch in batches:
        loss(batch)
    both = torch.cat([b.exclude("td_error", "td_error_steps") for b in batches])
    loss(both)
    torch.testing.assert_close(both["td_error_steps"], torch.cat([b["td_error_steps"] for b in batches]))


def test_burn_in_has_no_gradient(adding_network, make_batch):
    network = adding_network()
    loss = make_loss(network, burn_in_steps=2)
    batch = make_batch({"x": [100.0, 100.0, 3.0, 2.0], "state": [10.0]}, reward=[0.0, 0.0, 1000.0, 0.0])
    loss(batch)["loss_quantile"].backward()
    # One quantile, u far above kappa: d loss / d prediction = -1/2; d prediction / d gain = x of the unroll step, 3.
    torch.testing.assert_close(network.gain.grad, torch.tensor(-1.5))


def test_stored_states_may_be_half_precision(adding_network, make_batch):
    loss = make_loss(adding_network())
    batch = make_batch({"x": [1.0, 2.0], "state": torch.tensor([10.0]).half()}, reward=[1.0, 0.0])
    assert loss(batch)["loss_quantile"].dtype == torch.float32


def test_state_entries_are_found_by_what_the_network_writes_under_next(adding_network, table_network):
    assert make_loss(adding_network()).state_keys == ["state"]
    assert make_loss(table_network()).state_keys == []


# ------------------------------------------------------------------ double Q and the mask


def double_q_batch(make_batch, **more):
    # Successor (step 1): online means 1, 5, 3; the target network doubles them.
    table = torch.tensor([[[0.0]] * 3, [[1.0], [5.0], [3.0]]])
    return make_batch({"table": table}, reward=[0.0, 0.0], **more)


def test_online_network_selects_and_target_network_evaluates(table_network, make_batch):
    loss = make_loss(table_network())
    set_target(loss, factor=-2.0)
    batch = double_q_batch(make_batch)
    loss(batch)
    # Online chooses action 1, its target value is -10: 0 + -10/2. The target's own best would give -2/2.
    torch.testing.assert_close(batch["td_error_steps"][0, 0], torch.tensor(-5.0))


def test_a_masked_action_does_not_leak_in_through_the_bootstrap(table_network, make_batch):
    loss = make_loss(table_network())
    batch = double_q_batch(make_batch, action_mask=[[True] * 3, [True, False, True]])
    out = loss(batch)
    torch.testing.assert_close(batch["td_error_steps"][0, 0], torch.tensor(1.5))  # action 2: 3/2
    assert out["mask_changed_argmax"] == 1.0


def test_a_successor_that_allows_nothing_counts_as_all_allowed(table_network, make_batch):
    loss = make_loss(table_network())
    batch = double_q_batch(make_batch, action_mask=[[False] * 3, [False] * 3])
    out = loss(batch)
    torch.testing.assert_close(batch["td_error_steps"][0, 0], torch.tensor(2.5))
    assert out["mask_changed_argmax"] == 0.0


def test_mask_of_the_final_observation_counts(table_network, make_batch):
    loss = make_loss(table_network())
    batch = double_q_batch(
        make_batch, action_mask=[[True] * 3, [True, False, False]], mask=[True, False], truncated=(0,)
    )
    loss(batch)
    torch.testing.assert_close(batch["td_error_steps"][0, 0], torch.tensor(0.5))  # only action 0 is allowed: 1/2


def test_logs_count_only_successors_of_transitions(table_network, make_batch):
    loss = make_loss(table_network())
    table = torch.tensor([[[0.0], [9.0]]] * 4)
    # Step 1 is the final observation; steps 2 and 3 are padding whose masks would change the argmax too.
    batch = make_batch(
        {"table": table},
        reward=[0.0] * 4,
        mask=[True, False, False, False],
        truncated=(0,),
        action_mask=[[True, True], [True, True], [True, False], [True, False]],
    )
    out = loss(batch)
    assert out["mask_changed_argmax"] == 0.0
    # Step 0 alone: prediction 0 (action 0), target 9/2.
    torch.testing.assert_close(out["mean_q"], torch.tensor(0.0))
    torch.testing.assert_close(out["target_q"], torch.tensor(4.5))
    torch.testing.assert_close(out["valid_fraction"], torch.tensor(1 / 3))


def test_quantile_spread_is_the_deviation_of_the_taken_actions_quantiles(table_network, make_batch):
    loss = make_loss(table_network())
    # Taken action 1 of step 0 has quantiles 1 and 5: deviation 2.
    batch = make_batch(
        {"table": [[[0.0, 0.0], [1.0, 5.0]], [[0.0, 0.0], [0.0, 0.0]]]}, reward=[0.0, 0.0], action=[1, 0]
    )
    torch.testing.assert_close(loss(batch)["quantile_spread"], torch.tensor(2.0))


# ------------------------------------------------------------------ gradients


def test_gradient_flows_through_the_taken_action_only(adding_network, make_batch):
    network = adding_network(num_actions=3)
    loss = make_loss(network)
    batch = make_batch({"x": [0.0, 0.0], "state": [0.0]}, reward=[1000.0, 0.0], action=[1, 2])
    loss(batch)["loss_quantile"].backward()
    assert network.offset.grad.tolist() == [0.0, -0.5, 0.0]


def test_target_parameters_are_no_parameters_and_get_no_gradient(adding_network, make_batch):
    network = adding_network()
    loss = make_loss(network)
    assert {id(p) for p in loss.parameters()} == {id(p) for p in network.parameters()}
    batch = make_batch({"x": [1.0, 2.0], "state": [0.0]}, reward=[1.0, 0.0])
    loss(batch)["loss_quantile"].backward()
    assert all(p.grad is None and not p.requires_grad for p in loss.target_network_params.values(True, True))
    loss.to(torch.float64)
    assert not any(p.requires_grad for p in loss.target_network_params.values(True, True))
    assert not [name for name, _ in loss.named_parameters() if "target" in name]


def test_priorities_carry_no_gradient(adding_network, make_batch):
    batch = make_batch({"x": [1.0, 2.0], "state": [0.0]}, reward=[1.0, 0.0])
    make_loss(adding_network())(batch)
    assert not batch["td_error"].requires_grad
    assert not batch["td_error_steps"].requires_grad


# ------------------------------------------------------------------ weights, reduction, keys


def three_sequences(make_batch):
    sequences = [
        make_batch({"table": [[[0.0]], [[0.0]]]}, reward=[r, 0.0], priority_weight=w)
        for r, w in ((2.0, 1.0), (4.0, 0.5), (8.0, 0.25))
    ]
    return torch.cat(sequences)


def test_importance_weights_scale_each_sequence(table_network, make_batch):
    # tau = 1/2, u = 2, 4, 8: losses (u - 1/2) / 2 = 0.75, 1.75, 3.75; weighted 0.75, 0.875, 0.9375.
    out = make_loss(table_network(), reduction="none")(three_sequences(make_batch))
    torch.testing.assert_close(out["loss_quantile"], torch.tensor([0.75, 0.875, 0.9375]))


def test_reductions_agree_with_one_another(table_network, make_batch):
    parts = {
        reduction: make_loss(table_network(), reduction=reduction)(three_sequences(make_batch))["loss_quantile"]
        for reduction in ("none", "mean", "sum")
    }
    assert parts["none"].shape == (3,)
    torch.testing.assert_close(parts["none"].mean(), parts["mean"])
    torch.testing.assert_close(parts["none"].sum(), parts["sum"])


def test_a_transition_weighs_the_same_in_a_full_and_in_a_short_sequence(table_network, make_batch):
    table = [[[0.0]]] * 5
    full = make_batch({"table": table}, reward=[2.0, 0.0, 0.0, 0.0, 0.0])
    short = make_batch({"table": table}, reward=[2.0, 0.0, 0.0, 0.0, 0.0], mask=[True] + [False] * 4, truncated=(0,))
    loss = make_loss(table_network())
    for batch in (full, short):
        torch.testing.assert_close(loss(batch)["loss_quantile"], torch.tensor(0.75))


@pytest.mark.parametrize(("step_reduction", "expected"), [("sum", 0.75 + 1.75), ("mean", (0.75 + 1.75) / 4)])
def test_step_losses_are_added_or_averaged_over_the_unroll(table_network, make_batch, step_reduction, expected):
    # tau = 1/2, u = 2 and 4: losses (u - 1/2) / 2; the unroll has four steps, two of them transitions.
    batch = make_batch({"table": [[[0.0]]] * 5}, reward=[2.0, 4.0, 0, 0, 0], mask=[1, 1, 0, 0, 0], truncated=(1,))
    loss = make_loss(table_network(), step_reduction=step_reduction)
    torch.testing.assert_close(loss(batch)["loss_quantile"], torch.tensor(expected))


def test_priority_mixes_maximum_and_mean_of_the_transitions(table_network, make_batch):
    table = [[[0.0]]] * 5
    batch = make_batch({"table": table}, reward=[1.0, -3.0, 2.0, 50.0, 0.0], mask=[1, 1, 1, 0, 0], truncated=(2,))
    make_loss(table_network())(batch)
    # Errors 1, -3, 2: 0.9 * 3 + 0.1 * 2.
    torch.testing.assert_close(batch["td_error"], torch.tensor([2.9]))
    torch.testing.assert_close(batch["td_error_steps"], torch.tensor([[1.0, -3.0, 2.0, 0.0, 0.0]]))


def test_a_sequence_without_any_transition_costs_nothing(table_network, make_batch):
    batch = make_batch({"table": [[[7.0]]] * 3}, reward=[5.0] * 3, mask=[False] * 3)
    out = make_loss(table_network())(batch)
    assert out["loss_quantile"] == 0.0
    assert batch["td_error"].item() == 0.0
    assert all(torch.isfinite(value).all() for value in out.values())


def test_flags_and_rewards_may_have_a_trailing_dimension(adding_network, make_batch):
    batch = make_batch({"x": [1.0, 2.0, 4.0], "state": [1.0]}, reward=[1.0, 2.0, 0.0], truncated=(1,), mask=[1, 1, 0])
    trailing = batch.clone()
    for key in ("reward", "terminated", "truncated", "mask"):
        trailing[key] = trailing[key].unsqueeze(-1)
    loss = make_loss(adding_network())
    assert torch.equal(loss(batch)["loss_quantile"], loss(trailing)["loss_quantile"])


def test_entries_can_be_renamed(adding_network, make_batch):
    batch = make_batch({"x": [1.0, 2.0, 4.0], "state": [1.0]}, reward=[1.0, 2.0, 0.0])
    loss = make_loss(adding_network())
    expected = loss(batch)["loss_quantile"]
    loss.set_keys(reward="gain", priority="urgency")
    renamed = batch.exclude("td_error", "td_error_steps").rename_key_("reward", "gain")
    assert torch.equal(loss(renamed)["loss_quantile"], expected)
    assert renamed.get("urgency") is not None
    assert "gain" in loss.in_keys
    with pytest.raises(ValueError, match="not an accepted tensordict key"):
        loss.set_keys(nonsense="x")


def test_the_loss_can_be_called_with_tensors(adding_network, make_batch):
    batch = make_batch(
        {"x": [1.0, 2.0, 4.0], "state": [1.0]}, reward=[1.0, 2.0, 0.0], priority_weight=1.0, mask=[1, 1, 0]
    )
    loss = make_loss(adding_network())
    expected = loss(batch)
    parts = loss(**dict(batch.exclude("td_error", "td_error_steps").items()))
    assert len(parts) == len(loss.out_keys)
    assert torch.equal(parts[0], expected["loss_quantile"])
    assert loss.out_keys == list(dict.fromkeys([*loss.out_keys, *expected.keys()]))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"burn_in_steps": -1}, "burn_in_steps must be in"),
        ({"n_step": 0}, "n_step must be in"),
        ({"gamma": 1.5}, "gamma must be in"),
        ({"eta": -0.1}, "eta must be in"),
        ({"kappa": 0.0}, "kappa must be > 0, got 0.0"),
        ({"step_reduction": "max"}, "step_reduction must be 'sum' or 'mean', got 'max'"),
        ({"reduction": "median"}, "reduction must be 'mean', 'sum' or 'none', got 'median'"),
    ],
)
def test_values_out_of_range_are_refused(table_network, change, message):
    with pytest.raises(ConfigError, match=message):
        make_loss(table_network(), **change)


def test_sequences_that_are_too_short_are_refused(table_network, make_batch):
    batch = make_batch({"table": [[[0.0]]] * 4}, reward=[0.0] * 4)
    with pytest.raises(ValueError, match=r"more than burn_in_steps \+ n_step = 4 steps, got 4"):
        make_loss(table_network(), burn_in_steps=2, n_step=2)(batch)


def test_a_batch_with_a_time_dimension_is_refused(table_network, make_batch):
    batch = make_batch({"table": [[[0.0]]] * 4}, reward=[0.0] * 4)
    batch.batch_size = [1, 4]
    with pytest.raises(ValueError, match=r"batch size \[B\]"):
        make_loss(table_network())(batch)


def test_a_value_estimator_is_refused_with_the_reason(table_network):
    with pytest.raises(NotImplementedError, match=r"computes n-step double-Q targets .* itself; set gamma, n_step"):
        make_loss(table_network()).make_value_estimator()


# ------------------------------------------------------------------ target updates


def test_soft_update_moves_the_target_by_tau(adding_network, make_batch):
    network = adding_network()
    loss = R2D2Loss(network, burn_in_steps=0, n_step=1)
    updater = SoftUpdate(loss, tau=0.25)
    with torch.no_grad():
        network.gain.fill_(5.0)
    updater.step()
    torch.testing.assert_close(loss.target_network_params["gain"], torch.tensor(2.0))  # 1 + (5 - 1) / 4


def test_hard_update_copies_at_its_interval(adding_network):
    network = adding_network()
    loss = R2D2Loss(network, burn_in_steps=0, n_step=1)
    updater = HardUpdate(loss, value_network_update_interval=3)
    with torch.no_grad():
        network.gain.fill_(5.0)
    seen = []
    for _ in range(4):
        updater.step()
        seen.append(loss.target_network_params["gain"].item())
    # TorchRL counts one step more than its argument says: an interval of 3 copies at every fourth call.
    assert seen == [1.0, 1.0, 1.0, 5.0]


def test_state_dict_brings_back_online_and_target_parameters(adding_network):
    loss = make_loss(adding_network())
    set_target(loss, gain=7.0)
    other = make_loss(adding_network())
    other.load_state_dict(copy.deepcopy(loss.state_dict()))
    assert other.target_network_params["gain"].item() == 7.0


# ------------------------------------------------------------------ against loops


def loop_loss(online, target, batch, *, gamma, n_step, kappa, eta, burn_in):
    """The same, in loops over plain numbers, without value rescaling."""
    batch_size, length = batch["action"].shape
    losses, priorities = [], []
    for b in range(batch_size):
        total, errors = 0.0, []
        for t in range(burn_in, length - n_step):
            if not batch["mask"][b, t]:
                continue
            ret, discount, k = 0.0, 1.0, t
            while True:
                ret += discount * batch["reward"][b, k]
                discount *= gamma
                if batch["terminated"][b, k]:
                    bootstrap = np.zeros(target.shape[-1])
                    break
                if batch["truncated"][b, k] or k - t + 1 == n_step:
                    allowed = batch["action_mask"][b, k + 1]
                    means = online[b, k + 1].mean(-1)
                    if allowed.any():
                        means = np.where(allowed, means, -np.inf)
                    bootstrap = target[b, k + 1, means.argmax()]
                    break
                k += 1
            goal = ret + discount * bootstrap
            predicted = online[b, t, batch["action"][b, t]]
            n = len(predicted)
            for i in range(n):
                for g in goal:
                    u = g - predicted[i]
                    huber = 0.5 * u * u if abs(u) <= kappa else kappa * (abs(u) - 0.5 * kappa)
                    total += abs((i + 0.5) / n - (u < 0)) * huber / len(goal)
            errors.append(abs(goal.mean() - predicted.mean()))
        losses.append(total)
        priorities.append(eta * max(errors) + (1 - eta) * np.mean(errors) if errors else 0.0)
    return np.array(losses), np.array(priorities)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), n_step=st.integers(1, 3), burn_in=st.integers(0, 2))
def test_loss_and_priority_agree_with_loops_on_random_sequences(table_network, seed, n_step, burn_in):
    rng = np.random.default_rng(seed)
    batch_size, length, actions, quantiles = 3, burn_in + 4 + n_step, 3, 4
    batch = {
        "table": rng.normal(size=(batch_size, length, actions, quantiles)).astype(np.float32),
        "action": rng.integers(0, actions, (batch_size, length)),
        "reward": rng.normal(size=(batch_size, length)).astype(np.float32),
        "terminated": np.zeros((batch_size, length), bool),
        "truncated": np.zeros((batch_size, length), bool),
        "action_mask": rng.random((batch_size, length, actions)) < 0.5,
        "mask": np.ones((batch_size, length), bool),
    }
    for b in range(batch_size):  # an episode ends somewhere, or not
        end = rng.integers(burn_in, length + 3)
        if end < length - 1:
            batch["terminated" if rng.random() < 0.5 else "truncated"][b, end] = True
            batch["mask"][b, end + 1 :] = False
            batch["reward"][b, end + 1 :] = 0
    loss = make_loss(table_network(), n_step=n_step, burn_in_steps=burn_in, gamma=0.9, reduction="none")
    set_target(loss, factor=-0.7)
    td = TensorDict({key: torch.from_numpy(value) for key, value in batch.items()}, [batch_size])
    out = loss(td)
    expected_loss, expected_priority = loop_loss(
        batch["table"],
        batch["table"] * np.float32(-0.7),
        batch,
        gamma=0.9,
        n_step=n_step,
        kappa=1.0,
        eta=0.9,
        burn_in=burn_in,
    )
    np.testing.assert_allclose(out["loss_quantile"].detach().numpy(), expected_loss, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(td["td_error"].numpy(), expected_priority, rtol=1e-4, atol=1e-6)


def test_rescaled_values_are_what_the_network_predicts(table_network, make_batch):
    # A constant reward of 1 for ever with gamma 1/2 is worth 2: with h(2) everywhere there is no error left.
    loss = make_loss(table_network(), rescale_eps=1e-3)
    value = value_rescale(torch.tensor(2.0)).item()
    batch = make_batch({"table": [[[value]]] * 4}, reward=[1.0] * 4)
    loss(batch)
    torch.testing.assert_close(batch["td_error_steps"], torch.zeros(1, 4), atol=1e-6, rtol=0)
