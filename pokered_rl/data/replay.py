"""The prioritized replay of sequences, memory-mapped: one item, one sequence, one priority.

TorchRL's `TensorDictPrioritizedReplayBuffer` does the work. What it lacks for a run of many jobs is added here: rows
that stay where they are while checkpoints hold only priorities and cursor, priorities that never land on a sequence
which has meanwhile replaced the drawn one, weights normalised by the batch, and blocks reserved before the first step.
"""

import errno
import json
import os
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from tensordict import TensorDict, TensorDictBase
from torch import Tensor
from torchrl.data import LazyMemmapStorage, PrioritizedSampler, TensorDictPrioritizedReplayBuffer
from torchrl.data.replay_buffers.writers import TensorDictRoundRobinWriter

from pokered_rl.data.codec import SequenceCodec
from pokered_rl.data.mapped_pages import MappedPages
from pokered_rl.data.rollouts import SequenceLayout
from pokered_rl.errors import CheckpointError, ConfigError

__all__ = ["SequenceReplay", "bytes_per_sequence", "bytes_per_transition", "make_replay", "matching_sequences"]

_METADATA = "replay.json"
_FORMAT = 1
#: Sum and minimum tree (float32, twice the capacity each) and the write counter of an item.
_BOOKKEEPING_BYTES = 2 * 2 * 4 + 8
#: Mapped pages of the files above which they are given back; a batch may map half as much again.
_MAPPED_BUDGET_BYTES = 400_000_000


class SequenceReplay(TensorDictPrioritizedReplayBuffer):
    """Prioritized replay of sequences on disk; made by `make_replay`.

    A sample has, beside the sequence entries, `index` int64 [B], `index_generation` int64 [B] (how often the slot had
    been written when it was drawn) and `priority_weight` f32 [B], the importance weights `(N P(i))^-beta` divided by
    the maximum of the batch.

    One thread may extend while another samples and updates priorities.
    """

    def __init__(self, *, codec: SequenceCodec, new_priority: str, max_within_buffer: bool, **options: Any) -> None:
        super().__init__(**options)
        self.codec = codec
        self.new_priority = new_priority
        if max_within_buffer:
            # The initial maximum of the sampler is 1.0, a hundred times a typical error: take the true one instead.
            self.set_sampler(
                PrioritizedSampler(
                    self._storage.max_size, options["alpha"], options["beta"], max_priority_within_buffer=True
                )
            )
            if self._rng is not None:
                self._sampler._rng = self._rng
        self.set_writer(TensorDictRoundRobinWriter(track_generations=True))
        self.append_transform(codec)
        #: Priorities that came back for sequences that had been overwritten meanwhile.
        self.stale_priorities = 0
        self._pages: MappedPages | None = None

    @property
    def scratch_dir(self) -> Path:
        """Folder of the memory-mapped rows."""
        return Path(self._storage.scratch_dir)

    @property
    def capacity_sequences(self) -> int:
        """Sequences that the buffer holds when full."""
        return int(self._storage.max_size)

    def extend(self, tensordicts: TensorDictBase, *, update_priority: bool | None = None) -> Tensor:
        """Adds sequences [S]; their priority is `td_error` or the current maximum, see `make_replay`.

        Returns:
            Slots int64 [S] that they were written to.
        """
        size = len(tensordicts)
        if not size:
            return torch.zeros(0, dtype=torch.int64)
        # Written before the sequence itself, so that after a kill a half-written row shows that it is newer.
        serial = torch.arange(self.write_count, self.write_count + size)
        data = TensorDict({"serial": serial, **dict(tensordicts.items())}, batch_size=[size])
        if self.new_priority == "maximum":
            data.pop("td_error", None)
        index: Tensor = super().extend(data, update_priority=update_priority)
        self._give_pages_back()
        return index

    def sample(self, batch_size: int | None = None, return_info: bool = False) -> Any:
        """Draws sequences [B] in proportion to `priority ** alpha`."""
        result = super().sample(batch_size, return_info)
        data = result[0] if return_info else result
        weight = data.get("priority_weight")
        data.set("priority_weight", (weight / weight.max()).float())
        data.pop("serial", None)
        self._give_pages_back()
        return result

    def update_tensordict_priority(self, data: TensorDictBase) -> None:
        """Writes `td_error` [B] as the new priorities of the drawn sequences that are still there."""
        index, drawn = data.get("index").reshape(-1), data.get("index_generation").reshape(-1)
        with self._replay_lock, self._write_lock:
            alive = self._writer.generations_of(index) == drawn
            self.stale_priorities += int((~alive).sum())
            self.update_priority(index[alive], data.get("td_error").reshape(-1)[alive].detach().cpu())

    def allocate(self, example: TensorDictBase) -> int:
        """Creates the files and reserves their blocks on the disk.

        A sparse file on a disk that fills up ends the process with SIGBUS at some later write.

        Args:
            example: any batch of sequences [S], S >= 1, for example `SequenceBuilder.example`.

        Returns:
            Bytes reserved.

        Raises:
            ConfigError: the disk cannot hold the buffer.
        """
        if self._storage.initialized:
            return self.reserve()
        stored = self.codec.inv(example[:1])
        needed = bytes_per_sequence(stored) * self.capacity_sequences
        self.scratch_dir.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(self.scratch_dir).free
        present = sum(file.stat().st_blocks * 512 for file in self.scratch_dir.glob("**/*.memmap"))
        if needed > free + present:
            raise _disk_full(self.scratch_dir, needed, free)
        self.extend(example[:1])
        self.empty()
        return self.reserve()

    def reserve(self) -> int:
        """Gives every file of the rows its blocks; returns their size in bytes.

        Raises:
            ConfigError: the disk cannot hold the buffer.
        """
        total = 0
        for path in sorted(self.scratch_dir.glob("**/*.memmap")):
            size = path.stat().st_size
            total += size
            with path.open("r+b") as file:
                try:
                    os.posix_fallocate(file.fileno(), 0, size)
                except OSError as error:
                    if error.errno not in (errno.ENOSPC, errno.EFBIG, errno.EDQUOT):
                        raise
                    raise _disk_full(path, size, shutil.disk_usage(path.parent).free) from error
        return total

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes priorities, cursor and random state into a folder; the rows stay in `scratch_dir`.

        Takes no copy of the rows: what is written after this moment is recognised when the folder is loaded.
        """
        path = Path(path)
        path.mkdir(parents=True, exist_ok=True)
        with self._replay_lock, self._write_lock:
            # TorchRL writes these through memory maps, where a full disk is no error but the end of the process.
            names = ["writer/generation"]
            if len(self._storage):  # the sampler cannot write itself before its first priority
                names += ["sampler/sumtree", "sampler/mintree"]
            for name in names:
                _reserve_file(path / f"{name}.memmap", 8 * self._storage.max_size)
            if len(self._storage):
                self._sampler.dumps(path / "sampler")
            self._writer.dumps(path / "writer")
            metadata = {
                "format": _FORMAT,
                "capacity_sequences": self.capacity_sequences,
                "length": len(self._storage),
                "write_count": int(self.write_count),
                "entries": _entries(self._storage._storage) if self._storage.initialized else {},
                "stale_priorities": self.stale_priorities,
                "rng": self._rng.get_state().tolist() if self._rng is not None else None,
            }
        (path / _METADATA).write_text(json.dumps(metadata))

    def load(self, path: str | os.PathLike[str]) -> int:
        """Reopens the rows in `scratch_dir` with the priorities and cursor that `save` wrote.

        Rows written after that moment, and rows of an older copy of the files, are taken out of use (no transition in
        them, smallest priority) until they are overwritten: a priority is never paired with another row than its own.

        Returns:
            How many such rows there were.

        Raises:
            CheckpointError: folder or rows are missing, damaged, or of another shape.
        """
        path = Path(path)
        try:
            metadata = json.loads((path / _METADATA).read_text())
        except (OSError, ValueError) as error:
            raise CheckpointError(f"{path / _METADATA} cannot be read: {error}") from error
        if metadata.get("format") != _FORMAT or metadata["capacity_sequences"] != self.capacity_sequences:
            raise CheckpointError(
                f"{path} holds a replay of {metadata.get('capacity_sequences')} sequences (format "
                f"{metadata.get('format')}), this run wants {self.capacity_sequences} (format {_FORMAT})"
            )
        if metadata["entries"]:
            self._reopen(metadata)
        try:
            if metadata["length"]:
                alpha, beta = self._sampler.alpha, self._sampler.beta
                self._sampler.loads(path / "sampler")
                self._sampler.alpha, self._sampler.beta = alpha, beta  # this run's, not those it was saved with
            self._writer.loads(path / "writer")
            foreign = _foreign(self.scratch_dir, path) if metadata["length"] else torch.zeros(0, dtype=torch.int64)
        except (OSError, ValueError, KeyError, RuntimeError) as error:
            raise CheckpointError(f"the priorities in {path} cannot be read: {error}") from error
        if foreign.numel():
            self._storage._storage["flags"][foreign] = 0
            self.update_priority(foreign, torch.zeros(len(foreign)))
        self.stale_priorities = metadata["stale_priorities"]
        if self._rng is not None and metadata["rng"] is not None:
            self._rng.set_state(torch.tensor(metadata["rng"], dtype=torch.uint8))
        return foreign.numel()

    def _give_pages_back(self) -> None:
        """Keeps the pages of the files from counting as memory of this process."""
        if self._pages is None:
            rows = self._storage._storage
            self._pages = MappedPages(rows.values(True, True), budget_bytes=_MAPPED_BUDGET_BYTES)
        self._pages.check()

    def _reopen(self, metadata: Mapping[str, Any]) -> None:
        """Maps the files again."""
        folder = self.scratch_dir
        if not (folder / "meta.json").exists():
            raise CheckpointError(f"the rows of the replay are gone: {folder} has no meta.json")
        for name, size in _file_sizes(metadata["entries"]).items():
            file = folder / f"{name}.memmap"
            if not file.exists() or file.stat().st_size < size:
                raise CheckpointError(
                    f"the rows of the replay are damaged: {file} is missing or shorter than {size} bytes"
                )
        try:
            rows = TensorDict.load_memmap(folder)
        except Exception as error:
            raise CheckpointError(f"the rows of the replay are damaged: {folder / 'meta.json'}: {error}") from error
        if _entries(rows) != metadata["entries"]:
            raise CheckpointError(f"the rows in {folder} have other entries than the checkpoint says")
        self._storage._storage = rows
        self._pages = None
        self._storage.initialized = True
        self._storage._len = metadata["length"]


def _reserve_file(path: Path, size: int) -> None:
    """Makes a file of ``size`` bytes that are its own on the disk."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, size)


def matching_sequences(rows: str | os.PathLike[str], saved: str | os.PathLike[str]) -> int:
    """How many of the rows in a folder are those that a saved replay state has priorities for; 0 if unreadable.

    Args:
        rows: a `scratch_dir`, or a copy of one.
        saved: what `SequenceReplay.save` wrote.
    """
    try:
        length = int(json.loads((Path(saved) / _METADATA).read_text())["length"])
        return length - len(_foreign(Path(rows), Path(saved))) if length else 0
    except (OSError, ValueError, KeyError, RuntimeError):
        return 0


def _foreign(rows: Path, saved: Path) -> Tensor:
    """Slots int64 [n] whose row is not the one that was there when the state was saved.

    The last write before that went to the slot before the cursor, and so on backwards.
    """
    metadata = json.loads((saved / _METADATA).read_text())
    cursor = json.loads((saved / "writer" / "metadata.json").read_text())["cursor"]
    length, capacity = metadata["length"], metadata["capacity_sequences"]
    serial = torch.from_file(str(rows / "serial.memmap"), shared=False, size=length, dtype=torch.int64)
    expected = metadata["write_count"] - 1 - (cursor - 1 - torch.arange(length)) % capacity
    foreign: Tensor = (serial != expected).nonzero().squeeze(-1)
    return foreign


def make_replay(
    *,
    scratch_dir: str | os.PathLike[str],
    capacity_transitions: int,
    layout: SequenceLayout,
    batch_size: int | None = None,
    alpha: float = 0.9,
    beta: float = 0.6,
    new_priority: Literal["policy", "maximum"] = "policy",
    two_bit_shapes: Mapping[str, tuple[int, ...]] | None = None,
    num_actions: int | None = None,
    half_observations: Iterable[str] = ("context",),
    half_keys: Iterable[str] = (),
    prefetch: int | None = None,
    seed: int | None = None,
) -> SequenceReplay:
    """Builds the replay: TorchRL's prioritized buffer over memory-mapped files.

    Args:
        scratch_dir: folder of the rows; an existing one is written over, or reopened by `SequenceReplay.load`.
        capacity_transitions: transitions held, one loss step being one transition.
        layout: of the stored sequences; a sequence brings `period_steps` transitions that no other has.
        batch_size: sequences in a sample; needed with `prefetch`.
        alpha: exponent of the priorities, 0 draws uniformly.
        beta: exponent of the importance weights, 0 corrects nothing.
        new_priority: a new sequence enters with the policy's own error `td_error`, or with the current maximum.
        two_bit_shapes: see `SequenceCodec`.
        num_actions: see `SequenceCodec`.
        half_observations: float observations stored in half precision, where they are entries of the sequences.
        half_keys: further entries stored in half precision, such as the recurrent state.
        prefetch: batches drawn ahead by threads; None or 0 draws when asked, as reproducible runs must.
        seed: of the draws; None uses NumPy's global generator, as TorchRL does.

    Raises:
        ConfigError: a value is out of range.
    """
    if capacity_transitions < layout.period_steps:
        raise ConfigError(
            f"capacity_transitions must hold one sequence ({layout.period_steps}), got {capacity_transitions}"
        )
    if alpha < 0 or beta < 0:
        raise ConfigError(f"alpha and beta must be >= 0, got {alpha} and {beta}")
    if new_priority not in ("policy", "maximum"):
        raise ConfigError(f"new_priority must be 'policy' or 'maximum', got {new_priority!r}")
    capacity = -(-capacity_transitions // layout.period_steps)
    codec = SequenceCodec(
        two_bit_shapes=two_bit_shapes, num_actions=num_actions, half_keys=(*half_observations, *half_keys)
    )
    return SequenceReplay(
        codec=codec,
        new_priority=new_priority,
        max_within_buffer=new_priority == "maximum",
        storage=LazyMemmapStorage(capacity, scratch_dir=str(scratch_dir), existsok=True, auto_cleanup=False),
        alpha=alpha,
        beta=beta,
        batch_size=batch_size,
        prefetch=prefetch or None,
        generator=None if seed is None else torch.Generator().manual_seed(seed),
    )


def bytes_per_sequence(stored: TensorDictBase) -> int:
    """Bytes that one stored sequence takes, from any batch [S, ...] as the storage sees it."""
    return sum(value[0].numel() * value.element_size() for value in stored.values(True, True))


def bytes_per_transition(stored: TensorDictBase, layout: SequenceLayout, *, episode_steps: int | None = None) -> float:
    """Bytes per unique transition: every stored field, the overlap of sequences, and the priority trees.

    Args:
        stored: any batch [S, ...] as the storage sees it (`replay.codec.inv(sequences)`).
        layout: of the sequences.
        episode_steps: length of an episode, to count the padding of its last sequence; None for endless episodes.
    """
    size = bytes_per_sequence(stored) + _BOOKKEEPING_BYTES
    if episode_steps is None:
        return size / layout.period_steps
    return size * -(-episode_steps // layout.period_steps) / episode_steps


def _entries(rows: TensorDictBase) -> dict[str, list[Any]]:
    entries = {}
    for key, value in rows.items(True, True):
        name = key if isinstance(key, str) else "/".join(key)
        entries[name] = [list(value.shape), str(value.dtype)]
    return dict(sorted(entries.items()))


def _file_sizes(entries: Mapping[str, Any]) -> dict[str, int]:
    sizes = {}
    for name, (shape, dtype) in entries.items():
        item = torch.empty(0, dtype=getattr(torch, dtype.removeprefix("torch."))).element_size()
        sizes[name] = torch.Size(shape).numel() * item
    return sizes


def _disk_full(path: Path, needed: int, free: int) -> ConfigError:
    return ConfigError(
        f"the replay needs {needed / 1e9:.2f} GB at {path}, {free / 1e9:.2f} GB are free; lower "
        "replay.capacity_transitions or set replay.scratch_folder to a larger disk"
    )
