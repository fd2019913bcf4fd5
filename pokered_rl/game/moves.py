"""Moves: names both ways, type, power, PP."""

from __future__ import annotations

from dataclasses import dataclass

from pokered_rl.game._data import load_json
from pokered_rl.game.name_table import NameTable

__all__ = ["MOVES", "Move"]


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


#: All moves of the retail game.
MOVES = NameTable(
    Move(int(id), row["name"], row["type"], row["power"], row["pp"])
    for id, row in load_json("moves.json")["moves"].items()
)
