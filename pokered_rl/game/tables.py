"""Tables of ids and names: species, moves, items and trainer classes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from pokered_rl.game._data import load_json

__all__ = [
    "ELITE_CLASSES",
    "ITEMS",
    "LEADER_CLASSES",
    "MOVES",
    "SPECIES",
    "TRAINERS",
    "Item",
    "Move",
    "NameTable",
    "Named",
    "Species",
    "TrainerClass",
    "load_items",
    "load_moves",
    "load_species",
    "load_trainers",
]


class Named(Protocol):
    """Anything with an id and a name."""

    @property
    def id(self) -> int:
        """Number in RAM."""

    @property
    def name(self) -> str:
        """Short name."""


Entry = TypeVar("Entry", bound=Named)


class NameTable(Generic[Entry]):
    """Entries by id, and ids by name; iterates over the entries.

    Args:
        entries: The entries; ids and names must be unique.

    Example:
        >>> from pokered_rl.game import ITEMS
        >>> ITEMS[4].name, ITEMS.id("POKE_BALL"), ITEMS.name(255)
        ('POKE_BALL', 4, '255')
    """

    def __init__(self, entries: Iterable[Entry]) -> None:
        self._entries = {entry.id: entry for entry in entries}
        self._ids = {entry.name: entry.id for entry in self._entries.values()}

    def __getitem__(self, id: int) -> Entry:
        return self._entries[id]

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._entries.values())

    def __contains__(self, key: object) -> bool:
        """Whether there is an entry with this id or this name."""
        return key in self._entries or key in self._ids

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def names(self) -> tuple[str, ...]:
        """All names, in the order of the entries."""
        return tuple(self._ids)

    def name(self, id: int) -> str:
        """Return the name of ``id``, or the number itself where the table has none."""
        entry = self._entries.get(int(id))
        return str(int(id)) if entry is None else entry.name

    def id(self, name: str) -> int:
        """Return the id of ``name``.

        Raises:
            KeyError: If the table has no such name.
        """
        return self._ids[name]


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


@dataclass(frozen=True)
class Item:
    """An item.

    Attributes:
        id: Number in the bag.
        name: Name in the disassembly; machines carry the name of their move.
        key_item: Whether it is a key item, which cannot be sold or tossed.
        price: Price in shops; 0 where it is not for sale.
        machine: ``HM01``, ``TM24``; empty for all others.
    """

    id: int
    name: str
    key_item: bool
    price: int
    machine: str = ""


def load_items(file: str) -> NameTable[Item]:
    """Return the items of the package's ``data/<file>``."""
    return NameTable(
        Item(int(id), item["name"], item["key_item"], item["price"], item.get("short", ""))
        for id, item in load_json(file)["items"].items()
    )


#: All items of the retail game.
ITEMS = load_items("items.json")


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
