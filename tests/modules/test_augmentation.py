import pytest
import torch
from tensordict import TensorDict
from torchvision.transforms import v2

from pokered_rl.errors import ConfigError
from pokered_rl.modules import RandomShift
from pokered_rl.observations import pack_two_bits, unpack_shades


def test_a_shifted_frame_is_a_crop_of_the_frame_padded_with_its_edges():
    shift = RandomShift(padding=2)
    frames = torch.arange(2 * 1 * 6 * 8).view(2, 1, 6, 8)
    out = shift(frames)
    padded = torch.nn.functional.pad(frames.float(), (2, 2, 2, 2), mode="replicate").long()
    for frame, wide in zip(out, padded, strict=True):
        crops = [wide[:, i : i + 6, j : j + 8] for i in range(5) for j in range(5)]
        assert any(torch.equal(frame, crop) for crop in crops)


def test_all_frames_of_a_sequence_move_alike_and_sequences_do_not():
    frame = torch.randint(0, 4, (72, 80), dtype=torch.uint8)
    out = RandomShift()(frame.expand(16, 5, 72, 80))
    assert all(torch.equal(out[:, 0], out[:, t]) for t in range(5))
    assert len({tuple(row.flatten().tolist()) for row in out[:, 0]}) > 5


def test_packed_frames_of_a_tensordict_are_shifted_and_its_other_entries_kept():
    shades = torch.randint(0, 4, (3, 2, 72, 80), dtype=torch.uint8)
    td = TensorDict({"pixels": pack_two_bits(shades), "context": torch.rand(3, 2, 4)}, [3, 2])
    before = td["pixels"].clone()
    torch.manual_seed(5)
    out = RandomShift()(td)
    torch.manual_seed(5)
    assert torch.equal(unpack_shades(out["pixels"]), RandomShift()(shades))
    assert torch.equal(td["pixels"], before)
    assert out["context"] is td["context"]


def test_it_is_a_transform_of_torchvision():
    assert isinstance(RandomShift(), v2.Transform)
    assert v2.Compose([RandomShift(), v2.Identity()])(torch.zeros(2, 1, 8, 8)).shape == (2, 1, 8, 8)


def test_padding_must_be_positive():
    with pytest.raises(ConfigError, match="padding must be >= 1, got 0"):
        RandomShift(0)
