import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from pokered_rl.observations import (
    allowed_actions,
    pack_bits,
    pack_two_bits,
    shades_of_bytes,
    unpack_bits,
    unpack_shades,
    unpack_two_bits,
)


def test_leftmost_value_stands_in_the_highest_bits():
    # 3, 0, 1, 2 -> 0b11_00_01_10 = 0xC6; the fifth value 1 starts a byte: 0b01_000000 = 0x40.
    assert pack_two_bits(torch.tensor([3, 0, 1, 2, 1], dtype=torch.uint8)).tolist() == [0xC6, 0x40]
    # 1 0 1 0 0 0 0 1 -> 0xA1
    assert pack_bits(torch.tensor([1, 0, 1, 0, 0, 0, 0, 1], dtype=torch.bool)).tolist() == [0xA1]


@given(st.integers(1, 40), st.integers(0, 2**31 - 1))
def test_packing_loses_nothing(size, seed):
    generator = torch.Generator().manual_seed(seed)
    cells = torch.randint(0, 4, (2, 3, size), dtype=torch.uint8, generator=generator)
    packed = pack_two_bits(cells)
    assert packed.shape == (2, 3, -(-size // 4))
    assert torch.equal(unpack_two_bits(packed, size), cells)
    flags = cells > 1
    assert pack_bits(flags).shape == (2, 3, -(-size // 8))
    assert torch.equal(unpack_bits(pack_bits(flags), size), flags)


def test_arrays_and_tensors_unpack_alike():
    packed = torch.tensor([[[0b00011011, 0b11000000]]], dtype=torch.uint8)
    shades = [[[0, 1, 2, 3, 3, 0, 0, 0]]]
    assert unpack_shades(packed).tolist() == shades
    array = unpack_shades(packed.numpy())
    assert array.dtype == np.uint8
    assert array.tolist() == shades
    assert shades_of_bytes(packed, -3).tolist() == [[[[0, 3]], [[1, 0]], [[2, 0]], [[3, 0]]]]


def test_a_mask_that_allows_none_allows_all():
    mask = torch.tensor([[True, False, True], [False, False, False]])
    assert allowed_actions(mask).tolist() == [[True, False, True], [True, True, True]]
