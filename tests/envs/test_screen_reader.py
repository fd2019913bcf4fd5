"""The NumPy arithmetic gives what the tensor arithmetic of the game gives."""

import pytest
import torch

from pokered_rl.envs.screen_reader import read_screen_rows
from pokered_rl.game import FULL_LAYOUT, SCREEN_RANGES, RamLayout, ScreenKind, read_screen
from pokered_rl.game.screen_rules import CONDITIONS, STACK_RANGE, WAIT_LOOP_RETURNS

_NARROW = RamLayout.merged(SCREEN_RANGES)
_STACKLESS = RamLayout.merged(span for span in SCREEN_RANGES if span != STACK_RANGE)


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    """Images in which each condition of the rules holds about as often as not, with and without a live menu."""
    torch.manual_seed(0)
    ram = torch.zeros(3000, FULL_LAYOUT.size, dtype=torch.uint8)
    for condition in CONDITIONS.values():
        values = torch.tensor(sorted(condition.values), dtype=torch.uint8)
        rows = torch.rand(len(ram)) < 0.4
        chosen = values[torch.randint(0, len(values), (int(rows.sum()),))]
        ram[rows, FULL_LAYOUT.column(condition.address)] = chosen
    cursor = torch.randint(0, 360, (len(ram),))
    location = FULL_LAYOUT.column(0xCC30)
    ram[:, location] = ((0xC3A0 + cursor) & 255).to(torch.uint8)
    ram[:, location + 1] = ((0xC3A0 + cursor) >> 8).to(torch.uint8)
    live = torch.rand(len(ram)) < 0.6
    ram[live, FULL_LAYOUT.column(0xC3A0) + cursor[live]] = 0xED
    for k, word in enumerate(WAIT_LOOP_RETURNS):
        waits = torch.rand(len(ram)) < 0.2
        ram[waits, FULL_LAYOUT.column(0xDFF1 - 2 * k)] = word & 255
        ram[waits, FULL_LAYOUT.column(0xDFF2 - 2 * k)] = word >> 8
    return ram


@pytest.mark.parametrize("layout", [FULL_LAYOUT, _NARROW, _STACKLESS], ids=["full", "narrow", "stackless"])
def test_gives_what_the_game_gives(images, layout):
    columns = torch.cat([torch.arange(FULL_LAYOUT.column(a), FULL_LAYOUT.column(a) + b - a) for a, b in layout.ranges])
    ram = images[:, columns].contiguous()
    expected = read_screen(ram, layout)
    kind, usable = read_screen_rows(ram.numpy(), layout)
    assert torch.equal(torch.from_numpy(kind), expected.kind)
    assert torch.equal(torch.from_numpy(usable), expected.usable)
    # Enough kinds occur for this to mean something.
    assert len(set(kind.tolist())) >= len(ScreenKind) // 2
