"""Read the picture as packed 2-bit shades, a sixteenth of its RGBA bytes and without loss."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pokered_rl.errors import ConfigError

__all__ = ["SCREEN_SHAPES", "ScreenReader", "ScreenSize", "pack_red"]

#: Every second pixel of every second line, or all of them.
ScreenSize = Literal["half", "full"]

#: Lines, and packed bytes a line, of each size.
SCREEN_SHAPES: dict[str, tuple[int, int]] = {"half": (72, 20), "full": (144, 40)}

# Four shades in the bytes of one little-endian word, each shifted down to bits 0-1 of its byte. The product moves them
# side by side into the top byte: the first pixel by 30 bits, the second by 20, the third by 10, the last by 0. All
# partial products fall on different bits, so nothing carries.
_TO_LOW_BITS = np.uint32(6)
_LOW_BITS = np.uint32(0x03030303)
_GATHER = np.uint32(1 << 30 | 1 << 20 | 1 << 10 | 1)


class ScreenReader:
    """Reader of PyBoy's live screen buffer.

    Args:
        rgba: uint8 [144, 160, 4], PyBoy's ``screen.ndarray``.
        size: ``"full"``, or ``"half"`` for every second line and column.

    Attributes:
        shape: Lines and columns of the picture.

    Raises:
        ConfigError: ``size`` is neither.
    """

    def __init__(self, rgba: NDArray[np.uint8], size: ScreenSize) -> None:
        if size not in SCREEN_SHAPES:
            raise ConfigError(f"screen must be one of {', '.join(SCREEN_SHAPES)}, got {size!r}")
        step = 2 if size == "half" else 1
        self._pixels = rgba.view("<u4")[::step, ::step, 0]  # [lines, columns] of whole RGBA pixels
        self.shape = self._pixels.shape

    def red_into(self, out: NDArray[np.uint8]) -> None:
        """Write the red of every pixel, which determines its shade, to ``out``, uint8 [lines, columns]."""
        # Casting a word to a byte keeps its lowest one, red; numpy does that faster than a strided byte copy.
        np.copyto(out, self._pixels, casting="unsafe")


def pack_red(red: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Pack shades, four a byte, the leftmost in the highest bits; shade = red >> 6: 0 black .. 3 white.

    Args:
        red: uint8 [*, lines, columns], contiguous, with a multiple of 4 columns.

    Returns:
        A new array, uint8 [*, lines, columns / 4].
    """
    words = red.view("<u4") >> _TO_LOW_BITS  # [*, lines, columns / 4]
    words &= _LOW_BITS
    words *= _GATHER
    return words.view(np.uint8)[..., 3::4].copy()  # the top byte of each word
