from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from pokered_rl.game import (
    FULL_LAYOUT,
    RAM_MAP,
    RAM_SOURCES,
    RamLayout,
    address,
    read,
    read_bcd,
    read_bit,
    read_bits,
    read_bytes,
    read_i8,
    read_structs,
    read_u8,
    read_u16_be,
    read_u16_le,
    read_u24_be,
)

Build = Callable[..., Tensor]


def test_every_entry_lies_in_ram_and_names_its_sources() -> None:
    assert len(RAM_MAP) >= 226
    for entry in RAM_MAP.values():
        FULL_LAYOUT.slice(entry.address, max(entry.length, 1))
        letters = {word[0] for word in entry.sources.split()}
        assert letters, entry.label
        assert letters <= set(RAM_SOURCES), entry.label


def test_readers_of_numbers(blank_ram: Build) -> None:
    ram = blank_ram(bytes_at={0xD000: 0x12, 0xD001: 0x34, 0xD002: 0xFE})
    assert int(read_u8(ram, 0xD002)) == 254
    assert int(read_i8(ram, 0xD002)) == -2
    assert int(read_i8(ram, 0xD000)) == 0x12
    assert int(read_u16_be(ram, 0xD000)) == 0x1234
    assert int(read_u16_le(ram, 0xD000)) == 0x3412
    assert int(read_u24_be(ram, 0xD000)) == 0x1234FE
    # Digits 1 2 3 4, then a byte FE whose nibbles are worth 15 tens and 14: 1234 * 100 + 164
    assert int(read_bcd(ram, 0xD000, 2)) == 1234
    assert int(read_bcd(ram, 0xD000, 3)) == 123564


def test_readers_of_flags_and_records(blank_ram: Build) -> None:
    ram = blank_ram(bytes_at={0xD000: 0b1000_0010, 0xD001: 0b0000_0001, 0xD003: 7})
    assert bool(read_bit(ram, 0xD000, 1))
    assert not bool(read_bit(ram, 0xD000, 0))
    assert read_bits(ram, 0xD000, 2).nonzero().flatten().tolist() == [1, 7, 8]
    assert read_bytes(ram, 0xD000, 2).tolist() == [0x82, 1]
    assert read_structs(ram, 0xD000, 2, 2).tolist() == [[0x82, 1], [0, 7]]


@given(value=st.integers(0, 999_999))
def test_money_round_trip(value: int) -> None:
    ram = torch.zeros(FULL_LAYOUT.size, dtype=torch.uint8)
    digits = f"{value:06}"
    for offset in range(3):
        ram[FULL_LAYOUT.column(0xD347 + offset)] = int(digits[2 * offset : 2 * offset + 2], 16)
    assert int(read(ram, "wPlayerMoney")) == value


@pytest.mark.parametrize(
    ("label", "shape"),
    [
        ("wCurMap", ()),
        ("wIsInBattle", ()),
        ("wMenuCursorLocation", ()),
        ("wPartyMon1Exp", ()),
        ("wPartyMon1HPExp", (5,)),
        ("wBattleMonMoves", (4,)),
        ("wPokedexOwned", (152,)),
        ("wTileMap", (360,)),
    ],
)
def test_shape_follows_the_format_and_the_batch(label: str, shape: tuple[int, ...]) -> None:
    ram = torch.zeros(2, 3, FULL_LAYOUT.size, dtype=torch.uint8)
    assert read(ram, label).shape == (2, 3, *shape)
    assert read(ram[0, 0], label).shape == shape


def test_stat_experience_is_five_numbers_high_byte_first(blank_ram: Build) -> None:
    ram = blank_ram(wPartyMon1HPExp=[0, 1, 1, 0, 0, 2, 0xFF, 0xFF, 0, 3])
    assert read(ram, "wPartyMon1HPExp").tolist() == [1, 256, 2, 65535, 3]


def test_bare_address_is_not_readable(blank_ram: Build) -> None:
    assert address("wStack") == 0xDFFF
    with pytest.raises(KeyError, match="wStack"):
        read(blank_ram(), "wStack")


def test_unknown_label_is_refused(blank_ram: Build) -> None:
    with pytest.raises(KeyError, match="wNoSuchThing"):
        read(blank_ram(), "wNoSuchThing")


def test_compact_layout_reads_the_same(blank_ram: Build) -> None:
    ram = blank_ram(wPlayerMoney=[0x01, 0x23, 0x45], wIsInBattle=0xFF)
    layout = RamLayout.of("wPlayerMoney", "wIsInBattle")
    # wIsInBattle D057 comes first, then wPlayerMoney D347-D349.
    compact = torch.tensor([0xFF, 0x01, 0x23, 0x45], dtype=torch.uint8)
    for label, value in (("wPlayerMoney", 12345), ("wIsInBattle", -1)):
        assert int(read(ram, label)) == int(read(compact, label, layout)) == value
