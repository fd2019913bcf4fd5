"""Every functional against numbers derived by hand, against a reference written with loops, and its gradients."""

import math
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pokered_rl.objectives.functional import (
    double_q_action,
    large_margin_loss,
    n_step_targets,
    quantile_huber_loss,
    quantile_td_error,
    rescaled_n_step_targets,
    sequence_priority,
    value_rescale,
    value_rescale_inverse,
)

seeds = st.integers(0, 2**32 - 1)
quick = settings(max_examples=30, deadline=None)


# ---------------------------------------------------------------- slow references, written with loops


def loop_rescale(x, eps):
    return math.copysign(1.0, x) * (math.sqrt(abs(x) + 1.0) - 1.0) + eps * x


def loop_n_step(reward, terminated, truncated, value, gamma, n_step):
    batch_size, steps = reward.shape
    out = np.zeros(value.shape)
    for b in range(batch_size):
        for t in range(steps):
            total, discount = np.zeros(value.shape[-1]), 1.0
            for k in range(min(n_step, steps - t)):
                total = total + discount * reward[b, t + k]
                discount *= gamma
                last = k == min(n_step, steps - t) - 1
                if terminated[b, t + k]:
                    break
                if truncated[b, t + k] or last:
                    total = total + discount * value[b, t + k]
                    break
            out[b, t] = total
    return out


def loop_quantile_huber(prediction, target, kappa):
    n, m = len(prediction), len(target)
    total = 0.0
    for i in range(n):
        tau = (i + 0.5) / n
        inner = 0.0
        for j in range(m):
            u = target[j] - prediction[i]
            huber = 0.5 * u * u if abs(u) <= kappa else kappa * (abs(u) - 0.5 * kappa)
            inner += abs(tau - (1.0 if u < 0 else 0.0)) * huber
        total += inner / m
    return total


def loop_double_q(quantiles, mask):
    best, best_value = 0, -math.inf
    anything = any(mask)
    for action in range(len(quantiles)):
        value = sum(quantiles[action]) / len(quantiles[action])
        if (mask[action] or not anything) and value > best_value:
            best, best_value = action, value
    return best


def loop_priority(td_error, mask, eta):
    valid = [abs(e) for e, m in zip(td_error, mask, strict=True) if m]
    return eta * max(valid) + (1 - eta) * sum(valid) / len(valid) if valid else 0.0


# ---------------------------------------------------------------- value rescaling


def test_value_rescale_of_three_is_one_plus_the_linear_term():
    # sqrt(3 + 1) - 1 = 1, plus 0.001 * 3; the function is odd.
    x = torch.tensor([3.0, -3.0, 0.0])
    torch.testing.assert_close(value_rescale(x), torch.tensor([1.003, -1.003, 0.0]))
    # eps = 0.5: 1 + 1.5
    torch.testing.assert_close(value_rescale(torch.tensor([3.0]), 0.5), torch.tensor([2.5]))


def test_value_rescale_inverse_undoes_the_hand_computed_value():
    torch.testing.assert_close(value_rescale_inverse(torch.tensor([1.003, -1.003])), torch.tensor([3.0, -3.0]))


def test_value_rescale_inverse_equals_the_published_form_in_double_precision():
    x = torch.logspace(-3, 4, 200, dtype=torch.float64)
    x = torch.cat([-x, x])
    a = x.abs() + 1 + 1e-3
    z = 2 * a / (1 + torch.sqrt(1 + 4 * 1e-3 * a))
    torch.testing.assert_close(value_rescale_inverse(x), x.sign() * (z * z - 1), rtol=1e-9, atol=0)


@pytest.mark.parametrize("eps", [1e-3, 1e-2])
def test_rescaling_round_trip_keeps_small_and_large_values_in_float32(eps):
    x = torch.logspace(-3, 4, 400)
    x = torch.cat([-x, x])
    there_and_back = value_rescale_inverse(value_rescale(x, eps), eps)
    back_and_there = value_rescale(value_rescale_inverse(x, eps), eps)
    # The textbook form loses 3e-2 at 1e-3, this one stays near machine precision.
    assert ((there_and_back - x) / x).abs().max() < 2e-6
    assert ((back_and_there - x) / x).abs().max() < 2e-6


def test_rescaling_has_the_derivative_of_its_formula_at_zero():
    x = torch.zeros(1, requires_grad=True)
    value_rescale(x).sum().backward()
    torch.testing.assert_close(x.grad, torch.tensor([0.501]))  # 1 / (2 sqrt(1)) + eps
    y = torch.zeros(1, requires_grad=True)
    value_rescale_inverse(y).sum().backward()
    torch.testing.assert_close(y.grad, torch.tensor([1 / 0.501]))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_inputs_are_computed_and_returned_in_float32(dtype):
    x = torch.tensor([3.0], dtype=dtype)
    assert value_rescale(x).dtype == torch.float32
    assert value_rescale_inverse(x).dtype == torch.float32
    assert quantile_huber_loss(x, x).dtype == torch.float32
    flag = torch.zeros(1, 1, dtype=torch.bool)
    target = n_step_targets(x.view(1, 1), flag, flag, x.view(1, 1, 1), gamma=0.997, n_step=1)
    assert target.dtype == torch.float32
    torch.testing.assert_close(target.flatten(), torch.tensor([5.991]))  # 3 + 0.997 * 3; bfloat16 would say 6.0
    assert sequence_priority(x.view(1, 1), ~flag).dtype == torch.float32


@quick
@given(seeds, st.sampled_from([1e-3, 1e-2, 0.1]))
def test_value_rescale_agrees_with_the_loop_reference(seed, eps):
    x = np.random.default_rng(seed).normal(size=20) * 10.0 ** np.random.default_rng(seed).uniform(-3, 4)
    expected = np.array([loop_rescale(v, eps) for v in x])
    np.testing.assert_allclose(value_rescale(torch.from_numpy(x), eps).numpy(), expected, rtol=1e-9, atol=1e-14)
    np.testing.assert_allclose(value_rescale_inverse(torch.from_numpy(expected), eps).numpy(), x, rtol=1e-7, atol=1e-14)


# ---------------------------------------------------------------- n-step targets


def chain(terminated=(0, 0, 0, 0), truncated=(0, 0, 0, 0), n_step=2, reward=(1.0, 2.0, 4.0, 8.0)):
    """Targets of four steps with gamma 1/2 and values 100, 200, 400, 800 after each step."""
    return n_step_targets(
        torch.tensor([reward]),
        torch.tensor([terminated], dtype=torch.bool),
        torch.tensor([truncated], dtype=torch.bool),
        torch.tensor([100.0, 200.0, 400.0, 800.0]).view(1, 4, 1),
        gamma=0.5,
        n_step=n_step,
    ).flatten()


def test_two_step_target_sums_two_rewards_and_bootstraps_from_the_second_successor():
    # t=0: 1 + 2/2 + 200/4 = 52;   t=1: 2 + 4/2 + 400/4 = 104;   t=2: 4 + 8/2 + 800/4 = 208
    # t=3 has one step left (m = 1): 8 + 800/2 = 408
    torch.testing.assert_close(chain(), torch.tensor([52.0, 104.0, 208.0, 408.0]))


def test_one_step_target_bootstraps_from_the_next_state():
    torch.testing.assert_close(chain(n_step=1), torch.tensor([51.0, 102.0, 204.0, 408.0]))


def test_more_steps_than_the_sequence_has_end_at_its_end():
    # t=0: 1 + 1 + 1 + 1 + 800/16 = 54;  t=1: 2 + 2 + 2 + 800/8 = 106;  t=2: 4 + 4 + 800/4 = 208
    torch.testing.assert_close(chain(n_step=10), torch.tensor([54.0, 106.0, 208.0, 408.0]))


def test_termination_ends_the_sum_without_a_bootstrap():
    # step 1 terminates: t=0: 1 + 2/2 = 2;  t=1: 2;  later steps belong to another episode.
    out = chain(terminated=(0, 1, 0, 0), n_step=3)
    torch.testing.assert_close(out[:2], torch.tensor([2.0, 2.0]))


def test_truncation_ends_the_sum_and_bootstraps_from_its_own_successor():
    # step 1 is truncated: t=0: 1 + 2/2 + 200/4 = 52;  t=1: 2 + 200/2 = 102
    out = chain(truncated=(0, 1, 0, 0), n_step=3)
    torch.testing.assert_close(out[:2], torch.tensor([52.0, 102.0]))


def test_a_step_that_is_terminated_and_truncated_counts_as_terminated():
    out = chain(terminated=(0, 1, 0, 0), truncated=(0, 1, 0, 0), n_step=3)
    torch.testing.assert_close(out[:2], torch.tensor([2.0, 2.0]))


def test_padding_after_a_done_step_cannot_leak_even_if_it_is_not_a_number():
    out = n_step_targets(
        torch.tensor([[1.0, 2.0, float("nan")]]),
        torch.tensor([[False, True, False]]),
        torch.zeros(1, 3, dtype=torch.bool),
        torch.tensor([10.0, float("nan"), float("nan")]).view(1, 3, 1),
        gamma=0.5,
        n_step=3,
    ).flatten()
    torch.testing.assert_close(out[:2], torch.tensor([2.0, 2.0]))


@pytest.mark.parametrize("n_step", [0, -1])
def test_n_step_below_one_is_refused(n_step):
    with pytest.raises(ValueError, match=f"n_step must be >= 1, got {n_step}"):
        chain(n_step=n_step)


@quick
@given(seeds, st.integers(1, 8), st.integers(1, 7), st.integers(1, 3))
def test_n_step_targets_agree_with_the_loop_reference(seed, steps, n_step, quantiles):
    rng = np.random.default_rng(seed)
    reward = rng.normal(size=(3, steps))
    terminated, truncated = rng.random((3, steps)) < 0.2, rng.random((3, steps)) < 0.2
    value = rng.normal(size=(3, steps, quantiles)) * 5
    out = n_step_targets(*map(torch.from_numpy, (reward, terminated, truncated, value)), gamma=0.9, n_step=n_step)
    expected = loop_n_step(reward, terminated, truncated, value, 0.9, n_step)
    np.testing.assert_allclose(out.numpy(), expected, rtol=1e-10, atol=1e-12)


def test_rescaled_targets_are_the_rescaled_targets_of_the_plain_values():
    flag = torch.zeros(1, 1, dtype=torch.bool)
    # The rescaled 3 is 1.003; its plain one-step target with reward 5 and gamma 1 is 8: sqrt(9) - 1 + 0.008.
    out = rescaled_n_step_targets(torch.tensor([[5.0]]), flag, flag, torch.tensor([[[1.003]]]), gamma=1.0, n_step=1)
    torch.testing.assert_close(out.flatten(), torch.tensor([2.008]))
    plain = rescaled_n_step_targets(
        torch.tensor([[5.0]]), flag, flag, torch.tensor([[[3.0]]]), gamma=1.0, n_step=1, eps=None
    )
    torch.testing.assert_close(plain.flatten(), torch.tensor([8.0]))


# ---------------------------------------------------------------- quantile Huber loss


def test_quantile_loss_of_one_quantile_is_half_the_huber_loss():
    # N = 1: tau = 1/2. u = 0.5: 0.5 * 0.125 = 0.0625. u = 3: 0.5 * (3 - 0.5) = 1.25.
    prediction = torch.zeros(2, 1)
    target = torch.tensor([[0.5], [3.0]])
    torch.testing.assert_close(quantile_huber_loss(prediction, target), torch.tensor([0.0625, 1.25]))


def test_quantile_fractions_belong_to_the_prediction_axis():
    # Predictions 0 and 0 with tau 1/4 and 3/4, one target at +2: H = 1.5, both weights are tau: 1.5 * (1/4 + 3/4).
    # Target at -2: weights 3/4 and 1/4: the same sum. The gradients tell the axes apart: for u > 1 it is -tau_i,
    # for u < -1 it is (1 - tau_i).
    for target, gradient in ((2.0, [-0.25, -0.75]), (-2.0, [0.75, 0.25])):
        prediction = torch.zeros(2, requires_grad=True)
        loss = quantile_huber_loss(prediction, torch.tensor([target]))
        torch.testing.assert_close(loss, torch.tensor(1.5))
        loss.backward()
        torch.testing.assert_close(prediction.grad, torch.tensor(gradient))


def test_quantile_loss_sums_predictions_and_averages_targets():
    # Predictions 0, 1 (tau 1/4, 3/4); targets 0, 1, 3.
    # i=0: u = 0, 1, 3 -> H = 0, .5, 2.5; weight 1/4: (0 + .5 + 2.5)/4/3 = 0.25
    # i=1: u = -1, 0, 2 -> H = .5, 0, 1.5; weights 1/4, 3/4, 3/4: (.125 + 0 + 1.125)/3 = 0.416667
    out = quantile_huber_loss(torch.tensor([0.0, 1.0]), torch.tensor([0.0, 1.0, 3.0]))
    torch.testing.assert_close(out, torch.tensor(0.25 + 1.25 / 3))


def test_quantile_loss_is_not_divided_by_kappa():
    # N = 1, u = 3, kappa = 2: 0.5 * 2 * (3 - 1) = 2; divided by kappa it would be 1.
    out = quantile_huber_loss(torch.zeros(1), torch.tensor([3.0]), kappa=2.0)
    torch.testing.assert_close(out, torch.tensor(2.0))


@pytest.mark.parametrize("kappa", [0.0, -1.0])
def test_kappa_must_be_positive(kappa):
    with pytest.raises(ValueError, match="kappa must be > 0"):
        quantile_huber_loss(torch.zeros(1), torch.zeros(1), kappa=kappa)


@quick
@given(seeds, st.integers(1, 6), st.integers(1, 6), st.sampled_from([0.3, 1.0, 2.0]))
def test_quantile_loss_agrees_with_the_loop_reference(seed, n, m, kappa):
    rng = np.random.default_rng(seed)
    prediction, target = rng.normal(size=(4, n)) * 2, rng.normal(size=(4, m)) * 2
    out = quantile_huber_loss(torch.from_numpy(prediction), torch.from_numpy(target), kappa=kappa)
    expected = [loop_quantile_huber(p, t, kappa) for p, t in zip(prediction, target, strict=True)]
    np.testing.assert_allclose(out.numpy(), expected, rtol=1e-10)


def test_gradients_agree_with_finite_differences():
    generator = torch.Generator().manual_seed(0)

    def values(*shape):
        return (torch.randn(*shape, generator=generator, dtype=torch.float64) * 2).requires_grad_()

    target = values(3, 4).detach()
    assert torch.autograd.gradcheck(lambda p: quantile_huber_loss(p, target), values(3, 5))
    assert torch.autograd.gradcheck(value_rescale, values(7))
    assert torch.autograd.gradcheck(value_rescale_inverse, values(7))
    terminated = torch.tensor([[False, False, True, False]])
    truncated = torch.tensor([[False, True, False, False]])
    assert torch.autograd.gradcheck(
        lambda r, v: n_step_targets(r, terminated, truncated, v, gamma=0.9, n_step=3),
        (values(1, 4), values(1, 4, 2)),
    )


# ---------------------------------------------------------------- action, TD error, priority


def test_double_q_action_takes_the_largest_mean_among_the_allowed():
    # Means 2, 5, 3: unmasked 1; with 1 forbidden 2; with nothing allowed everything counts as allowed.
    quantiles = torch.tensor([[1.0, 3.0], [0.0, 10.0], [3.0, 3.0]]).expand(1, 3, 3, 2)
    mask = torch.tensor([[[True, True, True], [True, False, True], [False, False, False]]])
    assert double_q_action(quantiles).tolist() == [[1, 1, 1]]
    assert double_q_action(quantiles, mask).tolist() == [[1, 2, 1]]
    assert double_q_action(quantiles).dtype == torch.int64


@quick
@given(seeds, st.integers(1, 5), st.integers(1, 4))
def test_double_q_action_agrees_with_the_loop_reference(seed, actions, n):
    rng = np.random.default_rng(seed)
    quantiles, mask = rng.normal(size=(2, 3, actions, n)), rng.random((2, 3, actions)) < 0.4
    out = double_q_action(torch.from_numpy(quantiles), torch.from_numpy(mask))
    assert out.shape == (2, 3)
    for step in np.ndindex(2, 3):
        assert out[step] == loop_double_q(quantiles[step], mask[step])


def test_margin_loss_is_what_the_shown_action_lacks_to_be_best_by_the_margin():
    value = torch.tensor([[[1.0, 2.0, 5.0], [1.0, 2.0, 5.0], [1.0, 2.0, 5.0]]])
    # Shown 0: 5 + 0.5 - 1. Shown 2: the next best is 2 + 0.5, below 5. Shown 1 and action 2 forbidden: 1 + 0.5 < 2.
    mask = torch.tensor([[[True, True, True], [True, True, True], [True, True, False]]])
    loss = large_margin_loss(value, torch.tensor([[0, 2, 1]]), mask, margin=0.5)
    assert loss.tolist() == [[4.5, 0.0, 0.0]]
    # A forbidden action that was shown still competes: 2 + 0.5 - 1.
    assert (
        large_margin_loss(value[:, :1], torch.tensor([[0]]), torch.tensor([[[False, True, False]]]), margin=0.5) == 1.5
    )


def test_td_error_is_mean_target_minus_mean_prediction():
    out = quantile_td_error(torch.tensor([[1.0, 3.0]]), torch.tensor([[4.0, 5.0, 9.0]]))
    torch.testing.assert_close(out, torch.tensor([4.0]))


def test_sequence_priority_mixes_maximum_and_mean_of_the_valid_steps():
    td_error = torch.tensor([[1.0, -3.0, 100.0], [7.0, 7.0, 7.0], [2.0, float("nan"), 0.0]])
    mask = torch.tensor([[True, True, False], [False, False, False], [True, False, True]])
    # Sequence 0: 0.9 * 3 + 0.1 * 2 = 2.9; sequence 1: nothing valid; sequence 2: 0.9 * 2 + 0.1 * 1 = 1.9
    torch.testing.assert_close(sequence_priority(td_error, mask), torch.tensor([2.9, 0.0, 1.9]))
    # eta = 0.5: 0.5 * 3 + 0.5 * 2
    torch.testing.assert_close(sequence_priority(td_error, mask, eta=0.5)[0], torch.tensor(2.5))


@quick
@given(seeds, st.integers(1, 9), st.floats(0, 1))
def test_sequence_priority_agrees_with_the_loop_reference(seed, steps, eta):
    rng = np.random.default_rng(seed)
    td_error, mask = rng.normal(size=(4, steps)), rng.random((4, steps)) < 0.6
    out = sequence_priority(torch.from_numpy(td_error), torch.from_numpy(mask), eta=eta)
    expected = [loop_priority(e, m, eta) for e, m in zip(td_error, mask, strict=True)]
    np.testing.assert_allclose(out.numpy(), expected, rtol=1e-12)


def test_functions_compute_in_float32_under_autocast():
    x, y = torch.randn(4, 5), torch.randn(4, 5)
    plain = quantile_huber_loss(value_rescale(x), value_rescale_inverse(y))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cast = quantile_huber_loss(value_rescale(x), value_rescale_inverse(y))
    assert cast.dtype == torch.float32
    assert torch.equal(plain, cast)


# ---------------------------------------------------------------- arguments

flags = torch.zeros(4, 6, dtype=torch.bool)
no_ends = {"terminated": flags, "truncated": flags}
targets = partial(n_step_targets, gamma=0.9, n_step=2)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        # Action values where quantiles are expected: the mean would be taken over the actions.
        (
            lambda: double_q_action(torch.rand(2, 8)),
            r"quantiles must be float \[B, T, A, N\]; got torch.float32 \[2, 8\]",
        ),
        (
            lambda: double_q_action(torch.rand(4, 6, 3, 5), torch.ones(4, 6, 5, dtype=torch.bool)),
            r"action_mask must be bool \[B, T, A\], B = 4, T = 6, A = 3; got torch.bool \[4, 6, 5\]",
        ),
        (lambda: double_q_action(torch.rand(4, 6, 3, 5), torch.ones(4, 6, 3)), "action_mask must be bool"),
        (
            lambda: targets(torch.rand(4, 6, 1), **no_ends, bootstrap_value=torch.rand(4, 6, 5)),
            r"reward must be float \[B, T\], B = 4, T = 6; got torch.float32 \[4, 6, 1\]",
        ),
        (
            lambda: targets(torch.rand(4, 6), flags, flags.float(), torch.rand(4, 6, 5)),
            r"truncated must be bool .* got torch.float32 \[4, 6\]",
        ),
        (
            lambda: targets(torch.rand(4, 6), **no_ends, bootstrap_value=torch.rand(4, 6)),
            r"bootstrap_value must be float \[B, T, N\]",
        ),
        (lambda: quantile_huber_loss(torch.rand(3, 5), torch.rand(4, 5)), r"target must be float \[..., M\]"),
        (lambda: quantile_td_error(torch.rand(3, 5), torch.rand(5)), r"target must be float \[..., M\]"),
        (lambda: sequence_priority(torch.rand(4, 6), torch.rand(4, 6)), r"mask must be bool \[B, T\]"),
        (lambda: sequence_priority(torch.rand(4), flags[:, 0]), r"td_error must be float \[B, T\]"),
        (lambda: value_rescale(torch.tensor([3])), r"x must be float \[...\]; got torch.int64 \[1\]"),
    ],
)
def test_an_argument_of_another_rank_size_or_type_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
