"""`CartridgeProfile`: what differs from cartridge to cartridge, the tables first of all."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from pokered_rl.game.events import EventTable
from pokered_rl.game.items import KEY_ITEMS
from pokered_rl.game.maps import GameMaps
from pokered_rl.game.milestones import Milestones

__all__ = ["CartridgeProfile"]


@dataclass(frozen=True)
class CartridgeProfile:
    """The facts that belong to one cartridge. RAM addresses are the same in all of them.

    Attributes:
        name: ``red``, ``blue``, ``sprout``, or ``unknown`` for hacks.
        sha1: SHA-1 of the ROM file in hex; None where it is not fixed (Sprout is rebuilt, hacks are many).
        title: Title in the cartridge header.
        maps: The maps.
        events: The event flags.
        milestones: Points of the story, in its order.
        key_items: Ids of the key items.
        stack_words: Whether the return addresses on the stack mean what they mean in the retail game. Without them
            ``screen_kind`` knows fewer kinds.
    """

    name: str
    sha1: str | None
    title: str
    maps: GameMaps
    events: EventTable
    milestones: Milestones
    key_items: tuple[int, ...] = KEY_ITEMS
    stack_words: bool = True

    @classmethod
    def get(cls, name: str) -> CartridgeProfile:
        """The profile called ``name``; any name that is not known gets the tables of Red.

        A hack keeps the retail RAM map as a rule, but not the retail ROM addresses.
        """
        return _profile(name if name in ("red", "blue", "sprout") else "unknown")


@cache
def _profile(name: str) -> CartridgeProfile:
    tables = "sprout" if name == "sprout" else "red"
    maps = GameMaps.load(f"{tables}_maps.json")
    events = EventTable.load(f"{tables}_events.json")
    milestones = Milestones.load(f"{tables}_milestones.json", maps, events)
    # SHA-1 of the retail files: pret/pokered, roms.sha1.
    sha1, title = {
        "red": ("ea9bcae617fdf159b045185467ae58b2e4a48b9a", "POKEMON RED"),
        "blue": ("d7037c83e1ae5b39bde3c30787637ba1d4c48ce2", "POKEMON BLUE"),
        "sprout": (None, "SPROUT"),
    }.get(name, (None, ""))
    return CartridgeProfile(name, sha1, title, maps, events, milestones, stack_words=name != "unknown")
