"""Press each button from the same state and compare RAM with pressing nothing."""

import numpy as np
from numpy.typing import NDArray

from pokered_rl.emulator.emulator import Emulator
from pokered_rl.emulator.savestate import SaveState
from pokered_rl.game.effects import effect_columns
from pokered_rl.game.screen_rules import BUTTONS

__all__ = ["press_effects"]


def press_effects(
    emulator: Emulator, state: SaveState | None = None, *, hold_frames: int = 8, frames: int = 48
) -> NDArray[np.bool_]:
    """Return whether each button changes anything in RAM beside sound, stack, pad, clock and random numbers.

    The state is played nine times, once without a button, and loaded again at the end.

    Args:
        emulator: An emulator of the state's cartridge.
        state: The state; None takes the current one of the emulator.
        hold_frames: Frames that the button is held.
        frames: Frames after which RAM is compared, the held ones included.

    Returns:
        bool [8], in the order of :data:`pokered_rl.game.BUTTONS`.

    Raises:
        SaveStateError: The state belongs to another cartridge.
    """
    start = emulator.save_state() if state is None else state
    counts = effect_columns().numpy()

    def after(button: int | None) -> NDArray[np.uint8]:
        emulator.load_state(start)
        if button is not None:
            emulator.press(button)
        emulator.tick(hold_frames)
        if button is not None:
            emulator.release(button)
        emulator.tick(frames - hold_frames)
        return emulator.ram()

    idle = after(None)
    effects = np.array([bool(((after(button) != idle) & counts).any()) for button in range(len(BUTTONS))])
    emulator.load_state(start)
    return effects
