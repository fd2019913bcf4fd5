"""Colours of the four shades, and painting packed pixels into the planes of a video frame."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from pokered_rl.errors import ConfigError
from pokered_rl.observations import unpack_shades

__all__ = ["PALETTES"]

Colour = tuple[int, int, int]

#: Name to colours, from shade 0 (black) to 3 (white), red-green-blue.
PALETTES: dict[str, tuple[Colour, Colour, Colour, Colour]] = {
    "grey": ((0, 0, 0), (85, 85, 85), (170, 170, 170), (255, 255, 255)),
    "green": ((15, 56, 15), (48, 98, 48), (139, 172, 15), (155, 188, 15)),
    "pocket": ((32, 33, 28), (92, 94, 80), (152, 155, 134), (216, 220, 196)),
    "amber": ((24, 12, 4), (112, 60, 20), (216, 132, 48), (255, 220, 148)),
    "night": ((232, 238, 248), (132, 148, 184), (58, 72, 112), (14, 18, 34)),
}


def palette(name: str) -> npt.NDArray[np.uint8]:
    """Return the colours of a palette, uint8 [4, 3], from shade 0 to 3.

    Raises:
        ConfigError: There is no palette of this name.
    """
    if name not in PALETTES:
        raise ConfigError(f"palette must be one of {', '.join(PALETTES)}, got {name!r}")
    return np.array(PALETTES[name], np.uint8)


def rgb_to_yuv(rgb: npt.NDArray[np.uint8] | Sequence[Colour]) -> npt.NDArray[np.uint8]:
    """Convert colours uint8 [*, 3] to luma and chroma uint8 [*, 3] (ITU-R BT.601, limited range)."""
    colours = np.asarray(rgb, np.float32) / 255
    matrix = np.array([[65.481, 128.553, 24.966], [-37.797, -74.203, 112.0], [112.0, -93.786, -18.214]], np.float32)
    return np.round(colours @ matrix.T + np.array([16, 128, 128], np.float32)).astype(np.uint8)


class ScreenPainter:
    """Write packed pixels, enlarged and coloured, into a part of the planes of a ``yuv420p`` frame.

    Four pixels are one byte, so a table of 256 entries gives all bytes of a plane for four pixels at once.

    Args:
        colours: Colours of the shades, uint8 [4, 3].
        scale: How often a pixel is repeated across and down.
        luma: The part of the luma plane to write to, uint8 [H * scale, W * scale].
        chroma: The same part of both chroma planes, uint8 [H * scale / 2, W * scale / 2].

    Raises:
        ConfigError: ``scale`` is below 1.
    """

    def __init__(
        self,
        colours: npt.NDArray[np.uint8],
        *,
        scale: int,
        luma: npt.NDArray[np.uint8],
        chroma: Sequence[npt.NDArray[np.uint8]],
    ) -> None:
        if scale < 1:
            raise ConfigError(f"scale must be >= 1, got {scale}")
        self._scale, self._luma, self._chroma = scale, luma, chroma
        planes = rgb_to_yuv(colours)[unpack_shades(np.arange(256, dtype=np.uint8)[:, None])]  # [256, 4, 3]
        wide = np.repeat(planes, scale, axis=1)  # [256, 4 * scale, 3]
        self._luma_table = _words(wide[:, :, 0])
        # yuv420p keeps the colour of every second column and line: the left and upper one.
        self._chroma_tables = [_words(wide[:, ::2, plane]) for plane in (1, 2)]
        self._is_grey = bool((planes[..., 1:] == 128).all())
        for plane in chroma:
            plane[:] = 128
        self._painted = b""

    def paint(self, packed: npt.NDArray[np.uint8]) -> bool:
        """Paint one picture, packed pixels uint8 [H, W / 4]; return whether it differs from the one before."""
        content = packed.tobytes()
        if content == self._painted:
            return False
        self._painted = content
        lines = self._luma_table.take(packed).view(np.uint8)  # [H, W * scale]
        for repeat in range(self._scale):
            self._luma[repeat :: self._scale] = lines
        if not self._is_grey:
            source = np.arange(0, len(self._luma), 2) // self._scale  # the picture line of each chroma line
            for plane, table in zip(self._chroma, self._chroma_tables, strict=True):
                plane[:] = table.take(packed[source]).view(np.uint8)
        return True


def _words(table: npt.NDArray[np.uint8]) -> npt.NDArray[Any]:
    """Return uint8 [256, n] as 256 items of n bytes, so that one look-up copies all n."""
    table = np.ascontiguousarray(table)
    size = table.shape[1]
    return table.view({1: "u1", 2: "u2", 4: "u4", 8: "u8"}.get(size, f"V{size}"))[:, 0]
