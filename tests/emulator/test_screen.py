import numpy as np
import pytest

from pokered_rl.emulator import Cartridge, Emulator
from pokered_rl.emulator.readers import ScreenReader, pack_red
from pokered_rl.errors import ConfigError
from pokered_rl.observations import unpack_shades

# PyBoy's grey palette, darkest first.
GREYS = np.array([0x00, 0x55, 0x99, 0xFF], dtype=np.uint8)


def make_picture(shades):
    """RGBA as PyBoy keeps it, of shades uint8 [144, 160]."""
    rgba = np.empty((144, 160, 4), dtype=np.uint8)
    rgba[..., :3] = GREYS[shades][..., None]
    rgba[..., 3] = 0xFF
    return rgba


def read(picture, size):
    reader = ScreenReader(picture, size)
    red = np.empty(reader.shape, dtype=np.uint8)
    reader.red_into(red)
    return pack_red(red)


def test_leftmost_pixel_stands_in_the_highest_bits():
    shades = np.zeros((144, 160), dtype=np.uint8)
    shades[0, :4] = [0, 1, 2, 3]
    packed = read(make_picture(shades), "full")
    assert packed.shape == (144, 40)
    assert packed[0, 0] == 0b00_01_10_11
    assert packed[0, 1] == 0


@pytest.mark.parametrize(("size", "step"), [("full", 1), ("half", 2)])
def test_packing_loses_nothing(size, step):
    shades = np.random.default_rng(0).integers(0, 4, (144, 160), dtype=np.uint8)
    assert (unpack_shades(read(make_picture(shades), size)) == shades[::step, ::step]).all()


def test_packing_a_batch_packs_each_picture():
    red = GREYS[np.random.default_rng(1).integers(0, 4, (3, 72, 80))]
    packed = pack_red(red)
    assert packed.shape == (3, 72, 20)
    assert all((packed[row] == pack_red(red[row])).all() for row in range(3))


def test_reader_follows_the_live_buffer():
    picture = make_picture(np.zeros((144, 160), dtype=np.uint8))
    reader = ScreenReader(picture, "half")
    picture[..., :3] = 0xFF
    red = np.empty((72, 80), dtype=np.uint8)
    reader.red_into(red)
    assert (red == 0xFF).all()


def test_pixels_are_what_pyboy_draws(emulator):
    emulator.tick(1, render=True)
    drawn = emulator._pyboy.screen.ndarray[::2, ::2, 0] >> 6
    assert (unpack_shades(emulator.pixels()) == drawn).all()
    assert len(np.unique(drawn)) == 4


def test_full_screen_shows_every_pixel(sprout, start):
    with Emulator(sprout, screen="full") as emulator:
        emulator.load_state(start)
        assert emulator.pixels().shape == (144, 40)
        assert (unpack_shades(emulator.pixels()) == emulator._pyboy.screen.ndarray[..., 0] >> 6).all()


def test_unpacking_keeps_leading_dimensions():
    packed = np.zeros((2, 3, 72, 20), dtype=np.uint8)
    assert unpack_shades(packed).shape == (2, 3, 72, 80)


def test_unknown_screen_size_is_refused():
    with pytest.raises(ConfigError, match="half, full, got 'quarter'"):
        Emulator(Cartridge.bundled(), screen="quarter")
