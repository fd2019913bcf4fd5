"""Prepare columns of numbers for compression: bytes sorted by significance, rewards through a table of their values.

:mod:`pokered_rl.episodes.container` compresses the result with zlib. The coding is lossless to the bit.
"""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import numpy.typing as npt

from pokered_rl.errors import EpisodeLogError

__all__: list[str] = []

_REMEDY = "the file is damaged or was written by a faulty writer: delete it"
_COUNT = struct.Struct("<I")


def to_planes(values: npt.NDArray[Any], dtype: str) -> bytes:
    """Return little-endian numbers sorted by significance: every lowest byte, then every second one, ...

    Counts are small, so the planes of the high bytes are constant and compress to nothing.
    """
    flat = np.ascontiguousarray(values, dtype).reshape(-1)
    return flat.view(np.uint8).reshape(flat.size, flat.itemsize).T.tobytes()


def from_planes(data: bytes, dtype: str, shape: tuple[int, ...], place: str) -> npt.NDArray[Any]:
    """Undo :func:`to_planes`.

    Raises:
        EpisodeLogError: ``data`` has not the length that dtype and shape ask for; the message begins with ``place``.
    """
    kind = np.dtype(dtype)
    expected = int(np.prod(shape, dtype=np.int64)) * kind.itemsize
    if len(data) != expected:
        raise EpisodeLogError(
            f"{place} holds {len(data)} bytes, expected {expected} for shape {list(shape)}; {_REMEDY}"
        )
    planes = np.frombuffer(data, np.uint8).reshape(kind.itemsize, -1)
    return np.ascontiguousarray(planes.T).reshape(-1).view(kind).reshape(shape).astype(kind.newbyteorder("="))


def pack_rewards(rewards: npt.NDArray[np.float32], terms: npt.NDArray[np.float32]) -> bytes:
    """Return section REWD of rewards, float32 [T], and the share of each term, float32 [T, K].

    The section holds a table of the bit patterns that occur, then one index a value, column by column: the reward, then
    each term. A reward that is the sum of its terms (the usual case) has index 0 and no entry in the table.
    """
    summed = _sum_of_terms(terms)
    explicit = rewards.view(np.uint32) != summed.view(np.uint32)  # [T]
    columns = np.concatenate([np.where(explicit, rewards, 0.0)[:, None], terms], axis=1).astype("<f4")
    bits = np.ascontiguousarray(columns.T).view("<u4")  # [1 + K, T]
    table, index = np.unique(bits, return_inverse=True)
    index = index.reshape(bits.shape) + 1  # 0 is kept for "sum of the terms"
    index[0, ~explicit] = 0
    return _COUNT.pack(table.size) + to_planes(table, "<u4") + to_planes(index, _index_dtype(table.size))


def unpack_rewards(
    data: bytes, steps: int, terms: int, place: str
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Undo :func:`pack_rewards`.

    Args:
        data: Section REWD.
        steps: Number of steps, T.
        terms: Number of terms, K.
        place: Name of the section in error messages.

    Returns:
        Rewards float32 [T] and term rewards float32 [T, K].

    Raises:
        EpisodeLogError: The section has not the right length, or an index points outside the table.
    """
    if len(data) < _COUNT.size:
        raise EpisodeLogError(f"{place} holds {len(data)} bytes, at least {_COUNT.size} are needed; {_REMEDY}")
    (size,) = _COUNT.unpack_from(data)
    behind_table = _COUNT.size + 4 * size
    table = from_planes(data[_COUNT.size : behind_table], "<u4", (size,), f"{place}: value table")
    index = from_planes(data[behind_table:], _index_dtype(size), (1 + terms, steps), f"{place}: indices")
    index = index.astype(np.int64)
    if index.size and int(index.max()) > size:
        raise EpisodeLogError(f"{place}: index {int(index.max())} into a table of {size} values; {_REMEDY}")
    if index[1:].size and int(index[1:].min()) == 0:
        raise EpisodeLogError(f"{place}: index 0 (sum of the terms) in the column of a term; {_REMEDY}")
    values = np.concatenate([np.zeros(1, np.uint32), table.astype(np.uint32)])[index].view(np.float32)  # [1 + K, T]
    term_rewards = np.ascontiguousarray(values[1:].T)
    return np.where(index[0] == 0, _sum_of_terms(term_rewards), values[0]), term_rewards


def _sum_of_terms(terms: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return float32 [T]: the terms added up from left to right in double precision, then rounded once."""
    total = np.zeros(terms.shape[0], np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        for column in terms.T:
            total += column
        return total.astype(np.float32)


def _index_dtype(table_size: int) -> str:
    return "u1" if table_size < 2**8 else "<u2" if table_size < 2**16 else "<u4"
