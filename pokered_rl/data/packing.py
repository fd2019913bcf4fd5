"""Four values of two bits in a byte, and eight truth values in a byte: lossless, batched, on any device.

The layout is that of the packed screen (`pixels`): the leftmost value stands in the highest bits.
"""

import torch
from torch import Tensor

__all__ = ["pack_bits", "pack_two_bits", "packed_size", "unpack_bits", "unpack_two_bits"]

_TWO_BIT_SHIFTS = (6, 4, 2, 0)
_BIT_SHIFTS = (7, 6, 5, 4, 3, 2, 1, 0)


def packed_size(size: int, bits: int) -> int:
    """Bytes that `size` values of `bits` bits each (1 or 2) take."""
    return (size * bits + 7) // 8


def pack_two_bits(values: Tensor) -> Tensor:
    """Packs uint8 [..., n] with values 0..3 into uint8 [..., ceil(n / 4)]; missing cells count as 0."""
    return _pack(values, _TWO_BIT_SHIFTS)


def unpack_two_bits(packed: Tensor, size: int) -> Tensor:
    """Inverse of `pack_two_bits`: uint8 [..., ceil(size / 4)] -> uint8 [..., size]."""
    return _unpack(packed, size, _TWO_BIT_SHIFTS, 3)


def pack_bits(values: Tensor) -> Tensor:
    """Packs bool [..., n] into uint8 [..., ceil(n / 8)]; missing values count as False."""
    return _pack(values.to(torch.uint8), _BIT_SHIFTS)


def unpack_bits(packed: Tensor, size: int) -> Tensor:
    """Inverse of `pack_bits`: uint8 [..., ceil(size / 8)] -> bool [..., size]."""
    return _unpack(packed, size, _BIT_SHIFTS, 1).bool()


def _pack(values: Tensor, shifts: tuple[int, ...]) -> Tensor:
    per_byte = len(shifts)
    size = values.shape[-1]
    missing = -size % per_byte
    if missing:
        values = torch.nn.functional.pad(values, (0, missing))
    groups = values.unflatten(-1, (-1, per_byte))  # [..., bytes, per_byte]
    packed: Tensor = groups[..., 0] << shifts[0]
    for index in range(1, per_byte):
        packed = packed | (groups[..., index] << shifts[index])
    return packed


def _unpack(packed: Tensor, size: int, shifts: tuple[int, ...], value_mask: int) -> Tensor:
    cells = torch.stack([(packed >> shift) & value_mask for shift in shifts], -1)  # [..., bytes, per_byte]
    flat: Tensor = cells.flatten(-2)
    return flat[..., :size]
