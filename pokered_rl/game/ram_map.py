"""The RAM map: one table from label to address, format, length, meaning and sources, and typed readers on it.

The table is ``data/ram_map.json``; ``docs/reference/ram_map.md`` shows it. Every reader takes ``ram`` as uint8
``[*, R]`` with the layout of its columns and returns a tensor of batch shape ``[*]`` plus the shape of the value.
Numbers come back as int64, so that no arithmetic on them overflows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch import Tensor

from pokered_rl.game._data import load_json
from pokered_rl.game.ram_layout import FULL_LAYOUT, RamLayout

__all__ = [
    "RAM_MAP",
    "RAM_SOURCES",
    "RamEntry",
    "address",
    "read",
    "read_bcd",
    "read_bit",
    "read_bits",
    "read_bytes",
    "read_i8",
    "read_structs",
    "read_u8",
    "read_u16_be",
    "read_u16_le",
    "read_u24_be",
]


@dataclass(frozen=True)
class RamEntry:
    """One row of the RAM map.

    Attributes:
        label: Name in the disassembly, or in its symbol file.
        address: First address, 0xC000-0xDFFF or 0xFF80-0xFFFE.
        kind: What ``read`` does with it: ``u8 i8 u16be u16le u24be bcd bits bytes address``.
        length: Bytes; 0 for a bare address.
        format: The format in words, bit masks and record sizes included.
        meaning: What the game keeps there.
        sources: Letters of ``RAM_SOURCES``, each an independent witness of the address.
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


def _load() -> tuple[Mapping[str, RamEntry], Mapping[str, str]]:
    table = load_json("ram_map.json")
    entries = {row["label"]: RamEntry(**row) for row in table["entries"]}
    return MappingProxyType(entries), MappingProxyType(table["sources"])


#: Label -> row of the RAM map, and letter -> source.
RAM_MAP, RAM_SOURCES = _load()


def address(label: str) -> int:
    """The address of ``label``.

    Raises:
        KeyError: If the RAM map has no such label.
    """
    return RAM_MAP[label].address


def read_bytes(ram: Tensor, address: int, length: int, layout: RamLayout = FULL_LAYOUT) -> Tensor:
    """``length`` raw bytes: uint8 ``[*, length]``, a view of ``ram``."""
    return ram[..., layout.slice(address, length)]


def read_u8(ram: Tensor, address: int, layout: RamLayout = FULL_LAYOUT) -> Tensor:
    """An unsigned byte: int64 ``[*]``."""
    return ram[..., layout.column(address)].to(torch.int64)


def read_i8(ram: Tensor, address: int, layout: RamLayout = FULL_LAYOUT) -> Tensor:
    """A signed byte (two's complement): int64 ``[*]``."""
    value = read_u8(ram, address, layout)
    return value - 256 * (value >= 128)


def read_u16_be(ram: Tensor, address: int, layout: RamLayout = FULL_LAYOUT) -> Tensor:
    """Two bytes, high byte first, as all Pokémon numbers are: int64 ``[*]``."""
    return 256 * read_u8(ram, address, layout) + read_u8(ram, address + 1, layout)


def read_u16_le(ram: Tensor, address: int, layout: RamLayout = FULL_LAYOUT) -> Tensor:
    """Two bytes, low byte first, as pointers are: int64 ``[*]``."""
    return 256 * read_u8(ram, address + 1, layout) + read_u8(ram, address, layout)


def read_u24_be(ram: Tensor, address: int, layout: RamLayout = FULL_LAYOUT) -> Tensor:
    """Three bytes, high byte first (experience): int64 ``[*]``."""
    return 256 * read_u16_be(ram, address, layout) + read_u8(ram, address + 2, layout)


def read_bcd(ram: Tensor, address: int, length: int, layout: RamLayout = FULL_LAYOUT) -> Tensor:
    """Two decimal digits a byte, high byte first (money, coins): int64 ``[*]``.

    A nibble above 9 counts as it stands, so that a damaged number still has a value; ``GameState`` clips it.
    """
    value = torch.zeros(ram.shape[:-1], dtype=torch.int64, device=ram.device)
    for offset in range(length):
        byte = read_u8(ram, address + offset, layout)
        value = 100 * value + 10 * (byte >> 4) + (byte & 15)
    return value


def read_bit(ram: Tensor, address: int, bit: int, layout: RamLayout = FULL_LAYOUT) -> Tensor:
    """One flag of a byte, bit 0 being the lowest: bool ``[*]``."""
    return read_u8(ram, address, layout).bitwise_and(1 << bit).to(torch.bool)


def read_bits(ram: Tensor, address: int, length: int, layout: RamLayout = FULL_LAYOUT) -> Tensor:
    """A bit field of ``length`` bytes, lowest bit of the first byte first: bool ``[*, 8 * length]``."""
    powers = torch.tensor([1, 2, 4, 8, 16, 32, 64, 128], dtype=torch.uint8, device=ram.device)
    return ((read_bytes(ram, address, length, layout).unsqueeze(-1) & powers) != 0).flatten(-2)


def read_structs(ram: Tensor, address: int, count: int, stride: int, layout: RamLayout = FULL_LAYOUT) -> Tensor:
    """``count`` records of ``stride`` bytes: uint8 ``[*, count, stride]``, a view of ``ram``."""
    structs: Tensor = read_bytes(ram, address, count * stride, layout).unflatten(-1, (count, stride))
    return structs


def read(ram: Tensor, label: str, layout: RamLayout = FULL_LAYOUT) -> Tensor:
    """The value of ``label`` by its format in the RAM map.

    Args:
        ram: uint8 ``[*, R]``.
        label: A label of ``RAM_MAP``.
        layout: The columns of ``ram``.

    Returns:
        int64 ``[*]`` for one number, int64 ``[*, n]`` for a list of numbers, bool ``[*, 8n]`` for a bit field of
        several bytes, uint8 ``[*, n]`` for raw bytes. A single byte of flags is a number.

    Raises:
        KeyError: If the label is unknown, or the layout does not carry it.
    """
    entry = RAM_MAP[label]
    at, length = entry.address, entry.length
    match entry.kind:
        case "u8" if length == 1:
            return read_u8(ram, at, layout)
        case "u8":
            return read_bytes(ram, at, length, layout).to(torch.int64)
        case "i8":
            return read_i8(ram, at, layout)
        case "u16be" if length == 2:
            return read_u16_be(ram, at, layout)
        case "u16be":
            pairs = read_structs(ram, at, length // 2, 2, layout).to(torch.int64)
            return 256 * pairs[..., 0] + pairs[..., 1]
        case "u16le":
            return read_u16_le(ram, at, layout)
        case "u24be":
            return read_u24_be(ram, at, layout)
        case "bcd":
            return read_bcd(ram, at, length, layout)
        case "bits":
            return read_bits(ram, at, length, layout)
        case "bytes":
            return read_bytes(ram, at, length, layout)
        case _:
            raise KeyError(f"{label} is a bare address ({at:04X}): there is nothing to read")
