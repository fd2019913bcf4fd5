"""What would each button do now? Pressed in a copy of the moment, and compared with pressing nothing."""

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
    """Whether each button changes anything in RAM that is not sound, stack, pad, clock or random number.

    The moment is played nine times, once without a button; the emulator stands at it again afterwards.

    Args:
        emulator: Any emulator of the state's cartridge.
        state: The moment; None takes the one that the emulator shows.
        hold_frames: Frames that the button is held.
        frames: Frames after which RAM is compared, the held ones included.

    Returns:
        bool [8], in the order of :data:`pokered_rl.game.BUTTONS`.

    Raises:
        SaveStateError: The state belongs to another cartridge.
    """
    moment = emulator.save_state() if state is None else state
    counts = effect_columns().numpy()

    def after(button: int | None) -> NDArray[np.uint8]:
        emulator.load_state(moment)
        if button is not None:
            emulator.press(button)
        emulator.tick(hold_frames)
        if button is not None:
            emulator.release(button)
        emulator.tick(frames - hold_frames)
        return emulator.ram()

    idle = after(None)
    effects = np.array([bool(((after(button) != idle) & counts).any()) for button in range(len(BUTTONS))])
    emulator.load_state(moment)
    return effects
