import pytest
import torch
from torchrl.envs import ExplorationType, set_exploration_type
from torchrl.modules import NoisyLinear

from pokered_rl.errors import ConfigError
from pokered_rl.modules import DuelingQuantileHead, MapDecoder, ReconstructionHead


def make_head(**changes):
    return DuelingQuantileHead(6, **{"num_actions": 3, "num_quantiles": 5, "hidden_size": 8, **changes})


def test_streams_combine_as_value_plus_centred_advantage_for_each_quantile():
    head = make_head(noise_std=0.0)
    x = torch.randn(4, 6)
    quantiles = head(x)
    assert quantiles.shape == (4, 3, 5)
    value = head.value(torch.relu(head.value_hidden(x)))
    # The advantages are centred over actions, so the mean over actions is V for every quantile.
    torch.testing.assert_close(quantiles.mean(1), value)
    advantage = head.advantage(torch.relu(head.advantage_hidden(x))).view(4, 3, 5)
    torch.testing.assert_close(quantiles[:, 0] - quantiles[:, 2], advantage[:, 0] - advantage[:, 2])


def test_every_layer_of_the_head_is_torchrls_noisy_linear():
    layers = [m for m in make_head().modules() if hasattr(m, "in_features")]
    assert len(layers) == 4
    assert all(type(layer) is NoisyLinear for layer in layers)


@pytest.mark.parametrize("dueling", [True, False])
@pytest.mark.parametrize("noise_std", [0.5, 0.0])
def test_acting_path_equals_the_mean_of_the_quantiles(dueling, noise_std):
    head = make_head(dueling=dueling, noise_std=noise_std)
    x = torch.randn(4, 6)
    with set_exploration_type(ExplorationType.DETERMINISTIC):
        torch.testing.assert_close(head.action_value(x), head(x).mean(-1))


@pytest.mark.parametrize("dueling", [True, False])
def test_factorised_acting_noise_equals_the_noisy_layers_with_the_same_noise(dueling):
    head = make_head(dueling=dueling)
    x = torch.randn(4, 6)
    noise = head.sample_noise(4)
    layers = [head.advantage_hidden, head.advantage]
    if dueling:
        layers += [head.value_hidden, head.value]
    values = head.action_value(x, noise)
    for emulator in range(4):
        for layer, (noise_in, noise_out) in zip(layers, noise, strict=True):
            layer.weight_epsilon.copy_(noise_out[emulator].outer(noise_in[emulator]))
            layer.bias_epsilon.copy_(noise_out[emulator])
        with set_exploration_type(ExplorationType.RANDOM):
            torch.testing.assert_close(values[emulator], head(x)[emulator].mean(-1))


def test_acting_noise_has_the_law_of_the_layers_and_leaves_their_buffers_alone():
    head = make_head()
    before = head.advantage.weight_epsilon.clone()
    noise = torch.cat([part.flatten() for pair in head.sample_noise(4000) for part in pair])
    assert torch.equal(head.advantage.weight_epsilon, before)
    # f(x) = sign(x) sqrt(|x|) of a normal number: mean 0, E f^2 = E|x| = sqrt(2 / pi) = 0.798, E f^4 = E x^2 = 1.
    assert abs(noise.mean()) < 0.01
    assert abs(noise.square().mean() - 0.798) < 0.01
    assert abs(noise.pow(4).mean() - 1.0) < 0.03


def test_reconstruction_heads_have_the_shape_of_what_they_reconstruct():
    x = torch.randn(4, 6)
    assert ReconstructionHead(6, context_size=9, hidden_size=8)(x).shape == (4, 9)
    crop = MapDecoder(6, shape=(2, 21, 21), hidden_size=8)(x)
    assert crop.shape == (4, 2, 21, 21)
    assert 0 <= crop.min() <= crop.max() <= 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"noise_std": -0.1}, "noise_std must be >= 0, got -0.1"),
        ({"num_actions": 0}, "num_actions and num_quantiles must be >= 1, got 0 and 5"),
    ],
)
def test_impossible_heads_are_refused(change, message):
    with pytest.raises(ConfigError, match=message):
        make_head(**change)
