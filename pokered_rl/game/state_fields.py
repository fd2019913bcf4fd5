"""How the bytes of RAM make the fields of :class:`~pokered_rl.game.GameState`.

A number is a weighted sum of bytes after a table lookup, so a whole state is one gather, one lookup and one matrix
product, whatever the number of fields.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch

from pokered_rl.game.ram_map import RAM_MAP, RamLayout

__all__ = [
    "BYTE_TABLES",
    "EVENT_RANGE",
    "FACING_OF_BYTE",
    "FLAGS_OF_BYTE",
    "MAX_COINS",
    "MAX_MONEY",
    "NUMBERS",
    "NUM_EVENT_FLAGS",
    "NUM_SPECIES",
    "Field",
    "Number",
    "state_ranges",
    "with_counts",
]

_PARTY_SLOTS = 6
_BAG_SLOTS = 20
#: Bits of wEventFlags.
NUM_EVENT_FLAGS = 2560
#: Species in the Pokédex.
NUM_SPECIES = 151
#: Most money the player can have.
MAX_MONEY = 999_999
#: Most coins of the game corner.
MAX_COINS = 9_999

_MOVE_SLOTS = 4
_PARTY_STRIDE = 44
_NO_LIMIT = 1 << 40

_PLAIN, _BCD, _LOW6, _LOW7, _BITS_SET, _BITS_SET_OF_7, _UP_TO_6, _UP_TO_20, _FACING = range(9)
_BYTES = torch.arange(256)
_BIT_OF_BYTE = (_BYTES.unsqueeze(-1) >> torch.arange(8)) & 1  # [256, 8]

#: int64 ``[256]``: a facing direction in RAM (0, 4, 8, 12) as this library numbers it: 0 down, 1 up, 2 left, 3 right.
FACING_OF_BYTE = _BYTES >> 2 & 3

#: float64 ``[9 * 256]``: the value of a byte as a number, as two decimal digits, without its upper bits, as a set
#: of flags, as a count that the game has no room to exceed, as a direction.
#: Doubles hold every number of the game exactly, and their products are not rounded on a GPU as those of floats are.
BYTE_TABLES = torch.cat(
    [
        _BYTES,
        10 * (_BYTES >> 4) + (_BYTES & 15),
        _BYTES & 63,
        _BYTES & 127,
        _BIT_OF_BYTE.sum(-1),
        _BIT_OF_BYTE[:, :7].sum(-1),
        _BYTES.clamp(max=_PARTY_SLOTS),
        _BYTES.clamp(max=_BAG_SLOTS),
        FACING_OF_BYTE,
    ]
).to(torch.float64)

#: int64 ``[256]``: the eight flags of each byte as eight booleans: a lookup and a view unpack a bit field.
FLAGS_OF_BYTE = _BIT_OF_BYTE.to(torch.bool).view(torch.int64).squeeze(-1)

#: Addresses of the event flags, as (first, one past the last).
EVENT_RANGE = RAM_MAP["wEventFlags"].range


@dataclass(frozen=True)
class Number:
    """One decoded number: bytes with weight and table, an upper limit, and the count that its slot must lie below.

    Only numbers of several bytes have a limit; those of one byte have theirs in their table. A count is one byte.
    """

    parts: tuple[tuple[int, int, int], ...]  # (address, weight, table)
    limit: int = _NO_LIMIT
    slot: int = -1
    count: str | None = None


@dataclass(frozen=True)
class Field:
    """A field: its shape behind the batch and its numbers in row-major order."""

    shape: tuple[int, ...]
    numbers: tuple[Number, ...]


def _number(label: str, table: int = _PLAIN, limit: int = _NO_LIMIT) -> Field:
    """One number, high byte first, by the format in the RAM map: unsigned, or two decimal digits a byte."""
    entry = RAM_MAP[label]
    base, table = (100, _BCD) if entry.kind == "bcd" else (256, table)
    parts = tuple((entry.address + i, base ** (entry.length - 1 - i), table) for i in range(entry.length))
    return Field((), (Number(parts, limit),))


def _party(label: str, values: int = 1, size: int = 1, table: int = _PLAIN) -> Field:
    """``values`` numbers of ``size`` bytes, big endian, of each of the six party records."""
    first = RAM_MAP[label].address
    numbers = tuple(
        Number(
            tuple((first + slot * _PARTY_STRIDE + value * size + i, 256 ** (size - 1 - i), table) for i in range(size)),
            slot=slot,
            count="party_count",
        )
        for slot in range(_PARTY_SLOTS)
        for value in range(values)
    )
    return Field((_PARTY_SLOTS,) if values == 1 else (_PARTY_SLOTS, values), numbers)


def _bag() -> Field:
    first = RAM_MAP["wBagItems"].address
    numbers = tuple(
        Number(((first + 2 * slot + i, 1, _PLAIN),), slot=slot, count="bag_count")
        for slot in range(_BAG_SLOTS)
        for i in range(2)
    )
    return Field((_BAG_SLOTS, 2), numbers)


def _bits_set(label: str) -> Field:
    """How many bits of a Pokédex field are set; the last bit is spare: 19 bytes, 151 species."""
    entry = RAM_MAP[label]
    tables = [_BITS_SET] * (entry.length - 1) + [_BITS_SET_OF_7]
    return Field((), (Number(tuple((entry.address + i, 1, table) for i, table in enumerate(tables))),))


def _clock() -> Field:
    parts = tuple(
        (RAM_MAP[label].address, seconds, _PLAIN)
        for label, seconds in (("wPlayTimeHours", 3600), ("wPlayTimeMinutes", 60), ("wPlayTimeSeconds", 1))
    )
    return Field((), (Number(parts),))


#: Every field of numbers; ``event_flags`` alone is not one.
NUMBERS: dict[str, Field] = {
    "map_id": _number("wCurMap"),
    "x": _number("wXCoord"),
    "y": _number("wYCoord"),
    "width_steps": _number("wCurrentMapWidth2"),
    "height_steps": _number("wCurrentMapHeight2"),
    "last_map": _number("wLastMap"),
    "tileset": _number("wCurMapTileset", _LOW7),
    "facing": _number("wSpritePlayerStateData1FacingDirection", _FACING),
    "transport": _number("wWalkBikeSurfState"),
    "party_count": _number("wPartyCount", _UP_TO_6),
    "party_species": _party("wPartyMon1Species"),
    "party_level": _party("wPartyMon1Level"),
    "party_hp": _party("wPartyMon1HP", size=2),
    "party_max_hp": _party("wPartyMon1MaxHP", size=2),
    "party_status": _party("wPartyMon1Status"),
    "party_exp": _party("wPartyMon1Exp", size=3),
    "party_moves": _party("wPartyMon1Moves", values=_MOVE_SLOTS),
    "party_pp": _party("wPartyMon1PP", values=_MOVE_SLOTS, table=_LOW6),
    "badge_bits": _number("wObtainedBadges"),
    "money": _number("wPlayerMoney", limit=MAX_MONEY),
    "coins": _number("wPlayerCoins", limit=MAX_COINS),
    "bag_count": _number("wNumBagItems", _UP_TO_20),
    "bag_items": _bag(),
    "pokedex_owned": _bits_set("wPokedexOwned"),
    "pokedex_seen": _bits_set("wPokedexSeen"),
    "hall_of_fame": _number("wNumHoFTeams"),
    "in_battle": _number("wIsInBattle"),
    "battle_type": _number("wBattleType"),
    "opponent": _number("wCurOpponent"),
    "trainer_class": _number("wTrainerClass"),
    "battle_result": _number("wBattleResult"),
    "enemy_species": _number("wEnemyMonSpecies"),
    "enemy_level": _number("wEnemyMonLevel"),
    "enemy_hp": _number("wEnemyMonHP"),
    "enemy_max_hp": _number("wEnemyMonMaxHP"),
    "last_blackout_map": _number("wLastBlackoutMap"),
    "play_time_seconds": _clock(),
    "play_time_frames": _number("wPlayTimeFrames"),
}


def state_ranges(fields: Iterable[str] | None = None) -> tuple[tuple[int, int], ...]:
    """The address ranges that ``GameState.from_ram`` reads for ``fields`` (None: for all).

    Raises:
        KeyError: If a field is unknown.
    """
    ranges: list[tuple[int, int]] = []
    for name in with_counts(("event_flags", *NUMBERS) if fields is None else tuple(fields)):
        if name == "event_flags":
            ranges.append(EVENT_RANGE)
        else:
            ranges += [(at, at + 1) for number in NUMBERS[name].numbers for at, _, _ in number.parts]
    return RamLayout.merged(ranges).ranges


def with_counts(names: tuple[str, ...]) -> tuple[str, ...]:
    """``names`` and the counts that their slots depend on."""
    counts = {
        number.count
        for name in names
        if name in NUMBERS
        for number in NUMBERS[name].numbers[:1]
        if number.count is not None
    }
    return names + tuple(sorted(counts.difference(names)))
