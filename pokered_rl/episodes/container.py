"""The container of an episode log: a fixed header, then sections that each carry their own checksum.

The byte layout is documented in ``docs/reference/episode_format.md``; all integers are little-endian. A reader uses no
length or value before it has compared the checksum, and unpacks no more than the file announced: every damage raises
:class:`~pokered_rl.errors.EpisodeLogError`.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Collection, Mapping
from typing import NamedTuple

from pokered_rl.errors import EpisodeLogError

__all__: list[str] = []

#: First bytes of every log. The high bit, CR LF and Ctrl-Z catch text-mode copies, as in PNG.
MAGIC = b"\x89PRL\r\n\x1a\n"
#: Incremented whenever an older reader would misread a newer file.
FORMAT_VERSION = 2
#: Versions that are read.
READ_VERSIONS = (1, 2)
#: Limit of an unpacked section: a damaged length must not allocate all memory.
MAX_SECTION_BYTES = 64 * 2**20
#: Limit of all unpacked sections together.
MAX_TOTAL_BYTES = 128 * 2**20
#: Limit of a file.
MAX_FILE_BYTES = 160 * 2**20

_HEADER = struct.Struct("<8sHHII")  # magic, version, number of sections, file length, CRC-32 of the 16 bytes before
_SECTION = struct.Struct("<4sBxxxIII")  # tag, compression, stored bytes, raw bytes, CRC-32 of the fields and payload
_CRC_BYTES = 4
_RAW, _ZLIB = 0, 1

_DAMAGED = "the file is damaged: copy it again from where it was written, or delete it"


def pack_container(sections: Mapping[str, bytes], *, version: int = FORMAT_VERSION, magic: bytes = MAGIC) -> bytes:
    """Return the bytes of a file that holds ``sections``.

    Args:
        sections: Four-letter ASCII tag to content. Readers skip an unknown tag that begins with a lower-case letter.
        version: Format of the sections.
        magic: First eight bytes of the file.

    Raises:
        ValueError: A tag is not four ASCII letters, or a section is larger than `MAX_SECTION_BYTES`.
    """
    body = b"".join(_pack_section(tag, raw) for tag, raw in sections.items())
    fields = struct.pack("<8sHHI", magic, version, len(sections), _HEADER.size + len(body))
    return fields + struct.pack("<I", zlib.crc32(fields)) + body


def _pack_section(tag: str, raw: bytes) -> bytes:
    if len(tag) != 4 or not (tag.isascii() and tag.isalpha()):
        raise ValueError(f"a section tag must be four ASCII letters, got {tag!r}")
    if len(raw) > MAX_SECTION_BYTES:
        raise ValueError(f"section {tag} must hold at most {MAX_SECTION_BYTES} bytes, got {len(raw)}")
    squeezed = zlib.compress(raw, 9)
    method, stored = (_ZLIB, squeezed) if len(squeezed) < len(raw) else (_RAW, raw)
    fields = struct.pack("<4sBxxxII", tag.encode(), method, len(stored), len(raw))
    return fields + struct.pack("<I", zlib.crc32(stored, zlib.crc32(fields))) + stored


def container_version(data: bytes) -> int:
    """Return the format version of a file that :func:`unpack_container` has read."""
    return int(_HEADER.unpack_from(data)[1])


def unpack_container(
    data: bytes,
    *,
    name: str,
    known: Collection[str] | None = None,
    magic: bytes = MAGIC,
    versions: Collection[int] = READ_VERSIONS,
) -> dict[str, bytes]:
    """Return the content of the sections of a file by their tags.

    Args:
        data: The whole file.
        name: Name of the file in error messages.
        known: Tags that the caller knows; an optional section with another tag is skipped and not unpacked. None
            unpacks all.
        magic: First eight bytes of the file.
        versions: Formats that are read.

    Raises:
        EpisodeLogError: No such file, of a newer format, cut off, or damaged; the message names the file, the section
            and its offset, and the remedy.
    """
    section_count = _check_header(data, name, magic, versions)
    sections: dict[str, bytes] = {}
    seen: set[str] = set()
    offset, total = _HEADER.size, 0
    for number in range(section_count):
        section = _read_section(data, offset, number, name)
        if section.tag in seen:
            raise EpisodeLogError(f"{name}: section {section.tag} appears twice; {_DAMAGED}")
        seen.add(section.tag)
        offset = section.end
        if known is not None and section.tag not in known and section.tag[0].islower():
            continue
        total += section.raw_bytes
        if total > MAX_TOTAL_BYTES:
            raise EpisodeLogError(
                f"{name}: its sections announce {total} bytes or more, at most {MAX_TOTAL_BYTES} are allowed together; "
                f"{_DAMAGED}"
            )
        sections[section.tag] = _unpack_payload(section)
    if offset != len(data):
        raise EpisodeLogError(
            f"{name}: {len(data) - offset} bytes follow the last section, which ends at byte {offset}; {_DAMAGED}"
        )
    return sections


def _check_header(data: bytes, name: str, magic: bytes, versions: Collection[int]) -> int:
    """Return the number of sections."""
    is_log = magic == MAGIC
    what, remedy = ("an episode log", "a *.episode file or a run folder") if is_log else ("a proof", "a *.proof file")
    if not data:
        raise EpisodeLogError(f"{name}: the file is empty; delete it or copy it again from where it was written")
    if data[: len(magic)] != magic[: len(data)]:
        raise EpisodeLogError(
            f"{name}: not {what}: it begins with {data[: len(magic)].hex(' ')}, expected {magic.hex(' ')}; "
            f"give {remedy}"
        )
    if len(data) < _HEADER.size:
        raise EpisodeLogError(
            f"{name}: cut off inside the header: {len(data)} bytes of {_HEADER.size}; copy it again or delete it"
        )
    _, version, section_count, length, checksum = _HEADER.unpack_from(data)
    found = zlib.crc32(data[: _HEADER.size - _CRC_BYTES])
    if found != checksum:
        raise EpisodeLogError(
            f"{name}: the header (bytes 0 to {_HEADER.size}) has CRC-32 {found:08x}, expected {checksum:08x}; "
            f"{_DAMAGED}"
        )
    if version not in versions:
        raise EpisodeLogError(
            f"{name}: {what.split(' ', 1)[1]} format {version}; this pokered_rl reads the formats {min(versions)} to "
            f"{max(versions)}. "
            "Read it with the version that wrote it, or update this one"
        )
    if length != len(data):
        what = "cut off" if len(data) < length else "longer than it was written"
        raise EpisodeLogError(
            f"{name}: {what}: {len(data)} bytes, the header says {length}; copy it again from where it was written, "
            "or delete it"
        )
    return int(section_count)


class _Section(NamedTuple):
    """A section whose checksum is right."""

    tag: str
    method: int
    stored: bytes
    raw_bytes: int
    #: Its name in error messages.
    place: str
    #: Offset of the byte behind it.
    end: int


def _read_section(data: bytes, offset: int, number: int, name: str) -> _Section:
    place = f"{name}: section {number} at byte {offset}"
    payload = offset + _SECTION.size
    if payload > len(data):
        raise EpisodeLogError(f"{place}: its header reaches beyond the end of the file; {_DAMAGED}")
    tag_bytes, method, stored_bytes, raw_bytes, checksum = _SECTION.unpack_from(data, offset)
    end = payload + stored_bytes
    if end > len(data):
        raise EpisodeLogError(
            f"{place}: announces {stored_bytes} bytes, the file has {len(data) - payload} left; {_DAMAGED}"
        )
    stored = data[payload:end]
    found = zlib.crc32(stored, zlib.crc32(data[offset : payload - _CRC_BYTES]))
    if found != checksum:
        raise EpisodeLogError(f"{place}: CRC-32 is {found:08x}, expected {checksum:08x}; {_DAMAGED}")
    if not (tag_bytes.isascii() and tag_bytes.isalpha()):
        raise EpisodeLogError(f"{place}: tag {tag_bytes.hex(' ')} is not four letters; {_DAMAGED}")
    tag = tag_bytes.decode("ascii")
    return _Section(tag, method, stored, raw_bytes, f"{place} ({tag})", end)


def _unpack_payload(section: _Section) -> bytes:
    _, method, stored, raw_bytes, place, _ = section
    if raw_bytes > MAX_SECTION_BYTES:
        raise EpisodeLogError(
            f"{place}: announces {raw_bytes} bytes, at most {MAX_SECTION_BYTES} are allowed; {_DAMAGED}"
        )
    if method == _RAW:
        raw = stored
    elif method == _ZLIB:
        inflater = zlib.decompressobj()
        try:
            raw = inflater.decompress(stored, raw_bytes + 1)
        except zlib.error as error:
            raise EpisodeLogError(f"{place}: cannot be decompressed ({error}); {_DAMAGED}") from error
        if inflater.unused_data or not (inflater.eof or len(raw) > raw_bytes):
            raise EpisodeLogError(f"{place}: its compressed data does not end where it should; {_DAMAGED}")
    else:
        raise EpisodeLogError(f"{place}: compression method {method}, expected 0 (none) or 1 (zlib); {_DAMAGED}")
    if len(raw) != raw_bytes:
        raise EpisodeLogError(f"{place}: unpacks to {len(raw)} bytes or more, expected {raw_bytes}; {_DAMAGED}")
    return raw
