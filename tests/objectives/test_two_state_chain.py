"""The loss learns a return distribution that is known exactly."""

import pytest
import torch
from torch import nn
from torchrl.objectives import SoftUpdate

from pokered_rl.modules import MemorylessCore, RecurrentQuantileNetwork
from pokered_rl.objectives import R2D2Loss, value_rescale

# State 0 pays -1 or +1 and leads to state 1, which pays 0 or 2 and terminates; all with chance 1/2, gamma = 1/2.
#   Z(1) is 0 or 2;   Z(0) = (-1 or +1) + Z(1) / 2 is -1, 0, 1 or 2, each with chance 1/4.
# Four quantiles at fractions 1/8, 3/8, 5/8, 7/8 lie inside the quarters:
RETURNS = torch.tensor([[-1.0, 0.0, 1.0, 2.0], [0.0, 0.0, 2.0, 2.0]])


def episodes(count, n_step, generator):
    """Sequences of state 0, state 1, a final observation that must not matter, and padding after it."""
    coins = torch.randint(0, 2, (count, 2), generator=generator).float()
    length = 2 + n_step
    reward = torch.zeros(count, length)
    reward[:, 0], reward[:, 1] = 2 * coins[:, 0] - 1, 2 * coins[:, 1]
    row = torch.arange(length).expand(count, length)
    return {
        "state": row.clamp(max=2),
        "action": torch.zeros_like(row),
        "reward": reward,
        "terminated": row == 1,
        "truncated": row < 0,
        "mask": row < 2,
    }


@pytest.mark.parametrize(("n_step", "rescale_eps"), [(1, None), (2, 1e-3)])
def test_quantiles_converge_to_those_of_the_return(n_step, rescale_eps):
    network = RecurrentQuantileNetwork(
        encoder=nn.Embedding(3, 16),
        observation_keys=["state"],
        num_features=16,
        num_actions=1,
        num_quantiles=4,
        hidden_size=16,
        head_size=16,
        core=MemorylessCore,
        noise_std=0.0,
    )
    # kappa near 0: the Huber loss with kappa 1 would pull the outer quantiles towards the mean.
    loss = R2D2Loss(network, burn_in_steps=0, n_step=n_step, gamma=0.5, kappa=0.02, rescale_eps=rescale_eps)
    updater = SoftUpdate(loss, tau=0.05)
    optimizer = torch.optim.Adam(loss.parameters(), lr=1e-2)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 400)
    generator = torch.Generator().manual_seed(0)
    for _ in range(400):
        batch = network.initial_state([128]).update(episodes(128, n_step, generator))
        optimizer.zero_grad()
        loss(batch)["loss_quantile"].backward()
        optimizer.step()
        schedule.step()
        updater.step()
    learned = network(network.initial_state([1]).update({"state": torch.tensor([[0, 1]])}))["quantiles"][0, :, 0]
    expected = RETURNS if rescale_eps is None else value_rescale(RETURNS, rescale_eps)
    torch.testing.assert_close(learned.detach(), expected, atol=0.08, rtol=0)
