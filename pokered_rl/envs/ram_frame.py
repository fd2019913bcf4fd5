"""RAM of E emulators at one step, decoded on demand and shared by the transforms of the step.

NumPy views instead of tensor operations: at E = 8 the number of operations decides the cost, and a NumPy operation on a
few bytes takes 0.3 us against 1-3 us. The views share memory with the ``ram`` tensor.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from pokered_rl.game import GameState, RamLayout
from pokered_rl.game.ram_map import RAM_MAP
from pokered_rl.game.screens import screen_arrays
from pokered_rl.game.state_fields import FACING_OF_BYTE

__all__ = ["PROGRESS_LABELS", "GameProgress", "RamFrame", "any_of", "label_ranges", "read_frame"]

_Bytes = npt.NDArray[np.uint8]
_Ints = npt.NDArray[np.int64]
_Flags = npt.NDArray[np.bool_]

#: Outdoor tilesets: OVERWORLD and PLATEAU (ram_map, wCurMapTileset); bit 7 has another meaning.
_IS_OUTSIDE = np.isin(np.arange(256) & 0x7F, (0, 23))
#: wFontLoaded: bit 0 is set while a text or menu of the overworld is open.
_IS_TEXT_OPEN = (np.arange(256) & 1).astype(bool)
_FACING = FACING_OF_BYTE.numpy()
#: Tiles from here on are letters and boxes, below are map tiles (ram_map, wTileMap).
_FIRST_TEXT_TILE = 0x60
_ARROW_TILE = 0xEE
_BLANK_TILE = 0x7F

#: Place on the screen of the tile in front of the player, by facing: down, up, left, right
#: (_GetTileAndCoordsInFrontOfPlayer), and the square's distance in map steps.
_IN_FRONT = np.array([11 * 20 + 8, 7 * 20 + 8, 9 * 20 + 6, 9 * 20 + 10])
_STEP_X, _STEP_Y = np.array([0, 0, -1, 1]), np.array([1, -1, 0, 0])
#: Trees that CUT removes: the tile in the tilesets OVERWORLD and GYM (UsedCut); 0 for none.
_TREE_TILES = np.zeros(128, np.uint8)
_TREE_TILES[[0, 7]] = 0x3D, 0x50

# The party changes in every round of a battle, the rest rarely.
_PARTY_LABELS = ("wPartyCount", "wPartySpecies", "wPartyMons")
_OTHER_LABELS = (
    "wPokedexOwned",
    "wPokedexSeen",
    "wNumBagItems",
    "wBagItems",
    "wPlayerMoney",
    "wObtainedBadges",
    "wNumHoFTeams",
    "wEventFlags",
)
#: Entries of the RAM map that :attr:`RamFrame.progress` reads.
PROGRESS_LABELS: tuple[str, ...] = (*_PARTY_LABELS, *_OTHER_LABELS)
_MEMBER_FIELDS = ("party_level", "party_hp", "party_max_hp")
_OTHER_FIELDS = (
    "pokedex_owned",
    "pokedex_seen",
    "bag_items",
    "badge_bits",
    "money",
    "hall_of_fame",
)

#: Multipliers of the screen hashes: fixed, so that hashes mean the same in every process and after a resume.
_HASH_WEIGHTS = np.random.default_rng(0x504B).integers(1, 2**63, size=512, dtype=np.uint64) | np.uint64(1)

#: Each tile as text (the blinking arrow as a blank, the map as 0) and as a view of the map (letters as 0).
_TEXT_OF_TILE = np.arange(256, dtype=np.uint8)
_TEXT_OF_TILE[:_FIRST_TEXT_TILE] = 0
_TEXT_OF_TILE[_ARROW_TILE] = _BLANK_TILE
_SCENE_OF_TILE = np.arange(1, 257, dtype=np.uint64)
_SCENE_OF_TILE[_FIRST_TEXT_TILE:] = 0


def label_ranges(labels: Iterable[str]) -> tuple[tuple[int, int], ...]:
    """Return the address ranges (start, stop) of entries of the RAM map, in order."""
    return tuple(sorted({RAM_MAP[label].range for label in labels}))


def any_of(flags: npt.NDArray[np.bool_]) -> bool:
    """Return whether any of ``flags`` is set, at a tenth of the cost of ``flags.any()`` on a few of them."""
    return 1 in flags.tobytes()


class _Columns(dict[str, slice]):
    """Columns by label, looked up once for each layout."""

    def __init__(self, layout: RamLayout) -> None:
        super().__init__()
        self._layout = layout
        self._all: dict[tuple[str, ...], _Ints] = {}

    def __missing__(self, label: str) -> slice:
        start, stop = RAM_MAP[label].range
        columns = self[label] = self._layout.slice(start, stop - start)
        return columns

    def all(self, labels: tuple[str, ...]) -> _Ints:
        """Return the columns of several labels in their order, int64 [bytes]."""
        columns = self._all.get(labels)
        if columns is None:
            spans = [self[label] for label in labels]
            columns = self._all[labels] = np.concatenate([np.arange(span.start, span.stop) for span in spans])
        return columns


_columns_of = lru_cache(maxsize=64)(_Columns)


def _mix(hashed: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Mix the high bits of a random linear form modulo 2**64, which are the better ones, into the low ones."""
    return hashed ^ (hashed >> np.uint64(29))


@dataclass(frozen=True, eq=False)
class GameProgress:
    """Party, Pokédex, bag, badges, money and events of E emulators; see :class:`~pokered_rl.game.GameState`."""

    #: [E]
    party_count: _Ints
    #: [E, 6]; 0 beyond the party and for a new member whose record is not written yet: the game lists it and asks for
    #: its nickname first.
    party_level: _Ints
    party_hp: _Ints
    party_max_hp: _Ints
    #: uint8 [E, 6, 44], the records in RAM, 0 as above.
    party_records: _Bytes
    #: [E], counts.
    pokedex_owned: _Ints
    pokedex_seen: _Ints
    #: [E, 20, 2], item and quantity, 0 beyond the bag.
    bag_items: _Ints
    #: [E]
    badge_bits: _Ints
    money: _Ints
    #: [E], teams.
    hall_of_fame: _Ints
    #: uint8 [E, 320], eight event flags a byte.
    event_bytes: _Bytes


class RamFrame:
    """RAM of E emulators at one step.

    Every field is [E] unless said otherwise, is decoded when first read, and kept.

    Args:
        ram: uint8 [*, R]; leading dimensions are flattened to E.
        layout: Addresses of the R columns.
        previous: The frame of the step before: what did not change is not decoded again.
    """

    #: Entries of the RAM map that the named fields read.
    LABELS: tuple[str, ...] = (
        "wCurMap",
        "wXCoord",
        "wYCoord",
        "wCurrentMapWidth2",
        "wCurrentMapHeight2",
        "wCurMapTileset",
        "wSpritePlayerStateData1FacingDirection",
        "wFontLoaded",
        "wIsInBattle",
    )

    def __init__(self, ram: torch.Tensor, layout: RamLayout, previous: RamFrame | None = None) -> None:
        self.lead = ram.shape[:-1]
        self.tensor = ram if ram.ndim == 2 else ram.reshape(-1, ram.shape[-1])  # [E, R]
        self.bytes: _Bytes = self.tensor.numpy() if ram.device.type == "cpu" else self.tensor.cpu().numpy()
        self.layout = layout
        self._previous = previous if previous is not None and previous.layout is layout else None
        self._columns: _Columns = _columns_of(layout) if self._previous is None else self._previous._columns
        self.num_emulators = self.bytes.shape[0]
        self._progress_bytes: tuple[bytes, bytes] | None = None
        self._changed: tuple[RamFrame, _Flags] | None = None
        self._gathered: dict[tuple[str, ...], _Ints] = {}
        #: What transforms have computed from this frame, by a key of their own, so that others need not do it again.
        self.computed: dict[Any, Any] = {}

    def u8(self, label: str) -> _Bytes:
        """Return the first byte of an entry of the RAM map, uint8 [E] (a view)."""
        return self.bytes[:, self._columns[label].start]

    def gather(self, labels: tuple[str, ...]) -> _Ints:
        """Return all bytes of the entries ``labels`` in their order, int64 [bytes, E]; gathered once a frame."""
        known = self._gathered.get(labels)
        if known is None:
            known = self._gathered[labels] = self.bytes.take(self._columns.all(labels), 1).T.astype(np.int64, order="C")
        return known

    def block(self, label: str) -> _Bytes:
        """Return all bytes of an entry of the RAM map, uint8 [E, length] (a view)."""
        return self.bytes[:, self._columns[label]]

    def u16(self, label: str) -> _Ints:
        """Return two bytes, big endian, as int64 [E]."""
        pair = self.block(label).astype(np.int64)
        return (pair[:, 0] << 8) | pair[:, 1]

    @cached_property
    def _place(self) -> tuple[_Ints, ...]:
        """Return `LABELS`, a byte each, read at once."""
        return tuple(self.gather(self.LABELS))

    @property
    def map_id(self) -> _Ints:
        """Number of the map."""
        return self._place[0]

    @property
    def x(self) -> _Ints:
        """Column of the player in steps from the map's left edge."""
        return self._place[1]

    @property
    def y(self) -> _Ints:
        """Line of the player in steps from the map's top edge."""
        return self._place[2]

    @property
    def position(self) -> _Ints:
        """`x` and `y`, [2, E]."""
        position: _Ints = self.gather(self.LABELS)[1:3]
        return position

    @property
    def width_steps(self) -> _Ints:
        """Width of the map."""
        return self._place[3]

    @property
    def height_steps(self) -> _Ints:
        """Height of the map."""
        return self._place[4]

    @property
    def size_steps(self) -> _Ints:
        """`width_steps` and `height_steps`, [2, E]."""
        size: _Ints = self.gather(self.LABELS)[3:5]
        return size

    @cached_property
    def on_map(self) -> _Flags:
        """Whether a map is loaded: not at the title, nor after the reset that follows the hall of fame."""
        on_map: _Flags = (self._place[3] > 0) & (self._place[4] > 0)
        return on_map

    @cached_property
    def outside(self) -> _Flags:
        """Whether the map is an outdoor one, by its tileset."""
        return _IS_OUTSIDE.take(self._place[5])

    @cached_property
    def facing(self) -> _Ints:
        """Direction the player faces: 0 down, 1 up, 2 left, 3 right."""
        return _FACING.take(self._place[6])

    @cached_property
    def text_open(self) -> _Flags:
        """Whether a text or menu of the overworld is open (bit 0 of wFontLoaded)."""
        return _IS_TEXT_OPEN.take(self._place[7])

    @cached_property
    def square_in_front(self) -> tuple[_Ints, _Ints]:
        """Column and line, in map steps, of the square that the player faces."""
        return self.x + _STEP_X[self.facing], self.y + _STEP_Y[self.facing]

    @cached_property
    def tile_in_front(self) -> _Bytes:
        """Tile of the map that the player faces, uint8; valid while nothing covers the map."""
        tiles: _Bytes = self.tile_map[np.arange(self.num_emulators), _IN_FRONT[self.facing]]
        return tiles

    @cached_property
    def tree_in_front(self) -> _Flags:
        """Whether the player faces a tree that CUT removes; valid while nothing covers the map."""
        trees = _TREE_TILES[self._place[5] & 0x7F]
        faces: _Flags = (trees > 0) & (self.tile_in_front == trees)
        return faces

    def sprite_at(self, x: _Ints, y: _Ints) -> _Ints:
        """Return the slot of the person or object on square (x, y), 0 for none; needs wSpriteStateData1 and 2."""
        pictures = self.block("wSpriteStateData1").reshape(-1, 16, 16)[:, :, 0]
        places = self.block("wSpriteStateData2").reshape(-1, 16, 16)  # map coordinates plus 4
        there = (pictures > 0) & (places[:, :, 4] == (y + 4)[:, None]) & (places[:, :, 5] == (x + 4)[:, None])
        there[:, 0] = False  # the player
        slot: _Ints = there.argmax(1)
        return slot

    @property
    def in_battle(self) -> _Ints:
        """wIsInBattle: 0 none, 1 wild, 2 trainer, 255 just lost."""
        return self._place[8]

    @cached_property
    def any_battle(self) -> bool:
        """Whether any emulator is in a battle or has just lost one."""
        return any_of(self._place[8] != 0)

    @cached_property
    def _screen(self) -> tuple[_Bytes, _Flags]:
        return screen_arrays(self.bytes, self.layout)

    @property
    def screen_kind(self) -> _Bytes:
        """:class:`~pokered_rl.game.ScreenKind`, uint8; the stack is used where the layout has it."""
        return self._screen[0]

    @property
    def usable_buttons(self) -> _Flags:
        """Whether each button can have an effect, bool [E, 8]."""
        return self._screen[1]

    @cached_property
    def progress(self) -> GameProgress:
        """The decoded `PROGRESS_LABELS`; the object of the step before when none of those bytes changed."""
        party, other = (
            self.bytes.take(self._columns.all(labels), 1).tobytes() for labels in (_PARTY_LABELS, _OTHER_LABELS)
        )
        previous, self._previous = self._previous, None  # or every frame would keep all earlier ones alive
        self._progress_bytes = (party, other)
        if previous is None or previous._progress_bytes is None:
            return GameProgress(**self._party_progress(), **self._other_progress())
        known = previous.progress
        old_party, old_other = previous._progress_bytes
        if party == old_party and other == old_other:
            return known
        if party != old_party:
            known = replace(known, **self._party_progress())
        return known if other == old_other else replace(known, **self._other_progress())

    def _decoded(self, fields: tuple[str, ...]) -> dict[str, npt.NDArray[Any]]:
        state = GameState.from_ram(self.tensor, self.layout, fields=fields)
        return {name: getattr(state, name).numpy(force=True) for name in fields}

    def _party_progress(self) -> dict[str, npt.NDArray[Any]]:
        party = self._decoded(("party_count", "party_species", *_MEMBER_FIELDS))
        written = party.pop("party_species") == self.block("wPartySpecies")[:, :6]
        members = written & (np.arange(6) < party["party_count"][:, None])
        return {
            "party_count": party["party_count"],
            **{name: party[name] * written for name in _MEMBER_FIELDS},
            "party_records": self.block("wPartyMons").reshape(-1, 6, 44) * members[:, :, None],
        }

    def _other_progress(self) -> dict[str, npt.NDArray[Any]]:
        return {**self._decoded(_OTHER_FIELDS), "event_bytes": self.block("wEventFlags")}

    @cached_property
    def tile_map(self) -> _Bytes:
        """Tile numbers of the screen, 18 lines of 20, uint8 [E, 360]."""
        return self.block("wTileMap")

    @cached_property
    def _text(self) -> _Bytes:
        """Tile map with map tiles as 0 and the blinking arrow as a blank, uint8 [E, 360]."""
        return _TEXT_OF_TILE.take(self.tile_map)

    @cached_property
    def text_hash(self) -> npt.NDArray[np.uint64]:
        """Hash of letters and boxes on the screen; the blinking arrow counts as blank, the map as nothing."""
        return _mix(self._text.astype(np.uint64) @ _HASH_WEIGHTS[:360])

    @cached_property
    def scene_hash(self) -> npt.NDArray[np.uint64]:
        """Hash of the map tiles on the screen, letters and boxes left out."""
        return _mix(_SCENE_OF_TILE.take(self.tile_map) @ _HASH_WEIGHTS[:360])

    def screen_changed(self, before: RamFrame) -> _Flags:
        """Return whether any tile of the screen differs from ``before``; the blinking arrow counts as blank."""
        known = self._changed
        if known is not None and known[0] is before:
            return known[1]
        now, then = self.tile_map, before.tile_map
        differs = now != then
        if any_of(differs):
            differs &= (now < _FIRST_TEXT_TILE) & (then < _FIRST_TEXT_TILE)
            differs |= self._text != before._text
        changed: _Flags = differs.any(1)
        self._changed = (before, changed)
        return changed


_last: tuple[torch.Tensor, int, RamFrame] | None = None


def read_frame(ram: torch.Tensor, layout: RamLayout) -> RamFrame:
    """Return the :class:`RamFrame` of ``ram``: one object for all transforms of a step, which decodes nothing twice."""
    global _last
    previous = None
    if _last is not None:
        frame = _last[2]
        if _last[0] is ram and _last[1] == ram._version and (frame.layout is layout or frame.layout == layout):
            return frame
        previous = frame
        previous._previous = None  # or every frame would keep all earlier ones alive
    frame = RamFrame(ram, layout, previous)
    _last = (ram, ram._version, frame)
    return frame
