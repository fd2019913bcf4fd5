"""Decode tile numbers to the text on the screen."""

from __future__ import annotations

from functools import cache

from torch import Tensor

from pokered_rl.game._data import load_json
from pokered_rl.game.ram_map import FULL_LAYOUT, RamLayout
from pokered_rl.game.screen_rules import TILE_MAP_COLUMNS

__all__ = ["read_text", "screen_lines"]

_FIRST_LETTER = 0x80
_CURSOR, _ARROW = 0xED, 0xEE


@cache
def _characters() -> tuple[str, ...]:
    """Return the letter of each of the 256 tiles; map tiles, boxes and control codes are blanks."""
    table: dict[str, str] = load_json("charmap.json")["characters"]
    letters = [" "] * 256
    for code, text in table.items():
        if int(code) >= _FIRST_LETTER and not text.startswith("<"):
            letters[int(code)] = text
    letters[_CURSOR], letters[_ARROW] = "▶", "▼"
    return tuple(letters)


def read_text(codes: Tensor) -> str:
    """Return the text of character codes (or of text tiles, which have the same numbers), uint8 ``[n]``."""
    letters = _characters()
    return "".join(letters[code] for code in codes.tolist())


def screen_lines(ram: Tensor, layout: RamLayout = FULL_LAYOUT) -> list[str]:
    """Return the 18 lines of text on the screen of one RAM image, uint8 ``[R]``; ``layout`` carries wTileMap.

    Raises:
        KeyError: If it does not.

    Example:
        >>> import torch
        >>> ram = torch.zeros(8319, dtype=torch.uint8)
        >>> ram[0x3A0 : 0x3A2] = torch.tensor([0x87, 0x88], dtype=torch.uint8)
        >>> screen_lines(ram)[0]
        'HI'
    """
    tiles = layout.read(ram, "wTileMap")
    return [read_text(row).rstrip() for row in tiles.reshape(-1, TILE_MAP_COLUMNS)]
