"""Facts about the game and pure decoding of RAM tensors: no emulator, no environment."""

from pokered_rl.game.events import EventTable
from pokered_rl.game.maps import GameMap, GameMaps, MapKind
from pokered_rl.game.milestones import Milestone, Milestones
from pokered_rl.game.profiles import CartridgeProfile
from pokered_rl.game.ram_map import FULL_LAYOUT, RAM_MAP, RamEntry, RamLayout
from pokered_rl.game.screens import (
    BUTTONS,
    SCREEN_RANGES,
    ScreenKind,
    ScreenReading,
    input_ignored,
    read_screen,
    screen_kind,
    usable_buttons,
)
from pokered_rl.game.state import GameState
from pokered_rl.game.state_fields import state_ranges
from pokered_rl.game.tables import ITEMS, MOVES, SPECIES, TRAINERS, NameTable
from pokered_rl.game.text import screen_lines

__all__ = [
    "BUTTONS",
    "FULL_LAYOUT",
    "ITEMS",
    "MOVES",
    "RAM_MAP",
    "SCREEN_RANGES",
    "SPECIES",
    "TRAINERS",
    "CartridgeProfile",
    "EventTable",
    "GameMap",
    "GameMaps",
    "GameState",
    "MapKind",
    "Milestone",
    "Milestones",
    "NameTable",
    "RamEntry",
    "RamLayout",
    "ScreenKind",
    "ScreenReading",
    "input_ignored",
    "read_screen",
    "screen_kind",
    "screen_lines",
    "state_ranges",
    "usable_buttons",
]
