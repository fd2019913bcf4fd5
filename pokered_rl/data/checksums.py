"""Checksums of stored sequences, to recognise those with a page that never reached the disk before a power cut."""

import zlib

import numpy as np
import torch
from tensordict import TensorDictBase
from torch import Tensor
from torchrl.envs.transforms import Transform

__all__ = ["SequenceChecksum", "checksums"]

#: Written by TorchRL when a sequence is stored, or the checksum itself.
_NOT_COVERED = ("index", "checksum")


class SequenceChecksum(Transform):
    """Add the checksum of each sequence as it is stored.

    Writes (inverse, on ``extend``) ``checksum`` int64 [S], see :func:`checksums`. It has to be the last transform that
    changes an entry on its way into the storage.
    """

    def _inv_call(self, tensordict: TensorDictBase) -> TensorDictBase:
        return tensordict.set("checksum", checksums(tensordict))

    def forward(self, tensordict: TensorDictBase) -> TensorDictBase:
        """Return what was stored, unchanged."""
        return tensordict


def checksums(stored: TensorDictBase) -> Tensor:
    """Return the CRC-32 int64 [S] of each sequence over all its entries, the serial number included.

    Args:
        stored: Sequences [S] as the storage holds them.
    """
    size = len(stored)
    entries = sorted((key if isinstance(key, tuple) else (key,), value) for key, value in stored.items(True, True))
    sums = [0] * size
    for key, value in entries:
        if key[0] in _NOT_COVERED:
            continue
        data = np.ascontiguousarray(value.numpy().reshape(size, -1))  # [S, n]
        for sequence in range(size):
            sums[sequence] = zlib.crc32(data[sequence], sums[sequence])
    return torch.tensor(sums, dtype=torch.int64)
