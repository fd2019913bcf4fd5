from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from pokered_rl.game import FULL_LAYOUT, RAM_MAP, RamLayout
from pokered_rl.game.ram_map import RAM_SOURCES, address

Build = Callable[..., Tensor]


def test_every_entry_lies_in_ram_and_names_its_sources() -> None:
    assert len(RAM_MAP) >= 226
    for entry in RAM_MAP.values():
        FULL_LAYOUT.slice(entry.address, max(entry.length, 1))
        letters = {word[0] for word in entry.sources.split()}
        assert letters, entry.label
        assert letters <= set(RAM_SOURCES), entry.label


@pytest.mark.parametrize(("label", "length"), [("wCurMap", 1), ("wMenuCursorLocation", 2), ("wTileMap", 360)])
def test_bytes_of_an_entry_have_the_shape_of_the_batch_and_its_length(label: str, length: int) -> None:
    ram = torch.zeros(2, 3, FULL_LAYOUT.size, dtype=torch.uint8)
    assert FULL_LAYOUT.read(ram, label).shape == (2, 3, length)
    assert FULL_LAYOUT.read(ram[0, 0], label).shape == (length,)


def test_bare_address_is_not_readable(blank_ram: Build) -> None:
    assert address("wStack") == 0xDFFF
    with pytest.raises(KeyError, match="wStack"):
        FULL_LAYOUT.read(blank_ram(), "wStack")


def test_unknown_label_is_refused(blank_ram: Build) -> None:
    with pytest.raises(KeyError, match="wNoSuchThing"):
        FULL_LAYOUT.read(blank_ram(), "wNoSuchThing")


def test_compact_layout_reads_the_same(blank_ram: Build) -> None:
    ram = blank_ram(wPlayerMoney=[0x01, 0x23, 0x45], wIsInBattle=0xFF)
    layout = RamLayout.of("wPlayerMoney", "wIsInBattle")
    # wIsInBattle D057 comes first, then wPlayerMoney D347-D349.
    compact = torch.tensor([0xFF, 0x01, 0x23, 0x45], dtype=torch.uint8)
    for label, value in (("wPlayerMoney", [0x01, 0x23, 0x45]), ("wIsInBattle", [0xFF])):
        assert FULL_LAYOUT.read(ram, label).tolist() == layout.read(compact, label).tolist() == value
