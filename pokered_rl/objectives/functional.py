"""The mathematics of R2D2 with a quantile head, as pure functions of tensors.

Letters: B batch, T time, R unrolled steps, U steps with a loss, A actions, N predicted and M target quantiles. Every
function computes in float32 (float64 when it is given float64), also under autocast and for half-precision inputs: the
rescaling squares differences of numbers near one, and a bfloat16 target would move in steps of 0.8 %. Every function
checks rank, shared sizes and kind (floating point, integer or bool) of its arguments and raises ``ValueError`` with the
argument's name.

Sources: Kapturowski et al. 2019 (R2D2), Pohlen et al. 2018 (value rescaling), Dabney et al. 2018 (QR-DQN),
van Hasselt et al. 2016 (double Q-learning), Schaul et al. 2016 (prioritized replay).
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from pokered_rl.errors import ConfigError
from pokered_rl.observations import allowed_actions

__all__ = [
    "SequenceTerms",
    "double_q_action",
    "large_margin_loss",
    "masked_mean",
    "n_step_targets",
    "quantile_huber_loss",
    "quantile_td_error",
    "rescaled_n_step_targets",
    "sequence_priority",
    "sequence_terms",
    "value_rescale",
    "value_rescale_inverse",
]


def value_rescale(x: Tensor, eps: float = 1e-3) -> Tensor:
    """Squash values so that returns of very different size share one network output.

    ``h(x) = sign(x) (sqrt(|x| + 1) - 1) + eps x`` (Pohlen et al. 2018, R2D2 section 2.3), evaluated as
    ``x / (sqrt(|x| + 1) + 1) + eps x``: the same function without the difference of two numbers near one, and with
    the right derivative at zero.

    Args:
        x: Values, any shape.
        eps: Slope that keeps ``h`` invertible with a Lipschitz inverse, >= 0.

    Returns:
        Tensor: ``h(x)``, shape of ``x``, float32 (float64 for float64).
    """
    _check(x=(x, "float", "..."))
    x = _full_precision(x)
    return x / ((x.abs() + 1.0).sqrt() + 1.0) + eps * x


def value_rescale_inverse(x: Tensor, eps: float = 1e-3) -> Tensor:
    """Invert :func:`value_rescale`.

    ``h^-1(x) = sign(x) (z^2 - 1)`` with ``z = 2a / (1 + sqrt(1 + 4 eps a))`` and ``a = |x| + 1 + eps``, the positive
    root of ``eps z^2 + z = a`` in the form without cancellation. It is evaluated through ``w = z - 1``, the root of
    ``eps w^2 + (1 + 2 eps) w = |x|`` in the same form, because ``z^2 - 1 = w (w + 2)`` cancels nowhere either. The
    relative error stays below 1e-6 in float32 between 1e-6 and 1e6.

    Returns:
        Tensor: the values before rescaling, shape of ``x``, float32 (float64 for float64).
    """
    _check(x=(x, "float", "..."))
    x = _full_precision(x)
    slope = 1.0 + 2.0 * eps
    w = 2.0 * x / (slope + (slope * slope + 4.0 * eps * x.abs()).sqrt())  # keeps the sign of x
    return w * (w.abs() + 2.0)


def n_step_targets(
    reward: Tensor,
    terminated: Tensor,
    truncated: Tensor,
    bootstrap_value: Tensor,
    *,
    gamma: float,
    n_step: int,
) -> Tensor:
    """Compute n-step returns that bootstrap through truncation and not through termination.

    ``target_t = sum_{k<m} gamma^k r_{t+k} + gamma^m bootstrap_value_{t+m-1}`` with ``m = min(n_step, T - t)``, cut
    after the first done step: a terminated step has no bootstrap, a truncated one bootstraps from its own successor,
    and a step that is both counts as terminated. Steps after a done step cannot leak into steps before it, so padding
    needs no mask.

    Args:
        reward: [B, T] reward of step t.
        terminated: [B, T] bool, the episode ended at step t and nothing follows.
        truncated: [B, T] bool, the episode was cut after step t.
        bootstrap_value: [B, T, N] value (quantiles) of the state **after** step t.
        gamma: Discount of one step.
        n_step: Number of rewards summed before the bootstrap, >= 1.

    Returns:
        Tensor: [B, T, N] targets, float32 (float64 for float64).

    Raises:
        ConfigError: for ``n_step`` below 1.
    """
    if n_step < 1:
        raise ConfigError(f"n_step must be >= 1, got {n_step}")
    _check(
        bootstrap_value=(bootstrap_value, "float", "B T N"),
        reward=(reward, "float", "B T"),
        terminated=(terminated, "bool", "B T"),
        truncated=(truncated, "bool", "B T"),
    )
    bootstrap = _full_precision(bootstrap_value)
    reward = reward.to(bootstrap.dtype).unsqueeze(-1)  # [B, T, 1]
    terminated = terminated.unsqueeze(-1)
    done = terminated | truncated.unsqueeze(-1)  # [B, T, 1]
    # A zero that is filled in, not made by a product: the value behind a termination may be anything, also NaN.
    bootstrap = bootstrap.masked_fill(terminated, 0.0)  # [B, T, N]
    # Bellman backups from the n-th step to the first: `after` is the k-step return of the state after step t.
    after = bootstrap
    for _ in range(n_step - 1):
        target = reward + gamma * after
        shifted = torch.cat([target[:, 1:], bootstrap[:, -1:]], dim=1)
        after = torch.where(done, bootstrap, shifted)
    return reward + gamma * after


def rescaled_n_step_targets(
    reward: Tensor,
    terminated: Tensor,
    truncated: Tensor,
    bootstrap_value: Tensor,
    *,
    gamma: float,
    n_step: int,
    eps: float | None = 1e-3,
) -> Tensor:
    """Compute ``h(n_step(h^-1(bootstrap)))``, the targets of a network that predicts rescaled values.

    Args:
        reward: [B, T], in the units of the environment.
        terminated: [B, T] bool.
        truncated: [B, T] bool.
        bootstrap_value: [B, T, N] **rescaled** value of the state after step t.
        gamma: Discount of one step.
        n_step: Number of rewards summed before the bootstrap, >= 1.
        eps: The ``eps`` of :func:`value_rescale`; None predicts plain values and skips both rescalings.

    Returns:
        Tensor: [B, T, N] targets in rescaled space.
    """
    if eps is None:
        return n_step_targets(reward, terminated, truncated, bootstrap_value, gamma=gamma, n_step=n_step)
    plain = value_rescale_inverse(bootstrap_value, eps)
    return value_rescale(n_step_targets(reward, terminated, truncated, plain, gamma=gamma, n_step=n_step), eps)


def quantile_huber_loss(prediction: Tensor, target: Tensor, *, kappa: float = 1.0) -> Tensor:
    """Compute the quantile regression loss with a Huber core.

    ``sum_i mean_j |tau_i - 1{u_ij < 0}| H_kappa(u_ij)`` with ``u_ij = target_j - prediction_i``, mid-point fractions
    ``tau_i = (i + 1/2) / N`` on the prediction axis and ``H_kappa(u) = u^2 / 2`` for ``|u| <= kappa``,
    ``kappa (|u| - kappa / 2)`` beyond (Dabney et al. 2018, equations 9 and 10; not divided by kappa).

    Args:
        prediction: [..., N] predicted quantiles, gradients flow into them.
        target: [..., M] samples or quantiles of the target distribution; detach it before.
        kappa: Where the parabola turns into a line, > 0.

    Returns:
        Tensor: [...] loss, float32 (float64 for float64).

    Raises:
        ConfigError: for ``kappa`` not above 0.
    """
    if not kappa > 0:
        raise ConfigError(f"kappa must be > 0, got {kappa}")
    _check(prediction=(prediction, "float", "... N"), target=(target, "float", "... M"))
    prediction, target = _full_precision(prediction), _full_precision(target)
    num_quantiles = prediction.shape[-1]
    tau = (torch.arange(num_quantiles, device=prediction.device, dtype=prediction.dtype) + 0.5) / num_quantiles
    error = target.unsqueeze(-2) - prediction.unsqueeze(-1)  # [..., N, M]
    size = error.abs()
    huber = torch.where(size <= kappa, 0.5 * error * error, kappa * (size - 0.5 * kappa))
    weight = (tau.unsqueeze(-1) - (error < 0).to(error.dtype)).abs()  # [..., N, M]
    return (weight * huber).mean(-1).sum(-1)


def double_q_action(quantiles: Tensor, action_mask: Tensor | None = None) -> Tensor:
    """Select the allowed action with the largest mean.

    Policy and learner share it, and both take the mean of the quantiles as predicted, that is in rescaled space.

    Args:
        quantiles: [B, T, A, N]; action values [B, T, A] are the case N = 1 after ``unsqueeze(-1)``.
        action_mask: [B, T, A] bool, True is allowed; a mask without any True counts as all allowed. None allows all.

    Returns:
        Tensor: [B, T] int64 action.
    """
    _check(
        quantiles=(quantiles, "float", "B T A N"),
        **({} if action_mask is None else {"action_mask": (action_mask, "bool", "B T A")}),
    )
    value = _full_precision(quantiles).mean(-1)  # [B, T, A]
    if action_mask is not None:
        value = value.masked_fill(~allowed_actions(action_mask), -torch.inf)
    return value.argmax(-1)


def large_margin_loss(
    value: Tensor, action: Tensor, action_mask: Tensor | None = None, *, margin: float = 0.8
) -> Tensor:
    """Compute how far a demonstrated action is from being the best one by a margin.

    ``max_a (q(s, a) + margin 1{a != a_E}) - q(s, a_E)`` (Hester et al. 2018, DQfD), over the allowed actions a and the
    demonstrated one a_E; 0 once it exceeds all others by the margin.

    Args:
        value: [B, T, A] action values.
        action: [B, T] int64, the demonstrated action.
        action_mask: [B, T, A] bool, True is allowed; None allows all.
        margin: The margin, in the unit of the values.

    Returns:
        Tensor: [B, T] loss >= 0, float32 (float64 for float64).
    """
    _check(
        value=(value, "float", "B T A"),
        **({} if action_mask is None else {"action_mask": (action_mask, "bool", "B T A")}),
    )
    value = _full_precision(value)
    shown = action.unsqueeze(-1) == torch.arange(value.shape[-1], device=action.device)  # [B, T, A]
    rivals = value + margin * ~shown
    if action_mask is not None:
        rivals = rivals.masked_fill(~(action_mask | shown), -torch.inf)
    return rivals.amax(-1) - value.gather(-1, action.unsqueeze(-1)).squeeze(-1)


def quantile_td_error(prediction: Tensor, target: Tensor) -> Tensor:
    """Compute the TD error of a step: mean target quantile minus mean predicted quantile of the taken action.

    Args:
        prediction: [..., N] in rescaled space.
        target: [..., M] in rescaled space.

    Returns:
        Tensor: [...], float32 (float64 for float64).
    """
    _check(prediction=(prediction, "float", "... N"), target=(target, "float", "... M"))
    return _full_precision(target).mean(-1) - _full_precision(prediction).mean(-1)


def sequence_priority(td_error: Tensor, mask: Tensor, *, eta: float = 0.9) -> Tensor:
    """Reduce the TD errors of a sequence to its priority.

    ``eta max_t |td_t| + (1 - eta) mean_t |td_t|`` over the valid steps (R2D2, section 2.3).

    Args:
        td_error: [B, T].
        mask: [B, T] bool, True where the step is valid.
        eta: Weight of the maximum, in [0, 1].

    Returns:
        Tensor: [B] priority >= 0; 0 for a sequence without a valid step.
    """
    _check(td_error=(td_error, "float", "B T"), mask=(mask, "bool", "B T"))
    size = _full_precision(td_error).abs().masked_fill(~mask, 0.0)
    mean = size.sum(-1) / mask.sum(-1).clamp(min=1)
    return eta * size.amax(-1) + (1.0 - eta) * mean


def _check(**arguments: tuple[Tensor, str, str]) -> None:
    """Check tensors, given as ``name=(tensor, kind, "B T N")``; equal letters are equal sizes, ``...`` any sizes."""
    sizes: dict[str, Any] = {}
    for name, (tensor, kind, letters) in arguments.items():
        dims = letters.split()
        shape: tuple[Any, ...] = tuple(tensor.shape)
        fits = tensor.dtype == torch.bool if kind == "bool" else tensor.is_floating_point()
        if dims[0] == "...":
            lead = max(0, len(shape) + 1 - len(dims))
            shape = (shape[:lead], *shape[lead:])
        fits = fits and len(shape) == len(dims)
        if not fits or any(sizes.get(dim, size) != size for dim, size in zip(dims, shape, strict=True)):
            given = "".join(f", {dim} = {sizes[dim]}" for dim in dims if dim in sizes)
            raise ValueError(
                f"{name} must be {kind} [{', '.join(dims)}]{given}; got {tensor.dtype} {list(tensor.shape)}"
            )
        sizes.update(zip(dims, shape, strict=True))


def _full_precision(x: Tensor) -> Tensor:
    """Return ``x`` in float32, or unchanged when it is float64."""
    return x if x.dtype == torch.float64 else x.float()


class SequenceTerms(NamedTuple):
    """Result of :func:`sequence_terms`."""

    #: [B, U] quantile Huber loss, 0 where there is no transition; carries the gradient.
    loss: Tensor
    #: [B, U] TD error in rescaled space, 0 where there is no transition.
    td_error: Tensor
    #: [B] sequence priority.
    priority: Tensor
    #: Scalars over the valid steps, without gradient.
    logs: dict[str, Tensor]


def sequence_terms(
    online: Tensor,
    target: Tensor,
    action: Tensor,
    reward: Tensor,
    terminated: Tensor,
    truncated: Tensor,
    mask: Tensor,
    action_mask: Tensor | None,
    *,
    gamma: float,
    n_step: int,
    eta: float,
    kappa: float,
    rescale_eps: float | None,
    selection: Tensor | None = None,
) -> SequenceTerms:
    """Compute double-Q n-step quantile loss, TD errors and priority of unrolled sequences.

    Step t + 1 of the same unroll is the successor of step t, so both networks run once. The first ``U = R - n_step``
    of the R steps get a loss; the targets of the last of them need the ``n_step`` successors behind.

    Args:
        online: [B, R, A, N] quantiles of the online network, rescaled space; gradients flow through the taken action.
        target: [B, R, A, N] quantiles of the target network.
        action: [B, R] int64.
        reward: [B, R].
        terminated: [B, R] bool.
        truncated: [B, R] bool.
        mask: [B, R] bool, True at transitions.
        action_mask: [B, R, A] bool, or None.
        gamma: Discount of one step.
        n_step: Steps between a state and the state it bootstraps from.
        eta: Weight of the maximum in the priority.
        kappa: Width of the quadratic part of the quantile Huber loss.
        rescale_eps: Epsilon of the value rescaling; None for plain values.
        selection: [B, R, A] values that select the actions of double Q-learning; None takes those of ``online``.

    Returns:
        SequenceTerms: loss, TD errors, priority and figures to log.
    """
    online, target = online.float(), target.detach().float()
    loss_steps = online.shape[1] - n_step
    with torch.no_grad():
        values = online if selection is None else selection.float().unsqueeze(-1)
        greedy = double_q_action(values, action_mask)  # [B, R]
        bootstrap = _of_action(target, greedy)[:, 1:]  # [B, R-1, N], value of the state after step t
        targets = rescaled_n_step_targets(
            reward[:, :-1],
            terminated[:, :-1],
            truncated[:, :-1],
            bootstrap,
            gamma=gamma,
            n_step=n_step,
            eps=rescale_eps,
        )[:, :loss_steps]  # [B, U, N]
    valid = mask[:, :loss_steps]
    prediction = _of_action(online, action)[:, :loss_steps]  # [B, U, N]
    loss = quantile_huber_loss(prediction, targets, kappa=kappa).masked_fill(~valid, 0.0)  # [B, U]
    with torch.no_grad():
        td_error = quantile_td_error(prediction, targets).masked_fill(~valid, 0.0)  # [B, U]
        has_successor = mask[:, :-1]
        changed = (greedy != double_q_action(values))[:, 1:]
        logs = {
            "mean_q": masked_mean(prediction.mean(-1), valid),
            "target_q": masked_mean(targets.mean(-1), valid),
            "td_error_abs": masked_mean(td_error.abs(), valid),
            "quantile_spread": masked_mean(prediction.std(-1, correction=0), valid),
            "mask_changed_argmax": masked_mean(changed.float(), has_successor),
            "valid_fraction": valid.float().mean(),
        }
        priority = sequence_priority(td_error, valid, eta=eta)
    return SequenceTerms(loss, td_error, priority, logs)


def masked_mean(values: Tensor, valid: Tensor) -> Tensor:
    """Take the mean over the valid entries, 0 without any."""
    return values.masked_fill(~valid, 0.0).sum() / valid.sum().clamp(min=1)


def _of_action(quantiles: Tensor, action: Tensor) -> Tensor:
    """[B, T, A, N] at [B, T] -> [B, T, N]."""
    index = action[..., None, None].expand(*action.shape, 1, quantiles.shape[-1])
    return quantiles.gather(-2, index).squeeze(-2)
