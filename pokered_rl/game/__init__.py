"""Facts about the game and pure decoding of RAM tensors: no emulator, no environment."""

from pokered_rl.game.effects import VOLATILE_RANGES, effect_columns
from pokered_rl.game.events import EventTable
from pokered_rl.game.items import ITEMS, KEY_ITEMS, Item
from pokered_rl.game.maps import NUM_MAP_IDS, GameMap, GameMaps, MapKind
from pokered_rl.game.milestones import Milestone, Milestones
from pokered_rl.game.moves import MOVES, Move
from pokered_rl.game.name_table import NameTable
from pokered_rl.game.profiles import CartridgeProfile
from pokered_rl.game.ram_layout import FULL_LAYOUT, HRAM_RANGE, WRAM_RANGE, RamLayout
from pokered_rl.game.ram_map import (
    RAM_MAP,
    RAM_SOURCES,
    RamEntry,
    address,
    read,
    read_bcd,
    read_bit,
    read_bits,
    read_bytes,
    read_i8,
    read_structs,
    read_u8,
    read_u16_be,
    read_u16_le,
    read_u24_be,
)
from pokered_rl.game.screens import (
    BUTTONS,
    SCREEN_RANGES,
    ScreenKind,
    ScreenReading,
    input_ignored,
    menu_live,
    read_screen,
    screen_arrays,
    screen_kind,
    text_waiting,
    usable_buttons,
)
from pokered_rl.game.species import DEX_NUMBER, SPECIES, Species
from pokered_rl.game.state import STATE_FIELDS, STATE_RANGES, GameState
from pokered_rl.game.state_fields import (
    BAG_SLOTS,
    MAX_COINS,
    MAX_MONEY,
    NUM_EVENT_FLAGS,
    NUM_SPECIES,
    PARTY_SLOTS,
    state_ranges,
)
from pokered_rl.game.text import read_text, screen_lines
from pokered_rl.game.trainers import (
    ELITE_CLASSES,
    LEADER_CLASSES,
    OPPONENT_OFFSET,
    TRAINERS,
    TrainerClass,
)

__all__ = [
    "BAG_SLOTS",
    "BUTTONS",
    "DEX_NUMBER",
    "ELITE_CLASSES",
    "FULL_LAYOUT",
    "HRAM_RANGE",
    "ITEMS",
    "KEY_ITEMS",
    "LEADER_CLASSES",
    "MAX_COINS",
    "MAX_MONEY",
    "MOVES",
    "NUM_EVENT_FLAGS",
    "NUM_MAP_IDS",
    "NUM_SPECIES",
    "OPPONENT_OFFSET",
    "PARTY_SLOTS",
    "RAM_MAP",
    "RAM_SOURCES",
    "SCREEN_RANGES",
    "SPECIES",
    "STATE_FIELDS",
    "STATE_RANGES",
    "TRAINERS",
    "VOLATILE_RANGES",
    "WRAM_RANGE",
    "CartridgeProfile",
    "EventTable",
    "GameMap",
    "GameMaps",
    "GameState",
    "Item",
    "MapKind",
    "Milestone",
    "Milestones",
    "Move",
    "NameTable",
    "RamEntry",
    "RamLayout",
    "ScreenKind",
    "ScreenReading",
    "Species",
    "TrainerClass",
    "address",
    "effect_columns",
    "input_ignored",
    "menu_live",
    "read",
    "read_bcd",
    "read_bit",
    "read_bits",
    "read_bytes",
    "read_i8",
    "read_screen",
    "read_structs",
    "read_text",
    "read_u8",
    "read_u16_be",
    "read_u16_le",
    "read_u24_be",
    "screen_arrays",
    "screen_kind",
    "screen_lines",
    "state_ranges",
    "text_waiting",
    "usable_buttons",
]
