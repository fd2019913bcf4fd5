"""Event flags of a cartridge: names and bit numbers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from pokered_rl.game._data import load_json

__all__ = ["EventTable"]

_PREFIX = "EVENT_"


class EventTable:
    """Names of event flags by bit number, and bit numbers by name; iterates over the bit numbers.

    A name may be given with or without the prefix ``EVENT_``. The name of an unnamed bit is its number.

    Args:
        names: Bit number -> name.

    Example:
        >>> from pokered_rl.game import CartridgeProfile
        >>> events = CartridgeProfile.get("red").events
        >>> events.name(34), events.bit("EVENT_GOT_STARTER"), events.name(2559)
        ('GOT_STARTER', 34, '2559')
    """

    def __init__(self, names: Mapping[int, str]) -> None:
        self._names = {bit: names[bit].removeprefix(_PREFIX) for bit in sorted(names)}
        self._bits = {name: bit for bit, name in self._names.items()}

    @classmethod
    def load(cls, file: str) -> EventTable:
        """Return the table of the package's ``data/<file>``."""
        events = load_json(file)["events"]
        return cls({int(bit): event if isinstance(event, str) else event["name"] for bit, event in events.items()})

    def __getitem__(self, bit: int) -> str:
        return self._names[bit]

    def __iter__(self) -> Iterator[int]:
        return iter(self._names)

    def __contains__(self, key: object) -> bool:
        """Whether this bit has a name, or an event has this name."""
        return (key.removeprefix(_PREFIX) in self._bits) if isinstance(key, str) else (key in self._names)

    def __len__(self) -> int:
        return len(self._names)

    @property
    def names(self) -> tuple[str, ...]:
        """All names, by bit number."""
        return tuple(self._bits)

    def name(self, bit: int) -> str:
        """Return the name of ``bit``, or the number itself where it has none."""
        return self._names.get(int(bit), str(int(bit)))

    def bit(self, name: str) -> int:
        """Return the bit number of ``name``.

        Raises:
            KeyError: If no event has this name.
        """
        return self._bits[name.removeprefix(_PREFIX)]
