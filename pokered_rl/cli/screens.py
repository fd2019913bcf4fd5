"""Screens on which a person plays or watches: a terminal, or a window of SDL."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

__all__ = ["Terminal", "Window", "has_display", "raw_terminal"]


class Terminal:
    """A screen of half-block characters, two pixels in each; its keys come from standard input."""

    KEYS: ClassVar[dict[str, str]] = {
        "w": "up", "a": "left", "s": "down", "d": "right", "\x1b[A": "up", "\x1b[B": "down", "\x1b[C": "right",
        "\x1b[D": "left", "x": "a", "z": "b", "\n": "start", "\r": "start", " ": "select", ".": "noop", "t": "take",
        "q": "quit", "\x1b": "quit", "\x03": "quit",
    }  # fmt: skip
    _GREYS = (232, 240, 248, 255)

    def show(self, shades: NDArray[np.uint8]) -> None:
        """Draw a picture, uint8 [144, 160], 0 black to 3 white: every second pixel, 80 x 36 characters."""
        small = shades[::2, ::2]
        lines = []
        for upper, lower in zip(small[::2], small[1::2], strict=True):
            line = "".join(
                f"\x1b[38;5;{self._GREYS[a]};48;5;{self._GREYS[b]}m▀" for a, b in zip(upper, lower, strict=True)
            )
            lines.append(line + "\x1b[0m")
        sys.stdout.write("\x1b[H" + "\r\n".join(lines) + "\r\n")
        sys.stdout.flush()

    def caption(self, text: str) -> None:
        """Write a line below the picture, cut to the terminal's width."""
        sys.stdout.write(f"\x1b[K{text[: shutil.get_terminal_size().columns - 1]}\r\n")
        sys.stdout.flush()

    def key(self) -> str | None:
        """Wait for a key; return the action of its name, "quit", or None for a key without a meaning."""
        # Not from `sys.stdin`, whose buffer would take all three characters of an arrow.
        first = os.read(sys.stdin.fileno(), 1)
        if not first:
            return "quit"
        if first == b"\x1b" and _has_input(0.02):
            first += os.read(sys.stdin.fileno(), 2)
        return self.KEYS.get(first.decode(errors="replace"))

    def pressed(self) -> str | None:
        """Return what :meth:`key` does, without waiting; None where nobody can press a key."""
        return self.key() if sys.stdin.isatty() and _has_input(0) else None


class Window:
    """A window of SDL, which is installed with PyBoy.

    Args:
        scale: Size of a console pixel.
    """

    def __init__(self, scale: int) -> None:
        import sdl2
        import sdl2.ext

        sdl2.ext.init()
        self._sdl2, self._ext, self._scale = sdl2, sdl2.ext, scale
        self._window = sdl2.ext.Window("pokered_rl", size=(160 * scale, 144 * scale))
        self._window.show()
        self._keys = {
            sdl2.SDLK_UP: "up", sdl2.SDLK_DOWN: "down", sdl2.SDLK_LEFT: "left", sdl2.SDLK_RIGHT: "right",
            sdl2.SDLK_x: "a", sdl2.SDLK_z: "b", sdl2.SDLK_RETURN: "start", sdl2.SDLK_BACKSPACE: "select",
            sdl2.SDLK_t: "take", sdl2.SDLK_q: "quit", sdl2.SDLK_ESCAPE: "quit",
        }  # fmt: skip
        self._held: str | None = None

    def show(self, shades: NDArray[np.uint8]) -> None:
        """Draw a picture.

        Args:
            shades: uint8 [144, 160], 0 black to 3 white.
        """
        grey = (shades.astype(np.uint32) * 85)[..., None] * np.array([1, 256, 65536], np.uint32)
        picture = grey.sum(-1, dtype=np.uint32).repeat(self._scale, 0).repeat(self._scale, 1)
        surface = self._window.get_surface()
        self._ext.pixels2d(surface)[:] = picture.T
        self._window.refresh()

    def caption(self, text: str) -> None:
        """Set the window's title."""
        self._window.title = text

    def key(self, *, wait: bool = True) -> str | None:
        """Return the action of a key that is held or was pressed since the last call, "quit", or None."""
        pressed = None
        for event in self._ext.get_events():
            if event.type == self._sdl2.SDL_QUIT:
                return "quit"
            if event.type == self._sdl2.SDL_KEYDOWN:
                self._held = pressed = self._keys.get(event.key.keysym.sym)
            elif event.type == self._sdl2.SDL_KEYUP and self._keys.get(event.key.keysym.sym) == self._held:
                self._held = None
        if pressed or self._held:
            return pressed or self._held
        if wait:
            time.sleep(0.01)
        return None

    def pressed(self) -> str | None:
        """Return what :meth:`key` does, without waiting."""
        return self.key(wait=False)


def _has_input(seconds: float) -> bool:
    import select

    return bool(select.select([sys.stdin], [], [], seconds)[0])


def has_display() -> bool:
    """Return whether a window can be expected to open."""
    return sys.platform in ("win32", "darwin") or any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY"))


@contextmanager
def raw_terminal() -> Iterator[None]:
    """Read keys one by one, without Enter; the terminal's settings are restored at the end."""
    if not sys.stdin.isatty():
        yield
        return
    import termios
    import tty

    before = termios.tcgetattr(sys.stdin)
    tty.setcbreak(sys.stdin)
    sys.stdout.write("\x1b[2J\x1b[?25l")
    try:
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)
        sys.stdout.write("\x1b[?25h\n")
