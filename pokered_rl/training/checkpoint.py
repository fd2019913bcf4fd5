"""Atomic, checksummed checkpoints: the newest intact one is found, damaged ones are passed over.

A checkpoint is a folder ``checkpoints/<steps>-<updates>/`` with ``state.pt`` (tensors, numbers, strings: it loads with
``weights_only=True``), whatever a part wrote beside it (the replay's priorities and cursor), and ``manifest.json`` with
size and SHA-256 of each file. It is written under another name, flushed to the disk and renamed last.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import warnings
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pokered_rl.atomic import write_atomically
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
    """Return in a line why saved weights do not fit: the first parameter of another shape, or what ``error`` says.

    Args:
        error: Raised by ``load_state_dict``.
        saved: The saved weights.
        expected: The network's own.
    """
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
    """

    def __init__(self, folder: Path, *, keep: int = 3) -> None:
        if keep < 1:
            raise CheckpointError(f"keep must be >= 1, got {keep}")
        self._folder = folder
        self._keep = keep
        self._writer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="checkpoint")
        self._pending: Future[Checkpoint] | None = None
        self._swept = False
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
            wait: Return only when the checkpoint is on the disk.

        Raises:
            CheckpointError: This or the previous checkpoint could not be written (disk full, for one).
        """
        self.wait()
        if not self._swept:
            # What a killed job was writing or removing; not before the first save, since readers make stores, too.
            for left in [*self._folder.glob(f"{_STAGING}*"), *self._folder.glob(f"{_DOOMED}*")]:
                shutil.rmtree(left, ignore_errors=True)
            self._swept = True
        staging = self._folder / f"{_STAGING}{steps:012d}-{updates:09d}"
        shutil.rmtree(staging, ignore_errors=True)
        staging.mkdir()
        try:
            if write_parts is not None:
                write_parts(staging)
        except OSError as error:
            shutil.rmtree(staging, ignore_errors=True)
            raise CheckpointError(f"the checkpoint at step {steps} could not be written: {error}") from error
        self._pending = self._writer.submit(self._commit, staging, steps, updates, state)
        if wait:
            self.wait()

    def wait(self) -> None:
        """Return when no checkpoint is being written.

        Raises:
            CheckpointError: It could not be written.
        """
        pending, self._pending = self._pending, None
        if pending is not None:
            try:
                pending.result()
            except (OSError, RuntimeError) as error:
                raise CheckpointError(f"a checkpoint could not be written to {self._folder}: {error}") from error

    def close(self) -> None:
        """Finish what is being written."""
        try:
            self.wait()
        finally:
            self._writer.shutdown()

    def newest(self) -> Checkpoint | None:
        """Return the newest intact checkpoint, or None; damaged ones are named in a warning."""
        for path in self._complete_folders():
            problem = _damage(path)
            if problem is None:
                steps, _, updates = path.name.partition("-")
                return Checkpoint(path, int(steps), int(updates))
            warnings.warn(f"checkpoint {path} is damaged ({problem}) and is passed over", stacklevel=2)
        return None

    def _commit(self, staging: Path, steps: int, updates: int, state: Mapping[str, Any]) -> Checkpoint:
        torch.save(dict(state), staging / STATE_FILE)
        files = [path for path in sorted(staging.rglob("*")) if path.is_file()]
        manifest = {
            str(path.relative_to(staging)): {"bytes": path.stat().st_size, "sha256": sha256_of(path)} for path in files
        }
        (staging / _MANIFEST).write_text(json.dumps({"format": 1, "files": manifest}, indent=1))
        for path in [*files, staging / _MANIFEST]:
            _flush(path)
        final = self._folder / staging.name.removeprefix(_STAGING)
        if final.exists():
            self._remove(final)
        staging.rename(final)
        _flush(self._folder)
        self.written = Checkpoint(final, steps, updates)
        for stale in self._complete_folders()[self._keep :]:
            self._remove(stale)
        return self.written

    def _remove(self, path: Path) -> None:
        doomed = path.with_name(_DOOMED + path.name)
        shutil.rmtree(doomed, ignore_errors=True)
        path.rename(doomed)
        shutil.rmtree(doomed)

    def _complete_folders(self) -> list[Path]:
        folders = [path for path in self._folder.iterdir() if path.is_dir() and not path.name.startswith(".")]
        return sorted(folders, key=lambda path: path.name, reverse=True)


def _damage(path: Path) -> str | None:
    """Describe what is wrong with a checkpoint folder, or return None."""
    try:
        files = json.loads((path / _MANIFEST).read_text())["files"]
        for name, entry in files.items():
            part = path / name
            if part.stat().st_size != entry["bytes"]:
                return f"{name} has {part.stat().st_size} bytes instead of {entry['bytes']}"
            if sha256_of(part) != entry["sha256"]:
                return f"{name} is not the file that was written"
    except (OSError, ValueError, KeyError, TypeError) as error:
        return str(error) or type(error).__name__
    return None
