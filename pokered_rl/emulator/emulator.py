"""A headless PyBoy instance; sound is emulated only with ``on_sound``."""

import atexit
import hashlib
import io
import os
import warnings
import weakref
from collections.abc import Callable
from importlib.metadata import version

import numpy as np
from numpy.typing import NDArray

with warnings.catch_warnings():
    # PyBoy imports its window plug-ins; SDL's bindings then announce themselves on stderr in every worker.
    warnings.simplefilter("ignore")
    from pyboy import PyBoy
    from pyboy import utils as pyboy_utils

from pokered_rl.emulator.actions import BUTTON_INDEX
from pokered_rl.emulator.cartridge import Cartridge
from pokered_rl.emulator.readers import RamReader, ScreenReader, ScreenSize, pack_red
from pokered_rl.emulator.savestate import SaveState
from pokered_rl.emulator.state_layout import with_running_sound
from pokered_rl.errors import ConfigError, SaveStateError
from pokered_rl.game.ram_map import FULL_LAYOUT, RamLayout
from pokered_rl.game.screen_rules import BUTTONS

__all__ = ["PYBOY_VERSION", "SOUND_RATE", "STATE_VERSION", "Emulator", "hash_ram"]

#: Release of the installed PyBoy.
PYBOY_VERSION = version("pyboy")
#: Version of the save states that it writes.
STATE_VERSION: int = pyboy_utils.STATE_VERSION
#: Samples a second of the sound, when it is emulated.
SOUND_RATE = 48_000

#: Frames after power-on within which a whole picture is drawn; PyBoy's boot program switches the screen on in the 5th.
_WARM_UP_FRAMES = 20
_NR50, _NR51, _NR52 = 0xFF24, 0xFF25, 0xFF26  # volume, which channel on which side, sound on (bit 7)


def _events(kind: str) -> tuple[int, ...]:
    """Return PyBoy's events ``PRESS`` or ``RELEASE`` of the buttons, in their order."""
    groups = {button: "ARROW" if button in ("RIGHT", "LEFT", "UP", "DOWN") else "BUTTON" for button in BUTTONS}
    return tuple(int(getattr(pyboy_utils.WindowEvent, f"{kind}_{groups[button]}_{button}")) for button in BUTTONS)


_PRESS, _RELEASE = _events("PRESS"), _events("RELEASE")

_live: "weakref.WeakSet[Emulator]" = weakref.WeakSet()


class Emulator:
    """PyBoy with one cartridge: reads RAM and pixels, presses buttons, saves and loads states.

    PyBoy gets the ROM as bytes and no path, so it neither reads nor writes the ``.ram`` and ``.rtc`` files beside the
    user's ROM. The battery memory starts empty and is part of the save states.

    Attributes:
        cartridge: The cartridge.
        memory: The console's memory by address, as PyBoy gives it; a new object after :meth:`reset`.

    Args:
        cartridge: What to play; a path or None goes through :meth:`Cartridge.find`.
        screen: ``"half"`` (72 x 80 pixels: every second line and column) or ``"full"`` (144 x 160).
        on_sound: Receives each frame's samples; switches sound emulation on, int8 [n, 2] (left, right; 0 .. 60) at
            :data:`SOUND_RATE`: n is about 804, fewer in a frame that the game cut short by switching the screen. A
            state that was saved without sound emulation holds no sound: a channel is heard from the game's next note.

    Raises:
        CartridgeError: The ROM is missing or has changed.
        ConfigError: ``screen`` is neither.

    Example:
        >>> with Emulator(Cartridge.bundled()) as emulator:
        ...     emulator.press("start")
        ...     emulator.tick(8)
        ...     emulator.release("start")
        ...     emulator.tick(16, render=True)
        ...     emulator.ram().shape, emulator.pixels().shape
        ((8319,), (72, 20))
    """

    def __init__(
        self,
        cartridge: Cartridge | str | os.PathLike[str] | None = None,
        *,
        screen: ScreenSize = "half",
        on_sound: Callable[[NDArray[np.int8]], None] | None = None,
    ) -> None:
        self.cartridge = cartridge if isinstance(cartridge, Cartridge) else Cartridge.find(cartridge)
        self._rom = self.cartridge.rom()
        self._screen: ScreenSize = screen
        self._on_sound = on_sound
        self._frames_before = 0
        self._power_on()
        _live.add(self)

    def _power_on(self) -> None:
        pyboy = PyBoy(
            io.BytesIO(self._rom),
            window="null",
            sound_emulated=self._on_sound is not None,  # without: 1.5 times the frames
            sound_sample_rate=SOUND_RATE,
            cgb=False,  # the RAM layout and the four shades are those of the first Game Boy
            log_level="CRITICAL",  # errors are raised
        )
        pyboy.set_emulation_speed(0)
        try:
            self._screen_reader = ScreenReader(pyboy.screen.ndarray, self._screen)
        except ConfigError:
            pyboy.stop(save=False)
            raise
        self._pyboy = pyboy
        self._fresh = True
        self._reader = RamReader(pyboy)
        # Bound once: these run several times in every agent step.
        self._tick = pyboy.tick if self._on_sound is None else self._tick_aloud
        self._send = pyboy.send_input
        self.memory = pyboy.memory
        self.read_ram_into = self._reader.read_into
        self.read_red_into = self._screen_reader.red_into

    @property
    def frame_count(self) -> int:
        """Frames ticked since construction; loading a state does not change it."""
        return self._frames_before + int(self._pyboy.frame_count)

    def press(self, button: int | str) -> None:
        """Hold a button, by name or index into :data:`pokered_rl.game.BUTTONS`, down from the next frame on."""
        self._send(_PRESS[BUTTON_INDEX[button] if isinstance(button, str) else button])

    def release(self, button: int | str) -> None:
        """Release a button from the next frame on."""
        self._send(_RELEASE[BUTTON_INDEX[button] if isinstance(button, str) else button])

    def tick(self, frames: int = 1, render: bool = False) -> None:
        """Run the console.

        Args:
            frames: Frames to run, 0 for none.
            render: Draw the last of them (about 55 us). The picture of :meth:`pixels` is the last one drawn.
        """
        self._tick(frames, render)

    def _tick_aloud(self, frames: int, render: bool) -> None:
        assert self._on_sound is not None
        for left in range(frames, 0, -1):  # PyBoy samples only the last frame of a call
            self._pyboy.tick(1, render and left == 1)
            self._on_sound(self._pyboy.sound.ndarray.copy())

    def ram(self, layout: RamLayout = FULL_LAYOUT) -> NDArray[np.uint8]:
        """Return the ranges of ``layout`` as a new array, uint8 [R]."""
        out = np.empty(layout.size, dtype=np.uint8)
        self.read_ram_into(layout, out)
        return out

    def pixels(self) -> NDArray[np.uint8]:
        """Return the last picture drawn as a new array, uint8 [72, 20] (half) or [144, 40] (full).

        Four pixels a byte, two bits each, the leftmost in the highest bits; 0 black .. 3 white.
        """
        red = np.empty(self._screen_reader.shape, dtype=np.uint8)
        self.read_red_into(red)
        return pack_red(red)

    def ram_hash(self) -> str:
        """Return the SHA-256 (hex) of the full RAM image: see :func:`hash_ram`."""
        return hash_ram(self.ram())

    def save_state(self) -> SaveState:
        """Return the complete state, including the last picture drawn (about 15 ms)."""
        buffer = io.BytesIO()
        self._pyboy.save_state(buffer)
        return SaveState(
            pyboy=buffer.getvalue(),
            cartridge_sha1=self.cartridge.sha1,
            cartridge_title=self.cartridge.title,
            pyboy_version=PYBOY_VERSION,
        )

    def load_state(self, state: SaveState) -> None:
        """Load a state (about 4 ms). Buttons pressed but not yet ticked are dropped.

        Raises:
            SaveStateError: The state belongs to another cartridge or PyBoy version, or is damaged. In the last two
                cases the emulator is back at power-on.
        """
        state.check_cartridge(self.cartridge)
        self.load_raw_bytes(state.pyboy, written_by=f"PyBoy {state.pyboy_version}")

    def load_raw_bytes(self, raw: bytes, *, written_by: str = "an unknown PyBoy") -> None:
        """Load a bare PyBoy state; :func:`~pokered_rl.emulator.load_raw` checks files of other programs.

        Args:
            raw: What PyBoy wrote.
            written_by: Its origin, for the message.

        Raises:
            SaveStateError: PyBoy does not read it to its end. The emulator is back at power-on then.
        """
        if not raw:
            raise SaveStateError("The save state is empty.")
        if raw[0] > STATE_VERSION:
            raise SaveStateError(
                f"The save state has PyBoy state version {raw[0]} ({written_by}), newer than version {STATE_VERSION} "
                f"of the installed PyBoy {PYBOY_VERSION}: update PyBoy."
            )
        self._pyboy.events.clear()
        if self._fresh:
            # PyBoy's line counter of the window is not part of a state, and is right only once the last line of a frame
            # has been drawn: before, an open menu is one line too low.
            for _ in range(_WARM_UP_FRAMES):
                self._pyboy.tick(1, True)
            self._frames_before -= _WARM_UP_FRAMES
            self._fresh = False
        problem: object = None
        try:
            if self._on_sound is not None:
                raw = with_running_sound(raw, sample_rate=SOUND_RATE)
            buffer = io.BytesIO(raw)
            self._pyboy.load_state(buffer)
        except (pyboy_utils.PyBoyException, OverflowError, ValueError) as error:
            problem = error
        if problem is None and buffer.tell() != len(raw):
            problem = f"{len(raw) - buffer.tell()} bytes are left over"
        if problem is not None:
            self.reset()
            raise SaveStateError(
                f"The save state (PyBoy state version {raw[0]}, {written_by}) does not load into PyBoy "
                f"{PYBOY_VERSION} (version {STATE_VERSION}): {problem}."
            )
        if self._on_sound is not None and not self.memory[_NR52] & 0x80:
            for register, value in ((_NR52, 0x80), (_NR50, 0x77), (_NR51, 0xFF)):
                self.memory[register] = value

    def reset(self) -> None:
        """Switch the console off and on again, with empty battery memory."""
        self._frames_before = self.frame_count
        self._pyboy.stop(save=False)
        self._power_on()

    def close(self) -> None:
        """Stop PyBoy without saving. Closing twice does nothing; a closed emulator cannot be used."""
        self._pyboy.stop(save=False)
        _live.discard(self)

    def __enter__(self) -> "Emulator":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def hash_ram(ram: NDArray[np.uint8]) -> str:
    """Return the SHA-256 (hex) of the full RAM image of 8,319 bytes: the library's definition of equal RAM.

    Args:
        ram: uint8 [8319], work RAM then high RAM.

    Raises:
        ValueError: Another size.
    """
    if ram.shape != (FULL_LAYOUT.size,):
        raise ValueError(f"ram must be the full image of shape ({FULL_LAYOUT.size},), got {ram.shape}")
    return hashlib.sha256(ram.tobytes()).hexdigest()


@atexit.register
def _close_all() -> None:
    """Stop what is still running: PyBoy objects destroyed at exit write errors to stderr."""
    for emulator in list(_live):
        emulator.close()
