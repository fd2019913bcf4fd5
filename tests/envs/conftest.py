"""Memory images made by hand."""

from collections.abc import Callable

import pytest
import torch
from tensordict import TensorDict

from pokered_rl.game import FULL_LAYOUT, RAM_MAP

torch.set_num_threads(1)

Image = Callable[..., torch.Tensor]

#: The overworld loop waits for a frame (ram_map, "Telling the state from RAM").
_LOOP_WAITS = {0xDFFD: 0x02, 0xDFFE: 0x04, 0xFFB0: 144}


def _write(ram: torch.Tensor, **values: int | bytes | list[int]) -> torch.Tensor:
    """Writes bytes by label into the full image ``ram`` uint8 [8319], in place."""
    for label, value in values.items():
        column = FULL_LAYOUT.column(RAM_MAP[label].address)
        data = [value] if isinstance(value, int) else list(value)
        ram[column : column + len(data)] = torch.tensor(data, dtype=torch.uint8)
    return ram


def _overworld(**values: int | bytes | list[int]) -> torch.Tensor:
    """The full image of a player standing on map 0 of 20 x 18 steps at (5, 6), facing down; uint8 [8319]."""
    ram = torch.zeros(FULL_LAYOUT.size, dtype=torch.uint8)
    for address, value in _LOOP_WAITS.items():
        ram[FULL_LAYOUT.column(address)] = value
    _write(ram, wCurrentMapWidth2=20, wCurrentMapHeight2=18, wXCoord=5, wYCoord=6, wStatusFlags6=1)
    return _write(ram, **values)


def _start_menu(**values: int | bytes | list[int]) -> torch.Tensor:
    """The START menu, cursor on its first entry of six: LEFT, RIGHT and SELECT do nothing there."""
    ram = _overworld(
        wFontLoaded=1,
        wTopMenuItemY=2,
        wTopMenuItemX=11,
        wMaxMenuItem=6,
        wMenuWatchedKeys=0xCB,
        wMenuWrappingEnabled=1,
    )
    cursor = 0xC3A0 + 2 * 20 + 11
    _write(ram, wMenuCursorLocation=[cursor & 255, cursor >> 8])
    for address, value in {0xDFFD: 0x99, 0xFFB0: 0, cursor: 0xED}.items():
        ram[FULL_LAYOUT.column(address)] = value
    return _write(ram, **values)


def _batch(*images: torch.Tensor, **entries: torch.Tensor) -> TensorDict:
    """Images as one tensordict of batch size [E]."""
    return TensorDict({"ram": torch.stack(images), **entries}, batch_size=[len(images)])


@pytest.fixture
def write() -> Image:
    return _write


@pytest.fixture
def overworld() -> Image:
    return _overworld


@pytest.fixture
def start_menu() -> Image:
    return _start_menu


@pytest.fixture
def batch() -> Callable[..., TensorDict]:
    return _batch
