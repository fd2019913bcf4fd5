import pytest
import torch

from pokered_rl.game import FULL_LAYOUT, RamLayout, screen_lines
from pokered_rl.game.text import read_text


def test_letters_digits_and_signs_read_as_they_look():
    # pret/pokered, constants/charmap.asm: A 0x80, é 0xBA, 9 0xFF, cursor 0xED, arrow 0xEE, yen 0xF0, times 0xF1; below
    # 0x80 are map tiles and boxes.
    assert read_text(torch.tensor([0x80, 0xBA, 0xFF, 0xED, 0xEE, 0xF0, 0xF1, 0x79, 0x00])) == "Aé9▶▼¥×  "


def test_screen_has_eighteen_lines_without_trailing_blanks(blank_ram):
    lines = screen_lines(blank_ram(bytes_at={0xC3A0 + 20 * 17 + 2: 0x87, 0xC3A0 + 20 * 17 + 3: 0x88}))
    assert len(lines) == 18
    assert lines[17] == "  HI"
    assert lines[:17] == [""] * 17


def test_text_needs_the_tile_map():
    layout = RamLayout(((0xD35E, 0xD360),))
    with pytest.raises(KeyError, match="C3A0"):
        screen_lines(torch.zeros(layout.size, dtype=torch.uint8), layout)
    assert len(screen_lines(torch.zeros(FULL_LAYOUT.size, dtype=torch.uint8))) == 18
