"""RAM bytes that show the effect of a button: all but sound, stack, pad, clocks, drawn sprites and random numbers."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from pokered_rl.game.ram_map import FULL_LAYOUT, RAM_MAP, RamLayout
from pokered_rl.game.screen_rules import TILE_MAP_COLUMNS, TILE_MAP_RANGE

__all__ = ["VOLATILE_RANGES", "effect_columns"]

#: The columns of the two waiting arrows: that of the text box, and that of the Pokédex page.
_ARROWS = tuple(TILE_MAP_RANGE[0] + TILE_MAP_COLUMNS * y + 18 for y in (11, 16))

#: Address ranges whose bytes may differ between two runs from one state although no button had an effect.
VOLATILE_RANGES: tuple[tuple[int, int], ...] = (
    (0xC000, 0xC100),  # the sound engine
    RAM_MAP["wShadowOAM"].range,  # sprites as drawn: the icons of the party move
    *((at, at + 1) for at in _ARROWS),  # they blink
    (RAM_MAP["wPlayTimeHours"].address, RAM_MAP["wPlayTimeFrames"].address + 1),
    (0xDF00, 0xE000),  # the stack
    (RAM_MAP["hDownArrowBlinkCount1"].address, RAM_MAP["hDownArrowBlinkCount2"].address + 1),
    (RAM_MAP["hJoyLast"].address, RAM_MAP["hJoy7"].address + 1),
    (0xFFBB, 0xFFBC),  # hAutoBGTransferPortion: which third of the screen is copied next
    (RAM_MAP["hRandomAdd"].address, RAM_MAP["hVBlankOccurred"].address + 1),
    RAM_MAP["hJoyInput"].range,
    RAM_MAP["wPlayerName"].range,  # typed letters are on the screen; START on an empty name writes its terminator only
)


@lru_cache(maxsize=8)
def effect_columns(layout: RamLayout = FULL_LAYOUT) -> Tensor:
    """Return the columns of ``ram`` in which a difference is an effect: bool ``[R]``.

    Two runs from one state, with and without a button, differ in these columns if and only if the button did more than
    make a sound and delay an animation.
    """
    addresses = torch.tensor([at for start, stop in layout.ranges for at in range(start, stop)])
    counts = torch.ones(len(addresses), dtype=torch.bool)
    for start, stop in VOLATILE_RANGES:
        counts &= (addresses < start) | (addresses >= stop)
    return counts
