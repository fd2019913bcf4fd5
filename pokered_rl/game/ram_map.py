"""The RAM map: from label to address, format, meaning and sources; and layouts of RAM tensors.

The table is ``data/ram_map.json``; ``docs/reference/ram_map.md`` shows it. The full image is WRAM 0xC000-0xDFFF
followed by HRAM 0xFF80-0xFFFE: 8,319 bytes. An environment may carry only the ranges that its transforms declare; every
reader takes the layout.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType

from torch import Tensor

from pokered_rl.errors import ConfigError
from pokered_rl.game._data import load_json

__all__ = ["FULL_LAYOUT", "RAM_MAP", "RAM_SOURCES", "WRAM_RANGE", "RamEntry", "RamLayout", "address"]


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


#: Work RAM, as (first address, one past the last).
WRAM_RANGE = (0xC000, 0xE000)
_HRAM_RANGE = (0xFF80, 0xFFFF)


@dataclass(frozen=True)
class RamLayout:
    """Ordered, disjoint address ranges and their columns in a ``ram`` tensor.

    Args:
        ranges: ``(start, stop)`` addresses, ``stop`` exclusive, ascending and not overlapping, inside WRAM or HRAM.

    Raises:
        ConfigError: If the ranges are not ascending, overlap or leave WRAM and HRAM.
        KeyError: From the look-ups, if an address is not carried.

    Example:
        >>> RamLayout(((0xD35E, 0xD363),)).column(0xD361)
        3
    """

    ranges: tuple[tuple[int, int], ...]

    def __post_init__(self) -> None:
        previous = 0
        for start, stop in self.ranges:
            if not previous <= start < stop:
                raise ConfigError(f"RAM ranges must ascend without overlap, got {self._text()}")
            if not any(low <= start and stop <= high for low, high in (WRAM_RANGE, _HRAM_RANGE)):
                raise ConfigError(f"RAM ranges must lie in C000-DFFF or FF80-FFFE, got {self._text()}")
            previous = stop
        object.__setattr__(self, "_hash", hash(self.ranges))  # layouts are keys of several caches in every step

    def __hash__(self) -> int:
        return self._hash  # type: ignore[attr-defined, no-any-return]

    @classmethod
    def full(cls) -> RamLayout:
        """Return the layout of the full image: 8,192 bytes of WRAM, 127 of HRAM."""
        return cls((WRAM_RANGE, _HRAM_RANGE))

    @classmethod
    def merged(cls, ranges: Iterable[tuple[int, int]]) -> RamLayout:
        """Return the smallest layout that carries ``ranges``, which may overlap and come in any order."""
        merged: list[tuple[int, int]] = []
        for start, stop in sorted(ranges):
            if merged and start <= merged[-1][1]:
                merged[-1] = (merged[-1][0], max(stop, merged[-1][1]))
            else:
                merged.append((start, stop))
        return cls(tuple(merged))

    @classmethod
    def of(cls, *labels: str) -> RamLayout:
        """Return the layout that carries the named entries of the RAM map.

        Raises:
            KeyError: If a label is not in the RAM map.
        """
        return cls.merged(RAM_MAP[label].range for label in labels)

    def union(self, *others: RamLayout) -> RamLayout:
        """Return the layout that carries the addresses of this one and the others."""
        return RamLayout.merged(item for layout in (self, *others) for item in layout.ranges)

    @cached_property
    def size(self) -> int:
        """Number of columns R."""
        return sum(stop - start for start, stop in self.ranges)

    @cached_property
    def _starts(self) -> tuple[tuple[int, int, int], ...]:
        """``(start, stop, first column)`` of each range."""
        out, column = [], 0
        for start, stop in self.ranges:
            out.append((start, stop, column))
            column += stop - start
        return tuple(out)

    def __contains__(self, address: object) -> bool:
        return isinstance(address, int) and any(start <= address < stop for start, stop in self.ranges)

    def covers(self, ranges: Iterable[tuple[int, int]]) -> bool:
        """Return whether every address of ``ranges`` is carried."""
        return all(
            any(low <= start and stop <= high for low, high in RamLayout.merged(self.ranges).ranges)
            for start, stop in ranges
        )

    def column(self, address: int) -> int:
        """Return the column of ``address``."""
        for start, stop, first in self._starts:
            if start <= address < stop:
                return first + address - start
        raise KeyError(f"address {address:04X} is not in the RAM layout {self._text()}")

    def columns(self, addresses: Sequence[int]) -> tuple[int, ...]:
        """Return the columns of ``addresses``, in their order."""
        return tuple(self.column(address) for address in addresses)

    def slice(self, address: int, length: int = 1) -> slice:
        """Return the columns of ``length`` consecutive bytes from ``address``.

        Raises:
            KeyError: If one of the bytes is not carried.
        """
        first = self.column(address)
        if length > 1 and self.column(address + length - 1) != first + length - 1:
            raise KeyError(f"{length} bytes from {address:04X} are not contiguous in the RAM layout {self._text()}")
        return slice(first, first + length)

    def read(self, ram: Tensor, label: str) -> Tensor:
        """Return the bytes of an entry of the RAM map: uint8 ``[*, length]``, a view of ``ram``.

        Args:
            ram: uint8 ``[*, R]``.
            label: A label of :data:`~pokered_rl.game.RAM_MAP`.

        Raises:
            KeyError: If the label is unknown, is a bare address, or is not carried.
        """
        entry = RAM_MAP[label]
        if not entry.length:
            raise KeyError(f"{label} is a bare address ({entry.address:04X}): there is nothing to read")
        return ram[..., self.slice(entry.address, entry.length)]

    def _text(self) -> str:
        return " ".join(f"{start:04X}-{stop - 1:04X}" for start, stop in self.ranges)


#: The layout of the full 8,319-byte image.
FULL_LAYOUT = RamLayout.full()
