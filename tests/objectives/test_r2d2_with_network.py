"""The R2D2 loss with the networks of this library: noise, autocast, reconstruction, stored states, compilation."""

from functools import partial

import pytest
import torch
from tensordict import TensorDict
from torchrl.envs import ExplorationType, set_exploration_type
from torchrl.modules import MLP, NoisyLinear
from torchrl.objectives import SoftUpdate

from pokered_rl.modules import MemorylessCore, R2D2Network, R2D2Policy, RandomShift, RecurrentQuantileNetwork
from pokered_rl.objectives import R2D2Loss, sequence_terms

ACTIONS, BATCH, LENGTH, BURN_IN = 3, 4, 12, 3


def vector_network(**changes):
    return RecurrentQuantileNetwork(
        **{
            "encoder": MLP(in_features=4, out_features=16, num_cells=[16]),
            "observation_keys": ["observation"],
            "num_features": 16,
            "num_actions": ACTIONS,
            "num_quantiles": 7,
            "hidden_size": 16,
            "head_size": 16,
            **changes,
        }
    )


def game_network(**changes):
    return R2D2Network(**{"num_actions": ACTIONS, "size": "tiny", "context_size": 5, "num_quantiles": 7, **changes})


def make_batch(network):
    every = {
        "observation": torch.randn(BATCH, LENGTH, 4),
        "pixels": torch.randint(0, 256, (BATCH, LENGTH, 72, 20), dtype=torch.uint8),
        "map_memory": torch.randint(0, 4, (BATCH, LENGTH, 2, 21, 21), dtype=torch.uint8),
        "context": torch.rand(BATCH, LENGTH, 5),
        "last_action": torch.randint(0, ACTIONS + 1, (BATCH, LENGTH)),
        "last_reward": torch.randn(BATCH, LENGTH, 1),
    }
    td = network.initial_state([BATCH])
    td.update({key: every[key] for key in network.observation_keys})
    td["action"] = torch.randint(0, ACTIONS, (BATCH, LENGTH))
    td["reward"] = torch.randn(BATCH, LENGTH)
    td["terminated"] = torch.zeros(BATCH, LENGTH, dtype=torch.bool)
    td["truncated"] = torch.zeros(BATCH, LENGTH, dtype=torch.bool)
    td["mask"] = torch.ones(BATCH, LENGTH, dtype=torch.bool)
    td["action_mask"] = torch.rand(BATCH, LENGTH, ACTIONS) < 0.7
    return td


def make_loss(network, **changes):
    loss = R2D2Loss(network, **{"burn_in_steps": BURN_IN, "n_step": 2, **changes})
    SoftUpdate(loss, tau=0.01)
    return loss


def noises(network_or_params):
    return [v.clone() for k, v in network_or_params.items(True, True) if "weight_epsilon" in str(k)]


def total(out):
    return sum(value for key, value in out.items() if key.startswith("loss_"))


# ------------------------------------------------------------------ noise


def test_sigma_of_every_noisy_layer_is_trained():
    # TorchRL runs losses under DETERMINISTIC, where noisy layers leave their sigma out.
    network = vector_network()
    total(make_loss(network)(make_batch(network))).backward()
    layers = [m for m in network.modules() if isinstance(m, NoisyLinear)]
    assert len(layers) == 4
    for layer in layers:
        assert layer.weight_sigma.grad.abs().sum() > 0
        assert layer.bias_sigma.grad.abs().sum() > 0


def test_training_changes_sigma_by_more_than_rounding():
    network = vector_network()
    loss, batch = make_loss(network), make_batch(network)
    optimizer = torch.optim.Adam(loss.parameters(), lr=1e-2)
    before = network.head.value.weight_sigma.detach().clone()
    for _ in range(5):
        optimizer.zero_grad()
        total(loss(batch)).backward()
        optimizer.step()
    assert (network.head.value.weight_sigma.detach() - before).abs().mean() > 1e-3


def test_noise_is_fresh_in_every_forward_and_independent_between_online_and_target():
    network = vector_network()
    loss, batch = make_loss(network), make_batch(network)
    samples = []
    for _ in range(2):
        loss(batch)
        samples += [noises(loss.network_params), noises(loss.target_network_params)]
    for i in range(4):
        for j in range(i):
            assert not any(torch.equal(a, b) for a, b in zip(samples[i], samples[j], strict=True))


def test_one_sample_of_noise_holds_for_burn_in_and_unroll():
    network = vector_network()
    loss = make_loss(network)
    drawn, used = [], []
    layer = network.head.value
    reset = layer.reset_noise
    layer.reset_noise = lambda: (drawn.append(1), reset())[1]
    layer.register_forward_pre_hook(lambda module, _: used.append(module.weight_epsilon.clone()))
    loss(make_batch(network))
    assert len(drawn) == 2  # online and target
    assert len(used) == 4  # burn-in and unroll of each
    assert torch.equal(used[0], used[1])
    assert torch.equal(used[2], used[3])
    assert not torch.equal(used[0], used[2])


def test_target_updates_leave_both_noises_alone():
    network = vector_network()
    loss = R2D2Loss(network, burn_in_steps=BURN_IN, n_step=2)
    updater = SoftUpdate(loss, tau=0.5)
    loss(make_batch(network))
    before = noises(loss.target_network_params)
    updater.step()
    assert all(torch.equal(a, b) for a, b in zip(before, noises(loss.target_network_params), strict=True))


def test_selection_has_a_noise_sample_of_its_own():
    # The core's output is zero and so is every weight mean: values are the noise of the last advantage bias alone,
    # sigma * f(noise). Sigma is 1 for action 1; +1 selects action 1, -1 one of the others. The target network values
    # the actions at 0, 7 and 0 without noise.
    network = vector_network(num_quantiles=1, core=MemorylessCore)
    loss, batch = make_loss(network, rescale_eps=None, gamma=0.5, n_step=1), make_batch(network)
    batch["action_mask"][:] = True
    batch["reward"][:] = 0.0
    for parameter in (*network.parameters(), *loss.target_network_params.values(True, True)):
        parameter.data.zero_()
    network.head.advantage.bias_sigma.data[1] = 1.0
    loss.target_network_params["head", "advantage", "bias_mu"].data[1] = 7.0
    ones = [(torch.ones(1, layer.in_features), torch.ones(1, layer.out_features)) for layer in noisy_layers(network)]
    for sign, advantage in ((1.0, 7 - 7 / 3), (-1.0, 0 - 7 / 3)):
        network.head.sample_noise = lambda _, sign=sign: [(x, sign * y) for x, y in ones]
        # Without noise in the prediction: its own sample is drawn from zero sigma but for action 1, which is not taken.
        batch["action"][:] = 0
        out = loss(batch)
        torch.testing.assert_close(out["target_q"], torch.tensor(0.5 * advantage))


def noisy_layers(network):
    head = network.head
    return head.advantage_hidden, head.advantage, head.value_hidden, head.value


def test_without_selection_noise_the_predicted_quantiles_select():
    network = vector_network()
    loss, batch = make_loss(network, selection_noise=False), make_batch(network)
    network.head.sample_noise = None  # would be called
    assert torch.isfinite(loss(batch)["loss_quantile"])


# ------------------------------------------------------------------ target parameters reach every layer


@pytest.mark.parametrize("make_network", [vector_network, game_network])
def test_every_target_parameter_moves_the_targets(make_network):
    # A layer that keeps its weights elsewhere, as nn.LSTM does in a list, must follow the functional parameters too.
    network = make_network(noise_std=0.0)
    loss, batch = make_loss(network, rescale_eps=None), make_batch(network)
    reference = loss(batch)["target_q"]
    silent = []
    for key, value in loss.target_network_params.items(True, True):
        if "reconstruction" in str(key) or not value.is_floating_point():
            continue
        saved = value.clone()
        value.data.add_(torch.randn_like(value) * 0.5)
        if torch.equal(loss(batch)["target_q"], reference):
            silent.append(key)
        value.data.copy_(saved)
    assert silent == []


def test_the_network_keeps_its_own_parameters_after_a_forward():
    network = vector_network()
    before = {name: (id(p), p.clone()) for name, p in network.named_parameters()}
    loss = make_loss(network)
    for value in loss.target_network_params.values(True, True):
        value.data.add_(1.0)
    loss(make_batch(network))
    for name, parameter in network.named_parameters():
        assert before[name][0] == id(parameter)
        assert torch.equal(before[name][1], parameter)


# ------------------------------------------------------------------ stored states


def episode_of_policy(network, num_steps):
    """Play an episode: observations and states [2, T, ...], action values [2, T, A]."""
    policy = R2D2Policy(network)
    state, steps, values = network.initial_state([2]), [], []
    for _ in range(num_steps):
        td = TensorDict({"observation": torch.randn(2, 4), "epsilon": torch.full((2, 1), 0.3)}, [2]).update(state)
        steps.append(td.select("observation", *network.state_keys).clone())
        policy(td)
        values.append(td["action_value"])
        state = td["next"]
    return torch.stack(steps, 1), torch.stack(values, 1)


def test_network_replayed_over_a_collected_sequence_reproduces_the_workers_values():
    network = vector_network()
    steps, values = episode_of_policy(network, 30)
    start = 11  # the middle of the episode: answerable only from the stored state
    td = TensorDict({"observation": steps["observation"][:, start:]}, [2])
    td.update({key: steps[key][:, start] for key in network.state_keys})
    with set_exploration_type(ExplorationType.DETERMINISTIC):
        replayed = network(td)["quantiles"].mean(-1)
    assert (replayed - values[:, start:]).abs().max() < 1e-5
    td.update(network.initial_state([2]))
    with set_exploration_type(ExplorationType.DETERMINISTIC):
        assert (network(td)["quantiles"].mean(-1) - values[:, start:]).abs().max() > 1e-4


def test_delta_q_is_zero_for_the_workers_own_weights_and_grows_with_a_wrong_state():
    network = vector_network(noise_std=0.0)
    steps, _ = episode_of_policy(network, LENGTH)
    batch = make_batch(network)[:2]
    batch["observation"] = steps["observation"]
    for key in network.state_keys:
        batch[key] = steps[key][:, 0]
        batch["unroll_state", key] = steps[key][:, BURN_IN]
    loss = make_loss(network, log_delta_q=True)
    assert loss(batch)["delta_q"] < 1e-5
    assert "delta_q" in loss.out_keys
    batch["unroll_state", "recurrent_state_h"] = torch.zeros(2, 16)
    assert loss(batch)["delta_q"] > 1e-4
    batch["mask"][:, :BURN_IN] = False  # a padded burn-in has the policy's state exactly: nothing to compare
    assert loss(batch)["delta_q"] == 0


# ------------------------------------------------------------------ auxiliary losses and augmentation


def test_reconstruction_leaves_padding_burn_in_and_successors_out():
    network = game_network(noise_std=0.0, reconstruct_map=True)
    loss, batch = make_loss(network), make_batch(network)
    batch["mask"][:, 7:] = False
    batch["truncated"][:, 6] = True
    expected = loss(batch)
    disturbed = batch.clone()
    # Steps 10 and 11 are successors, 8 and 9 padding; step 7 is the final observation, which is predicted at step 6.
    disturbed["context"][:, 8:] += 100.0
    disturbed["map_memory"][:, 8:] = 3
    out = loss(disturbed)
    for key in ("loss_quantile", "loss_reconstruction", "loss_map_reconstruction"):
        torch.testing.assert_close(out[key], expected[key])
    disturbed["context"][:, 4] += 1.0
    assert loss(disturbed)["loss_reconstruction"] != expected["loss_reconstruction"]


@pytest.mark.parametrize("reconstruct_next", [True, False])
def test_reconstruction_loss_is_the_weighted_square_error_of_the_next_or_the_same_step(reconstruct_next):
    network = game_network(noise_std=0.0)
    loss = make_loss(network, reconstruction_weight=0.5, reconstruct_next=reconstruct_next)
    batch = make_batch(network)
    batch["priority_weight"] = torch.tensor([1.0, 0.5, 0.25, 1.0])
    out = loss(batch)
    td = batch.select(*network.observation_keys, *network.state_keys)
    predicted = network(td)["context_reconstruction"]  # noise is off: the burn-in changes nothing but gradients
    first, last, ahead = BURN_IN, LENGTH - 2, int(reconstruct_next)
    difference = predicted[:, first:last] - batch["context"][:, first + ahead : last + ahead]
    error = difference.square().mean(-1)
    expected = 0.5 * (error.sum(-1) * batch["priority_weight"]).mean()
    torch.testing.assert_close(out["loss_reconstruction"], expected)
    torch.testing.assert_close(out["reconstruction_error"], error.mean().detach())


def test_reconstruction_trains_the_trunk_and_leaves_the_quantile_head_alone():
    network = game_network()
    make_loss(network)(make_batch(network))["loss_reconstruction"].backward()
    assert network.core.lstm.weight_ih_l0.grad.abs().sum() > 0
    assert network.head.value.weight_mu.grad is None


def test_without_reconstruction_there_is_no_such_loss():
    network = game_network(reconstruct_context=False)
    loss = make_loss(network)
    out = loss(make_batch(network))
    assert set(out.keys()) == set(loss.out_keys)
    assert "reconstruction" not in "".join(loss.out_keys)


def test_augmentation_sees_the_observations_once_and_both_networks_see_its_result():
    network = game_network(noise_std=0.0)
    shift = RandomShift()
    calls = []
    loss = make_loss(network, augmentation=lambda td: (calls.append(td.batch_size), shift(td))[1])
    batch = make_batch(network)
    frames = batch["pixels"].clone()
    loss(batch)
    assert calls == [torch.Size([BATCH, LENGTH])]
    assert torch.equal(batch["pixels"], frames)


# ------------------------------------------------------------------ ablations, precision, compilation


def test_a_network_without_memory_is_trained_by_the_same_loss():
    network = vector_network(core=MemorylessCore)
    loss, batch = make_loss(network), make_batch(network)
    total(loss(batch)).backward()
    assert loss.state_keys == []
    assert all(p.grad is not None for p in network.parameters())


def test_autocast_keeps_loss_targets_and_priorities_in_float32():
    network = vector_network(noise_std=0.0)
    loss, batch = make_loss(network), make_batch(network)
    loss(batch)
    exact = batch["td_error_steps"].clone()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = loss(batch)
    assert {value.dtype for value in out.values()} == {torch.float32}
    assert batch["td_error"].dtype == batch["td_error_steps"].dtype == torch.float32
    torch.testing.assert_close(batch["td_error_steps"], exact, rtol=0.1, atol=0.05)
    # A reward of 1000 would be rounded to steps of 4 in bfloat16.
    batch["reward"] += 1000.25
    with torch.autocast("cpu", dtype=torch.bfloat16):
        a = (loss(batch), batch["td_error_steps"].clone())[1]
        batch["reward"] += 0.5
        b = (loss(batch), batch["td_error_steps"].clone())[1]
    valid = a != 0
    assert ((b - a)[valid] > 0).all()
    total(out).backward()
    assert all(torch.isfinite(p.grad).all() for p in network.parameters())


def test_encoder_heads_and_mathematics_are_whole_graphs():
    # fullgraph raises at any break; this backend traces forward and backward and leaves out the C++ compiler.
    network = game_network(spatial_attention=True, norm=True, reconstruct_map=True)
    batch = make_batch(network)
    features = torch.randn(BATCH, network.hidden_size)
    table = torch.randn(2, BATCH, LENGTH, ACTIONS, 7)
    flow = [batch[key] for key in ("action", "reward", "terminated", "truncated", "mask", "action_mask")]
    parts = [
        (network.encoder, [batch[key][:, 0] for key in network.observation_keys]),
        (network.head, [features]),
        *((reconstruction, [features]) for reconstruction in network.reconstructions.values()),
        (lambda online, *rest: make_terms(online, *rest).loss, [table[0].requires_grad_(), table[1], *flow]),
    ]
    for part, inputs in parts:
        compiled = torch.compile(part, fullgraph=True, backend="aot_eager")
        with set_exploration_type(ExplorationType.RANDOM):
            out = compiled(*inputs)
            torch.testing.assert_close(out, part(*inputs))
        out.sum().backward()
    assert network.head.value.weight_sigma.grad.abs().sum() > 0


make_terms = partial(sequence_terms, gamma=0.9, n_step=2, eta=0.9, kappa=1.0, rescale_eps=1e-3)


@pytest.mark.long
@pytest.mark.timeout(1200)
def test_compiled_parts_compute_the_same_and_see_target_parameters():
    torch.compiler.reset()  # what other tests compiled counts towards the limit of recompilations of a function
    network = game_network(spatial_attention=True, norm=True, reconstruct_map=True)
    batch = make_batch(network)
    eager = make_loss(network)
    torch.manual_seed(3)
    expected = eager(batch)
    loss_keys = eager.out_keys
    network.compile_parts()  # fullgraph: a graph break raises
    compiled = make_loss(network, compile_terms=True)
    torch.manual_seed(3)
    out = compiled(batch)
    for key in loss_keys:
        torch.testing.assert_close(out[key], expected[key], rtol=1e-3, atol=1e-4)
    total(out).backward()
    assert network.head.value.weight_sigma.grad.abs().sum() > 0
    # The target parameters must reach the compiled parts too.
    before = out["target_q"].item()
    compiled.target_network_params["head", "value", "bias_mu"].data.add_(5.0)
    torch.manual_seed(3)
    assert compiled(batch)["target_q"].item() > before + 1.0
