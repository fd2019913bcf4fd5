"""The checks behind `check_retail.py`: what the library believes about a game, held against what the game does."""

from .asked import ASKED, check_asked
from .battle import check_battle
from .checks import Check, CheckFailed, Claim, Report
from .menus import check_start_menu
from .prober import MaskTrial
from .recording import check_speed, check_video
from .start import check_boot, check_decoder, check_repeats, check_rom, check_walk

__all__ = [
    "ASKED",
    "Check",
    "CheckFailed",
    "Claim",
    "MaskTrial",
    "Report",
    "check_asked",
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
