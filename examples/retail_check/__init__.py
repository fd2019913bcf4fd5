"""The checks behind `check_retail.py`: what the library believes about a game, held against what the game does."""

from .battle import check_battle
from .checks import Check, CheckFailed, Report
from .menus import check_start_menu
from .recording import check_speed, check_video
from .start import check_boot, check_decoder, check_repeats, check_rom, check_walk

__all__ = [
    "Check",
    "CheckFailed",
    "Report",
    "check_battle",
    "check_boot",
    "check_decoder",
    "check_repeats",
    "check_rom",
    "check_speed",
    "check_start_menu",
    "check_video",
    "check_walk",
]
