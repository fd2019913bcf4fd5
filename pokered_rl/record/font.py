"""A 5 x 7 pixel font for the side panel, without a font file or another dependency."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__: list[str] = []

#: Distance of two lines of text in pixels.
LINE_HEIGHT = 10

_ADVANCE = 6
# Printable ASCII from the space on: five columns a character, the lowest bit is the uppermost pixel.
_COLUMNS = (
    "000000000000005f00000007000700147f147f14242a7f2a12231308646236495620500005030000001c2241000041221c00"
    "2a1c7f1c2a08083e080800503000000808080808006060000020100804023e5149453e00427f400042615149462141454b31"
    "1814127f1027454545393c4a49493001710905033649494936064949291e0036360000005636000008142241001414141414"
    "004122140802015109063e415d594e7e1111117e7f494949363e414141227f4141221c7f494949417f090909013e4149497a"
    "7f0808087f00417f41002040413f017f081422417f404040407f020c027f7f0408107f3e4141413e7f090909063e4151215e"
    "7f09192946464949493101017f01013f4040403f1f2040201f3f4038403f631408146307087008076151494543007f414100"
    "02040810200041417f0004020102044040404040000102040020545454787f484444383844444420384444487f3854545418"
    "087e0901020c5252523e7f0804047800447d40002040443d007f1028440000417f40007c041804787c080404783844444438"
    "7c14141408081414187c7c080404084854545420043f4440203c4040207c1c2040201c3c4030403c44281028440c5050503c"
    "4464544c44000836410000007f000000413608000804081008"
)
_BITS = np.frombuffer(bytes.fromhex(_COLUMNS), np.uint8).reshape(-1, 5)  # [95, 5]
_GLYPHS = (_BITS[:, None, :] >> np.arange(7, dtype=np.uint8)[:, None] & 1).astype(bool)  # [95, 7, 5]


def draw_text(canvas: npt.NDArray[np.uint8], x: int, y: int, text: str, colour: int) -> None:
    """Draw a line of text, cut off at the edge of the canvas. Characters outside ASCII become question marks."""
    for character in text:
        if x + 5 > canvas.shape[1]:
            return
        code = ord(character) - 32
        glyph = _GLYPHS[code if 0 <= code < len(_GLYPHS) else ord("?") - 32]
        canvas[y : y + 7, x : x + 5][glyph[: max(0, canvas.shape[0] - y)]] = colour
        x += _ADVANCE
