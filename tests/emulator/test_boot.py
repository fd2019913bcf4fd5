import pytest

from pokered_rl.emulator import Emulator, boot
from pokered_rl.errors import CartridgeError
from pokered_rl.game.ram_map import address


def test_start_is_reached_in_two_seconds_of_play_and_the_player_can_walk(sprout):
    with Emulator(sprout) as emulator:
        emulator.tick(500)  # wherever it stands, boot begins at power-on
        before = emulator.frame_count
        boot(emulator)
        assert emulator.memory[address("wCurMapWidth")] > 0
        # Sprout is playable in under 2 s = 119 frames without its title; the looks and the try come on top.
        assert emulator.frame_count - before < 1500


def test_booting_twice_gives_the_same_state(sprout, start):
    with Emulator(sprout) as emulator:
        again = boot(emulator)
        assert again.sha256 == start.sha256
        # The try of the direction keys has been undone.
        assert emulator.save_state().sha256 == start.sha256


def test_start_state_shows_its_picture(emulator, start):
    shown = emulator.pixels()
    emulator.tick(1, render=True)
    assert (emulator.pixels() == shown).mean() > 0.9
    assert shown.min() < shown.max()


def test_attempt_is_bounded_and_says_where_the_game_stood(sprout):
    refused = pytest.raises(CartridgeError, match=r"within 30 frames. It is at [A-Z_]+; .*wCurMap \d+")
    with Emulator(sprout) as emulator, refused:
        boot(emulator, max_frames=30)


def test_game_that_never_starts_is_given_up(tmp_path):
    # A ROM that sleeps for ever: DI; HALT; JR -3 at the entry point, header in order.
    from pokered_rl.emulator import Cartridge

    rom = bytearray(32 * 1024)
    rom[0x100:0x104] = b"\xf3\x76\x18\xfd"
    rom[0x134:0x139] = b"SLEEP"
    rom[0x147], rom[0x149] = 0x13, 3
    checksum = 0
    for byte in rom[0x134:0x14D]:
        checksum = (checksum - byte - 1) & 0xFF
    rom[0x14D] = checksum
    path = tmp_path / "sleep.gb"
    path.write_bytes(rom)
    with Emulator(Cartridge.find(path, allow_unknown=True)) as emulator:
        with pytest.raises(CartridgeError, match=r"'SLEEP'.*did not reach its playable start"):
            boot(emulator, max_frames=2000)
        assert emulator.frame_count < 2100
