"""The R2D2 loss of a batch that names its demonstrations."""

import math

import pytest
import torch
from torchrl.objectives import HardUpdate

from pokered_rl.objectives import R2D2Loss


def _loss(network, **changes):
    options = {"burn_in_steps": 0, "n_step": 1, "gamma": 0.5, "rescale_eps": None, "eta": 0.9}
    loss = R2D2Loss(network, **options | changes)
    HardUpdate(loss, value_network_update_interval=1000)
    return loss


@pytest.fixture
def batch(table_network, make_batch):
    """Two sequences of two learned steps: action 0 is taken, worth 1 and 3; action 1 is worth 2."""
    table = [[[1.0], [2.0]], [[3.0], [2.0]], [[0.0], [0.0]]]
    one = make_batch({"table": table}, reward=[0.0, 0.0, 0.0])
    return torch.cat([one, one]).set("demonstration", torch.tensor([[True] * 3, [False] * 3]))


def test_the_margin_loss_counts_demonstrations_alone(table_network, batch):
    losses = _loss(table_network(), margin=0.5, margin_weight=2.0)(batch)
    # Step 0: 2 + 0.5 - 1; step 1: 3 exceeds 2 + 0.5. Mean over two sequences, of which one is shown, times 2.
    torch.testing.assert_close(losses["loss_margin"], torch.tensor(2.0 * (1.5 + 0.0) / 2))
    assert losses["demonstration_share"] == 0.5
    assert losses["demonstration_agreement"] == 0.5


def test_a_step_of_a_demonstration_that_shows_nothing_is_not_taught(table_network, batch):
    batch["demonstration"][0, 0] = False
    losses = _loss(table_network(), margin=1.5, margin_weight=1.0)(batch)
    # Step 1 alone: 2 + 1.5 - 3. Its action is the greedy one, and it is half of the batch still.
    torch.testing.assert_close(losses["loss_margin"], torch.tensor(0.5 / 2))
    assert losses["demonstration_share"] == 0.5
    assert losses["demonstration_agreement"] == 1.0
    torch.testing.assert_close(losses["demonstration_td_error"], torch.tensor(3.0))


def test_a_step_that_the_mask_forbids_is_not_taught(table_network, batch):
    mask = torch.ones(2, 3, 2, dtype=torch.bool)
    mask[0, 0, 0] = False
    losses = _loss(table_network(), margin=0.5, margin_weight=2.0)(batch.set("action_mask", mask))
    assert losses["loss_margin"] == 0.0


def test_figures_of_demonstrations_are_those_of_their_sequences(table_network, batch):
    batch["reward"][1] += 100.0  # of the agent's own
    losses = _loss(table_network())(batch)
    # Targets 0.5 * max of the next step: 0.5 * 3 - 1 and 0 - 3. Priority 0.9 * 3 + 0.1 * (0.5 + 3) / 2.
    torch.testing.assert_close(losses["demonstration_td_error"], torch.tensor((0.5 + 3.0) / 2))
    torch.testing.assert_close(losses["demonstration_priority"], torch.tensor(0.9 * 3.0 + 0.1 * 1.75))
    # Huber: 0.5 * 0.25 and 3 - 0.5, times |tau - 1{u < 0}| = 0.5.
    torch.testing.assert_close(losses["demonstration_loss"], torch.tensor((0.125 + 2.5) / 2 / 2))
    assert "loss_margin" not in losses.keys()  # noqa: SIM118


def test_a_batch_without_demonstrations_has_no_figures_of_them_and_no_margin(table_network, batch):
    batch["demonstration"][:] = False
    losses = _loss(table_network(), margin_weight=1.0)(batch)
    assert losses["loss_margin"] == 0.0
    assert math.isnan(losses["demonstration_td_error"])


def test_a_batch_that_names_none_has_the_loss_of_before(table_network, batch):
    plain = _loss(table_network(), margin_weight=1.0)(batch.exclude("demonstration"))
    assert set(plain.keys()) == {*_loss(table_network()).out_keys}
