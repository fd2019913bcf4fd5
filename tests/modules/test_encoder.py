import pytest
import torch
from torch import nn

from pokered_rl.errors import ConfigError
from pokered_rl.modules import MapEncoder, PixelEncoder, VectorEncoder, initialise_weights, squash_reward
from pokered_rl.observations import pack_two_bits, unpack_shades


@pytest.mark.parametrize("shape", [(72, 20), (144, 40)])
@pytest.mark.parametrize("attention", [False, True])
@pytest.mark.parametrize("norm", [False, True])
def test_pixel_encoder_takes_half_and_full_size(shape, attention, norm):
    encoder = PixelEncoder(
        shape,
        stem_channels=8,
        channels=16,
        num_blocks=1,
        num_features=12,
        norm=norm,
        squeeze_excitation=True,
        attention=attention,
    )
    assert encoder(torch.randint(0, 256, (2, *shape), dtype=torch.uint8)).shape == (2, 12)


def test_frames_that_are_not_made_of_tiles_are_refused():
    with pytest.raises(ConfigError, match="18 square tiles high, got 70 x 80"):
        PixelEncoder((70, 20), stem_channels=8, channels=8, num_blocks=0, num_features=4)


@pytest.mark.parametrize("method", ["kaiming", "orthogonal"])
def test_initialisation_keeps_the_scale_of_a_signal_through_layers_with_relu(method):
    layers = nn.Sequential(*(layer for _ in range(6) for layer in (nn.Linear(256, 256), nn.ReLU())))
    signal = torch.randn(500, 256)
    # PyTorch's weights have variance 1 / (3 fan_in) and a ReLU halves the second moment: a sixth a layer, 6 ** -6.
    assert layers(signal).square().mean() < 1e-3
    initialise_weights(layers, method)
    assert 0.5 < layers(signal).square().mean() < 2
    assert not any(layer.bias.any() for layer in layers[::2])


def test_attention_keeps_its_initialisation():
    encoder = PixelEncoder((72, 20), channels=16, attention=True)
    before = {name: value.clone() for name, value in encoder.named_parameters()}
    initialise_weights(encoder, "kaiming")
    kept = {name for name, value in encoder.named_parameters() if torch.equal(value, before[name])}
    assert {name.split(".")[2] for name in kept} == {"place", "norm", "query_key_value", "output"}


def test_an_unknown_initialisation_is_refused():
    with pytest.raises(ConfigError, match=r"initialisation must be one of .*, got 'zeros'"):
        initialise_weights(nn.Linear(2, 2), "zeros")


@pytest.mark.parametrize("norm", [False, True])
def test_a_step_is_encoded_alike_in_a_batch_of_one_and_of_many_and_in_both_modes(norm):
    # BatchNorm or dropout anywhere would break this: the workers run batches of another size than the learner.
    encoder = PixelEncoder(
        (72, 20), stem_channels=8, channels=16, num_blocks=1, num_features=12, norm=norm, squeeze_excitation=True
    )
    frames = torch.randint(0, 256, (5, 72, 20), dtype=torch.uint8)
    together = encoder.train()(frames)
    alone = torch.cat([encoder.eval()(frame.unsqueeze(0)) for frame in frames])
    torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-6)


def test_shades_are_scaled_to_one():
    encoder = PixelEncoder((72, 20), stem_channels=8, channels=8, num_blocks=0, num_features=4)
    seen = []
    encoder.layers[0].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    encoder(torch.full((1, 72, 20), 255, dtype=torch.uint8))
    assert torch.equal(seen[0], torch.ones(1, 4, 72, 20))  # shade 3 of 3, the pixels of a byte as channels


def test_stem_embeds_each_screen_tile_by_itself():
    for shape, tile in (((72, 20), 4), ((144, 40), 8)):
        encoder = PixelEncoder(shape, stem_channels=8, channels=8, num_blocks=0, num_features=4)
        frame = torch.zeros(1, shape[0], shape[1] * 4, dtype=torch.uint8)
        frame[0, tile : 2 * tile, 3 * tile : 4 * tile] = 3  # line 1, column 3 of the 18 x 20 tiles
        blank = torch.zeros_like(frame)
        seen = [encoder.layers[0](_channels(pack_two_bits(f))) for f in (frame, blank)]
        assert seen[0].shape[-2:] == (18, 20)
        changed = (seen[0] != seen[1]).any(1)[0].nonzero().tolist()
        assert changed == [[1, 3]]


def _channels(packed):
    return unpack_shades(packed).unflatten(-1, (-1, 4)).movedim(-1, 1).float() / 3


def test_map_values_are_kinds_and_not_amounts():
    encoder = MapEncoder((2, 21, 21), channels=8, num_features=6)
    crops = torch.zeros(4, 2, 21, 21, dtype=torch.uint8)
    crops[:, 1, 10, 10] = torch.arange(4, dtype=torch.uint8)
    seen = []
    encoder.layers[0].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    assert encoder(crops).shape == (4, 6)
    # Planes: the high bits of both layers, then the low bits. The second layer's are planes 1 and 3.
    assert seen[0][:, [1, 3], 10, 10].tolist() == [[0, 0], [0, 1], [1, 0], [1, 1]]
    assert seen[0].sum() == 4  # and nothing else is set


def test_no_action_yet_has_an_embedding_of_its_own():
    encoder = VectorEncoder(context_size=0, num_actions=3, last_reward=False, num_features=5)
    out = encoder(None, torch.tensor([0, 3]), None)
    assert out.shape == (2, 5)
    assert not torch.equal(out[0], out[1])
    with pytest.raises(IndexError):
        encoder(None, torch.tensor([4]), None)


def test_last_reward_may_have_a_trailing_dimension_or_not():
    encoder = VectorEncoder(context_size=2, num_actions=0, last_reward=True, num_features=5)
    context, reward = torch.rand(3, 2), torch.tensor([1.0, -50.0, 0.0])
    assert torch.equal(encoder(context, None, reward), encoder(context, None, reward.unsqueeze(-1)))


def test_reward_input_is_squashed_symmetrically():
    # log(1 + 9) = 2.302585
    torch.testing.assert_close(squash_reward(torch.tensor([9.0, -9.0, 0.0])), torch.tensor([2.302585, -2.302585, 0]))
