"""Files in ``<run>/live/`` between a run and a live page: what is asked for, and the steps of the emulators.

``watch.json`` is written by the page's server while somebody looks; the run looks for it twice a second. ``feed-N.bin``
is written by the run meanwhile: records, each of lengths, a JSON object and arrays. A full file is followed by the
next; only the last two are kept. Nothing in them is executed when they are read.
"""

from __future__ import annotations

import json
import math
import struct
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from pokered_rl.atomic import write_atomically
from pokered_rl.errors import EpisodeLogError
from pokered_rl.plain_files import read_plain_file

__all__ = ["FeedReader", "FeedWriter", "WatchFile", "pack_record", "unpack_record"]

#: Name of the folder inside a run folder.
LIVE_FOLDER = "live"
_LENGTHS = struct.Struct("<4sII")  # magic, bytes of the JSON object, bytes of the arrays
_MAGIC = b"LIV1"
_MAX_FILE_BYTES = 4 * 2**20
_MAX_RECORD_BYTES = 64 * 2**20
_DTYPES = frozenset(("<f2", "<f4", "<i4", "<u2", "|u1", "|b1"))


def pack_record(record: Mapping[str, Any]) -> bytes:
    """Return a record: plain values as JSON, arrays and bytes behind it."""
    plain: dict[str, Any] = {}
    arrays: list[list[Any]] = []
    parts: list[bytes] = []
    for key, value in record.items():
        if isinstance(value, bytes):
            value = np.frombuffer(value, np.uint8)
        if isinstance(value, np.ndarray):
            arrays.append([key, value.dtype.str, list(value.shape)])
            parts.append(value.tobytes())
        else:
            plain[key] = value
    head = json.dumps({"plain": plain, "arrays": arrays}, separators=(",", ":")).encode()
    body = b"".join(parts)
    return _LENGTHS.pack(_MAGIC, len(head), len(body)) + head + body


def unpack_record(head: bytes, body: bytes) -> dict[str, Any]:
    """Undo :func:`pack_record`; bytes come back as uint8 arrays.

    Raises:
        EpisodeLogError: The record is damaged.
    """
    try:
        description = json.loads(head)
        record: dict[str, Any] = dict(description["plain"])
        offset = 0
        for key, kind, shape in description["arrays"]:
            if kind not in _DTYPES or not all(type(size) is int and 0 <= size <= 2**24 for size in shape):
                raise ValueError(f"array {key!r} of type {kind!r} and shape {shape!r}")
            count = math.prod(shape)
            if count * np.dtype(kind).itemsize > len(body) - offset:
                raise ValueError(f"array {key!r} is longer than the record")
            record[key] = np.frombuffer(body, kind, count, offset).reshape(shape)
            offset += record[key].nbytes
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise EpisodeLogError(f"a record of the live feed is damaged: {error}") from error
    return record


class FeedWriter:
    """Write records for a live page.

    Args:
        run: The run folder.
        facts: First record of every file.
    """

    def __init__(self, run: Path, facts: Mapping[str, Any]) -> None:
        self._folder, self._facts = run / LIVE_FOLDER, dict(facts)
        self._file: BinaryIO | None = None

    def append(self, record: Mapping[str, Any]) -> None:
        """Write one record; a reader sees it at once."""
        if self._file is None or self._file.tell() > _MAX_FILE_BYTES:
            self._next_file()
        assert self._file is not None
        self._file.write(pack_record(record))
        self._file.flush()

    def _next_file(self) -> None:
        self.close()
        self._folder.mkdir(exist_ok=True)
        old = _files(self._folder)
        number = _number(old[-1]) + 1 if old else 0
        for path in old[:-1]:
            path.unlink(missing_ok=True)
        self._file = (self._folder / f"feed-{number:08d}.bin").open("xb")
        self._file.write(pack_record({"facts": self._facts}))

    def close(self) -> None:
        """Close the file; the next record begins a new one."""
        if self._file is not None:
            self._file.close()
            self._file = None


class FeedReader:
    """Follow what a :class:`FeedWriter` writes, from the newest file's beginning on.

    Args:
        run: The run folder.
    """

    def __init__(self, run: Path) -> None:
        self._folder = run / LIVE_FOLDER
        self._path: Path | None = None
        self._offset = 0

    def read(self) -> Iterator[dict[str, Any]]:
        """Yield the records that are new and complete; a damaged rest of a file is left out."""
        files = _files(self._folder)
        if self._path is None and files:
            self._path = files[-1]
        while self._path is not None:
            yield from self._records(self._path)
            later = [path for path in files if _number(path) > _number(self._path)]
            if not later:
                return
            self._path, self._offset = later[0], 0

    def _records(self, path: Path) -> Iterator[dict[str, Any]]:
        try:
            with path.open("rb") as file:
                while True:
                    file.seek(self._offset)
                    lengths = file.read(_LENGTHS.size)
                    if len(lengths) < _LENGTHS.size:
                        return
                    magic, head, body = _LENGTHS.unpack(lengths)
                    if magic != _MAGIC or head + body > _MAX_RECORD_BYTES:
                        return
                    content = file.read(head + body)
                    if len(content) < head + body:
                        return
                    self._offset += _LENGTHS.size + head + body
                    yield unpack_record(content[:head], content[head:])
        except (FileNotFoundError, EpisodeLogError):
            return


def _files(folder: Path) -> list[Path]:
    return sorted(folder.glob("feed-????????.bin"))


def _number(path: Path) -> int:
    digits = path.stem.removeprefix("feed-")
    return int(digits) if digits.isdigit() else -1


class _Asked(NamedTuple):
    emulator: int
    log_request: int


class WatchFile:
    """The request of a page: that steps are sent, and which emulator is looked at.

    Args:
        run: The run folder.
    """

    #: A request counts for this long; the server renews it.
    SECONDS = 8.0

    def __init__(self, run: Path) -> None:
        self._path = run / LIVE_FOLDER / "watch.json"
        self._read_at: tuple[int, int] | None = None
        self._asked: tuple[float, _Asked] = (0.0, _Asked(-1, 0))

    def write(self, *, emulator: int = -1, log_request: int = 0) -> None:
        """Ask for steps from now on."""
        content = {"until": time.time() + self.SECONDS, "emulator": emulator, "log_request": log_request}
        write_atomically(self._path, json.dumps(content).encode(), shared=True)

    def read(self) -> _Asked | None:
        """Return what is asked for now; None for nothing."""
        try:
            status = self._path.stat()
            if (stamp := (status.st_mtime_ns, status.st_ino)) != self._read_at:
                content = json.loads(read_plain_file(self._path, max_bytes=4096))
                asked = _Asked(int(content["emulator"]), int(content["log_request"]))
                if not -1 <= asked.emulator < 2**31 or not 0 <= asked.log_request < 2**30:
                    raise ValueError(asked)
                self._asked, self._read_at = (float(content["until"]), asked), stamp
        except (OSError, ValueError, TypeError, KeyError):
            return None
        until, asked = self._asked
        return asked if time.time() < until <= time.time() + 2 * self.SECONDS else None
