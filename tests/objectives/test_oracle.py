"""Against the implementations of others; `pip install 'pokered_rl[oracle]'` brings them."""

import pytest
import torch

from pokered_rl.objectives import quantile_huber_loss


@pytest.mark.parametrize(("predicted", "targets"), [(5, 5), (3, 7), (1, 1), (51, 51)])
def test_quantile_loss_and_its_gradient_equal_stable_baselines3s(predicted, targets):
    reference = pytest.importorskip("sb3_contrib.common.utils", reason="needs sb3-contrib").quantile_huber_loss
    ours = (torch.randn(6, predicted) * 2).requires_grad_()
    theirs = ours.detach().clone().requires_grad_()
    target = torch.randn(6, targets) * 2
    # theirs: sum over predicted, mean over target quantiles and over the batch
    loss = quantile_huber_loss(ours, target).mean()
    expected = reference(theirs, target, sum_over_quantiles=True)
    torch.testing.assert_close(loss, expected)
    loss.backward()
    expected.backward()
    torch.testing.assert_close(ours.grad, theirs.grad)
