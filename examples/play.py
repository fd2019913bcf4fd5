"""Play by hand, and keep what you did as an episode log.

    python examples/play.py                              # in a window; arrows, X = A, Z = B, Enter = START
    python examples/play.py --terminal                   # in the terminal; the same keys, W A S D walk too
    python examples/play.py --rom roms/pokemon_red.gb --log runs/by_hand/episode_logs

One key is one step of an agent: the button is held for a while, and the step ends when the game listens again. What is
logged is therefore what a trained agent would log, and `render_episodes.py` makes a video of it. Q or Escape ends.
"""

import argparse
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from pokered_rl.emulator import (
    PYBOY_VERSION,
    ActionSet,
    ActionTiming,
    Cartridge,
    Emulator,
    EmulatorPool,
    boot,
)
from pokered_rl.episodes import EpisodeFolder, EpisodeHeader, EpisodeLogWriter, Outcome
from pokered_rl.errors import PokeredError
from pokered_rl.observations import unpack_shades

ACTIONS = ActionSet(("noop", "a", "b", "start", "select", "right", "left", "up", "down"))


class Screen(Protocol):
    """Where one plays: shows pictures, and says which button is wanted."""

    def show(self, shades: NDArray[np.uint8]) -> None:
        """Draw a picture, uint8 [144, 160], 0 black .. 3 white."""

    def key(self) -> str | None:
        """The next action's name; "quit" to end; None where nobody presses anything (only in a window)."""


class Terminal:
    """Half-block characters, two pixels a character; waits for a key."""

    KEYS: ClassVar[dict[str, str]] = {
        "w": "up", "a": "left", "s": "down", "d": "right", "\x1b[A": "up", "\x1b[B": "down", "\x1b[C": "right",
        "\x1b[D": "left", "x": "a", "z": "b", "\n": "start", "\r": "start", " ": "select", ".": "noop", "q": "quit",
        "\x1b": "quit", "\x03": "quit",
    }  # fmt: skip
    GREYS = (232, 240, 248, 255)

    def show(self, shades: NDArray[np.uint8]) -> None:
        """Every second column and row: 80 x 36 characters."""
        small = shades[::2, ::2]
        lines = []
        for upper, lower in zip(small[::2], small[1::2], strict=True):
            line = "".join(
                f"\x1b[38;5;{self.GREYS[a]};48;5;{self.GREYS[b]}m▀" for a, b in zip(upper, lower, strict=True)
            )
            lines.append(line + "\x1b[0m")
        sys.stdout.write("\x1b[H" + "\r\n".join(lines) + "\r\n")
        sys.stdout.flush()

    def key(self) -> str | None:
        """Waits; an arrow is three characters. Not from `sys.stdin`, whose buffer would swallow two of them."""
        first = os.read(sys.stdin.fileno(), 1)
        if not first:
            return "quit"
        if first == b"\x1b" and _more():
            first += os.read(sys.stdin.fileno(), 2)
        return self.KEYS.get(first.decode(errors="replace"))


class Window:
    """A window of SDL, which PyBoy brings along."""

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
            sdl2.SDLK_q: "quit", sdl2.SDLK_ESCAPE: "quit",
        }  # fmt: skip
        self._held: str | None = None

    def show(self, shades: NDArray[np.uint8]) -> None:
        """The picture enlarged, on the surface of the window."""
        grey = (shades.astype(np.uint32) * 85)[..., None] * np.array([1, 256, 65536], np.uint32)
        picture = grey.sum(-1, dtype=np.uint32).repeat(self._scale, 0).repeat(self._scale, 1)
        surface = self._window.get_surface()
        self._ext.pixels2d(surface)[:] = picture.T
        self._window.refresh()

    def key(self) -> str | None:
        """What is held, or was pressed since the last step."""
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
        time.sleep(0.01)
        return None


def _more() -> bool:
    import select

    return bool(select.select([sys.stdin], [], [], 0.02)[0])


@contextmanager
def raw_terminal() -> Iterator[None]:
    """Keys one by one, without Enter; the terminal is put back whatever happens."""
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


def play(screen: Screen, *, cartridge: Cartridge, log_folder: Path, timing: ActionTiming) -> Path | None:
    """Plays until the player ends it; the path of the log, None if nothing was pressed."""
    with Emulator(cartridge) as emulator:
        start = boot(emulator)
    logs = EpisodeFolder(log_folder)
    header = EpisodeHeader(
        run_name="by_hand",
        worker=0,
        emulator=0,
        global_step=int(time.time()),
        cartridge_sha1=cartridge.sha1,
        cartridge_title=cartridge.title,
        pyboy_version=PYBOY_VERSION,
        state_version=start.state_version,
        start_state_sha256=logs.add_start_state(start),
        actions=ACTIONS.names,
        frames_per_action=timing.frames_per_action,
        hold_frames=timing.hold_frames,
        start_unix_seconds=time.time(),
    )
    with EmulatorPool(cartridge, num_emulators=1, actions=ACTIONS, timing=timing, screen="full") as pool:
        first = pool.reset([0], [start])
        writer = EpisodeLogWriter(folder=logs.path, header=header, start_ram_hash=pool.ram_hash(0))
        screen.show(unpack_shades(np.asarray(first.pixels[0])))
        while (name := screen.key()) != "quit":
            if name is None:
                continue
            action = ACTIONS.index(name)
            step = pool.step([action])
            writer.step(action, wait_frames=int(step.wait_frames[0]), reward=0.0)
            if writer.ram_hash_due:
                writer.add_ram_hash(pool.ram_hash(0))
            screen.show(unpack_shades(np.asarray(step.pixels[0])))
        return writer.finish(Outcome.SHUTDOWN, ram_hash=pool.ram_hash(0), end_unix_seconds=time.time())


def main(arguments: list[str] | None = None) -> int:
    """The command line; exit status 0, or 1 with a message where the game cannot be played."""
    parser = argparse.ArgumentParser(
        description=__doc__.partition("\n")[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--rom", help="cartridge; by default the one that is found first (see roms/README.md)")
    parser.add_argument("--log", type=Path, default=Path("runs/by_hand/episode_logs"), help="where the log goes")
    parser.add_argument("--terminal", action="store_true", help="play in the terminal instead of a window")
    parser.add_argument("--scale", type=int, default=4, help="size of a console pixel in the window")
    parser.add_argument("--frames-per-action", type=int, default=24, help="frames of one step")
    options = parser.parse_args(arguments)
    try:
        timing = ActionTiming(
            frames_per_action=options.frames_per_action, hold_frames=min(8, options.frames_per_action - 1)
        )
        cartridge = Cartridge.find(options.rom)
        if options.terminal:
            with raw_terminal():
                path = play(Terminal(), cartridge=cartridge, log_folder=options.log, timing=timing)
        else:
            path = play(Window(options.scale), cartridge=cartridge, log_folder=options.log, timing=timing)
    except PokeredError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    print(f"{path}\nrender it: python examples/render_episodes.py {path}" if path else "nothing was pressed, no log")
    return 0


if __name__ == "__main__":
    sys.exit(main())
