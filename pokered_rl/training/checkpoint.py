"""Atomic, checksummed checkpoints: the newest intact one is found, damaged ones are passed over.

A checkpoint is a folder ``checkpoints/<steps>-<updates>/`` with ``state.pt`` (tensors, numbers, strings: it loads with
``weights_only=True``), whatever a part wrote beside it (the replay's priorities and cursor), and ``manifest.json`` with
the run's id, size and SHA-256 of each file. It is written under another name, flushed to the disk and renamed last.

Older ones are removed, but nothing else: only folders of such a name that carry this run's id and hold exactly the
files of their manifest. A checkpoint is kept for ever by copying it to another name (``checkpoints/best``) or by
putting a file into it (``touch checkpoints/000000200000-000001000/keep``).
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import shutil
import warnings
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pokered_rl.atomic import check_lock, write_atomically
from pokered_rl.disk import disk_message
from pokered_rl.errors import CheckpointError

__all__ = [
    "STATE_FILE",
    "Checkpoint",
    "CheckpointStore",
    "load_tensors",
    "misfit",
    "online_weights",
    "save_tensors",
    "sha256_of",
]

#: The tensors of a checkpoint, in its folder.
STATE_FILE = "state.pt"
_MANIFEST = "manifest.json"
_STAGING = ".writing-"
_DOOMED = ".removing-"
#: Steps and updates, and a number where that name was taken.
_NAME = re.compile(r"\d{12}-\d{9}(-\d{3})?")
_LEFT_BEHIND = re.compile(rf"\.(writing|removing)-{_NAME.pattern}")


def save_tensors(path: Path, tree: Mapping[str, Any]) -> None:
    """Save tensors atomically.

    Raises:
        OSError: The disk is full, for one. PyTorch's own writer would raise a RuntimeError that does not say so.
    """
    content = io.BytesIO()
    torch.save(dict(tree), content)
    write_atomically(path, content.getbuffer())


def online_weights(loss: Mapping[str, Any]) -> dict[str, Any]:
    """Return the network's weights out of the state of a loss."""
    prefix = "network_params."
    return {name.removeprefix(prefix): value for name, value in loss.items() if name.startswith(prefix)}


def misfit(error: Exception, saved: Mapping[str, Any], expected: Mapping[str, Any]) -> str:
    """Return in a line why saved weights do not fit: the first parameter of another shape, or what ``error`` says."""
    for name, mine in expected.items():
        other = saved.get(name)
        if isinstance(mine, Tensor) and isinstance(other, Tensor) and mine.shape != other.shape:
            if name.endswith("encoders.vector.layers.0.weight"):
                return (
                    f"it takes {mine.shape[1]} numbers of context, last action and last reward, they were trained with "
                    f"{other.shape[1]}: other context features (of another version or cartridge) or other actions"
                )
            return f"{name} has the shape {list(mine.shape)}, theirs is {list(other.shape)}"
    return str(error).splitlines()[0]


def load_tensors(path: str | Path) -> dict[str, Any]:
    """Load a file of tensors, numbers and strings; it cannot run code.

    Raises:
        CheckpointError: The file is missing, damaged, or holds something else.
    """
    try:
        tree = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise CheckpointError(f"there is no file {path}") from error
    except Exception as error:
        raise CheckpointError(f"{path} cannot be read ({str(error).splitlines()[0]}); is it truncated?") from error
    if not isinstance(tree, dict):
        raise CheckpointError(f"{path} must hold a dict, got {type(tree).__name__}")
    return tree


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sha256_of(path: Path) -> str:
    """Return the SHA-256 (hex) of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@dataclass(frozen=True)
class Checkpoint:
    """An intact checkpoint on disk."""

    #: Its folder.
    path: Path
    #: Steps and updates at which it was made.
    steps: int
    updates: int

    def state(self) -> dict[str, Any]:
        """Read the tree that was saved.

        Raises:
            CheckpointError: The file cannot be read.
        """
        return load_tensors(self.path / STATE_FILE)


class CheckpointStore:
    """Write, find and prune the checkpoints of one run.

    Args:
        folder: Folder that holds them.
        keep: How many stay; older ones are removed after a new one is in place.
        run_id: Identity of the run; checkpoints of another one are refused. Empty accepts those of any run.
    """

    def __init__(self, folder: Path, *, keep: int = 3, run_id: str = "") -> None:
        if keep < 1:
            raise CheckpointError(f"keep must be >= 1, got {keep}")
        self._folder = folder
        self._keep = keep
        self._run_id = run_id
        self._writer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="checkpoint")
        self._pending: Future[None] | None = None
        self._swept = False
        self._unusable: set[str] = set()
        #: The last checkpoint of this store that is whole and on the disk.
        self.written: Checkpoint | None = None
        folder.mkdir(parents=True, exist_ok=True)

    def save(
        self,
        *,
        steps: int,
        updates: int,
        state: Mapping[str, Any],
        write_parts: Callable[[Path], None] | None = None,
        flush: Callable[[], None] | None = None,
        wait: bool = True,
    ) -> None:
        """Write a checkpoint.

        ``write_parts`` runs in the caller's thread, before this method returns, so that it can read live objects;
        ``state`` must be a snapshot that nothing changes afterwards, since a thread writes it.

        Args:
            steps: Environment steps so far.
            updates: Learner updates so far.
            state: Tensors, numbers, strings, lists and dicts of them.
            write_parts: Writes further files into the folder that it is given.
            flush: Brings to the disk what the checkpoint refers to outside of its folder; called by the writing thread
                before the checkpoint gets its name.
            wait: Return only when the checkpoint is on the disk.

        Raises:
            CheckpointError: This or the previous checkpoint could not be written (disk full, for one).
            RunLostError: Another job has taken over the run.
        """
        self.wait()
        check_lock(self._folder, now=True)
        if not self._swept:
            # What a killed job was writing or removing; not before the first save, since readers make stores, too.
            for left in self._folder.iterdir():
                if _LEFT_BEHIND.fullmatch(left.name):
                    shutil.rmtree(left, ignore_errors=True)
            self._swept = True
        staging = self._folder / f"{_STAGING}{steps:012d}-{updates:09d}"
        shutil.rmtree(staging, ignore_errors=True)
        try:
            staging.mkdir()
            if write_parts is not None:
                write_parts(staging)
        except OSError as error:
            shutil.rmtree(staging, ignore_errors=True)
            raise CheckpointError(
                f"the checkpoint at step {steps} could not be written: {disk_message(error) or error}"
            ) from error
        self._pending = self._writer.submit(self._commit, staging, steps, updates, state, flush)
        if wait:
            self.wait()

    def wait(self) -> None:
        """Return when no checkpoint is being written.

        Raises:
            CheckpointError: It could not be written.
            RunLostError: Another job has taken over the run.
        """
        pending, self._pending = self._pending, None
        if pending is not None:
            try:
                pending.result()
            except (OSError, RuntimeError) as error:
                told = disk_message(error) if isinstance(error, OSError) else None
                raise CheckpointError(
                    f"a checkpoint could not be written to {self._folder}: {told or error}"
                ) from error

    def close(self) -> None:
        """Finish what is being written."""
        try:
            self.wait()
        finally:
            self._writer.shutdown()

    def newest(self) -> Checkpoint | None:
        """Return the newest intact checkpoint, or None where there are none; those passed over are named in a warning.

        Raises:
            CheckpointError: There are checkpoints, but none that can be used, or the disk fails to read one.
        """
        problems: list[str] = []
        for path in self._candidates():
            problem = self._problem(path)
            if problem is None:
                steps, updates, *_ = path.name.split("-")
                return Checkpoint(path, int(steps), int(updates))
            self._unusable.add(path.name)
            problems.append(f"{path.name} {problem}")
            warnings.warn(f"checkpoint {path} {problem} and is passed over", stacklevel=2)
        copies = [path for path in self._folder.iterdir() if (path / _MANIFEST).is_file()]
        copies = [path for path in copies if not _NAME.fullmatch(path.name) and not path.name.startswith(".")]
        if copies:
            problems.append(f"rename {copies[0].name} to STEPS-UPDATES (000000200000-000001000) to continue from it")
        if problems:
            raise CheckpointError(
                f"no checkpoint in {self._folder} can be used, and the run does not begin again from nothing:"
                f" {'; '.join(problems)}; bring one back from a copy, or move all of them out of that folder to begin"
                " with the newest weights"
            )
        return None

    def _problem(self, path: Path) -> str | None:
        """Say why a folder is no usable checkpoint of this run, or return None."""
        if path.is_symlink():
            return "is a symbolic link (copy the folder itself)"
        damage = _damage(path)
        if damage is not None:
            return f"is damaged ({damage})"
        run_id = _manifest(path).get("run", "")
        if self._run_id and run_id not in ("", self._run_id):
            return f"is of another run (id {run_id}, this run has {self._run_id})"
        return None

    def _commit(
        self, staging: Path, steps: int, updates: int, state: Mapping[str, Any], flush: Callable[[], None] | None
    ) -> None:
        torch.save(dict(state), staging / STATE_FILE)
        files = [path for path in sorted(staging.rglob("*")) if path.is_file()]
        entries = {
            str(path.relative_to(staging)): {"bytes": path.stat().st_size, "sha256": sha256_of(path)} for path in files
        }
        manifest = {"format": 1, "run": self._run_id, "files": entries}
        (staging / _MANIFEST).write_text(json.dumps(manifest, indent=1))
        folders = [path for path in staging.rglob("*") if path.is_dir()]
        for path in [*files, staging / _MANIFEST, *folders, staging]:
            _flush(path)
        if flush is not None:
            flush()
        final = self._folder / staging.name.removeprefix(_STAGING)
        for number in range(1, 1000):
            if not os.path.lexists(final):
                break
            final = self._folder / f"{steps:012d}-{updates:09d}-{number:03d}"  # none takes the place of another
        check_lock(final, now=True)
        staging.rename(final)
        _flush(self._folder)
        self.written = Checkpoint(final, steps, updates)
        mine = [path for path in self._candidates() if path.name not in self._unusable and self._is_removable(path)]
        for stale in mine[self._keep :]:
            self._remove(stale)

    def _is_removable(self, path: Path) -> bool:
        """Return whether this run wrote a folder, all of it is there, and nothing else."""
        try:
            manifest = _manifest(path)
            expected = {name: entry["bytes"] for name, entry in manifest["files"].items()}
            files = [each for each in path.rglob("*") if each.is_symlink() or not each.is_dir()]
            found = {str(each.relative_to(path)): each.lstat().st_size for each in files}
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return False
        found.pop(_MANIFEST)
        return not path.is_symlink() and manifest.get("run", "") == self._run_id and found == expected

    def _remove(self, path: Path) -> None:
        check_lock(path, now=True)
        doomed = path.with_name(_DOOMED + path.name)
        shutil.rmtree(doomed, ignore_errors=True)
        path.rename(doomed)
        shutil.rmtree(doomed)

    def _candidates(self) -> list[Path]:
        """Return the folders that have the name of a checkpoint, newest first."""
        found = [path for path in self._folder.iterdir() if _NAME.fullmatch(path.name) and path.is_dir()]
        return sorted(found, key=lambda path: path.name, reverse=True)


def _manifest(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((path / _MANIFEST).read_text())
    return content


def _damage(path: Path) -> str | None:
    """Describe what is wrong with a checkpoint folder, or return None.

    Raises:
        CheckpointError: The disk fails, which says nothing about the checkpoint.
    """
    try:
        for name, entry in _manifest(path)["files"].items():
            part = path / name
            if not part.resolve().is_relative_to(path.resolve()) or part.is_symlink():
                return f"{name} is a symbolic link, or outside of its folder"
            if part.stat().st_size != entry["bytes"]:
                return f"{name} has {part.stat().st_size} bytes instead of {entry['bytes']}"
            if sha256_of(part) != entry["sha256"]:
                return f"{name} is not the file that was written"
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
        return str(error)
    except OSError as error:
        raise CheckpointError(
            f"the checkpoint {path} cannot be read ({error}) and may be intact: try again when its disk works, or move"
            " the folder away to continue from the checkpoint before it"
        ) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        return str(error) or type(error).__name__
    return None
