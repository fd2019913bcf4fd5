import dataclasses
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest

from pokered_rl.emulator import SOUND_RATE, Cartridge, Emulator
from pokered_rl.emulator.emulator import hash_ram
from pokered_rl.errors import SaveStateError


def walk(emulator, buttons, frames=16):
    for button in buttons:
        emulator.press(button)
        emulator.tick(8)
        emulator.release(button)
        emulator.tick(frames, render=True)


WAY = ("down", "right", "up", "start", "down", "b", "left")


def test_same_presses_from_the_same_state_give_the_same_ram(emulator, start):
    hashes = []
    for _ in range(2):
        emulator.load_state(start)
        walk(emulator, WAY)
        hashes.append((emulator.ram_hash(), emulator.pixels().tobytes()))
    assert hashes[0] == hashes[1]


def test_drawing_does_not_change_the_game(emulator, start):
    walk(emulator, WAY)
    drawn = emulator.ram_hash()
    emulator.load_state(start)
    for button in WAY:
        emulator.press(button)
        emulator.tick(8)
        emulator.release(button)
        emulator.tick(16, render=False)
    assert emulator.ram_hash() == drawn


def test_saved_state_brings_back_ram_and_picture(emulator):
    walk(emulator, WAY[:2])
    ram, pixels = emulator.ram(), emulator.pixels()
    state = emulator.save_state()
    walk(emulator, WAY)
    assert (emulator.ram() != ram).any()
    emulator.load_state(state)
    assert (emulator.ram() == ram).all()
    assert (emulator.pixels() == pixels).all()


def test_saving_does_not_disturb_the_game(emulator, start):
    walk(emulator, WAY)
    undisturbed = emulator.ram_hash()
    emulator.load_state(start)
    for button in WAY:
        walk(emulator, (button,))
        emulator.save_state()
    assert emulator.ram_hash() == undisturbed


def test_press_that_was_never_ticked_is_forgotten_by_loading(emulator, start):
    emulator.tick(24)
    expected = emulator.ram_hash()
    emulator.load_state(start)
    emulator.press("down")
    emulator.load_state(start)
    emulator.tick(24)
    assert emulator.ram_hash() == expected


def test_buttons_may_be_named_or_numbered(emulator, start):
    emulator.press("down")
    emulator.tick(8)
    by_name = emulator.ram_hash()
    emulator.load_state(start)
    emulator.press(7)  # BUTTONS[7] is DOWN
    emulator.tick(8)
    assert emulator.ram_hash() == by_name


def test_frame_count_counts_frames_across_states_and_resets(emulator, start):
    before = emulator.frame_count
    emulator.tick(5)
    emulator.load_state(start)
    emulator.tick(0)
    emulator.tick(7, render=True)
    emulator.reset()
    emulator.tick(3)
    assert emulator.frame_count == before + 15


def test_with_a_listener_every_frame_is_heard_and_the_game_plays_the_same(emulator, sprout, start):
    frames = []
    with Emulator(sprout, on_sound=frames.append) as loud:
        for player in (emulator, loud):
            player.load_state(start)  # saved without sound: its clocks stand still in there
            frames.clear()
            player.tick(100, render=True)
        assert len(frames) == 100
        assert sum(map(len, frames)) == pytest.approx(100 * 70_224 * SOUND_RATE / 4_194_304, abs=2)
        assert loud.ram_hash() == emulator.ram_hash()
        assert np.array_equal(loud.pixels(), emulator.pixels())


def test_with_a_listener_a_state_whose_sound_part_is_unknown_is_refused(sprout, start):
    with Emulator(sprout, on_sound=lambda samples: None) as loud:
        older = dataclasses.replace(start, pyboy=bytes([12]) + start.pyboy[1:])
        with pytest.raises(SaveStateError, match="sound can be switched on in states of version 29, not 12"):
            loud.load_state(older)


def test_reset_is_a_power_cycle(sprout):
    with Emulator(sprout) as emulator:
        emulator.tick(200)
        first = emulator.ram_hash()
        walk(emulator, WAY)
        emulator.reset()
        emulator.tick(200)
        assert emulator.ram_hash() == first


def test_state_of_another_cartridge_is_refused_and_both_are_named(emulator, start):
    foreign = dataclasses.replace(start, cartridge_sha1="00" * 20, cartridge_title="POKEMON RED")
    before = emulator.ram_hash()
    with pytest.raises(SaveStateError, match=r"POKEMON RED.*'SPROUT'") as refusal:
        emulator.load_state(foreign)
    assert emulator.cartridge.sha1 in str(refusal.value)
    assert emulator.ram_hash() == before


def test_state_of_a_newer_pyboy_is_refused_before_anything_changes(emulator, start):
    newer = dataclasses.replace(start, pyboy=b"\xc8" + start.pyboy[1:], pyboy_version="9.0")
    before = emulator.ram_hash()
    with pytest.raises(SaveStateError, match=r"version 200 \(PyBoy 9.0\).*update PyBoy"):
        emulator.load_state(newer)
    assert emulator.ram_hash() == before


@pytest.mark.parametrize("change", [lambda raw: raw[:-1], lambda raw: raw[:5000], lambda raw: raw + b"\0"])
def test_state_of_the_wrong_length_is_refused_and_the_emulator_stays_usable(emulator, start, change):
    with pytest.raises(SaveStateError, match="does not load into PyBoy"):
        emulator.load_state(dataclasses.replace(start, pyboy=change(start.pyboy)))
    emulator.load_state(start)
    walk(emulator, WAY)
    after = emulator.ram_hash()
    emulator.load_state(start)
    walk(emulator, WAY)
    assert emulator.ram_hash() == after


def test_empty_state_is_refused(emulator, start):
    with pytest.raises(SaveStateError, match="empty"):
        emulator.load_state(dataclasses.replace(start, pyboy=b""))


def test_battery_files_beside_the_rom_are_neither_read_nor_written(sprout, tmp_path):
    rom = tmp_path / "mine.gb"
    shutil.copy(sprout.path, rom)
    planted = {suffix: bytes([0x5A]) * 32768 for suffix in (".ram", ".rtc", ".sav", ".state")}
    for suffix, content in planted.items():
        (tmp_path / f"mine.gb{suffix}").write_bytes(content)
    with Emulator(Cartridge.find(rom)) as emulator:
        # PyBoy would have filled the battery memory with 0x5A from mine.gb.ram.
        assert emulator._pyboy.memory[0, 0xA000:0xA100] == [0] * 256
        emulator._pyboy.memory[0, 0xA000] = 0x77
        emulator.tick(60)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == sorted(
        ["mine.gb", *(f"mine.gb{suffix}" for suffix in planted)]
    )
    for suffix, content in planted.items():
        assert (tmp_path / f"mine.gb{suffix}").read_bytes() == content


def test_read_only_folder_is_enough(sprout, tmp_path):
    rom = tmp_path / "mine.gb"
    shutil.copy(sprout.path, rom)
    tmp_path.chmod(0o500)
    try:
        with Emulator(Cartridge.find(rom)) as emulator:
            emulator.tick(10)
    finally:
        tmp_path.chmod(0o700)
    assert [entry.name for entry in tmp_path.iterdir()] == ["mine.gb"]


PROGRAM = """
import multiprocessing
from pokered_rl.emulator import Cartridge, Emulator, EmulatorPool
cartridge = Cartridge.find()
worker = multiprocessing.get_context("fork").Process(target=Cartridge.find)
worker.start(), worker.join()
assert worker.exitcode == 0 and Cartridge.find() == cartridge
emulators = [Emulator(cartridge) for _ in range(3)]
pool = EmulatorPool(cartridge, num_emulators=3, num_threads=2)
pool.step([0, 1, 2])
"""


def test_program_that_closes_nothing_says_one_line_opens_no_window_and_ends_quietly(tmp_path):
    # With a video driver that does not exist, any attempt to open a window fails.
    environment = {**os.environ, "SDL_VIDEODRIVER": "nonexistent"}
    environment = {key: value for key, value in environment.items() if key not in ("POKERED_ROM", "DISPLAY")}
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120
    )
    assert (run.returncode, run.stdout) == (0, ""), run.stderr
    # Once: neither the second search nor the worker repeats it.
    assert run.stderr == (
        "pokered_rl: no roms/pokemon_red.gb and no POKERED_ROM: playing the bundled cartridge Sprout.\n"
    )


def test_closing_twice_does_nothing(sprout):
    emulator = Emulator(sprout)
    emulator.close()
    emulator.close()


def test_hash_is_sha256_over_the_full_image_only(emulator):
    # SHA-256 of 8,319 zero bytes, from `head -c 8319 /dev/zero | sha256sum`.
    assert hash_ram(np.zeros(8319, dtype=np.uint8)) == ZERO_HASH
    with pytest.raises(ValueError, match=r"\(8319,\), got \(8192,\)"):
        hash_ram(np.zeros(8192, dtype=np.uint8))
    assert emulator.ram_hash() == hash_ram(emulator.ram())


ZERO_HASH = "5c5b58d7ae301c767eb7163adf23342b8853fb93367015f8fa8b27c2f9d6f502"


def test_a_menu_is_drawn_alike_in_a_fresh_emulator(sprout, start):
    with Emulator(sprout) as emulator:
        emulator.load_state(start)
        emulator.press("start")
        emulator.tick(8)
        emulator.release("start")
        emulator.tick(40, render=True)
        menu = emulator.save_state()
        emulator.tick(24, render=True)
        expected = emulator.pixels()
    with Emulator(sprout) as fresh:
        fresh.load_state(menu)
        assert fresh.frame_count == 0
        fresh.tick(24, render=True)
        assert np.array_equal(fresh.pixels(), expected)
