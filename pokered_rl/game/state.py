"""Decode RAM to :class:`GameState`, for a whole batch in one pass."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import cast

import torch
from tensordict import TensorClass, TensorDict
from torch import Tensor

from pokered_rl.game.ram_map import FULL_LAYOUT, RamLayout
from pokered_rl.game.state_fields import (
    BYTE_TABLES,
    EVENT_RANGE,
    FLAGS_OF_BYTE,
    NUM_EVENT_FLAGS,
    NUMBERS,
    with_counts,
)

__all__ = ["STATE_FIELDS", "GameState"]


class GameState(TensorClass):
    """The decoded game state, batched like the RAM it was read from.

    Numbers are int64. Party slots at or beyond ``party_count`` and bag slots at or beyond ``bag_count`` are 0, the
    counts themselves are clipped to 6 and 20, and money and coins to their maxima. All other values are those in RAM,
    also where they are stale (``enemy_*`` outside battles) or impossible (HP above the maximum in an edited save).

    Attributes:
        map_id: ``[*]`` current map (``GameMaps``).
        x: ``[*]`` player column in steps, 0 at the left edge.
        y: ``[*]`` player line in steps, 0 at the top edge; 255 for an instant when leaving by the north edge.
        width_steps: ``[*]`` width of the current map in steps.
        height_steps: ``[*]`` height of the current map in steps.
        last_map: ``[*]`` outdoor map that a warp to map 255 leads back to.
        tileset: ``[*]`` tileset of the map; 0 and 23 are the outdoor ones.
        facing: ``[*]`` 0 down, 1 up, 2 left, 3 right (the RAM holds 0, 4, 8, 12).
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


class _Plan:
    """Index and weight tensors for a layout, fields and a device."""

    def __init__(self, layout: RamLayout, names: tuple[str, ...], device: torch.device) -> None:
        unknown = set(names).difference(STATE_FIELDS)
        if unknown:
            raise KeyError(f"GameState has no field {', '.join(sorted(unknown))}")
        self._names = names
        self._events = layout.slice(EVENT_RANGE[0], NUM_EVENT_FLAGS // 8) if "event_flags" in names else None
        self._flags_of_byte = FLAGS_OF_BYTE.to(device)

        # Only numbers of several bytes need the product. The order of the columns is therefore: scalars of one byte,
        # arrays of one byte, scalars of several bytes, arrays of several bytes.
        numbered = [name for name in with_counts(names) if name in NUMBERS]
        self._groups = tuple(
            tuple(
                name
                for name in numbered
                if (len(NUMBERS[name].numbers[0].parts) > 1, bool(NUMBERS[name].shape)) == group
            )
            for group in ((False, False), (False, True), (True, False), (True, True))
        )
        ordered = [name for group in self._groups for name in group]
        numbers = [number for name in ordered for number in NUMBERS[name].numbers]
        parts = [(at, table) for number in numbers for at, _, table in number.parts]
        joint = [number for number in numbers if len(number.parts) > 1]
        self._num_alone = len(numbers) - len(joint)
        weights = torch.zeros(len(parts) - self._num_alone, len(joint), dtype=torch.float64)
        row = 0
        for k, number in enumerate(joint):
            for _, weight, _ in number.parts:
                weights[row, k] = weight
                row += 1
        count_at = {name: k for k, name in enumerate(self._groups[0])}

        def tensor(values: list[int], dtype: torch.dtype = torch.int64) -> Tensor:
            return torch.tensor(values, dtype=dtype, device=device)

        self._columns = tensor([layout.column(at) for at, _ in parts])  # [P]
        self._offsets = tensor([256 * table for _, table in parts])  # [P]
        self._tables = BYTE_TABLES.to(device)
        self._weights = weights.to(device)  # [P - alone, joint]
        self._limits = tensor([number.limit for number in joint], torch.float64)  # [joint]
        self._slots = tensor([number.slot for number in numbers], torch.float64)  # [K]
        self._counts = tensor([count_at[n.count] if n.count else 0 for n in numbers])  # [K]
        self._sizes = [
            size
            for group in (0, 2)
            for size in (len(self._groups[group]), *(len(NUMBERS[n].numbers) for n in self._groups[group + 1]))
        ]

    def decode(self, ram: Tensor) -> dict[str, Tensor]:
        out: dict[str, Tensor] = {}
        if self._events is not None:
            flags = self._flags_of_byte.take(ram[..., self._events].to(torch.int64))  # [*, 320]
            out["event_flags"] = flags.view(torch.bool)  # [*, 2560]
        if self._columns.numel():
            parts = self._tables.take(ram.index_select(-1, self._columns) + self._offsets)  # [*, P]
            joint = (parts[..., self._num_alone :] @ self._weights).minimum(self._limits)
            values = torch.cat((parts[..., : self._num_alone], joint), -1)  # [*, K]
            # A number outside all slots has slot -1, below any count.
            values = values * (self._slots < values.index_select(-1, self._counts))
            columns = iter(values.to(torch.int64).split(self._sizes, -1))
            for scalars, arrays in (self._groups[:2], self._groups[2:]):
                out.update(zip(scalars, next(columns).unbind(-1), strict=True))
                for name in arrays:
                    shape = NUMBERS[name].shape
                    out[name] = next(columns) if len(shape) == 1 else next(columns).unflatten(-1, shape)
        return {name: out[name] for name in self._names}


@lru_cache(maxsize=256)
def _plan(layout: RamLayout, names: tuple[str, ...], device: torch.device) -> _Plan:
    return _Plan(layout, names, device)
