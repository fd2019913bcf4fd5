"""Loss, TD errors and priorities of an unrolled batch: :class:`~pokered_rl.objectives.R2D2Loss` without its keys.

Letters: B batch, R unrolled steps, U steps with a loss, A actions, N quantiles.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from pokered_rl.objectives.functional import (
    double_q_action,
    quantile_huber_loss,
    quantile_td_error,
    rescaled_n_step_targets,
    sequence_priority,
)

__all__ = ["SequenceTerms", "masked_mean", "sequence_terms"]


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
