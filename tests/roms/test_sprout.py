"""The bundled cartridge: built from its sources, with the documented RAM of the retail game."""

from __future__ import annotations

import itertools
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("pyboy")

import sprout_player as sp
import world

SOURCES = Path(__file__).resolve().parents[2] / "roms" / "sprout"


@pytest.fixture
def player() -> Iterator[sp.Player]:
    with sp.Player() as player:
        player.begin()
        yield player


def bit(name: str) -> int:
    return world.EVENTS.index(name)


# ---------------------------------------------------------------------------------------------- the file
def test_header_names_title_mapper_ram_and_carries_both_checksums() -> None:
    data = sp.CARTRIDGE.read_bytes()
    assert len(data) == 131072
    assert data[0x134:0x144].rstrip(b"\0") == b"SPROUT"
    assert (data[0x147], data[0x148], data[0x149]) == (0x13, 2, 3)  # MBC3+RAM+BATTERY, 8 ROM banks, 32 KiB RAM
    total = 0
    for byte in data[0x134:0x14D]:
        total = (total - byte - 1) & 0xFF
    assert data[0x14D] == total
    assert data[0x14E] << 8 | data[0x14F] == (sum(data) - data[0x14E] - data[0x14F]) & 0xFFFF
    assert not any(data[0x104:0x134])  # no logo


@pytest.mark.skipif(shutil.which("sdcc") is None, reason="sdcc is not installed (apt-get install sdcc)")
def test_sources_build_the_committed_bytes_from_any_folder(tmp_path: Path) -> None:
    out = tmp_path / "rebuilt.gb"
    subprocess.run([str(SOURCES / "build.sh"), str(out)], cwd=tmp_path, check=True, capture_output=True)
    assert out.read_bytes() == sp.CARTRIDGE.read_bytes()


# ---------------------------------------------------------------------------------------------- at rest
def test_playable_within_ten_seconds_and_at_rest_like_the_retail_game(player: sp.Player) -> None:
    # title, two names and a few words: 10 s x 59.7275 frames/s = 597 frames, PyBoy's boot included
    assert player.frames < 597
    assert player.where == (38, 8, 3)
    player.tick(60)
    words = set()
    for _ in range(20):
        player.tick()
        words.add(player.outermost)
    assert words == {0x0402, 0x0405}  # two frames a turn of the loop
    assert player[0xFFB0] == 144
    assert player[0xCFC4] == 0
    assert player[0xD730] == 0
    assert player[0xD163] == 0
    assert player[0xD31D] == 0
    assert player[0xD31E] == 0xFF
    assert bytes(player.memory[0xD347:0xD34A]) == b"\x00\x30\x00"


def test_play_time_counts_sixty_frames_a_second(player: sp.Player) -> None:
    before = player[0xDA44] * 60 + player[0xDA45]
    player.tick(150)
    assert player[0xDA44] * 60 + player[0xDA45] == before + 150


# ---------------------------------------------------------------------------------------------- walking
def test_one_step_takes_sixteen_frames_and_moves_the_coordinates_at_its_end(player: sp.Player) -> None:
    player.step("down")  # faces down anyway; a first step to be in the rhythm of the loop
    x = player[sp.X]
    player.press("right", 2, 10)  # a tap turns only
    assert (player[sp.X], player[sp.FACING]) == (x, 12)
    player.down("right")
    player.wait(lambda: player[sp.WALK_COUNTER] == 7, 8)
    for frame in range(1, 40):  # noqa: B007
        player.tick()
        if player[sp.X] == x + 1:
            break
        assert 1 <= player[sp.WALK_COUNTER] <= 7
    player.up("right")
    assert frame == 14  # counters 7..1 last two frames each, the one before them made it 7
    player.settle()


def test_walls_stop_the_player(player: sp.Player) -> None:
    player.walk_to((1, 4))
    player.press("right", 40, 8)  # the table
    assert player.where == (38, 1, 4)
    assert player[sp.WALK_COUNTER] == 0
    assert player[sp.FACING] == 12


def test_after_a_warp_the_pad_is_ignored_for_half_a_second(player: sp.Player) -> None:
    player.walk_to((0, 2))
    player.down("up")
    player.wait(lambda: player[sp.CUR_MAP] == 37, 120)
    player.up("up")
    player.wait(lambda: player[0xD13A] > 0, 60)
    assert player[0xD730] & 0x20
    start = player[0xD13A]
    player.wait(lambda: player[0xD13A] == 0, 60)
    assert start in range(25, 31)
    assert not player[0xD730] & 0x26
    assert player[0xD73C] == 38


def test_every_map_variable_of_every_map_visited(player: sp.Player) -> None:
    """Check the maps of the first part; SDCC once stored half the height as the width."""

    def check(name: str) -> None:
        entry = next(e for e in world.MAPS if e["name"] == name)
        rows = [r for r in entry["cells"].split("\n") if r]
        height, width = len(rows), len(rows[0])
        assert player[sp.CUR_MAP] == entry["id"], name
        assert (player[0xD525], player[0xD524]) == (width, height), name
        assert (player[0xD369], player[0xD368]) == (width // 2, height // 2), name
        assert player[0xD367] == world.TILESETS[entry["tileset"]][0], name
        assert player[0xD3AE] == len(entry.get("warps", [])), name
        assert player[0xD4B0] == len(entry.get("signs", [])), name
        assert player[0xD4E1] == len(entry.get("objects", [])), name
        for i, (x, y, _, index) in enumerate(entry.get("warps", [])):
            assert (player[0xD3AF + 4 * i], player[0xD3B0 + 4 * i], player[0xD3B1 + 4 * i]) == (y, x, index), name
        sides = sum(b for s, b in (("east", 1), ("west", 2), ("south", 4), ("north", 8)) if s in entry)
        assert player[0xD370] == sides, name
        x, y = player[sp.X], player[sp.Y]
        assert (player[0xD364], player[0xD363]) == (x % 2, y % 2)
        assert player.word(0xD35F) == 0xC6E8 + (y + 2) // 2 * (width // 2 + 6) + (x + 2) // 2
        # the view in wTileMap shows the tile under the player where readers look for it
        assert player[0xC3A0 + 20 * 9 + 8] == player.tile(x, y)

    check("HOME_2F")
    player.walk_to((0, 1))
    player.settle()
    check("HOME_1F")
    player.walk_to((6, 7))
    player.step("down")
    player.settle()
    check("MOSSBY")
    assert player.where == (0, 3, 5)  # led one step out of the door
    player.walk_to((14, 4))
    player.settle()
    check("OTTIS_HOUSE")
    assert player[0xD365] == 0
    player.walk_to((2, 7))
    player.step("down")
    player.settle()
    player.walk_to((9, 0))
    player.step("up")
    check("PEBBLE_LANE")
    player.step("down")
    check("MOSSBY")


def test_ledges_are_one_way_and_ignore_the_pad(player: sp.Player) -> None:
    to_the_lane(player)
    player.walk_to((3, 24))
    player.walk_to((3, 26))  # around, by the path
    player.press("up", 30, 8)
    assert player.where == (12, 3, 26)
    player.walk_to((3, 24))
    player.down("down")
    player.wait(lambda: player[0xD736] & 0x40, 20)
    assert player[0xD730] & 0x80
    assert player[0xCD6B] == 0xFF
    player.up("down")
    player.wait(lambda: player.listening, 60)
    assert player.where == (12, 3, 26)


# ---------------------------------------------------------------------------------------------- menu and text
def test_start_menu_keeps_its_variables_after_closing(player: sp.Player) -> None:
    player.press("start")
    assert player.outermost == sp.TALK
    assert player.settle_any() == "menu"
    assert (player[0xCC24], player[0xCC25], player[0xCC28], player[0xCC29]) == (2, 11, 6, 0xCB)
    assert player[0xFFB0] == 0
    assert player[0xCFC4] == 1
    assert player[player.word(0xCC30)] == 0xED
    for key in ("left", "right", "select"):
        player.press(key)
        assert player[0xCC26] == 0
        assert player.outermost == sp.TALK
    player.press("down")
    assert player[0xCC26] == 1
    assert player[0xCC2D] == 1
    assert player.word(0xCC30) == 0xC3A0 + 20 * 4 + 11
    player.press("up")
    player.press("up")
    assert player[0xCC26] == 5  # six lines, wraps
    player.press("start")
    player.settle()
    assert (player[0xCC24], player[0xCC25], player[0xCC28], player[0xCC29]) == (2, 11, 6, 0xCB)  # stale on purpose
    assert player[player.word(0xCC30)] != 0xED
    assert player[0xFFB0] == 144
    assert player[0xCFC4] == 0
    player.press("start")
    assert player[0xCC26] == 5  # remembered
    player.press("b")
    player.settle()


def test_hidden_event_has_a_return_address_of_its_own(player: sp.Player) -> None:
    player.walk_to((3, 2))
    player.face("up")
    player.press("a", 4, 8)
    assert player.outermost == sp.HIDDEN
    player.settle_text()
    assert "Adventure" in player.talk_through()


def test_text_prints_letter_by_letter_and_waits_with_a_blinking_arrow(player: sp.Player) -> None:
    player.walk_to((0, 1))
    player.settle()
    player.talk_to(1)
    assert player[0xD125] == 1
    assert player[0xC490] == 0x79
    assert player[0xCFC4] == 1
    arrow = [player[0xC4F2]]
    for _ in range(64):
        player.tick()
        arrow.append(player[0xC4F2])
    assert {0xEE, 0x7F} == set(arrow)
    waiting = player.screen_text()
    for key in ("start", "select", "up", "left"):
        player.press(key)
    assert player.screen_text().replace(">", " ") == waiting
    player.press("a", 2, 0)
    counts = []
    for _ in range(90):
        player.tick()
        counts.append(sum(0x80 <= t < 0xC0 for t in player.memory[0xC3A0 + 20 * 14 : 0xC3A0 + 20 * 18]))
    grown = [i for i, (a, b) in enumerate(itertools.pairwise(counts)) if b == a + 1]
    gaps = {b - a for a, b in itertools.pairwise(grown)}
    assert 3 in gaps
    assert max(gaps, default=0) >= 3
    # the last box shows no arrow: only the stack tells that it waits
    for _ in range(12):
        if player.settle_any() == "text" and "called." in player.screen_text():
            break
        player.press("a", 4, 12)
    assert all(not player.tick() and player[0xC4F2] != 0xEE for _ in range(40))
    player.down("a")
    player.tick(60)
    assert player.outermost == sp.TALK  # stays open while A is held
    player.up("a")
    player.wait(lambda: player.listening, 30)


# ---------------------------------------------------------------------------------------------- chapter one
def to_the_lane(player: sp.Player) -> None:
    player.walk_to((0, 1))
    player.settle()
    player.walk_to((6, 7))
    player.step("down")
    player.settle()
    player.walk_to((9, 0))
    player.step("up")
    assert player[sp.CUR_MAP] == 12


def chapter_one(player: sp.Player) -> None:
    player.begin()
    player.walk_to((0, 1))
    player.settle()
    player.walk_to((6, 7))
    player.step("down")
    player.settle()
    player.talk_to(1)
    assert "pond" in player.talk_through()
    assert player.event(bit("ASKED_BY_OTTI"))
    assert not player.event(bit("GOT_SEED_POUCH"))
    player.walk_to((9, 0))
    player.step("up")
    player.talk_to(1)
    player.talk_through()
    pouch = world.ITEMS["SEED_POUCH"][0]
    assert player.event(bit("GOT_SEED_POUCH"))
    assert bytes(player.memory[0xD31D:0xD321]) == bytes([1, pouch, 1, 0xFF])
    assert any(player.memory[0xD5A6:0xD5C6])
    assert player[0xC110] == 0
    player.walk_to((9, 35))
    player.step("down")
    player.talk_to(1)
    player.talk_through()
    assert player.event(bit("RETURNED_SEED_POUCH"))
    assert bytes(player.memory[0xD31D:0xD31F]) == b"\x00\xff"


def test_same_keys_from_power_on_give_the_same_ram() -> None:
    with sp.Player() as first:
        chapter_one(first)
        log, frames, expected = first.log, first.frames, first.ram_hash()
    with sp.Player() as second:
        second.replay(log, frames)
        assert second.event(bit("RETURNED_SEED_POUCH"))
        assert second.ram_hash() == expected


# ---------------------------------------------------------------------------------------------- the package's tables
def test_tables_of_the_package_are_the_ones_the_sources_give() -> None:
    import export

    for name, table in export.tables().items():
        assert (export.DATA / name).read_text() == export._text(table), f"run roms/sprout/export.py: {name} is old"


def test_neighbouring_maps_agree_on_where_they_touch() -> None:
    import export

    by_name = {entry["name"]: entry for entry in world.MAPS}
    opposite = {"north": "south", "south": "north", "east": "west", "west": "east"}
    for entry in world.MAPS:
        for side, back in opposite.items():
            if side in entry:
                other, offset = entry[side]
                assert by_name[other][back] == (entry["name"], -offset)
    assert len(export.places()) == 5
