"""`GameState`: what the RAM says about the game, decoded in one pass for a whole batch."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, cast

import torch
from tensordict import TensorClass, TensorDict
from torch import Tensor

from pokered_rl.game.ram_layout import FULL_LAYOUT, RamLayout
from pokered_rl.game.ram_map import RAM_MAP

__all__ = [
    "BAG_SLOTS",
    "MAX_COINS",
    "MAX_MONEY",
    "NUM_EVENT_FLAGS",
    "NUM_SPECIES",
    "PARTY_SLOTS",
    "STATE_FIELDS",
    "STATE_RANGES",
    "GameState",
    "state_ranges",
]

PARTY_SLOTS = 6
BAG_SLOTS = 20
NUM_EVENT_FLAGS = 2560
NUM_SPECIES = 151
MAX_MONEY = 999_999
MAX_COINS = 9_999

_MOVE_SLOTS = 4
_PARTY_STRIDE = 44


class GameState(TensorClass):
    """The decoded game state, batched like the RAM it was read from.

    Numbers are int64. Party slots at or beyond ``party_count`` and bag slots at or beyond ``bag_count`` are 0, the
    counts themselves are clipped to the 6 and 20 that the game has room for, and money and coins to their maxima.
    Everything else is what the RAM says, also where that is stale (``enemy_*`` outside battles) or odd
    (HP above the maximum in a tampered save): a decoder does not judge.

    Attributes:
        map_id: ``[*]`` current map (``GameMaps``).
        x: ``[*]`` player column in steps, 0 at the left edge.
        y: ``[*]`` player row in steps, 0 at the top edge; 255 for an instant when leaving by the north edge.
        width_steps: ``[*]`` width of the current map in steps.
        height_steps: ``[*]`` height of the current map in steps.
        last_map: ``[*]`` outdoor map that a warp to map 255 leads back to.
        tileset: ``[*]`` tileset of the map; 0 and 23 are the outdoor ones.
        facing: ``[*]`` 0 down, 4 up, 8 left, 12 right.
        transport: ``[*]`` 0 on foot, 1 bicycle, 2 surfing.
        party_count: ``[*]`` 0..6.
        party_species: ``[*, 6]`` internal species index, not the Pokédex number.
        party_level: ``[*, 6]`` 1..100.
        party_hp: ``[*, 6]``.
        party_max_hp: ``[*, 6]``.
        party_status: ``[*, 6]`` bits 0-2 sleep turns, 3 poison, 4 burn, 5 freeze, 6 paralysis.
        party_exp: ``[*, 6]`` experience points.
        party_moves: ``[*, 6, 4]`` move ids, 0 for none.
        party_pp: ``[*, 6, 4]`` PP left, without the PP-up bits.
        badge_bits: ``[*]`` bit 0 Boulder .. bit 7 Earth.
        money: ``[*]`` 0..999,999.
        coins: ``[*]`` 0..9,999.
        bag_count: ``[*]`` 0..20.
        bag_items: ``[*, 20, 2]`` item id and quantity.
        pokedex_owned: ``[*]`` species owned, 0..151.
        pokedex_seen: ``[*]`` species seen, 0..151.
        event_flags: bool ``[*, 2560]`` (``EventTable`` has the names).
        hall_of_fame: ``[*]`` teams in the Hall of Fame; above 0 the game was finished at least once.
        in_battle: ``[*]`` raw byte: 0 none, 1 wild, 2 trainer, 255 just lost.
        battle_type: ``[*]`` 0 normal, 1 the old man's demonstration, 2 Safari Zone.
        opponent: ``[*]`` raw wCurOpponent: 0 none, a species index, or 200 + trainer class.
        trainer_class: ``[*]`` 0 in wild battles.
        battle_result: ``[*]`` 0 won, 1 lost, 2 draw or fled; stale between battles.
        enemy_species: ``[*]`` internal index; like all ``enemy_*`` stale outside battles.
        enemy_level: ``[*]``.
        enemy_hp: ``[*]``.
        enemy_max_hp: ``[*]``.
        last_blackout_map: ``[*]`` map that a black-out leads to.
        play_time_seconds: ``[*]`` hours, minutes and seconds of the game's own clock; 255 h is the end.
        play_time_frames: ``[*]`` 0..59, the clock's fraction of a second.
    """

    map_id: Tensor | None = None
    x: Tensor | None = None
    y: Tensor | None = None
    width_steps: Tensor | None = None
    height_steps: Tensor | None = None
    last_map: Tensor | None = None
    tileset: Tensor | None = None
    facing: Tensor | None = None
    transport: Tensor | None = None
    party_count: Tensor | None = None
    party_species: Tensor | None = None
    party_level: Tensor | None = None
    party_hp: Tensor | None = None
    party_max_hp: Tensor | None = None
    party_status: Tensor | None = None
    party_exp: Tensor | None = None
    party_moves: Tensor | None = None
    party_pp: Tensor | None = None
    badge_bits: Tensor | None = None
    money: Tensor | None = None
    coins: Tensor | None = None
    bag_count: Tensor | None = None
    bag_items: Tensor | None = None
    pokedex_owned: Tensor | None = None
    pokedex_seen: Tensor | None = None
    event_flags: Tensor | None = None
    hall_of_fame: Tensor | None = None
    in_battle: Tensor | None = None
    battle_type: Tensor | None = None
    opponent: Tensor | None = None
    trainer_class: Tensor | None = None
    battle_result: Tensor | None = None
    enemy_species: Tensor | None = None
    enemy_level: Tensor | None = None
    enemy_hp: Tensor | None = None
    enemy_max_hp: Tensor | None = None
    last_blackout_map: Tensor | None = None
    play_time_seconds: Tensor | None = None
    play_time_frames: Tensor | None = None

    @classmethod
    def from_ram(
        cls, ram: Tensor, layout: RamLayout = FULL_LAYOUT, *, fields: Iterable[str] | None = None
    ) -> GameState:
        """Decode ``ram``.

        Args:
            ram: uint8 ``[*, R]``.
            layout: The columns of ``ram``; it must carry ``state_ranges(fields)``.
            fields: Names of the attributes to decode; the others stay None. None decodes all.

        Returns:
            A state of batch size ``[*]``.

        Raises:
            KeyError: If a field is unknown, or the layout does not carry it.
        """
        names = STATE_FIELDS if fields is None else tuple(fields)
        plan = _plan(layout, names, ram.device)
        # The checks of the public constructors cost three times the decoding; the plan has the shapes right.
        decoded = TensorDict._new_unsafe(plan.decode(ram), batch_size=ram.shape[:-1])
        return cast("GameState", cls._from_tensordict(decoded))


#: Names of all attributes of ``GameState``, in their order.
STATE_FIELDS: tuple[str, ...] = tuple(GameState.__annotations__)


# --- how each field is put together -------------------------------------------------------------------------------
# A number is a sum of up to three bytes, each passed through one of four tables and multiplied by a weight. So the
# whole state is one gather, one table look-up, one multiplication and one sum, whatever the number of fields.

_PLAIN, _BCD, _LOW6, _LOW7 = range(4)
_BYTES = torch.arange(256)
_TABLE = torch.stack([_BYTES, 10 * (_BYTES >> 4) + (_BYTES & 15), _BYTES & 63, _BYTES & 127]).flatten()

_BIT_OF_BYTE = (_BYTES.unsqueeze(-1) >> torch.arange(8)) & 1  # [256, 8]
#: The eight flags of each byte value as one 64-bit word: a look-up and a view unpack a whole bit field.
_FLAGS_OF_BYTE = _BIT_OF_BYTE.to(torch.bool).view(torch.int64).squeeze(-1)  # [256]
#: Bits set in each byte value; in the second half without bit 7, which is spare in the Pokédex's last byte.
_BITS_SET = torch.cat([_BIT_OF_BYTE.sum(-1), _BIT_OF_BYTE[:, :7].sum(-1)])  # [512]

_NO_LIMIT = 1 << 40


@dataclass(frozen=True)
class _Number:
    """One decoded number: bytes with table and weight, an upper limit, and the count that it must lie below."""

    parts: tuple[tuple[int, int, int], ...]  # (address, weight, table)
    limit: int = _NO_LIMIT
    slot: int = -1
    count: str | None = None


@dataclass(frozen=True)
class _Field:
    """A field: its shape behind the batch and its numbers in row-major order."""

    shape: tuple[int, ...]
    numbers: tuple[_Number, ...]


def _u8(label: str, table: int = _PLAIN, limit: int = _NO_LIMIT) -> _Field:
    return _Field((), (_Number(((RAM_MAP[label].address, 1, table),), limit),))


def _u16(label: str) -> _Field:
    at = RAM_MAP[label].address
    return _Field((), (_Number(((at, 256, _PLAIN), (at + 1, 1, _PLAIN))),))


def _bcd(label: str, limit: int) -> _Field:
    entry = RAM_MAP[label]
    parts = tuple((entry.address + i, 100 ** (entry.length - 1 - i), _BCD) for i in range(entry.length))
    return _Field((), (_Number(parts, limit),))


def _party(label: str, values: int = 1, size: int = 1, table: int = _PLAIN) -> _Field:
    """``values`` numbers of ``size`` bytes, big endian, of each of the six party records."""
    first = RAM_MAP[label].address
    numbers = tuple(
        _Number(
            tuple((first + slot * _PARTY_STRIDE + value * size + i, 256 ** (size - 1 - i), table) for i in range(size)),
            slot=slot,
            count="party_count",
        )
        for slot in range(PARTY_SLOTS)
        for value in range(values)
    )
    return _Field((PARTY_SLOTS,) if values == 1 else (PARTY_SLOTS, values), numbers)


def _bag() -> _Field:
    first = RAM_MAP["wBagItems"].address
    numbers = tuple(
        _Number(((first + 2 * slot + i, 1, _PLAIN),), slot=slot, count="bag_count")
        for slot in range(BAG_SLOTS)
        for i in range(2)
    )
    return _Field((BAG_SLOTS, 2), numbers)


def _clock() -> _Field:
    parts = tuple(
        (RAM_MAP[label].address, seconds, _PLAIN)
        for label, seconds in (("wPlayTimeHours", 3600), ("wPlayTimeMinutes", 60), ("wPlayTimeSeconds", 1))
    )
    return _Field((), (_Number(parts),))


_NUMBERS: dict[str, _Field] = {
    "map_id": _u8("wCurMap"),
    "x": _u8("wXCoord"),
    "y": _u8("wYCoord"),
    "width_steps": _u8("wCurrentMapWidth2"),
    "height_steps": _u8("wCurrentMapHeight2"),
    "last_map": _u8("wLastMap"),
    "tileset": _u8("wCurMapTileset", _LOW7),
    "facing": _u8("wSpritePlayerStateData1FacingDirection"),
    "transport": _u8("wWalkBikeSurfState"),
    "party_count": _u8("wPartyCount", limit=PARTY_SLOTS),
    "party_species": _party("wPartyMon1Species"),
    "party_level": _party("wPartyMon1Level"),
    "party_hp": _party("wPartyMon1HP", size=2),
    "party_max_hp": _party("wPartyMon1MaxHP", size=2),
    "party_status": _party("wPartyMon1Status"),
    "party_exp": _party("wPartyMon1Exp", size=3),
    "party_moves": _party("wPartyMon1Moves", values=_MOVE_SLOTS),
    "party_pp": _party("wPartyMon1PP", values=_MOVE_SLOTS, table=_LOW6),
    "badge_bits": _u8("wObtainedBadges"),
    "money": _bcd("wPlayerMoney", MAX_MONEY),
    "coins": _bcd("wPlayerCoins", MAX_COINS),
    "bag_count": _u8("wNumBagItems", limit=BAG_SLOTS),
    "bag_items": _bag(),
    "hall_of_fame": _u8("wNumHoFTeams"),
    "in_battle": _u8("wIsInBattle"),
    "battle_type": _u8("wBattleType"),
    "opponent": _u8("wCurOpponent"),
    "trainer_class": _u8("wTrainerClass"),
    "battle_result": _u8("wBattleResult"),
    "enemy_species": _u8("wEnemyMonSpecies"),
    "enemy_level": _u8("wEnemyMonLevel"),
    "enemy_hp": _u16("wEnemyMonHP"),
    "enemy_max_hp": _u16("wEnemyMonMaxHP"),
    "last_blackout_map": _u8("wLastBlackoutMap"),
    "play_time_seconds": _clock(),
    "play_time_frames": _u8("wPlayTimeFrames"),
}

_EVENTS = RAM_MAP["wEventFlags"].range
_DEX = {"pokedex_owned": RAM_MAP["wPokedexOwned"].range, "pokedex_seen": RAM_MAP["wPokedexSeen"].range}
_DEX_BYTES = 19


def state_ranges(fields: Iterable[str] | None = None) -> tuple[tuple[int, int], ...]:
    """The address ranges that ``GameState.from_ram`` reads for ``fields`` (None: for all).

    Raises:
        KeyError: If a field is unknown.
    """
    ranges: list[tuple[int, int]] = []
    for name in _with_counts(STATE_FIELDS if fields is None else tuple(fields)):
        if name == "event_flags":
            ranges.append(_EVENTS)
        elif name in _DEX:
            ranges.append(_DEX[name])
        else:
            ranges += [(at, at + 1) for number in _NUMBERS[name].numbers for at, _, _ in number.parts]
    return RamLayout.merged(ranges).ranges


def _with_counts(names: tuple[str, ...]) -> tuple[str, ...]:
    """``names`` and the counts that their slots depend on."""
    counts = {
        number.count
        for name in names
        if name in _NUMBERS
        for number in _NUMBERS[name].numbers[:1]
        if number.count is not None
    }
    return names + tuple(sorted(counts.difference(names)))


class _Plan:
    """Index and weight tensors for one layout, choice of fields and device."""

    def __init__(self, layout: RamLayout, names: tuple[str, ...], device: torch.device) -> None:
        unknown = set(names).difference(STATE_FIELDS)
        if unknown:
            raise KeyError(f"GameState has no field {', '.join(sorted(unknown))}")
        self._events = layout.slice(_EVENTS[0], NUM_EVENT_FLAGS // 8) if "event_flags" in names else None
        self._flags_of_byte = _FLAGS_OF_BYTE.to(device)
        self._dex = tuple(name for name in names if name in _DEX)
        dex = [at for name in self._dex for at in range(*_DEX[name])]
        self._dex_columns = layout.index(tuple(dex), device)
        self._dex_offsets = torch.tensor(([0] * (_DEX_BYTES - 1) + [256]) * len(self._dex), device=device)
        self._bits_set = _BITS_SET.to(device)

        numbered = [name for name in _with_counts(names) if name in _NUMBERS]
        self._scalars = tuple(name for name in numbered if not _NUMBERS[name].shape)
        self._arrays = tuple(name for name in numbered if _NUMBERS[name].shape)
        self._names = names
        self._shapes = tuple(_NUMBERS[name].shape for name in self._arrays)
        self._sizes = (len(self._scalars), *(len(_NUMBERS[name].numbers) for name in self._arrays))
        numbers = [n for name in (*self._scalars, *self._arrays) for n in _NUMBERS[name].numbers]
        self._empty = not numbers
        if self._empty:
            return

        depth = max(len(number.parts) for number in numbers)
        first = numbers[0].parts[0][0]
        parts = [number.parts + ((first, 0, _PLAIN),) * (depth - len(number.parts)) for number in numbers]
        flat = [parts[k][d] for d in range(depth) for k in range(len(numbers))]
        column_of = {name: i for i, name in enumerate(self._scalars)}

        def tensor(values: list[int]) -> Tensor:
            return torch.tensor(values, dtype=torch.int64, device=device)

        self._depth = depth
        self._columns = tensor([layout.column(at) for at, _, _ in flat])  # [depth * K]
        self._offsets = tensor([256 * table for _, _, table in flat])  # [depth * K]
        self._weights = tensor([weight for _, weight, _ in flat]).view(depth, -1)  # [depth, K]
        self._limits = tensor([number.limit for number in numbers])  # [K]
        self._slots = tensor([number.slot for number in numbers])  # [K], -1 where no count applies
        self._counts = tensor([column_of[n.count] if n.count else 0 for n in numbers])  # [K]
        self._has_slots = any(number.count for number in numbers)
        self._table = _TABLE.to(device)

    def decode(self, ram: Tensor) -> dict[str, Tensor]:
        batch = ram.shape[:-1]
        out: dict[str, Tensor] = {}
        if not self._empty:
            at = ram.index_select(-1, self._columns) + self._offsets  # int64 [*, depth * K]
            value = self._table.take(at).view(*batch, self._depth, -1)  # [*, depth, K]
            value = (value * self._weights).sum(-2).minimum(self._limits)  # [*, K]
            if self._has_slots:
                value = value * (self._slots < value.index_select(-1, self._counts))
            scalars, *arrays = value.split(self._sizes, -1)
            out.update(zip(self._scalars, scalars.unbind(-1), strict=True))
            for name, array, shape in zip(self._arrays, arrays, self._shapes, strict=True):
                out[name] = array if len(shape) == 1 else array.view(*batch, *shape)
        if self._dex:
            at = ram.index_select(-1, self._dex_columns) + self._dex_offsets  # [*, n * 19]
            counts = self._bits_set.take(at).view(*batch, -1, _DEX_BYTES).sum(-1)  # [*, n]
            out.update(zip(self._dex, counts.unbind(-1), strict=True))
        if self._events is not None:
            flags = self._flags_of_byte.take(ram[..., self._events].to(torch.int64))  # [*, 320]
            out["event_flags"] = flags.view(torch.bool)  # [*, 2560]
        return {name: out[name] for name in self._names}


@lru_cache(maxsize=256)
def _plan(layout: RamLayout, names: tuple[str, ...], device: Any) -> _Plan:
    return _Plan(layout, names, device)


#: What ``GameState.from_ram`` reads when all fields are wanted.
STATE_RANGES: tuple[tuple[int, int], ...] = state_ranges()
