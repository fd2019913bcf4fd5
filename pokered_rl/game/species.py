"""Species: names and internal indices, Pokédex numbers, types."""

from __future__ import annotations

from dataclasses import dataclass

from pokered_rl.game._data import load_json
from pokered_rl.game.name_table import NameTable

__all__ = ["SPECIES", "Species", "load_species"]


@dataclass(frozen=True)
class Species:
    """A species.

    Attributes:
        id: Internal index, as in the party and in battle.
        name: Name in the disassembly.
        dex: Pokédex number 1..151; 0 for ghosts and fossils.
        types: One or two type names.
    """

    id: int
    name: str
    dex: int
    types: tuple[str, ...]


def load_species(file: str) -> NameTable[Species]:
    """Return the species of the package's ``data/<file>``."""
    return NameTable(
        Species(int(id), entry["name"], entry.get("dex", 0), tuple(dict.fromkeys(entry.get("types", ()))))
        for id, entry in load_json(file)["species"].items()
    )


#: All species of the retail game by internal index.
SPECIES = load_species("species.json")
