"""Encodings of observation entries: 2-bit shades, packed flags and the action mask."""

from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = [
    "allowed_actions",
    "pack_bits",
    "pack_two_bits",
    "unpack_bits",
    "unpack_shades",
    "unpack_two_bits",
]

_Bytes = TypeVar("_Bytes", Tensor, NDArray[np.uint8])

_TWO_BIT_SHIFTS = (6, 4, 2, 0)
_BIT_SHIFTS = (7, 6, 5, 4, 3, 2, 1, 0)


def unpack_shades(packed: _Bytes) -> _Bytes:
    """Unpack uint8 [..., H, W/4], array or tensor: four 2-bit shades a byte, the leftmost in the highest bits.

    Returns:
        uint8 [..., H, W] of the same kind: 0 black to 3 white.
    """
    return shades_of_bytes(packed, -1).reshape(*packed.shape[:-1], 4 * packed.shape[-1])


def shades_of_bytes(packed: _Bytes, axis: int) -> _Bytes:
    """Return the four 2-bit values of each byte along a new axis of size 4, the highest bits first."""
    # Shifts by numbers, not by a tensor of shifts: only these are vectorised on the CPU.
    parts = [packed >> 6, (packed >> 4) & 3, (packed >> 2) & 3, packed & 3]
    if isinstance(packed, Tensor):
        return torch.stack(parts, axis)
    return np.stack(parts, axis)


def pack_two_bits(values: Tensor) -> Tensor:
    """Pack uint8 [..., n] with values 0..3 into uint8 [..., ceil(n / 4)]; missing values count as 0."""
    return _pack(values, _TWO_BIT_SHIFTS)


def unpack_two_bits(packed: Tensor, size: int) -> Tensor:
    """Undo :func:`pack_two_bits`: uint8 [..., ceil(size / 4)] -> uint8 [..., size]."""
    return unpack_shades(packed)[..., :size]


def pack_bits(values: Tensor) -> Tensor:
    """Pack bool [..., n] into uint8 [..., ceil(n / 8)], the first in the highest bit; missing ones count as False."""
    return _pack(values.to(torch.uint8), _BIT_SHIFTS)


def unpack_bits(packed: Tensor, size: int) -> Tensor:
    """Undo :func:`pack_bits`: uint8 [..., ceil(size / 8)] -> bool [..., size]."""
    flags = torch.stack([(packed >> shift) & 1 for shift in _BIT_SHIFTS], -1)  # [..., bytes, 8]
    return flags.flatten(-2)[..., :size].bool()


def allowed_actions(mask: Tensor) -> Tensor:
    """Return which actions a policy may take, bool [..., A]: a mask that allows none allows all."""
    return mask | ~mask.any(-1, keepdim=True)


def _pack(values: Tensor, shifts: tuple[int, ...]) -> Tensor:
    per_byte = len(shifts)
    missing = -values.shape[-1] % per_byte
    if missing:
        values = torch.nn.functional.pad(values, (0, missing))
    groups = values.unflatten(-1, (-1, per_byte))  # [..., bytes, per_byte]
    packed: Tensor = groups[..., 0] << shifts[0]
    for index in range(1, per_byte):
        packed = packed | (groups[..., index] << shifts[index])
    return packed
