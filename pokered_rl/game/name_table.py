"""A table of ids and names."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Generic, Protocol, TypeVar

__all__ = ["NameTable", "Named"]


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
