import numpy as np
import pytest

from pokered_rl.errors import ConfigError
from pokered_rl.observations import unpack_shades
from pokered_rl.record.palettes import PALETTES, ScreenPainter, palette, rgb_to_yuv


@pytest.mark.parametrize(
    ("rgb", "yuv"),
    # ITU-R BT.601 in limited range: black and white are 16 and 235, pure red has the largest red chroma, 240.
    [((0, 0, 0), (16, 128, 128)), ((255, 255, 255), (235, 128, 128)), ((255, 0, 0), (81, 90, 240))],
)
def test_colours_become_limited_range_bt601(rgb, yuv):
    assert rgb_to_yuv([rgb]).tolist() == [list(yuv)]


@pytest.mark.parametrize("scale", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("name", list(PALETTES))
def test_every_pixel_gets_its_colour_at_every_scale(name, scale):
    packed = np.random.default_rng(0).integers(0, 256, (12, 5), dtype=np.uint8)
    canvas = np.full((12 * scale, 20 * scale + 8), 77, np.uint8)  # the picture is a part of a wider plane
    chroma = [np.full((6 * scale, 10 * scale + 4), 128, np.uint8) for _ in range(2)]
    part = {"luma": canvas[:, : 20 * scale], "chroma": [plane[:, : 10 * scale] for plane in chroma]}
    painter = ScreenPainter(palette(name), scale=scale, **part)
    assert painter.paint(packed)
    assert not painter.paint(packed)
    shades = unpack_shades(packed).repeat(scale, axis=0).repeat(scale, axis=1)
    expected = rgb_to_yuv(palette(name))[shades]  # [H, W, 3]
    assert np.array_equal(canvas[:, : 20 * scale], expected[:, :, 0])
    assert (canvas[:, 20 * scale :] == 77).all()
    for plane, values in zip(chroma, (1, 2), strict=True):
        assert np.array_equal(plane[:, : 10 * scale], expected[::2, ::2, values])


def test_an_unknown_palette_or_scale_is_refused():
    with pytest.raises(ConfigError, match=r"palette must be one of grey, .* got 'pink'"):
        palette("pink")
    with pytest.raises(ConfigError, match="scale must be >= 1, got 0"):
        ScreenPainter(palette("grey"), scale=0, luma=np.zeros((0, 0), np.uint8), chroma=[])
