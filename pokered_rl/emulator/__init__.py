"""Cartridges, emulators and save states; the only room that imports PyBoy."""

from pokered_rl.emulator.actions import ActionSet, ActionTiming
from pokered_rl.emulator.boot import boot
from pokered_rl.emulator.cartridge import Cartridge
from pokered_rl.emulator.emulator import PYBOY_VERSION, SOUND_RATE, STATE_VERSION, Emulator
from pokered_rl.emulator.frame_cost import measure_frame_us
from pokered_rl.emulator.pool import EmulatorPool, PoolStep
from pokered_rl.emulator.press_trials import press_effects
from pokered_rl.emulator.raw_state import load_raw
from pokered_rl.emulator.readers import ScreenSize
from pokered_rl.emulator.savestate import SaveState
from pokered_rl.emulator.walkthrough import start_states

__all__ = [
    "PYBOY_VERSION",
    "SOUND_RATE",
    "STATE_VERSION",
    "ActionSet",
    "ActionTiming",
    "Cartridge",
    "Emulator",
    "EmulatorPool",
    "PoolStep",
    "SaveState",
    "ScreenSize",
    "boot",
    "load_raw",
    "measure_frame_us",
    "press_effects",
    "start_states",
]
