"""The chain of an episode log: four bytes after each step, which depend on everything up to it.

The first value depends on the header and the RAM at the start, each further one on the value before, action, waiting
frames and RAM, the last one on how the episode ended, on the rewards and on the full RAM hashes. Whoever replays the
log computes the same values, so that no action, frame or number can be exchanged without being noticed at its step.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from dataclasses import asdict
from hashlib import blake2b
from typing import Any

import numpy as np
import numpy.typing as npt

from pokered_rl.episodes.header import EpisodeHeader, Meta

__all__ = ["chain_end", "chain_start", "chain_step"]

_STEP = struct.Struct("<IBH")  # value before, action, waiting frames
_VALUE = struct.Struct("<I")
_REALS = ("epsilon", "start_unix_seconds", "end_unix_seconds")


def chain_start(header: EpisodeHeader, start_ram_hash: str) -> int:
    """Return the value before the first step.

    Args:
        header: The whole header.
        start_ram_hash: SHA-256 (hex) of the full RAM image in the start state.
    """
    return _digest(_canonical(asdict(header)), bytes.fromhex(start_ram_hash))


def chain_step(value: int, action: int, wait_frames: int, ram: npt.NDArray[np.uint8]) -> int:
    """Return the value after a step.

    Args:
        value: The value before it.
        action: Index into ``header.actions``.
        wait_frames: Frames that passed after the action's own.
        ram: The bytes of ``header.chain_layout`` after the step.
    """
    digest = blake2b(_STEP.pack(value, action, wait_frames), digest_size=4)
    digest.update(ram.data)
    return int.from_bytes(digest.digest(), "little")


def chain_end(
    value: int,
    meta: Meta,
    ram_hashes: Mapping[int, str],
    rewards: npt.NDArray[np.float32],
    term_rewards: npt.NDArray[np.float32],
) -> int:
    """Return the value that follows the last step's: it depends on everything else in the log but the start state."""
    hashes = b"".join(_VALUE.pack(step) + bytes.fromhex(ram_hashes[step]) for step in sorted(ram_hashes))
    numbers = rewards.astype("<f4").tobytes() + np.ascontiguousarray(term_rewards, "<f4").tobytes()
    return _digest(_VALUE.pack(value), _canonical(asdict(meta)), hashes, numbers)


def _canonical(fields: Mapping[str, Any]) -> bytes:
    """Return JSON with sorted keys, without spaces, in ASCII; the numbers in `_REALS` have a decimal point."""
    reals = {key: float(fields[key]) for key in _REALS if fields.get(key) is not None}
    return json.dumps({**fields, **reals}, sort_keys=True, separators=(",", ":")).encode()


def _digest(*parts: bytes) -> int:
    digest = blake2b(digest_size=4)
    for part in parts:
        digest.update(_VALUE.pack(len(part)))
        digest.update(part)
    return int.from_bytes(digest.digest(), "little")
