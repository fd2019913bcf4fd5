"""Moves: names and ids, type, power, PP."""

from __future__ import annotations

from dataclasses import dataclass

from pokered_rl.game._data import load_json
from pokered_rl.game.name_table import NameTable

__all__ = ["MOVES", "Move", "load_moves"]


@dataclass(frozen=True)
class Move:
    """A move.

    Attributes:
        id: Number in the party records.
        name: Name in the disassembly.
        type: Type name.
        power: Base power; 0 for moves without damage of their own.
        pp: PP without PP-ups.
    """

    id: int
    name: str
    type: str
    power: int
    pp: int


def load_moves(file: str) -> NameTable[Move]:
    """Return the moves of the package's ``data/<file>``."""
    return NameTable(
        Move(int(id), move["name"], move["type"], move["power"], move["pp"])
        for id, move in load_json(file)["moves"].items()
    )


#: All moves of the retail game.
MOVES = load_moves("moves.json")
