import pytest

from pokered_rl.errors import ConfigError
from pokered_rl.game import FULL_LAYOUT, RAM_MAP, RamLayout


def test_full_image_is_work_ram_then_high_ram() -> None:
    # 0xE000 - 0xC000 = 8192, 0xFFFF - 0xFF80 = 127
    assert FULL_LAYOUT.size == 8192 + 127 == 8319
    assert FULL_LAYOUT.column(0xC000) == 0
    assert FULL_LAYOUT.column(0xDFFF) == 8191
    assert FULL_LAYOUT.column(0xFF80) == 8192
    assert FULL_LAYOUT.column(0xFFFE) == 8318


def test_columns_of_a_compact_layout_follow_its_ranges() -> None:
    layout = RamLayout(((0xD163, 0xD165), (0xD361, 0xD363), (0xFFB0, 0xFFB1)))
    assert layout.size == 5
    assert layout.columns((0xD163, 0xD164, 0xD361, 0xD362, 0xFFB0)) == (0, 1, 2, 3, 4)
    assert layout.slice(0xD361, 2) == slice(2, 4)


def test_address_outside_the_layout_is_named() -> None:
    layout = RamLayout(((0xD361, 0xD363),))
    with pytest.raises(KeyError, match="D363"):
        layout.column(0xD363)
    with pytest.raises(KeyError, match="D363"):
        layout.slice(0xD362, 2)


def test_bytes_on_both_sides_of_a_gap_are_no_slice() -> None:
    # 0xD163 and 0xD165 are both carried, 0xD164 is not.
    layout = RamLayout(((0xD163, 0xD164), (0xD165, 0xD166)))
    with pytest.raises(KeyError, match="contiguous"):
        layout.slice(0xD163, 3)


@pytest.mark.parametrize(
    "ranges",
    [
        ((0xD361, 0xD361),),
        ((0xD361, 0xD363), (0xD362, 0xD364)),
        ((0xD361, 0xD363), (0xC000, 0xC001)),
        ((0xBFFF, 0xC001),),
        ((0xFF00, 0xFF81),),
        ((0xFFFE, 0x10000),),
    ],
)
def test_empty_overlapping_descending_or_foreign_ranges_are_refused(ranges: tuple[tuple[int, int], ...]) -> None:
    with pytest.raises(ConfigError, match="RAM ranges"):
        RamLayout(ranges)


def test_union_carries_both_and_merges_what_touches() -> None:
    left, right = RamLayout(((0xC000, 0xC004), (0xD000, 0xD001))), RamLayout(((0xC002, 0xC008), (0xD001, 0xD003)))
    assert left.union(right).ranges == ((0xC000, 0xC008), (0xD000, 0xD003))


def test_layout_of_labels_carries_their_bytes() -> None:
    layout = RamLayout.of("wPlayerMoney", "wCurMap")
    assert layout.ranges == ((0xD347, 0xD34A), (0xD35E, 0xD35F))
    assert layout.covers([RAM_MAP["wPlayerMoney"].range])
    assert not layout.covers([(0xD35E, 0xD360)])


def test_equal_layouts_have_equal_hashes() -> None:
    assert hash(RamLayout(((0xC000, 0xC001),))) == hash(RamLayout(((0xC000, 0xC001),)))
