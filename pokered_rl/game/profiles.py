"""Facts that differ between cartridges: tables of maps, events, items, species, moves and trainers."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache, cached_property

from pokered_rl.game.events import EventTable
from pokered_rl.game.maps import GameMaps
from pokered_rl.game.milestones import Milestones
from pokered_rl.game.tables import (
    ITEMS,
    MOVES,
    SPECIES,
    TRAINERS,
    Item,
    Move,
    NameTable,
    Species,
    TrainerClass,
    load_items,
    load_moves,
    load_species,
    load_trainers,
)

__all__ = ["CartridgeProfile"]

#: Names of the events that a defeated leader of a badge sets.
_LEADER = re.compile(r"BEAT_(BROCK|MISTY|LT_SURGE|ERIKA|KOGA|SABRINA|BLAINE|VIRIDIAN_GYM_GIOVANNI|LEADER_\w+)")
#: Names of events that are no part of the story: trainers by number, and flags named by their number.
_ORDINARY = re.compile(r"TRAINER_\d+$|^[0-9A-F]{3}$")


@dataclass(frozen=True)
class CartridgeProfile:
    """The facts of one cartridge. RAM addresses are the same in all of them.

    Attributes:
        name: ``red``, ``blue``, ``sprout``, or ``unknown`` for hacks.
        sha1: SHA-1 of the ROM file in hex; None where it is not fixed (Sprout is rebuilt, hacks are many).
        title: Title in the cartridge header.
        maps: The maps.
        events: The event flags.
        milestones: Points of the story, in its order.
        items: The items.
        species: The species by internal index.
        moves: The moves.
        trainers: The trainer classes.
        stack_words: Whether the return addresses on the stack are those of the retail game. Without them
            ``screen_kind`` distinguishes fewer kinds.
    """

    name: str
    sha1: str | None
    title: str
    maps: GameMaps
    events: EventTable
    milestones: Milestones
    items: NameTable[Item]
    species: NameTable[Species]
    moves: NameTable[Move]
    trainers: NameTable[TrainerClass]
    stack_words: bool = True

    @cached_property
    def key_items(self) -> tuple[int, ...]:
        """Ids of the key items, ascending."""
        return tuple(sorted(item.id for item in self.items if item.key_item))

    @cached_property
    def story_events(self) -> tuple[int, ...]:
        """Bits of the named events but for the defeats of ordinary trainers, ascending."""
        return tuple(bit for bit in self.events if not _ORDINARY.search(self.events.name(bit)))

    @cached_property
    def required_events(self) -> tuple[int, ...]:
        """Bits of the events that the milestones and the leaders of the badges stand for, ascending.

        The game cannot be finished without them, or without one of two (fossils, sleepers on the roads).
        """
        leaders = [bit for bit in self.events if _LEADER.fullmatch(self.events.name(bit))]
        return tuple(sorted({*leaders, *(bit for milestone in self.milestones for bit in milestone.events)}))

    @classmethod
    def get(cls, name: str) -> CartridgeProfile:
        """Return the profile called ``name``; an unknown name gets the tables of Red.

        Hacks usually keep the retail RAM map, but not the retail ROM addresses.
        """
        return _profile(name if name in ("red", "blue", "sprout") else "unknown")


@cache
def _profile(name: str) -> CartridgeProfile:
    if name == "sprout":
        return _sprout()
    maps, events = GameMaps.load("red_maps.json"), EventTable.load("red_events.json")
    # SHA-1 of the retail files: pret/pokered, roms.sha1.
    sha1, title = {
        "red": ("ea9bcae617fdf159b045185467ae58b2e4a48b9a", "POKEMON RED"),
        "blue": ("d7037c83e1ae5b39bde3c30787637ba1d4c48ce2", "POKEMON BLUE"),
    }.get(name, (None, ""))
    return CartridgeProfile(
        name=name,
        sha1=sha1,
        title=title,
        maps=maps,
        events=events,
        milestones=Milestones.load("red_milestones.json", maps, events),
        items=ITEMS,
        species=SPECIES,
        moves=MOVES,
        trainers=TRAINERS,
        stack_words=name != "unknown",
    )


def _sprout() -> CartridgeProfile:
    # Sprout's maps, species, moves, items and classes have the numbers of similar ones in the retail game.
    maps = GameMaps.load("sprout_maps.json", alike=_profile("red").maps)
    events = EventTable.load("sprout_events.json")
    return CartridgeProfile(
        name="sprout",
        sha1=None,
        title="SPROUT",
        maps=maps,
        events=events,
        milestones=Milestones.load("sprout_milestones.json", maps, events),
        items=load_items("sprout_items.json"),
        species=load_species("sprout_species.json"),
        moves=load_moves("sprout_moves.json"),
        trainers=load_trainers("sprout_trainers.json"),
    )
