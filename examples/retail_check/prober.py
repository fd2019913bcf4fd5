"""Play one emulator by buttons, and hold the classifier and the mask against what is seen."""

from collections import Counter
from typing import Any

import torch

from pokered_rl.emulator import Emulator, SaveState, press_effects
from pokered_rl.game import BUTTONS, FULL_LAYOUT, GameState, ScreenKind, ScreenReading, read_screen, screen_lines

from .checks import CheckFailed

_LOOK_FRAMES = 4


class Prober:
    """Presses buttons, waits and reads RAM.

    Args:
        emulator: What is played.

    Attributes:
        kinds: How often each kind of screen was seen.
    """

    def __init__(self, emulator: Emulator) -> None:
        self.emulator = emulator
        self.kinds: Counter[str] = Counter()
        self._stack = emulator.cartridge.profile.stack_words

    @property
    def ram(self) -> torch.Tensor:
        """The full image, uint8 [8319]."""
        return torch.from_numpy(self.emulator.ram())

    def look(self) -> ScreenReading:
        """Classify the screen."""
        reading = read_screen(self.ram, stack=self._stack)
        self.kinds[ScreenKind(int(reading.kind)).name] += 1
        return reading

    @property
    def kind(self) -> ScreenKind:
        """The kind of screen now."""
        return ScreenKind(int(self.look().kind))

    def state(self) -> GameState:
        """The decoded state now."""
        return GameState.from_ram(self.ram)

    def value(self, label: str) -> int:
        """Return a one-byte number of the RAM map."""
        return int(FULL_LAYOUT.read(self.ram, label))

    def place(self) -> tuple[int, int, int]:
        """Map, x, y."""
        return self.value("wCurMap"), self.value("wXCoord"), self.value("wYCoord")

    def text(self) -> str:
        """The letters on the screen, in one line."""
        return " / ".join(" ".join(line.split()) for line in screen_lines(self.ram) if line.strip())

    def settle(self, frames: int = 1800) -> ScreenKind:
        """Wait until the game takes input: two looks in a row that see the same kind, and buttons that count.

        Raises:
            CheckFailed: It did not within ``frames``.
        """
        before = None
        for _ in range(frames // _LOOK_FRAMES):
            reading = self.look()
            kind = ScreenKind(int(reading.kind))
            if not reading.ignored and kind is before:
                return kind
            before = None if reading.ignored else kind
            self.emulator.tick(_LOOK_FRAMES)
        raise CheckFailed(
            f"no screen that takes input within {frames} frames; last {self.kind.name}, outermost return "
            f"{self.outermost():04X}, text {self.text()!r}"
        )

    def press(self, button: str, *, hold_frames: int = 8) -> ScreenKind:
        """Press a button and wait until the game takes input again."""
        self.emulator.press(button)
        self.emulator.tick(hold_frames)
        self.emulator.release(button)
        self.emulator.tick(16)
        return self.settle()

    def back_to(self, *kinds: ScreenKind, button: str = "b", most: int = 24) -> ScreenKind:
        """Press a button until one of ``kinds`` is on the screen.

        Raises:
            CheckFailed: None of them is reached.
        """
        kind = self.settle()
        for _ in range(most):
            if kind in kinds:
                return kind
            kind = self.press(button)
        wanted = " or ".join(kind.name for kind in kinds)
        raise CheckFailed(f"{most} times {button.upper()} do not lead to {wanted}: {kind.name}, {self.text()!r}")

    def outermost(self) -> int:
        """The outermost return address on the stack."""
        low, high = (int(self.emulator.memory[at]) for at in (0xDFFD, 0xDFFE))
        return high << 8 | low


class MaskTrial:
    """Compares the usable buttons with what every button does, on one screen after the other.

    Attributes:
        screens: Names of the screens tried.
        wrong: Masked buttons that acted.
        idle: Presses without effect.
        masked: Those of them that were masked.
    """

    def __init__(self) -> None:
        self.screens: list[str] = []
        self.wrong: list[str] = []
        self.idle = 0
        self.masked = 0

    def __call__(self, prober: Prober, name: str) -> dict[str, Any]:
        """Try the screen that ``prober`` shows; return its kind and the buttons that act."""
        reading = prober.look()
        kind = ScreenKind(int(reading.kind))
        effects = press_effects(prober.emulator)
        self.screens.append(name)
        for button, usable, acts in zip(BUTTONS, reading.usable.tolist(), effects.tolist(), strict=True):
            self.wrong += [f"{button} on {name} ({kind.name})"] * (acts and not usable)
            self.idle += not acts
            self.masked += not acts and not usable
        return {"kind": kind.name, "acts": [b for b, acts in zip(BUTTONS, effects, strict=True) if acts]}

    def verdict(self) -> str:
        """Summarise all screens.

        Raises:
            CheckFailed: A masked button acted, or fewer than 80% of the presses without effect were masked.
        """
        share = self.masked / max(self.idle, 1)
        seen = (
            f"{len(self.screens)} screens x 8 buttons; {self.masked} of {self.idle} idle presses masked ({share:.0%})"
        )
        if self.wrong:
            raise CheckFailed(f"masked, but acts: {'; '.join(self.wrong)} ({seen})")
        if share < 0.8:
            raise CheckFailed(f"too little is masked: {seen}")
        return f"{seen}; nothing masked acts"


def state_of(prober: Prober) -> SaveState:
    """Save the state of the prober's emulator."""
    return prober.emulator.save_state()
