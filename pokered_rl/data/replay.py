"""The prioritized replay of sequences, memory-mapped: one item, one sequence, one priority; and its rate limiter.

TorchRL's ``TensorDictPrioritizedReplayBuffer`` does the work. Added for a run of many jobs: files that stay where they
are while checkpoints hold only priorities and cursor, priorities that never reach a sequence which has replaced the
drawn one, weights normalised by the batch, compressed sequences, and memory maps reserved before the first step.
"""

import json
import logging
import os
import shutil
import threading
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from tensordict import TensorDict, TensorDictBase
from torch import Tensor
from torchrl.data import PrioritizedSampler, TensorDictPrioritizedReplayBuffer
from torchrl.data.replay_buffers.writers import TensorDictRoundRobinWriter

from pokered_rl.atomic import check_lock, write_atomically
from pokered_rl.data.rollouts import SequenceLayout
from pokered_rl.data.storage import (
    MappedPages,
    SequenceChecksum,
    SequenceCodec,
    SequenceStorage,
    block_entries,
    checksums,
    create_reserved,
    disk_full,
    entries_of,
    is_description,
    is_plain_file,
    open_sequences,
    reserve_files,
)
from pokered_rl.errors import CheckpointError, ConfigError
from pokered_rl.plain_files import read_plain_file

__all__ = ["RateLimiter", "SequenceReplay", "make_replay", "matching_sequences"]

_log = logging.getLogger(__name__)

_METADATA = "replay.json"
#: 2 had no compressed sequences; they are read and continued as they are.
_FORMAT, _READABLE = 3, (2, 3)
#: In the folder of the sequences: the run that they belong to.
_OWNER = "run.json"
#: Largest size of a file that describes a replay.
_MAX_METADATA_BYTES = 1 << 20
#: How long a job looks for damaged sequences when it opens them, newest first; the others are checked when drawn.
_CHECK_SECONDS = 2.0
#: Mapped pages of the files above which they are given back; a batch may map half as much again.
_MAPPED_BUDGET_BYTES = 400_000_000


class SequenceReplay(TensorDictPrioritizedReplayBuffer):
    """Prioritized replay of sequences on disk; made by :func:`make_replay`.

    A sample has, beside the entries of the sequences, ``index`` int64 [B], ``index_generation`` int64 [B] (how often
    the slot had been written when it was drawn) and ``priority_weight`` f32 [B], the importance weights
    ``(N P(i))^-beta`` divided by the maximum of the batch.

    One thread may extend while another samples and updates priorities.
    """

    def __init__(
        self, *, codec: SequenceCodec, new_priority: str, max_within_buffer: bool, run_id: str = "", **options: Any
    ) -> None:
        super().__init__(**options)
        self.run_id = run_id
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
        self.insert_transform(0, SequenceChecksum())  # the last one of `extend`: over what is stored
        #: Priorities that came back for sequences that had been overwritten meanwhile.
        self.stale_priorities = 0
        #: Sequences that were not those that had been written, and were left out.
        self.damaged = 0
        #: Slots bool [capacity] whose sequences an earlier job wrote and nobody has checked yet; None without any.
        self._unchecked: Tensor | None = None
        self._pages: MappedPages | None = None

    @property
    def scratch_dir(self) -> Path:
        """Folder of the memory-mapped files."""
        return Path(self._storage.scratch_dir)

    @property
    def capacity_sequences(self) -> int:
        """Sequences that the buffer holds when full."""
        return int(self._storage.max_size)

    def extend(self, tensordicts: TensorDictBase, *, update_priority: bool | None = None) -> Tensor:
        """Add sequences [S]; their priority is ``td_error`` or the current maximum, see :func:`make_replay`.

        Args:
            tensordicts: As a :class:`SequenceBuilder` returns them, or packed by a clone of :attr:`codec`.
            update_priority: See TorchRL's buffer.

        Returns:
            Slots int64 [S] that they were written to.

        Raises:
            ConfigError: The sequences are compressed, and :meth:`allocate` has not seen what they are made of.
        """
        size = len(tensordicts)
        if not size:
            return torch.zeros(0, dtype=torch.int64)
        # Written before the sequence itself, so that after a kill a half-written sequence shows that it is newer.
        serial = torch.arange(self.write_count, self.write_count + size)
        data = TensorDict({"serial": serial, **dict(tensordicts.items())}, batch_size=[size])
        if self.new_priority == "maximum":
            data.pop("td_error", None)
        if self.codec.compression_level and not self._storage.initialized:
            if "block" in data:
                raise ConfigError("a replay must be allocated before it takes compressed sequences")
            self.codec.inv(data[:1].clone())
            self.scratch_dir.mkdir(parents=True, exist_ok=True)
            self._storage.open_blocks(self.codec.block_capacity, create=True)
        check_lock(self.scratch_dir / _OWNER)
        index: Tensor = super().extend(data, update_priority=update_priority)
        if (unchecked := self._unchecked) is not None:
            unchecked[index] = False
        self._give_pages_back()
        return index

    def sample(self, batch_size: int | None = None, return_info: bool = False) -> Any:
        """Draw sequences [B] in proportion to ``priority ** alpha``."""
        result = super().sample(batch_size, return_info)
        data = result[0] if return_info else result
        weight = data.get("priority_weight")
        data.set("priority_weight", (weight / weight.max()).float())
        data.pop("serial", None)
        data.pop("checksum", None)
        if self._unchecked is not None:
            self._leave_damaged_out(data)
        self._give_pages_back()
        return result

    def update_tensordict_priority(self, data: TensorDictBase) -> None:
        """Write ``td_error`` [B] as the new priorities of the drawn sequences that are still there."""
        index, drawn = data.get("index").reshape(-1), data.get("index_generation").reshape(-1)
        with self._replay_lock, self._write_lock:
            alive = self._writer.generations_of(index) == drawn
            self.stale_priorities += int((~alive).sum())
            self.update_priority(index[alive], data.get("td_error").reshape(-1)[alive].detach().cpu())

    def bytes_needed(self, example: TensorDictBase) -> int:
        """Return the bytes of disk that the full buffer needs; compressed entries count a quarter of their plain size.

        Args:
            example: Any batch of sequences [S], S >= 1, for example :meth:`SequenceBuilder.example`.
        """
        return self.codec.bytes_needed(example) * self.capacity_sequences

    def allocate(self, example: TensorDictBase) -> int:
        """Create the files and reserve the memory-mapped ones on the disk.

        A sparse memory map on a disk that fills up ends the process with SIGBUS at some later write. Compressed blocks
        are written as they come: there a full disk is an ``OSError``.

        Args:
            example: See :meth:`bytes_needed`.

        Returns:
            Bytes reserved.

        Raises:
            ConfigError: The disk cannot hold the buffer.
        """
        if self._storage.initialized:
            return self.reserve()
        needed = self.bytes_needed(example)
        self.scratch_dir.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(self.scratch_dir).free
        present = sum(file.stat().st_blocks * 512 for file in self.scratch_dir.glob("**/*.memmap"))
        if needed > free + present:
            raise disk_full(self.scratch_dir, needed, free)
        self.extend(example[:1])
        self.empty()
        write_atomically(self.scratch_dir / _OWNER, json.dumps({"run": self.run_id}).encode())
        return self.reserve()

    def reserve(self) -> int:
        """Reserve the blocks of every file; return their size in bytes.

        Raises:
            ConfigError: The disk cannot hold the buffer.
        """
        return reserve_files(self.scratch_dir)

    def flush(self) -> None:
        """Bring what has been written to the disk; safe in another thread.

        Called before a checkpoint that names the sequences gets its name: they survive a power cut then, too.
        """
        for file in [*sorted(self.scratch_dir.glob("**/*.memmap")), self.scratch_dir]:
            # Pages that were written through a map belong to the file: Linux flushes those that have changed.
            descriptor = os.open(file, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write priorities, cursor and random state into a folder; the sequences stay in ``scratch_dir``.

        No sequence is copied: what is written after this moment is recognised when the folder is loaded.
        """
        path = Path(path)
        path.mkdir(parents=True, exist_ok=True)
        with self._replay_lock, self._write_lock:
            # TorchRL writes these through memory maps, where a full disk is no error but the end of the process.
            names = ["writer/generation"]
            if len(self._storage):  # the sampler cannot write itself before its first priority
                names += ["sampler/sumtree", "sampler/mintree"]
            for name in names:
                create_reserved(path / f"{name}.memmap", 8 * self._storage.max_size)
            if len(self._storage):
                self._sampler.dumps(path / "sampler")
            self._writer.dumps(path / "writer")
            metadata = {
                "format": _FORMAT,
                "run": self.run_id,
                "capacity_sequences": self.capacity_sequences,
                "length": len(self._storage),
                "write_count": int(self.write_count),
                "entries": entries_of(self._storage._storage) if self._storage.initialized else {},
                "compression_level": self.codec.compression_level,
                "block": self.codec.block_entries if self._storage.initialized else {},
                "stale_priorities": self.stale_priorities,
                "rng": self._rng.get_state().tolist() if self._rng is not None else None,
            }
        (path / _METADATA).write_text(json.dumps(metadata))

    def load(self, path: str | os.PathLike[str]) -> int:
        """Reopen the sequences in ``scratch_dir`` with the priorities and cursor that :meth:`save` wrote.

        Sequences written after that moment, and those of an older copy of the files, are taken out of use (no
        transition in them, smallest priority) until they are overwritten: a priority is never paired with another
        sequence than its own. So are those whose checksum is wrong, because a page of them never reached the disk:
        as many as two seconds allow are checked here, the others when they are drawn.

        Returns:
            How many sequences were taken out of use.

        Raises:
            CheckpointError: Folder or files are missing, damaged, or of another shape.
        """
        path = Path(path)
        metadata = _saved_state(path)
        if metadata["format"] not in _READABLE or metadata["capacity_sequences"] != self.capacity_sequences:
            raise CheckpointError(
                f"{path} holds a replay of {metadata['capacity_sequences']} sequences (format {metadata['format']}),"
                f" this run wants {self.capacity_sequences} (format {_FORMAT})"
            )
        self._check_run(metadata.get("run", ""), path)
        self._check_owner()
        if metadata["entries"]:
            self._storage._storage = open_sequences(self.scratch_dir, metadata["entries"])
            # In the form in which the replay began, whatever this run would begin with.
            self.codec.compression_level = int(metadata.get("compression_level", 0))
            self.codec.block_entries = block_entries(metadata.get("block", {}))
            if self.codec.compression_level:
                self._storage.open_blocks(self.codec.block_capacity, create=False)
            self._pages = None
            self._storage.initialized = True
            self._storage._len = metadata["length"]
        try:
            if metadata["length"]:
                alpha, beta = self._sampler.alpha, self._sampler.beta
                self._sampler._max_priority = None  # TorchRL cannot load over one
                self._sampler.loads(path / "sampler")
                self._sampler.alpha, self._sampler.beta = alpha, beta  # this run's, not those it was saved with
            self._writer.loads(path / "writer")
            foreign = _foreign(self.scratch_dir, path) if metadata["length"] else torch.zeros(0, dtype=torch.int64)
            if self._rng is not None and metadata["rng"] is not None:
                self._rng.set_state(torch.tensor(metadata["rng"], dtype=torch.uint8))
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError) as error:
            raise CheckpointError(f"the priorities in {path} cannot be read: {error}") from error
        self._take_out(foreign)
        self._unchecked = torch.zeros(self.capacity_sequences, dtype=torch.bool)
        self._unchecked[: metadata["length"]] = True
        self._unchecked[foreign] = False
        damaged = self._check_newest(metadata["length"]) if metadata["length"] else 0
        self.stale_priorities = metadata["stale_priorities"]
        return foreign.numel() + damaged

    def _check_owner(self) -> None:
        """Refuse the sequences of another run."""
        try:
            owner = json.loads(read_plain_file(self.scratch_dir / _OWNER, max_bytes=_MAX_METADATA_BYTES))["run"]
        except FileNotFoundError:
            return  # nothing is there, which is told later, or it was copied without this file
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise CheckpointError(f"{self.scratch_dir / _OWNER} cannot be read: {error}") from error
        self._check_run(owner, self.scratch_dir)

    def _check_run(self, owner: Any, where: Path) -> None:
        if self.run_id and owner not in ("", self.run_id):
            raise CheckpointError(
                f"the replay in {where} is of another run (id {str(owner)[:40]}, this run has {self.run_id})"
            )

    def _take_out(self, slots: Tensor) -> None:
        """Leave no transition in these slots, and the smallest priority."""
        if slots.numel():
            self._storage._storage["flags"][slots] = 0
            self.update_priority(slots, torch.zeros(len(slots)))

    def _check(self, slots: Tensor) -> Tensor:
        """Return those of these unchecked slots int64 [n] whose sequence is not the one that was written."""
        assert self._unchecked is not None
        if not len(slots):  # all were taken out of use
            return slots
        stored = self._storage.get(slots)
        damaged = slots[checksums(stored) != stored["checksum"]]
        self._unchecked[slots] = False
        self._take_out(damaged)
        self.damaged += len(damaged)
        return damaged

    def _check_newest(self, length: int) -> int:
        """Check sequences for some seconds, newest first: they are the ones that a power cut takes."""
        assert self._unchecked is not None
        began, damaged = time.monotonic(), 0
        newest_first = self._storage._storage["serial"][:length].argsort(descending=True)
        for slots in newest_first[self._unchecked[newest_first]].split(16):
            damaged += len(self._check(slots))
            if time.monotonic() - began > _CHECK_SECONDS:
                break
        return damaged

    def _leave_damaged_out(self, data: TensorDictBase) -> None:
        """Check the drawn sequences [B] that an earlier job wrote; damaged ones lose their transitions."""
        index = data.get("index").reshape(-1)
        with self._replay_lock, self._write_lock:
            if self._unchecked is None:  # another thread has checked the last ones
                return
            slots = index[self._unchecked[index]].unique()
            damaged = self._check(slots)
            if not self._unchecked.any():
                self._unchecked = None
        if len(damaged):
            rows = torch.isin(index, damaged)
            for key, value in data.items(True, True):
                if key not in ("index", "index_generation", "priority_weight"):
                    value[rows] = 0
            _log.warning(
                "%d stored sequences are not what was written, as after a power cut: left out (%d so far)",
                len(damaged),
                self.damaged,
            )

    def _give_pages_back(self) -> None:
        """Keep the pages of the files from counting as memory of this process."""
        if self._pages is None:
            self._pages = MappedPages(self._storage._storage.values(True, True), budget_bytes=_MAPPED_BUDGET_BYTES)
        self._pages.check()


def matching_sequences(sequences: str | os.PathLike[str], saved: str | os.PathLike[str]) -> int:
    """Count the sequences in a folder that a saved replay state has priorities for; 0 if unreadable.

    Args:
        sequences: A ``scratch_dir``, or a copy of one.
        saved: What :meth:`SequenceReplay.save` wrote.
    """
    try:
        length: int = _saved_state(Path(saved))["length"]
        return length - len(_foreign(Path(sequences), Path(saved))) if length else 0
    except (OSError, ValueError, KeyError, RuntimeError, CheckpointError):
        return 0


def _saved_state(saved: Path) -> dict[str, Any]:
    """Return what :meth:`SequenceReplay.save` described, checked: the folder may be a stranger's.

    Raises:
        CheckpointError: A file is missing, a link, too large or too small, or describes no replay.
    """
    name = _METADATA
    try:
        metadata = json.loads(read_plain_file(saved / name, max_bytes=_MAX_METADATA_BYTES))
        capacity, length = metadata["capacity_sequences"], metadata["length"]
        _require_counts(metadata, "format", "capacity_sequences", "length", "write_count", "stale_priorities")
        if not 0 < capacity < 2**40 or not length <= min(capacity, metadata["write_count"]):
            raise ValueError("length, write_count and capacity_sequences do not fit one another")
        rng = metadata["rng"]
        if rng is not None and not (
            isinstance(rng, list) and len(rng) < 2**16 and all(type(byte) is int and 0 <= byte < 256 for byte in rng)
        ):
            raise ValueError("rng is no list of bytes")
        if not isinstance(metadata.get("run", ""), str):
            raise ValueError("run is no text")
        if metadata.get("compression_level", 0) not in range(23):
            raise ValueError("compression_level is no level of zstandard")
        if not is_description(metadata["entries"], capacity):
            raise ValueError("entries are no shapes and types of numbers, one for each sequence")
        name = "writer/metadata.json"
        writer = json.loads(read_plain_file(saved / name, max_bytes=_MAX_METADATA_BYTES))
        _require_counts(writer, "cursor", *(["write_count"] if writer.get("write_count") is not None else []))
        if writer["cursor"] >= capacity or writer.get("generation_shape") not in (None, [capacity]):
            raise ValueError("cursor or generation_shape do not fit the capacity")
        tables = ["writer/generation"] if writer.get("generation_shape") else []
        if length:
            tables += ["sampler/sumtree", "sampler/mintree"]
            name = "sampler/sampler_metadata.json"
            read_plain_file(saved / name, max_bytes=_MAX_METADATA_BYTES)
        for table in tables:
            name = f"{table}.memmap"
            if not is_plain_file(saved, saved / name) or (saved / name).stat().st_size < 8 * capacity:
                raise ValueError(f"missing, a link, or shorter than {8 * capacity} bytes")
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        problem = f"{error} is missing" if isinstance(error, KeyError) else error
        raise CheckpointError(f"{saved / name} cannot be read: {problem}") from error
    checked: dict[str, Any] = metadata
    return checked


def _require_counts(described: Mapping[str, Any], *names: str) -> None:
    for name in names:
        if type(described[name]) is not int or not 0 <= described[name] < 2**53:
            raise ValueError(f"{name} is no count: {str(described[name])[:40]!r}")


def _foreign(folder: Path, saved: Path) -> Tensor:
    """Return the slots int64 [n] whose sequence is not the one that was there when the state was saved.

    The last write before that went to the slot before the cursor, and so on backwards.
    """
    metadata = json.loads((saved / _METADATA).read_text())
    cursor = json.loads((saved / "writer" / "metadata.json").read_text())["cursor"]
    length, capacity = metadata["length"], metadata["capacity_sequences"]
    serial = torch.from_file(str(folder / "serial.memmap"), shared=False, size=length, dtype=torch.int64)
    expected = metadata["write_count"] - 1 - (cursor - 1 - torch.arange(length)) % capacity
    foreign: Tensor = (serial != expected).nonzero().squeeze(-1)
    return foreign


class RateLimiter:
    """Keep the number of sequences drawn in proportion to the number inserted.

    After the first ``min_fill_sequences`` every inserted sequence pays for ``samples_per_insert`` draws. The learner
    waits while it has no credit, so it cannot overfit to a small or slowly growing buffer; the workers wait while the
    credit exceeds ``slack_sequences``, so that a slow learner sees what they collect.

    Args:
        samples_per_insert: Draws that one inserted sequence pays for, > 0.
        min_fill_sequences: Sequences in the buffer before the first draw, >= 1.
        slack_sequences: Credit (in draws) above which inserting waits; None never holds the workers back.

    Raises:
        ConfigError: A value is out of range.
    """

    def __init__(
        self, *, samples_per_insert: float, min_fill_sequences: int, slack_sequences: float | None = None
    ) -> None:
        if not samples_per_insert > 0:
            raise ConfigError(f"samples_per_insert must be > 0, got {samples_per_insert}")
        if min_fill_sequences < 1:
            raise ConfigError(f"min_fill_sequences must be >= 1, got {min_fill_sequences}")
        if slack_sequences is not None and slack_sequences < samples_per_insert:
            raise ConfigError(
                f"slack_sequences must be at least samples_per_insert ({samples_per_insert}), or a single insert "
                f"would block; got {slack_sequences}"
            )
        self.samples_per_insert = samples_per_insert
        self.min_fill_sequences = min_fill_sequences
        self.slack_sequences = slack_sequences
        self._inserted = 0
        self._sampled = 0
        #: Sequences still missing from the buffer before draws may go on (after a lost replay).
        self._refill = min_fill_sequences
        self._changed = threading.Condition()

    @property
    def credit(self) -> float:
        """Draws that are paid for and not yet taken."""
        return self._paid * self.samples_per_insert - self._sampled

    @property
    def ratio(self) -> float:
        """Draws per paying insert so far; 0 before the first."""
        return self._sampled / self._paid if self._paid else 0.0

    @property
    def _paid(self) -> int:
        return max(0, self._inserted - self.min_fill_sequences)

    def can_sample(self, num_sequences: int) -> bool:
        """Return whether a batch of this size may be drawn now."""
        return self._refill <= 0 and self.credit >= num_sequences

    def can_insert(self) -> bool:
        """Return whether inserting may go on now."""
        if self.slack_sequences is None or self._refill > 0:
            return True
        return self.credit <= self.slack_sequences

    def inserted(self, num_sequences: int) -> None:
        """Count sequences that went into the buffer."""
        with self._changed:
            self._inserted += num_sequences
            self._refill -= num_sequences
            self._changed.notify_all()

    def sampled(self, num_sequences: int) -> None:
        """Count sequences that were drawn."""
        with self._changed:
            self._sampled += num_sequences
            self._changed.notify_all()

    def wait_until_can_insert(self, timeout_seconds: float) -> bool:
        """Wait for the learner to catch up; return whether inserting may go on."""
        deadline = time.monotonic() + timeout_seconds
        with self._changed:
            while not self.can_insert():
                remaining = deadline - time.monotonic()
                if remaining <= 0:
                    return False
                self._changed.wait(remaining)
        return True

    def require_refill(self) -> None:
        """Make draws wait until ``min_fill_sequences`` have been inserted again, after the content was lost."""
        with self._changed:
            self._refill = self.min_fill_sequences
            self._sampled = max(self._sampled, int(self._paid * self.samples_per_insert))

    def state_dict(self) -> dict[str, Any]:
        """Return the counters and the settings that they were counted with."""
        return {
            "inserted": self._inserted,
            "sampled": self._sampled,
            "refill": self._refill,
            "samples_per_insert": self.samples_per_insert,
            "min_fill_sequences": self.min_fill_sequences,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from :meth:`state_dict`.

        The credit is kept when the ratio or the minimum has changed: what was inserted before is neither drawn more
        often now nor made up for.
        """
        self._inserted, self._sampled = int(state["inserted"]), int(state["sampled"])
        self._refill = int(state["refill"])
        rate = float(state.get("samples_per_insert", self.samples_per_insert))
        min_fill = int(state.get("min_fill_sequences", self.min_fill_sequences))
        if (rate, min_fill) != (self.samples_per_insert, self.min_fill_sequences):
            credit = max(0, self._inserted - min_fill) * rate - self._sampled
            self._sampled = max(0, round(self._paid * self.samples_per_insert - credit))


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
    compression_level: int = 3,
    prefetch: int | None = None,
    pin_memory: bool = False,
    seed: int | None = None,
    run_id: str = "",
) -> SequenceReplay:
    """Build the replay: TorchRL's prioritized buffer over memory-mapped files.

    Args:
        scratch_dir: Folder of the files; an existing one is written over, or reopened by :meth:`SequenceReplay.load`.
        capacity_transitions: Transitions held, one loss step being one transition.
        layout: Of the stored sequences; a sequence brings ``period_steps`` transitions that no other has.
        batch_size: Sequences in a sample; needed with ``prefetch``.
        alpha: Exponent of the priorities, 0 draws uniformly.
        beta: Exponent of the importance weights, 0 corrects nothing.
        new_priority: A new sequence enters with the policy's own error ``td_error``, or with the current maximum.
        two_bit_shapes: See :class:`SequenceCodec`.
        num_actions: See :class:`SequenceCodec`.
        half_observations: Float observations stored in half precision, where they are entries of the sequences.
        half_keys: Further entries stored in half precision, such as the recurrent state.
        compression_level: See :class:`SequenceCodec`; lossless, 0 compresses nothing.
        prefetch: Batches drawn ahead by threads; None or 0 draws when asked, as reproducible runs must.
        pin_memory: Put samples into memory from which a GPU copies by itself; with ``prefetch`` in its threads.
        seed: Of the draws; None uses NumPy's global generator, as TorchRL does.
        run_id: Of the run that the files belong to; those of another one are refused. Empty accepts all.

    Raises:
        ConfigError: A value is out of range.
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
        two_bit_shapes=two_bit_shapes,
        num_actions=num_actions,
        half_keys=(*half_observations, *half_keys),
        compression_level=compression_level,
    )
    return SequenceReplay(
        codec=codec,
        run_id=run_id,
        new_priority=new_priority,
        max_within_buffer=new_priority == "maximum",
        storage=SequenceStorage(capacity, scratch_dir=str(scratch_dir), existsok=True, auto_cleanup=False),
        alpha=alpha,
        beta=beta,
        batch_size=batch_size,
        prefetch=prefetch or None,
        pin_memory=pin_memory,
        generator=None if seed is None else torch.Generator().manual_seed(seed),
    )
