"""States of other PyBoy versions. The layouts below were read off PyBoy's `load_state` methods, version by version."""

import io
import shutil
import struct
import subprocess
import sys

import pytest
from pyboy import PyBoy

from pokered_rl.emulator import STATE_VERSION, Emulator, SaveState, load_raw
from pokered_rl.emulator.state_layout import as_version_12, halted_at, with_stat_transition
from pokered_rl.errors import SaveStateError

SCREEN = 144 * 160


class Reader:
    def __init__(self, raw):
        self.raw, self.place = raw, 0

    def take(self, count):
        self.place += count
        assert self.place <= len(self.raw)
        return self.raw[self.place - count : self.place]


def downgrade(raw: bytes, version: int) -> bytes:
    """A version-29 DMG state as PyBoy of state version 7-17 would have written it."""
    assert raw[0] == 29
    old = version < 8
    now, out = Reader(raw), bytearray()
    now.take(1)
    out += bytes([version]) + now.take(1)  # boot ROM flag
    key0 = now.take(1)
    out += key0 if version >= 16 else b""
    speed = now.take(3)  # key1, double speed, cgb
    out += b"" if old else speed
    out += now.take(12 + 1)  # registers, interrupts enabled
    now.take(1)  # interrupt enable delay, from version 19 on
    out += now.take(3)  # halted, stopped, IE
    queued = now.take(2)
    out += b"" if old else queued
    cycles = now.take(8)
    out += cycles if version >= 12 else b""
    now.take(4 + 8)  # OAM DMA, from version 19 on
    out += now.take(8192 + 160 + 4 + 3 + 4)
    priority = now.take(1)
    out += priority if version >= 16 else b""
    lines = now.take(144 * 5)
    out += lines if version >= 11 else b""
    cgb = now.take(1)
    downgraded = now.take(1)
    shift = now.take(1)
    flags = now.take(3)  # frame done, first frame, reset
    last_cycles, clocks = now.take(8), now.take(16 + 1)
    now.take(1)  # stat_transition: the byte that is missed
    if not old:
        out += cgb + (downgraded if version >= 17 else b"") + shift + (flags if version >= 13 else b"")
        out += (last_cycles if version >= 12 else b"") + clocks
    samples = struct.unpack_from("<Q", raw, now.place + 8)[0]
    sound_end = find_screen(raw, now.place + 24 + (samples + 1) * 2)
    now.take(sound_end - now.place)
    out += bytes(1717) if version >= 13 else b""  # their sound parts differ; nothing of them is used
    out += lines if version < 11 else b""
    screen = now.take(SCREEN * 5)
    if version >= 10:
        out += screen
    else:
        out += b"".join(screen[5 * i : 5 * i + 4] for i in range(SCREEN))
    now.take(1)  # window flag, from version 18 on
    out += now.take(8192 + 0x60 + 0x4C + 0x7F)
    bank = now.take(1)
    out += bytes(0x34) if version < 16 else bank  # unused registers to version 15, then the RAM bank
    out += now.take(1 + 1 + 2 + 2 + 1 + 1)  # timer
    now.take(1)  # reload state, from version 20 on
    timer_cycles = now.take(8)
    out += timer_cycles if version >= 12 else b""
    next_event = now.take(8)
    out += next_event if version >= 13 else b""
    out += now.take(4 + 32768 + 2)  # cartridge, buttons
    out += now.take(4 + 4 * 8) if version >= 15 else b""  # serial port
    return bytes(out)


def find_screen(raw, start):
    """Where the picture begins: the first place behind `start` with a whole screen of opaque grey pixels (5 bytes)."""
    for place in range(start, len(raw) - SCREEN * 5):
        picture = raw[place : place + SCREEN * 5]
        if picture[3] == 255 and picture[0::5] == picture[1::5] and picture[3::5].count(255) == SCREEN:
            return place
    raise AssertionError("no picture in the state")


@pytest.fixture
def foreign(emulator, tmp_path):
    """A bare state of the installed PyBoy, some steps into the game."""
    for button in ("down", "start", "down"):
        emulator.press(button)
        emulator.tick(8)
        emulator.release(button)
        emulator.tick(16, render=True)
    path = tmp_path / "foreign.state"
    path.write_bytes(emulator.save_state().pyboy)
    return path


def test_state_of_the_installed_pyboy_loads(sprout, emulator, foreign):
    state = load_raw(foreign, sprout)
    ram, pixels = emulator.ram(), emulator.pixels()
    emulator.reset()
    emulator.load_state(state)
    assert (emulator.ram() == ram).all()
    assert (emulator.pixels() == pixels).all()


@pytest.mark.skipif(STATE_VERSION != 29, reason="the layouts are those of PyBoy 2.8.1")
@pytest.mark.parametrize("version", [7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17])
def test_old_versions_are_migrated_and_play_on_alike(sprout, emulator, foreign, version, tmp_path):
    path = tmp_path / "old.state"
    path.write_bytes(downgrade(foreign.read_bytes(), version))
    state = load_raw(path, sprout)
    assert state.state_version == 29
    assert state.cartridge_sha1 == sprout.sha1
    ram, pixels = emulator.ram(), emulator.pixels()
    with Emulator(sprout) as migrated:
        migrated.load_state(state)
        assert (migrated.ram() == ram).all()
        assert (migrated.pixels() == pixels).all()
        for player in (emulator, migrated):
            player.press("b")
            player.tick(8)
            player.release("b")
            player.tick(112, render=True)
        assert (migrated.pixels() == emulator.pixels()).all()


@pytest.mark.skipif(STATE_VERSION != 29, reason="the layouts are those of PyBoy 2.8.1")
def test_version_12_does_not_load_without_the_missing_byte(emulator, foreign):
    # Should a later PyBoy mend its reader, the migration must step back: this test then says so.
    with pytest.raises(SaveStateError, match="No data"):
        emulator.load_raw_bytes(downgrade(foreign.read_bytes(), 12))


@pytest.mark.parametrize("version", [7, 13, 0])
def test_byte_is_put_in_for_versions_8_to_12_only(version):
    with pytest.raises(ValueError, match=f"8-12, got {version}"):
        with_stat_transition(bytes([version]) + bytes(200_000))


@pytest.mark.parametrize("version", [6, 12, 18])
def test_versions_13_to_17_only_are_written_anew(version):
    with pytest.raises(ValueError, match=f"13-17, got {version}"):
        as_version_12(bytes([version]) + bytes(200_000), battery_bytes=32768)


def test_size_that_cannot_be_is_noticed(sprout, foreign):
    old = downgrade(foreign.read_bytes(), 14)
    foreign.write_bytes(old[:-2000])
    with pytest.raises(SaveStateError, match="cannot be a state of version 14 of this cartridge"):
        load_raw(foreign, sprout)


@pytest.mark.parametrize("version", [18, 28])
def test_versions_between_are_tried_and_refused_clearly(sprout, foreign, version):
    foreign.write_bytes(bytes([version]) + foreign.read_bytes()[1:-300])
    with pytest.raises(SaveStateError, match=rf"version {version}, .*versions 18 to 28, .* cannot be converted"):
        load_raw(foreign, sprout)


def test_newer_version_is_refused(sprout, foreign):
    foreign.write_bytes(bytes([STATE_VERSION + 1]) + foreign.read_bytes()[1:])
    with pytest.raises(SaveStateError, match=rf"version {STATE_VERSION + 1}, .*Update PyBoy"):
        load_raw(foreign, sprout)


@pytest.mark.parametrize(
    "content", [b"", b"\x0c", b"\x0c" + bytes(5000), b"\x1dgarbage", bytes(100), b"\x09" * 170_000]
)
def test_rubbish_is_refused(sprout, tmp_path, content):
    path = tmp_path / "rubbish.state"
    path.write_bytes(content)
    with pytest.raises(SaveStateError, match=r"rubbish\.state"):
        load_raw(path, sprout)


def test_huge_file_is_refused_unread(sprout, tmp_path):
    path = tmp_path / "huge.state"
    with path.open("wb") as file:
        file.truncate(1 << 30)
    with pytest.raises(SaveStateError, match="1073741824 bytes"):
        load_raw(path, sprout)


def test_own_format_is_read_too(sprout, start, tmp_path):
    path = tmp_path / "own.state"
    start.save(path)
    assert load_raw(path, sprout) == start


def test_own_format_of_another_cartridge_is_refused(sprout, tmp_path):
    path = tmp_path / "own.state"
    SaveState(pyboy=b"\x1d", cartridge_sha1="00" * 20, cartridge_title="OTHER", pyboy_version="2.8.1").save(path)
    with pytest.raises(SaveStateError, match="another cartridge: 'OTHER'"):
        load_raw(path, sprout)


def asleep_at(raw, address):
    """A version-29 state whose CPU sleeps at an address: 6 bytes of flags, then A F B C D E HL SP PC ..."""
    changed = bytearray(raw)
    struct.pack_into("<H", changed, 6 + 10, address)
    changed[6 + 14] = 1  # behind PC: interrupts enabled, interrupt enable delay
    return bytes(changed)


def test_cpu_asleep_where_the_rom_has_no_halt_gives_a_foreign_state_away(sprout, start, tmp_path):
    rom = sprout.rom()
    without_halt = next(a for a in range(0x150, 0x4000) if 0x76 not in rom[a - 1 : a + 1])
    path = tmp_path / "foreign.state"
    path.write_bytes(asleep_at(start.pyboy, without_halt))
    assert halted_at(path.read_bytes()) == without_halt
    with pytest.raises(SaveStateError, match=rf"another cartridge: its CPU waits at 0x{without_halt:04x}"):
        load_raw(path, sprout)
    path.write_bytes(asleep_at(start.pyboy, rom.index(0x76, 0x40)))
    load_raw(path, sprout)


def test_state_with_sound_plays_on_without(sprout, emulator, tmp_path):
    pyboy = PyBoy(io.BytesIO(sprout.rom()), window="null", sound_emulated=True, log_level="ERROR")
    pyboy.set_emulation_speed(0)
    pyboy.tick(100, True)
    buffer = io.BytesIO()
    pyboy.save_state(buffer)
    expected = bytes(pyboy.memory[0xC000:0xE000])
    pyboy.stop(save=False)
    path = tmp_path / "sound.state"
    path.write_bytes(buffer.getvalue())
    emulator.load_state(load_raw(path, sprout))
    assert emulator.ram()[:8192].tobytes() == expected


OLD_PROGRAM = """
import sys
from pyboy import PyBoy
rom, state, ram = sys.argv[1:]
pyboy = PyBoy(rom, window="null", sound_emulated=False)
pyboy.set_emulation_speed(0)
memory = pyboy.memory
def press(button):
    pyboy.button_press(button); pyboy.tick(8, False)
    pyboy.button_release(button); pyboy.tick(16, True)
while not (memory[0xD369] and memory[0xFFB0] == 144):  # a map is loaded and nothing covers it
    name_list = [memory[address] for address in (0xCC24, 0xCC25, 0xCC28, 0xCC29)] == [2, 1, 3, 1]
    press("down" if name_list and memory[0xCC26] == 0 else "a")
    assert pyboy.frame_count < 20000
pyboy.tick(120, True)
for button in ("down", "right", "start", "down"):
    press(button)
with open(state, "wb") as file:
    pyboy.save_state(file)
with open(ram, "wb") as file:
    file.write(bytes(memory[0xC000:0xE000]) + bytes(memory[0xFF80:0xFFFF]))
pyboy.stop(save=False)
"""


@pytest.fixture
def old_python(request, tmp_path):
    """The interpreter of a new environment with an old PyBoy."""
    release = request.param
    subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "venv")], check=True, timeout=120)
    python = str(tmp_path / "venv" / "bin" / "python")
    install = subprocess.run(
        [python, "-m", "pip", "install", "--quiet", f"pyboy=={release}", "numpy<2.3"],
        capture_output=True,
        text=True,
        timeout=240,
    )
    if install.returncode != 0:
        pytest.skip(f"pyboy {release} cannot be installed here: {install.stderr.strip()[-200:]}")
    return python


@pytest.mark.long
@pytest.mark.parametrize(
    ("old_python", "version"), [("2.4.0", 12), ("2.5.4", 14), ("2.7.0", 15), ("2.8.0", 29)], indirect=["old_python"]
)
def test_state_that_an_old_pyboy_wrote_loads_and_plays(sprout, old_python, version, tmp_path):
    rom, state, ram = tmp_path / "sprout.gb", tmp_path / "old.state", tmp_path / "old.ram"
    shutil.copy(sprout.path, rom)
    subprocess.run(
        [old_python, "-c", OLD_PROGRAM, str(rom), str(state), str(ram)], check=True, capture_output=True, timeout=120
    )
    assert state.read_bytes()[0] == version
    with Emulator(sprout) as emulator:
        emulator.load_state(load_raw(state, sprout))
        assert emulator.ram().tobytes() == ram.read_bytes()
        moves = []
        for button in ("b", "b", "down", "up", "right", "left"):
            place = [emulator.memory[address] for address in (0xC109, 0xD361, 0xD362)]  # facing, y, x
            emulator.press(button)
            emulator.tick(8)
            emulator.release(button)
            emulator.tick(40, render=True)
            moves.append(place != [emulator.memory[address] for address in (0xC109, 0xD361, 0xD362)])
        assert any(moves)


def test_state_of_game_boy_color_mode_is_refused_by_that_name(sprout, tmp_path):
    pyboy = PyBoy(str(sprout.path), window="null", cgb=True, sound_emulated=False, log_level="CRITICAL")
    pyboy.tick(60)
    with (tmp_path / "colour.state").open("wb") as file:
        pyboy.save_state(file)
    pyboy.stop(save=False)
    with pytest.raises(SaveStateError, match="Game Boy Color mode"):
        load_raw(tmp_path / "colour.state", sprout)


def test_old_state_of_game_boy_color_mode_is_refused_by_that_name(sprout, tmp_path):
    # Version 9: boot ROM flag, speed key, speed, then the colour flag. A state of 150,000 bytes holds the work RAM of
    # that mode, which begins at byte 134,639 of the public ones.
    (tmp_path / "old.state").write_bytes(bytes([9, 0, 0, 0, 1]) + bytes(150_000))
    with pytest.raises(SaveStateError, match="Game Boy Color mode"):
        load_raw(tmp_path / "old.state", sprout)
