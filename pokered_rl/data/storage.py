"""How sequences lie on disk: packing and compression, sizes and checksums, the files and their mapped pages."""

import ctypes
import errno
import json
import logging
import mmap
import os
import re
import shutil
import sys
import weakref
import zlib
from collections.abc import Iterable, Mapping
from math import prod
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
import zstandard
from tensordict import MemoryMappedTensor, TensorDict, TensorDictBase
from tensordict.utils import NestedKey
from torch import Tensor
from torchrl.data import LazyMemmapStorage
from torchrl.envs.transforms import Transform

from pokered_rl.data.rollouts import SequenceLayout
from pokered_rl.errors import CheckpointError, ConfigError
from pokered_rl.observations import pack_bits, pack_two_bits, unpack_bits, unpack_two_bits

__all__ = [
    "SequenceChecksum",
    "SequenceCodec",
    "SequenceStorage",
    "bytes_per_sequence",
    "bytes_per_transition",
    "checksums",
]

_log = logging.getLogger(__name__)

#: Bytes of memory for each stored sequence: sum and minimum tree (float32, twice the capacity each), write counter.
BOOKKEEPING_BYTES = 2 * 2 * 4 + 8
#: A packed entry is called by its own name with this suffix.
_PACKED_SUFFIX = "_packed"
#: Truth values of a step that share one byte, from the highest bit down.
_FLAG_KEYS = ("mask", "is_init", "terminated", "truncated")
_ACTION_KEYS = ("action", "last_action")
#: What no checksum covers: written by TorchRL when a sequence is stored, or the checksum itself.
_NOT_COVERED = ("index", "checksum")
#: Entries [S, L] that a block holds beside those of more dimensions.
_BLOCK_KEYS = (*_ACTION_KEYS, "reward")
#: File of the compressed blocks.
_BLOCK_FILE = "block.memmap"
#: Part of the plain size that is kept free for blocks. Sprout's take a fortieth, those with noise over a tenth of each
#: frame a fifth (``compression.json``).
_EXPECTED_SHARE = 0.25
_MADV_DONTNEED = 4
_PAGE_BYTES = mmap.PAGESIZE
#: Types of stored numbers, by the name that ``meta.json`` has for them.
_DTYPES = {
    f"torch.{name}": getattr(torch, name)
    for name in ("uint8", "int8", "int16", "int32", "int64", "bool", "float16", "bfloat16", "float32", "float64")
}
#: Names of entries: they become names of files.
_NAME = re.compile(r"\w[\w.-]*")
_MAX_DESCRIPTION_BYTES, _MAX_ENTRIES = 2**20, 1000
#: Numbers of a sequence that a block may say it holds, many times those of one.
_MAX_BLOCK_NUMBERS = 1 << 26


class SequenceCodec(Transform):
    r"""Pack sequences, in the worker that has built them, and unpack them on their way out of a replay buffer.

    Reads (inverse) and writes (forward, on ``sample``), [S, L, ...]:

    - two-bit entries uint8 [S, L, \\*shape], values 0..3 <-> ``NAME_packed`` uint8 [S, L, ceil(n / 4)];
    - ``action_mask`` bool [S, L, A] <-> ``action_mask_packed`` uint8 [S, L, ceil(A / 8)];
    - ``mask``, ``is_init``, ``terminated``, ``truncated`` bool [S, L] <-> ``flags`` uint8 [S, L];
    - ``action``, ``last_action`` int64 [S, L] <-> uint8;
    - the entries of ``half_keys`` float32 <-> float16, the only packing that loses anything (2^-11 of a value);
    - with ``compression_level``, all entries of a step but ``flags``, packed as above, <-> ``block`` uint8 [S, M], a
      zstd frame for each sequence and zeros behind it, and ``block_bytes`` int32 [S], the length of the frame. What
      zstd does not make smaller is stored as it is.

    Entries that are absent or packed are left as they are: a replay packs on ``extend`` what comes unpacked. A block
    that cannot be unpacked is a sequence without transitions.

    Args:
        two_bit_shapes: Shape of one step of each two-bit entry, for example ``{"map_memory": (2, 21, 21)}``.
        num_actions: A; at most 255, since ``last_action`` counts one more value.
        half_keys: Float entries stored in half precision.
        compression_level: Of zstd, 1 to 19; 0 compresses nothing.

    Raises:
        ConfigError: ``num_actions`` does not fit a byte, or the level is out of range.

    Example:
        >>> codec = SequenceCodec(two_bit_shapes={"map_memory": (2, 21, 21)}, num_actions=8)
        >>> stored = codec.inv(sequences)  # doctest: +SKIP
        >>> restored = codec(stored)  # doctest: +SKIP
    """

    def __init__(
        self,
        *,
        two_bit_shapes: Mapping[str, tuple[int, ...]] | None = None,
        num_actions: int | None = None,
        half_keys: Iterable[NestedKey] = (),
        compression_level: int = 0,
    ) -> None:
        super().__init__()
        if not 0 <= compression_level <= 19:
            raise ConfigError(f"compression_level must be in 0..19, got {compression_level}")
        if num_actions is not None and not 1 <= num_actions <= 255:
            raise ConfigError(f"num_actions must be in 1..255 to fit a byte, got {num_actions}")
        self.two_bit_shapes = dict(two_bit_shapes or {})
        self.num_actions = num_actions
        self.half_keys = tuple(half_keys)
        self.compression_level = compression_level
        #: Shape and dtype of each entry of a block, in its order; known once a sequence has been packed.
        self.block_entries: dict[str, tuple[list[int], str]] = {}

    @property
    def block_capacity(self) -> int:
        """Bytes of a block that is stored as it is."""
        return sum(prod(shape) * _DTYPES[dtype].itemsize for shape, dtype in self.block_entries.values())

    def bytes_needed(self, example: TensorDictBase) -> int:
        """Return the bytes of disk to keep free for a sequence like ``example`` [1]: those of blocks are estimated."""
        stored = self.inv(example[:1].clone())
        if "block" not in stored:
            return bytes_per_sequence(stored)
        return bytes_per_sequence(stored.exclude("block")) + int(self.block_capacity * _EXPECTED_SHARE)

    def _inv_call(self, tensordict: TensorDictBase) -> TensorDictBase:
        keys = set(tensordict.keys())
        for key in self.two_bit_shapes:
            if key in keys:
                tensordict.set(key + _PACKED_SUFFIX, pack_two_bits(tensordict.pop(key).flatten(2)))
        if self.num_actions is not None:
            if "action_mask" in keys:
                tensordict.set("action_mask" + _PACKED_SUFFIX, pack_bits(tensordict.pop("action_mask")))
            for key in _ACTION_KEYS:
                if key in keys:
                    tensordict.set(key, tensordict.get(key).to(torch.uint8))
        if keys.issuperset(_FLAG_KEYS):
            flags = torch.stack([tensordict.pop(key) for key in _FLAG_KEYS], -1)  # [S, L, 4]
            tensordict.set("flags", pack_bits(flags).squeeze(-1))
        for key in self.half_keys:
            if tensordict.get(key, None) is not None:
                tensordict.set(key, tensordict.get(key).half())
        if self.compression_level and "block" not in keys:
            self._compress(tensordict)
        return tensordict

    def _compress(self, tensordict: TensorDictBase) -> None:
        """Replace the entries of a step by a block for each sequence."""
        names = sorted(key for key, value in tensordict.items() if value.ndim > 2 or key in _BLOCK_KEYS)
        values = {name: tensordict.pop(name) for name in names}
        self.block_entries = {name: (list(value.shape[1:]), str(value.dtype)) for name, value in values.items()}
        arrays = [np.ascontiguousarray(value.numpy()) for value in values.values()]
        compressor, plain_bytes = zstandard.ZstdCompressor(level=self.compression_level), self.block_capacity
        blocks = []
        for sequence in range(len(tensordict)):
            plain = b"".join(array[sequence].data for array in arrays)
            packed = compressor.compress(plain)
            blocks.append(packed if len(packed) < plain_bytes else plain)
        sizes = [len(block) for block in blocks]
        block = np.zeros((len(blocks), max(sizes, default=0)), np.uint8)
        for row, content in zip(block, blocks, strict=True):
            row[: len(content)] = np.frombuffer(content, np.uint8)
        tensordict.set("block", torch.from_numpy(block))
        tensordict.set("block_bytes", torch.tensor(sizes, dtype=torch.int32))

    def _decompress(self, tensordict: TensorDictBase) -> None:
        """Replace the blocks by the entries that they were made of."""
        blocks, sizes = tensordict.pop("block").numpy(), tensordict.pop("block_bytes").reshape(-1).tolist()
        blocks = blocks.reshape(len(sizes), blocks.shape[-1])
        decompressor, plain = zstandard.ZstdDecompressor(), np.empty(self.block_capacity, np.uint8)
        entries = {
            name: torch.empty((len(blocks), *shape), dtype=_DTYPES[dtype])
            for name, (shape, dtype) in self.block_entries.items()
        }
        targets = [entry.flatten(1).view(torch.uint8).numpy() for entry in entries.values()]  # each [B, bytes]
        ends = np.cumsum([target.shape[1] for target in targets]).tolist()
        parts = [slice(begin, end) for begin, end in zip([0, *ends], ends, strict=False)]
        for sequence, size in enumerate(sizes):
            block = blocks[sequence, :size]
            if size == len(plain):
                content = block
            else:
                content = plain
                try:  # at most as many bytes as there is room for, whatever the frame says
                    complete = decompressor.stream_reader(block).readinto(plain) == len(plain)
                except zstandard.ZstdError:
                    complete = False
                if not complete:
                    _log.warning("a stored sequence cannot be unpacked: left out")
                    plain[:] = 0
                    tensordict["flags"].reshape(len(blocks), -1)[sequence] = 0
            for target, part in zip(targets, parts, strict=True):
                target[sequence] = content[part]
        tensordict.update(
            {name: entry.reshape(*tensordict.batch_size, *entry.shape[1:]) for name, entry in entries.items()}
        )

    def forward(self, tensordict: TensorDictBase) -> TensorDictBase:
        """Unpack a stored batch, on any device."""
        if "block" in tensordict:
            self._decompress(tensordict)
        keys = set(tensordict.keys())
        for key, shape in self.two_bit_shapes.items():
            if key + _PACKED_SUFFIX in keys:
                packed = tensordict.pop(key + _PACKED_SUFFIX)
                tensordict.set(key, unpack_two_bits(packed, prod(shape)).unflatten(-1, shape))
        if self.num_actions is not None:
            if "action_mask" + _PACKED_SUFFIX in keys:
                packed = tensordict.pop("action_mask" + _PACKED_SUFFIX)
                tensordict.set("action_mask", unpack_bits(packed, self.num_actions))
            for key in _ACTION_KEYS:
                if key in keys:
                    tensordict.set(key, tensordict.get(key).long())
        if "flags" in keys:
            flags = unpack_bits(tensordict.pop("flags").unsqueeze(-1), len(_FLAG_KEYS))
            for index, key in enumerate(_FLAG_KEYS):
                tensordict.set(key, flags[..., index])
        for key in self.half_keys:
            if tensordict.get(key, None) is not None:
                tensordict.set(key, tensordict.get(key).float())
        return tensordict


class SequenceChecksum(Transform):
    """Add the checksum of each sequence as it is stored: after a power cut a page of it may be missing on the disk.

    Writes (inverse, on ``extend``) ``checksum`` int64 [S], see :func:`checksums`. It has to be the last transform that
    changes an entry on its way into the storage.
    """

    def _inv_call(self, tensordict: TensorDictBase) -> TensorDictBase:
        return tensordict.set("checksum", checksums(tensordict))

    def forward(self, tensordict: TensorDictBase) -> TensorDictBase:
        """Return what was stored, unchanged."""
        return tensordict


def checksums(stored: TensorDictBase) -> Tensor:
    """Return the CRC-32 int64 [S] of each stored sequence over all its entries, the serial number included."""
    size = len(stored)
    entries = sorted((key if isinstance(key, tuple) else (key,), value) for key, value in stored.items(True, True))
    sums = [0] * size
    for key, value in entries:
        if key[0] in _NOT_COVERED:
            continue
        data = np.ascontiguousarray(value.numpy().reshape(size, -1))  # [S, n]
        lengths = stored["block_bytes"].tolist() if key == ("block",) else [None] * size
        for sequence, length in enumerate(lengths):
            sums[sequence] = zlib.crc32(data[sequence, :length].data, sums[sequence])
    return torch.tensor(sums, dtype=torch.int64)


def bytes_per_sequence(stored: TensorDictBase) -> int:
    """Return the bytes that one sequence takes on disk, on average; blocks in whole pages.

    Args:
        stored: Any batch [S, ...] as the storage sees it (``replay.codec.inv(sequences)``).
    """
    size = 0
    for key, value in stored.items(True, True):
        if key == "block":
            pages = -(-stored["block_bytes"] // _PAGE_BYTES)
            size += round(float(pages.float().mean()) * _PAGE_BYTES)
        else:
            size += value[0].numel() * value.element_size()
    return size


class SequenceStorage(LazyMemmapStorage):
    """TorchRL's memory-mapped storage, with the compressed blocks of the sequences in a file of slots.

    Each block begins at a slot of its own, as large as a block that is stored as it is. The file is sparse: only pages
    that a block has reached take disk and memory. It is written and read by position, not mapped, so that a full disk
    is an error and not the end of the process, and a read costs no page fault.

    Takes the arguments of ``LazyMemmapStorage``. Data without ``block`` are stored as there.
    """

    _blocks: int | None = None
    _slot_bytes = 0

    def open_blocks(self, capacity: int, *, create: bool) -> None:
        """Open the file of blocks, each of ``capacity`` bytes at most.

        Raises:
            CheckpointError: It is missing, a link or too short, and not to be created.
        """
        folder = Path(self.scratch_dir)
        self._slot_bytes = -(-capacity // _PAGE_BYTES) * _PAGE_BYTES
        path, size = folder / _BLOCK_FILE, self._slot_bytes * self.max_size
        if create:
            path.unlink(missing_ok=True)  # its blocks would stay
        elif not is_plain_file(folder, path) or path.stat().st_size < size:
            raise CheckpointError(
                f"the replay is damaged: {path} is missing, a link, or shorter than {size} bytes; copy the run again"
            )
        self._blocks = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        weakref.finalize(self, os.close, self._blocks)
        os.truncate(path, size)

    def set(self, cursor: Any, data: Any, *, set_cursor: bool = True) -> None:
        """Write sequences [S] to the slots ``cursor`` int64 [S]; their serial numbers come first, their blocks last."""
        if "block" not in data:
            super().set(cursor, data, set_cursor=set_cursor)
            return
        assert self._blocks is not None, "open_blocks() comes before the first sequence"
        super().set(cursor, data.exclude("block"), set_cursor=set_cursor)
        blocks, sizes = data["block"].numpy(), data["block_bytes"].tolist()
        for slot, block, size in zip(cursor.tolist(), blocks, sizes, strict=True):
            rest, position = block[:size].data, slot * self._slot_bytes
            try:
                while rest:
                    written = os.pwrite(self._blocks, rest, position)
                    rest, position = rest[written:], position + written
            except OSError as error:
                raise OSError(error.errno, error.strerror, str(Path(self.scratch_dir) / _BLOCK_FILE)) from error

    def get(self, index: Any) -> Any:
        """Return the sequences at ``index``; their blocks are padded to the longest of them."""
        data = super().get(index)
        if self._blocks is None:
            return data
        slots = torch.arange(self.max_size)[: len(self)][index].reshape(-1).tolist()
        # A damaged number is told by the checksum; here it must only lead nowhere else.
        sizes = data["block_bytes"].reshape(-1).clamp(0, self._slot_bytes)
        blocks = np.zeros((len(slots), int(sizes.max()) if slots else 0), np.uint8)
        for slot, block, size in zip(slots, blocks, sizes.tolist(), strict=True):
            os.preadv(self._blocks, [block[:size].data], slot * self._slot_bytes)
        return data.copy().set("block", torch.from_numpy(blocks).reshape(*data.batch_size, blocks.shape[1]))


def bytes_per_transition(stored: TensorDictBase, layout: SequenceLayout, *, episode_steps: int | None = None) -> float:
    """Return the bytes of a unique transition: every stored entry, the overlap of sequences, and the priority trees.

    Args:
        stored: See :func:`bytes_per_sequence`.
        layout: Of the sequences.
        episode_steps: Length of an episode, to count the padding of its last sequence; None for endless episodes.
    """
    size = bytes_per_sequence(stored) + BOOKKEEPING_BYTES
    if episode_steps is None:
        return size / layout.period_steps
    return size * -(-episode_steps // layout.period_steps) / episode_steps


def create_reserved(path: Path, size: int) -> None:
    """Create a file of ``size`` bytes whose blocks are reserved."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.truncate(size)
        _reserve(file, size)


def reserve_files(folder: Path) -> int:
    """Reserve the blocks of every memory-mapped file in a folder; return their size in bytes.

    Raises:
        ConfigError: The disk cannot hold them.
    """
    total = 0
    for path in sorted(folder.glob("**/*.memmap")):
        if path.name == _BLOCK_FILE:
            continue  # sparse: its size is that of blocks which nothing makes smaller
        size = path.stat().st_size
        total += size
        with path.open("r+b") as file:
            try:
                _reserve(file, size)
            except OSError as error:
                if error.errno not in (errno.ENOSPC, errno.EFBIG, errno.EDQUOT):
                    raise
                raise disk_full(path, size, shutil.disk_usage(path.parent).free) from error
    return total


def _reserve(file: IO[bytes], size: int) -> None:
    """Reserve the blocks of an open file; where the system cannot (macOS), only compare with what is free.

    Raises:
        OSError: The disk cannot hold them.
    """
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file.fileno(), 0, size)
        return
    status, disk = os.fstat(file.fileno()), os.fstatvfs(file.fileno())
    if size - 512 * status.st_blocks > disk.f_bavail * disk.f_frsize:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def disk_full(path: Path, needed: int, free: int) -> ConfigError:
    """Return the error that says what the replay needs and what is free."""
    return ConfigError(
        f"the replay needs {needed / 1e9:.2f} GB at {path}, {free / 1e9:.2f} GB are free; lower "
        "replay.capacity_transitions or set replay.scratch_folder to a larger disk"
    )


def entries_of(sequences: TensorDictBase) -> dict[str, list[Any]]:
    """Return shape and dtype of every entry, by the name of its file."""
    entries = {}
    for key, value in sequences.items(True, True):
        name = key if isinstance(key, str) else "/".join(key)
        entries[name] = [list(value.shape), str(value.dtype)]
    return dict(sorted(entries.items()))


def block_entries(saved: Any) -> dict[str, tuple[list[int], str]]:
    """Return what a saved replay says of the entries of its blocks.

    Raises:
        CheckpointError: It names anything but tensors of numbers.
    """
    try:
        entries = {str(name): ([int(size) for size in shape], str(dtype)) for name, (shape, dtype) in saved.items()}
        fitting = all(dtype in _DTYPES and min(shape, default=0) >= 0 for shape, dtype in entries.values())
        if fitting and sum(prod(shape) for shape, _ in entries.values()) <= _MAX_BLOCK_NUMBERS:
            return entries
    except (AttributeError, TypeError, ValueError, OverflowError):
        pass
    raise CheckpointError(f"the replay is damaged: its blocks hold {str(saved)[:200]}")


def is_description(entries: Any, capacity: int) -> bool:
    """Return whether ``entries`` are what :func:`entries_of` returns for ``capacity`` sequences, or empty."""
    return isinstance(entries, dict) and all(
        isinstance(name, str)
        and all(_NAME.fullmatch(part) for part in name.split("/"))
        and isinstance(entry, list)
        and len(entry) == 2
        and entry[1] in _DTYPES
        and isinstance(entry[0], list)
        and entry[0][:1] == [capacity]
        and all(type(size) is int and 0 <= size < 2**40 for size in entry[0])
        for name, entry in entries.items()
    )


def open_sequences(folder: Path, entries: Mapping[str, Any]) -> TensorDict:
    """Map the files of a replay in ``folder``, whose ``entries`` :func:`entries_of` named when they were saved.

    Only the files of ``entries`` are opened, as bare numbers: nothing in the folder can run code. ``meta.json``, which
    TensorDict writes beside them, is compared and not followed.

    Raises:
        CheckpointError: A file is missing, too short, a symbolic link, or holds something else.
    """
    described = _described_entries(folder)
    if described != entries:
        names = sorted(name for name in {*described, *entries} if described.get(name) != entries.get(name))
        raise CheckpointError(
            f"the sequences in {folder} have other entries than the checkpoint says: {', '.join(names)}"
        )
    nested: dict[Any, Any] = {}
    for name, (shape, dtype) in entries.items():
        size = prod(shape) * _DTYPES[dtype].itemsize
        file = folder / f"{name}.memmap"
        if not is_plain_file(folder, file) or file.stat().st_size < size:
            raise CheckpointError(
                f"the replay is damaged: {file} is missing, a link, or shorter than {size} bytes; copy the run again"
            )
        nested[tuple(name.split("/"))] = MemoryMappedTensor.from_filename(file, _DTYPES[dtype], torch.Size(shape))
    sequences = TensorDict({}, batch_size=[min((shape[0] for shape, _ in entries.values()), default=0)])
    for key, value in nested.items():
        sequences.set(key, value)
    return sequences


def _described_entries(folder: Path) -> dict[str, Any]:
    """Return shape and dtype of every entry that the ``meta.json`` files of a folder name.

    Raises:
        CheckpointError: One is missing or damaged, or names anything but tensors of numbers.
    """
    found: dict[str, Any] = {}
    waiting = [""]
    while waiting:
        prefix = waiting.pop()
        file = folder / prefix / "meta.json"
        if not file.exists():
            raise CheckpointError(f"the sequences of the replay are gone: {file.parent} has no meta.json")
        try:
            if not is_plain_file(folder, file) or file.stat().st_size > _MAX_DESCRIPTION_BYTES:
                raise ValueError("a link, or far too large")
            for name, entry in json.loads(file.read_text()).items():
                if name in ("shape", "device", "_type") and not isinstance(entry, dict):
                    continue
                if not _NAME.fullmatch(name):
                    raise ValueError(f"{name[:40]!r} is no name of an entry")
                if entry.get("type") == "TensorDict":
                    waiting.append(f"{prefix}{name}/")
                elif entry.get("dtype") in _DTYPES and all(isinstance(n, int) and n >= 0 for n in entry["shape"]):
                    found[f"{prefix}{name}"] = [list(entry["shape"]), entry["dtype"]]
                else:
                    raise ValueError(f"{name} is no tensor of numbers but {str(entry.get('type'))[:60]!r}")
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise CheckpointError(f"the replay is damaged: {file}: {error}") from error
        if len(found) + len(waiting) > _MAX_ENTRIES:
            raise CheckpointError(f"the replay is damaged: {folder} names more than {_MAX_ENTRIES} entries")
    return dict(sorted(found.items()))


def is_plain_file(folder: Path, file: Path) -> bool:
    """Return whether a file exists and neither it nor a folder between it and ``folder`` is a symbolic link."""
    between = [file, *(parent for parent in file.parents if parent.is_relative_to(folder) and parent != folder)]
    return not any(path.is_symlink() for path in between) and file.is_file()


class MappedPages:
    """Drop the page-table entries of memory-mapped tensors when there are too many of them.

    Every page of a memory map that a process reads or writes stays in its page tables. With one process mapping the
    file, Linux counts these pages as private, and control groups with a memory limit charge and kill for them. Dropping
    the mappings loses nothing: the pages stay in the page cache, dirty ones included, and come back with a minor fault.
    How much one access maps is the kernel's choice (on Linux 6.18 fourteen times the bytes that were read), so it is
    read from the process's counters, not estimated from the traffic.

    Only maps that are shared with their file are touched: on a private map the same call would discard what was
    written. Does nothing where the operating system is not Linux.

    Args:
        tensors: Memory-mapped tensors, each from the start of its file.
        budget_bytes: Mapped bytes, beyond those after the last time, above which the entries are dropped.
    """

    def __init__(self, tensors: Iterable[Tensor], *, budget_bytes: int) -> None:
        self._budget_bytes = budget_bytes
        shared = _shared_maps()
        spans = [(value.data_ptr(), value.numel() * value.element_size()) for value in tensors]
        self._spans = [(start, size) for start, size in spans if size >= _PAGE_BYTES and start in shared]
        self._libc = ctypes.CDLL(None, use_errno=True) if self._spans else None
        self._bytes_before = _mapped_bytes() if self._spans else 0

    def check(self) -> None:
        """Drop the entries if there are too many; to be called after each batch that was read or written."""
        if self._libc is None or _mapped_bytes() - self._bytes_before <= self._budget_bytes:
            return
        for start, size in self._spans:
            # The length is rounded down: the last page of a file may hold nothing else, but need not.
            length = size // _PAGE_BYTES * _PAGE_BYTES
            self._libc.madvise(ctypes.c_void_p(start), ctypes.c_size_t(length), _MADV_DONTNEED)
        self._bytes_before = _mapped_bytes()


def _mapped_bytes() -> int:
    """Return the bytes of files and shared memory in this process's page tables."""
    return int(Path("/proc/self/statm").read_text().split()[2]) * _PAGE_BYTES


def _shared_maps() -> set[int]:
    """Return the start addresses of this process's shared, file-backed maps."""
    if sys.platform != "linux":
        return set()
    starts = set()
    for line in Path("/proc/self/maps").read_text().splitlines():
        span, permissions, *_ = line.split(maxsplit=2)
        if permissions.endswith("s"):
            starts.add(int(span.split("-")[0], 16))
    return starts
