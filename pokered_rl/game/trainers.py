"""Trainer classes: names and ids; gym leaders, Elite Four and champion."""

from __future__ import annotations

from dataclasses import dataclass

from pokered_rl.game._data import load_json
from pokered_rl.game.name_table import NameTable

__all__ = ["ELITE_CLASSES", "LEADER_CLASSES", "TRAINERS", "TrainerClass", "load_trainers"]


@dataclass(frozen=True)
class TrainerClass:
    """A trainer class.

    Attributes:
        id: Number in wTrainerClass.
        name: Name in the disassembly.
    """

    id: int
    name: str


def load_trainers(file: str) -> NameTable[TrainerClass]:
    """The trainer classes of the package's ``data/<file>``."""
    return NameTable(TrainerClass(int(id), name) for id, name in load_json(file)["classes"].items())


#: All trainer classes of the retail game.
TRAINERS = load_trainers("trainers.json")

#: Gym leaders. Giovanni fights twice before as a boss of Team Rocket, under the same class.
LEADER_CLASSES: tuple[int, ...] = tuple(
    TRAINERS.id(name) for name in ("BROCK", "MISTY", "LT_SURGE", "ERIKA", "KOGA", "SABRINA", "BLAINE", "GIOVANNI")
)

#: The Elite Four and the champion.
ELITE_CLASSES: tuple[int, ...] = tuple(TRAINERS.id(name) for name in ("LORELEI", "BRUNO", "AGATHA", "LANCE", "RIVAL3"))
