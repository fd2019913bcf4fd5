"""Save states that name their cartridge and PyBoy release.

A bare PyBoy state begins with a version and names neither the game nor the PyBoy release that wrote it: loaded into
another cartridge it runs on without an error. :class:`SaveState` adds what is needed to refuse it.
"""

import functools
import hashlib
import json
import os
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

from pokered_rl.atomic import write_atomically
from pokered_rl.emulator.cartridge import Cartridge
from pokered_rl.errors import SaveStateError

__all__ = ["MAGIC", "SaveState", "read_state_file"]

#: First bytes of a save state file. The 0x89 and the line ends reveal files mangled as text, as in PNG.
MAGIC = b"\x89PRSTATE\r\n\x1a\n"

_FORMAT = 1
_PREFIX = struct.Struct("<HI")  # format, bytes of the JSON header
_MAX_HEADER_BYTES = 4096
#: PyBoy's states of these cartridges have 178 KB; far more than that is no state.
_MAX_RAW_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class SaveState:
    """A PyBoy state and its origin.

    The file format: :data:`MAGIC`; format number (u16 LE) and header length (u32 LE); the header as JSON; the PyBoy
    state, zlib-compressed (178 KB become 5-15 KB).

    Attributes:
        pyboy: The state as PyBoy wrote it; its first byte is PyBoy's state version.
        cartridge_sha1: SHA-1 of the ROM it belongs to.
        cartridge_title: Title of that ROM.
        pyboy_version: PyBoy release that wrote it.
    """

    pyboy: bytes
    cartridge_sha1: str
    cartridge_title: str
    pyboy_version: str

    @functools.cached_property
    def sha256(self) -> str:
        """SHA-256 of :attr:`pyboy`, hex: the identity of the state in logs and pools."""
        return hashlib.sha256(self.pyboy).hexdigest()

    @property
    def state_version(self) -> int:
        """PyBoy's own version number of the state."""
        return self.pyboy[0]

    def check_cartridge(self, cartridge: Cartridge, *, source: str = "The save state") -> None:
        """Raise a :class:`SaveStateError` unless the state belongs to this cartridge."""
        if self.cartridge_sha1 != cartridge.sha1:
            raise SaveStateError(
                f"{source} belongs to another cartridge: {self.cartridge_title!r}, SHA-1 {self.cartridge_sha1}; this "
                f"one is {cartridge.title!r}, SHA-1 {cartridge.sha1}."
            )

    def to_bytes(self) -> bytes:
        """Return the state in this library's file format."""
        header = json.dumps(
            {
                "pyboy_version": self.pyboy_version,
                "state_version": self.state_version,
                "cartridge_sha1": self.cartridge_sha1,
                "cartridge_title": self.cartridge_title,
                "sha256": self.sha256,
                "raw_bytes": len(self.pyboy),
            }
        ).encode()
        return MAGIC + _PREFIX.pack(_FORMAT, len(header)) + header + zlib.compress(self.pyboy, 6)

    @classmethod
    def from_bytes(cls, data: bytes, *, source: str = "save state") -> "SaveState":
        """Read :meth:`to_bytes` back; ``source`` names the bytes in messages.

        Raises:
            SaveStateError: Not a save state of this library, of a newer one, or damaged.
        """
        start = len(MAGIC) + _PREFIX.size
        if not data.startswith(MAGIC):
            raise SaveStateError(
                f"{source} is not a save state of this library: it begins with {data[:8]!r}, expected {MAGIC!r}. "
                f"A state saved by PyBoy itself is read by load_raw(path, cartridge)."
            )
        if len(data) < start:
            raise SaveStateError(f"{source} is damaged: it ends after {len(data)} bytes, inside its header.")
        number, header_bytes = _PREFIX.unpack_from(data, len(MAGIC))
        if number != _FORMAT:
            raise SaveStateError(
                f"{source} has format {number}, this version of pokered_rl reads {_FORMAT}: update pokered_rl."
            )
        try:
            if header_bytes > _MAX_HEADER_BYTES:
                raise ValueError(f"its header claims {header_bytes} bytes")
            header = json.loads(data[start : start + header_bytes])
            raw_bytes = int(header["raw_bytes"])
            if not 0 < raw_bytes <= _MAX_RAW_BYTES:
                raise ValueError(f"it claims {raw_bytes} bytes of state")
            inflate = zlib.decompressobj()
            raw = inflate.decompress(data[start + header_bytes :], raw_bytes)
            beyond = inflate.decompress(inflate.unconsumed_tail, 1)
            if len(raw) != raw_bytes or beyond or not inflate.eof:
                raise ValueError(f"its {raw_bytes} bytes of state are cut short or go on")
            state = cls(
                pyboy=raw,
                cartridge_sha1=str(header["cartridge_sha1"]),
                cartridge_title=str(header["cartridge_title"]),
                pyboy_version=str(header["pyboy_version"]),
            )
            if state.sha256 != header["sha256"]:
                raise ValueError("its checksum does not match")
        except (ValueError, KeyError, TypeError, zlib.error) as error:
            raise SaveStateError(f"{source} is damaged: {error}.") from error
        return state

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the state to a file; an existing file is replaced atomically."""
        write_atomically(Path(path), self.to_bytes())

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "SaveState":
        """Read a file written by :meth:`save`.

        Raises:
            SaveStateError: The file cannot be read, or :meth:`from_bytes` refuses it.
        """
        return cls.from_bytes(read_state_file(path), source=str(path))


def read_state_file(path: str | os.PathLike[str]) -> bytes:
    """Return the bytes of a state file.

    Raises:
        SaveStateError: It is missing, unreadable, or far too large.
    """
    path = Path(path)
    try:
        size = path.stat().st_size
        if size > _MAX_RAW_BYTES:
            raise SaveStateError(f"{path} is not a save state: {size} bytes, more than {_MAX_RAW_BYTES}.")
        return path.read_bytes()
    except FileNotFoundError:
        raise SaveStateError(f"No save state at {path}.") from None
    except OSError as error:
        raise SaveStateError(f"Cannot read the save state {path}: {error.strerror or error}.") from error
