"""Compare compressors for stored sequences, and slots of fixed size with a ring of blocks of any size.

    python docs/benchmarks/compression.py --json docs/benchmarks/results/compression.json

Sequences are those of random play, as they are and with noise over a tenth of each frame, which no game shows. Times
are CPU time of one thread; the compressors take turns.
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import zstandard
from tensordict import TensorDict

from learning import ACTIONS, LAYOUT, played_rows, sequences_of
from pokered_rl.cli.measurement import provenance, write_json
from pokered_rl.data import SequenceCodec
from pokered_rl.resources import keep_freed_memory

_PAGE_BYTES = 4096
_ROUNDS = 5


def _methods(plain_bytes: int) -> dict[str, tuple[Callable[[bytes], bytes], Callable[[bytes], object]]]:
    target, reader = np.empty(plain_bytes, np.uint8), zstandard.ZstdDecompressor()

    def inflate(block: bytes) -> object:
        return zlib.decompress(block, -15, plain_bytes)

    def unpack(block: bytes) -> object:
        return reader.stream_reader(block).readinto(target)

    return {
        **{f"zlib {level}": (lambda plain, level=level: zlib.compress(plain, level, -15), inflate) for level in (1, 6)},
        **{f"zstd {level}": (zstandard.ZstdCompressor(level=level).compress, unpack) for level in (1, 3)},
    }


def _plain(sequences: TensorDict) -> list[bytes]:
    """Return what the block of each sequence is made of."""
    shapes = {"map_memory": tuple(sequences["map_memory"].shape[2:])}
    packed = SequenceCodec(two_bit_shapes=shapes, num_actions=ACTIONS, half_keys=("context",), compression_level=1)
    packed.inv(sequences[:1].clone())
    names, packed.compression_level = list(packed.block_entries), 0
    arrays = [packed.inv(sequences.clone())[name].numpy() for name in names]
    return [b"".join(np.ascontiguousarray(array[index]).data for array in arrays) for index in range(len(sequences))]


def _noisy(sequences: TensorDict) -> TensorDict:
    generator, result = torch.Generator().manual_seed(0), sequences.clone()
    pixels = result["pixels"]
    noise = torch.randint(0, 256, pixels.shape, dtype=torch.uint8, generator=generator)
    result["pixels"] = torch.where(torch.rand(pixels.shape, generator=generator) < 0.1, noise, pixels)
    return result


def compressors(plain: list[bytes]) -> tuple[dict[str, dict[str, float]], dict[str, list[int]]]:
    """Return bytes and times of each compressor, and the sizes of its blocks."""
    methods = _methods(len(plain[0]))
    encode: dict[str, list[float]] = {name: [] for name in methods}
    decode: dict[str, list[float]] = {name: [] for name in methods}
    sizes = {}
    for _ in range(_ROUNDS):
        for name, (compress, decompress) in methods.items():
            began = time.thread_time()
            blocks = [compress(each) for each in plain]
            middle = time.thread_time()
            for block in blocks:
                decompress(block)
            encode[name].append((middle - began) / len(plain))
            decode[name].append((time.thread_time() - middle) / len(plain))
            sizes[name] = [len(block) for block in blocks]
    return {
        name: {
            "bytes_per_transition": round(statistics.mean(sizes[name]) / LAYOUT.period_steps, 1),
            "share": round(statistics.mean(sizes[name]) / len(plain[0]), 4),
            "encode_us_per_transition": round(1e6 * statistics.median(encode[name]) / LAYOUT.period_steps, 2),
            "decode_64_ms": round(64e3 * statistics.median(decode[name]), 2),
        }
        for name in methods
    }, sizes


def stores(sizes: list[int], slot_bytes: int, *, capacity: int = 2_000, laps: int = 20) -> dict[str, dict[str, float]]:
    """Write blocks of these sizes to a file of slots and to a ring; return disk and times."""
    chance, content = np.random.default_rng(0), os.urandom(slot_bytes)
    drawn = chance.choice(sizes, (laps, capacity))
    result = {}
    for name in ("slots", "ring"):
        with tempfile.NamedTemporaryFile() as file:
            descriptor, end, places, laps_bytes = file.fileno(), 0, np.zeros((capacity, 2), np.int64), []
            # A ring needs a size in advance; the oldest sequences go when it is too small for `capacity` of them.
            ring_bytes = int(1.05 * np.mean(sizes) * capacity)
            began = time.thread_time()
            for lap in range(laps):
                for slot, size in enumerate(drawn[lap].tolist()):
                    if name == "slots":
                        place = slot * slot_bytes
                    else:
                        end = 0 if end + size > ring_bytes else end
                        place, end = end, end + size
                    os.pwrite(descriptor, content[:size], place)
                    places[slot] = place, size
                laps_bytes.append(os.fstat(descriptor).st_blocks * 512)
            written = time.thread_time()
            indices = chance.integers(0, capacity, 64 * 50).tolist()
            for index in indices:
                os.pread(descriptor, int(places[index, 1]), int(places[index, 0]))
            read = time.thread_time()
        result[name] = {
            "bytes_per_sequence_first_lap": round(laps_bytes[0] / capacity),
            f"bytes_per_sequence_lap_{laps}": round(laps_bytes[-1] / capacity),
            "write_us": round(1e6 * (written - began) / (laps * capacity), 2),
            "read_64_ms": round(64e3 * (read - written) / len(indices), 2),
        }
    return result


def main() -> int:
    """Print and write what was measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write figures and raw samples there")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    result: dict[str, Any] = {"samples": {}}
    sequences = sequences_of(played_rows(8, 600), 128, hidden_size=8)
    for label, each in (("sprout", sequences), ("noise", _noisy(sequences))):
        plain = _plain(each)
        methods, sizes = compressors(plain)
        slot_bytes = -(-len(plain[0]) // _PAGE_BYTES) * _PAGE_BYTES
        result[label] = {"plain_bytes_per_sequence": len(plain[0]), "methods": methods}
        result[label]["stores"] = stores(sizes["zstd 3"], slot_bytes)
        result["samples"][label] = sizes
        for name, figures in (methods | result[label]["stores"]).items():
            print(label, name, figures)
    if arguments.json is not None:
        write_json(arguments.json, provenance() | result)
    return 0


if __name__ == "__main__":
    sys.exit(main())
