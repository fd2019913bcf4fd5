"""Read the console's RAM and picture fast.

``PyBoy.memory[a:b]`` builds a list, 15 ns a byte: 124 us for the whole image, a fifth of an agent step. The 8 KiB of
work RAM are an ``array`` inside PyBoy that never moves: where it can be found, it is read in place.
The picture is read as packed 2-bit shades, a sixteenth of its RGBA bytes and without loss.
"""

import gc
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from pokered_rl.errors import ConfigError
from pokered_rl.game.ram_map import WRAM_RANGE, RamLayout

__all__ = ["SCREEN_SHAPES", "RamReader", "ScreenReader", "ScreenSize", "pack_red"]

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

#: More ranges than this are gathered by one indexed read instead of a copy each.
_MAX_SLICES = 2

_Copy = Callable[[NDArray[np.uint8]], None]


class RamReader:
    """Reader of work RAM (0xC000-0xDFFF) and high RAM (0xFF80-0xFFFE) of one PyBoy instance.

    Args:
        pyboy: The emulator.
        direct: Look for the work RAM's buffer; ``False`` reads everything through ``PyBoy.memory``.

    Attributes:
        direct: Whether the buffer was found.
    """

    def __init__(self, pyboy: Any, *, direct: bool = True) -> None:
        self._memory = pyboy.memory
        self._work_ram = _find_work_ram(pyboy) if direct else None
        self._plans: dict[RamLayout, list[_Copy]] = {}
        self._latest_layout: RamLayout | None = None
        self._latest_plan: list[_Copy] = []
        self.direct = self._work_ram is not None

    def read_into(self, layout: RamLayout, out: NDArray[np.uint8]) -> None:
        """Write the bytes of ``layout`` to ``out``, uint8 [R]."""
        # The latest layout is told by identity: hashing it would cost as much as a copy.
        if layout is not self._latest_layout:
            if layout not in self._plans:
                self._plans[layout] = self._make_plan(layout)
            self._latest_layout, self._latest_plan = layout, self._plans[layout]
        for copy in self._latest_plan:
            copy(out)

    def _make_plan(self, layout: RamLayout) -> list[_Copy]:
        plan: list[_Copy] = []
        in_place: list[tuple[int, int, int]] = []  # column, start, stop
        column = 0
        for start, stop in layout.ranges:
            if self._work_ram is not None and WRAM_RANGE[0] <= start and stop <= WRAM_RANGE[1]:
                in_place.append((column, start, stop))
            else:
                plan.append(_copy_through(self._memory, column, start, stop))
            column += stop - start
        if self._work_ram is None:
            return plan
        if len(in_place) <= _MAX_SLICES:
            return plan + [_copy_slice(self._work_ram, *item) for item in in_place]
        return [*plan, _gather(self._work_ram, in_place)]


def _copy_through(memory: Any, column: int, start: int, stop: int) -> _Copy:
    """Copy a range through ``PyBoy.memory``."""
    if stop - start == 1:

        def copy_byte(out: NDArray[np.uint8]) -> None:
            out[column] = memory[start]

        return copy_byte

    def copy(out: NDArray[np.uint8]) -> None:
        out[column : column + stop - start] = np.frombuffer(bytes(memory[start:stop]), dtype=np.uint8)

    return copy


def _copy_slice(work_ram: NDArray[np.uint8], column: int, start: int, stop: int) -> _Copy:
    """Copy a range from the buffer."""
    source = work_ram[start - WRAM_RANGE[0] : stop - WRAM_RANGE[0]]  # a view

    def copy(out: NDArray[np.uint8]) -> None:
        out[column : column + stop - start] = source

    return copy


def _gather(work_ram: NDArray[np.uint8], ranges: list[tuple[int, int, int]]) -> _Copy:
    """Copy many ranges from the buffer. They are ordered and below high RAM: their columns are contiguous from 0."""
    offsets = np.concatenate([np.arange(start, stop) for _, start, stop in ranges]) - WRAM_RANGE[0]

    def copy(out: NDArray[np.uint8]) -> None:
        # Without "clip", numpy gathers into a temporary buffer first, in case an index is out of range.
        work_ram.take(offsets, out=out[: len(offsets)], mode="clip")

    return copy


def _find_work_ram(pyboy: Any) -> NDArray[np.uint8] | None:
    """Return a live view of PyBoy's work RAM, or None where it is not found in this PyBoy build.

    The buffer is not part of PyBoy's interface: it is the one 8 KiB Cython memoryview of ``pyboy.core.ram`` whose
    bytes change when ``PyBoy.memory`` is written; this is checked by writing.
    """
    # The view is new, so the young generations nearly always hold it, and they are quick to search. The oldest holds
    # everything that was imported: listing it takes longer than making an emulator.
    for generation in range(3):
        for candidate in gc.get_objects(generation=generation):
            kind = type(candidate)
            if kind.__module__ != "pyboy.core.ram" or kind.__name__ != "memoryview":
                continue
            view = np.asarray(candidate)
            if view.dtype == np.uint8 and view.shape == (WRAM_RANGE[1] - WRAM_RANGE[0],) and _mirrors(view, pyboy):
                view.flags.writeable = False
                return view
    return None


def _mirrors(view: NDArray[np.uint8], pyboy: Any) -> bool:
    for address in (WRAM_RANGE[0], 0xD35E, WRAM_RANGE[1] - 1):
        before = pyboy.memory[address]
        pyboy.memory[address] = before ^ 0xA5
        follows = int(view[address - WRAM_RANGE[0]]) == before ^ 0xA5
        pyboy.memory[address] = before
        if not follows or int(view[address - WRAM_RANGE[0]]) != before:
            return False
    return True


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
