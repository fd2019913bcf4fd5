import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pokered_rl.data.packing import pack_bits, pack_two_bits, packed_size, unpack_bits, unpack_two_bits


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
    assert packed.shape == (2, 3, packed_size(size, 2))
    assert torch.equal(unpack_two_bits(packed, size), cells)
    flags = cells > 1
    assert pack_bits(flags).shape == (2, 3, packed_size(size, 1))
    assert torch.equal(unpack_bits(pack_bits(flags), size), flags)


@pytest.mark.parametrize(("size", "bits", "expected"), [(882, 2, 221), (8, 1, 1), (9, 1, 2), (1440, 2, 360)])
def test_packed_size_counts_whole_bytes(size, bits, expected):
    assert packed_size(size, bits) == expected
