"""The RAM map: one table from label to address, format, length, meaning and sources.

The table is ``data/ram_map.json``; ``docs/reference/ram_map.md`` shows it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from pokered_rl.game._data import load_json

__all__ = ["RAM_MAP", "RAM_SOURCES", "RamEntry", "address"]


@dataclass(frozen=True)
class RamEntry:
    """An entry of the RAM map.

    Attributes:
        label: Name in the disassembly, or in its symbol file.
        address: First address, 0xC000-0xDFFF or 0xFF80-0xFFFE.
        kind: How the bytes make a value: ``u8 i8 u16be u16le u24be bcd bits bytes address``.
        length: Bytes; 0 for a bare address.
        format: The format in words, bit masks and record sizes included.
        meaning: Its content.
        sources: Letters of ``RAM_SOURCES``, each an independent source of the address.
        section: Chapter of the table.
    """

    label: str
    address: int
    kind: str
    length: int
    format: str
    meaning: str
    sources: str
    section: str

    @property
    def range(self) -> tuple[int, int]:
        """The addresses, as (first, one past the last)."""
        return (self.address, self.address + max(self.length, 1))


_TABLE = load_json("ram_map.json")

#: Label -> entry of the RAM map.
RAM_MAP: Mapping[str, RamEntry] = MappingProxyType({entry["label"]: RamEntry(**entry) for entry in _TABLE["entries"]})
#: Letter -> source of addresses.
RAM_SOURCES: Mapping[str, str] = MappingProxyType(_TABLE["sources"])


def address(label: str) -> int:
    """Return the address of ``label``.

    Raises:
        KeyError: If the RAM map has no such label.
    """
    return RAM_MAP[label].address
