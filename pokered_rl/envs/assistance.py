"""Helpers: rules that press the buttons of a routine task; :class:`~pokered_rl.envs.HelperActions` applies them.

A helper looks at the RAM of one emulator and names the next button, or none. It presses nothing itself and writes no
memory. Sources of the screens: pret/pokered, engine/menus/start_sub_menus.asm and players_pc.asm, ItemUseTMHM in
engine/items/item_effects.asm, engine/pokemon/learn_move.asm; of Sprout: its own source.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from typing import ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from pokered_rl.envs.ram_frame import RamFrame
from pokered_rl.errors import ConfigError
from pokered_rl.game import CartridgeProfile, ScreenKind
from pokered_rl.game.screen_rules import TILE_MAP_COLUMNS
from pokered_rl.game.text import read_text

__all__ = [
    "HELPERS",
    "CannotActError",
    "DepositItems",
    "Helper",
    "Press",
    "ScreenView",
    "SkipNicknaming",
    "TeachFieldMoves",
    "UseFieldMoves",
    "check_helpers",
]

Flags = npt.NDArray[np.bool_]

#: Screens on which the game takes no input, or a text waits for A.
_BUSY = frozenset(
    (
        ScreenKind.WALKING,
        ScreenKind.SCRIPTED,
        ScreenKind.TEXT_PRINTING,
        ScreenKind.TRANSITION,
        ScreenKind.BATTLE_BUSY,
    )
)
_BAG_SIZE, _BOX_SIZE = 20, 50
_NUM_BAG_ITEMS = 0xD31D
_PARTY_RECORD_BYTES, _MOVES_AT = 44, 8


class Press(NamedTuple):
    """What a helper does in a step."""

    #: Name of the action; ``wait`` is the no-op, or B where there is none.
    button: str
    #: What the helper remembers until the next step.
    stage: int = 0


class CannotActError(Exception):
    """A helper cannot act; the message says why. :class:`~pokered_rl.envs.HelperActions` catches it."""


class ScreenView:
    """One emulator of a frame, as the helpers read it.

    Args:
        frame: All emulators.
        index: The emulator.
    """

    def __init__(self, frame: RamFrame, index: int) -> None:
        self._frame = frame
        self.index = index
        self.kind = ScreenKind(int(frame.screen_kind[index]))
        self._lines: list[str] | None = None

    @property
    def frame(self) -> RamFrame:
        """All emulators."""
        return self._frame

    def u8(self, label: str) -> int:
        """Return the first byte of an entry of the RAM map."""
        return int(self._frame.u8(label)[self.index])

    def block(self, label: str) -> npt.NDArray[np.uint8]:
        """Return all bytes of an entry of the RAM map, uint8 [length]."""
        block: npt.NDArray[np.uint8] = self._frame.block(label)[self.index]
        return block

    @property
    def lines(self) -> list[str]:
        """The 18 lines of the screen, 20 characters each; the cursor counts as blank."""
        if self._lines is None:
            tiles = torch.from_numpy(self._frame.tile_map[self.index].reshape(-1, TILE_MAP_COLUMNS))
            self._lines = [read_text(line).replace("▶", " ") for line in tiles]
        return self._lines

    @property
    def message(self) -> str:
        """The words in the message box."""
        return " ".join(" ".join(self.lines[13:17]).split())

    def entry(self, *names: str) -> int | None:
        """Return the number of the menu entry with one of these texts, or None: entries are two lines apart."""
        top = self.u8("wTopMenuItemY")
        left = self.u8("wTopMenuItemX") + 1
        for number in range(self.u8("wMaxMenuItem") + 1):
            line = top + 2 * number
            if line < len(self.lines) and self.lines[line][left:].split("  ")[0].strip() in names:
                return number
        return None

    def choose(self, entry: int, stage: int, *, after: int) -> Press:
        """Move the cursor of a menu or list towards ``entry``; press A there, which leads to the stage ``after``."""
        at = self.u8("wCurrentMenuItem")
        if self.kind == ScreenKind.LIST:
            at += self.u8("wListScrollOffset")
        if at == entry:
            return Press("a", after)
        return Press("down" if at < entry else "up", stage)

    @property
    def bag(self) -> list[tuple[int, int]]:
        """Item and quantity of each slot of the bag."""
        count = min(self.u8("wNumBagItems"), _BAG_SIZE)
        slots = self.block("wBagItems")[: 2 * count].reshape(-1, 2)
        return [(int(item), int(quantity)) for item, quantity in slots]

    def moves(self) -> list[list[int]]:
        """Return the moves of each member of the party."""
        records = self.block("wPartyMons").reshape(-1, _PARTY_RECORD_BYTES)[: min(self.u8("wPartyCount"), 6)]
        return [[int(move) for move in record[_MOVES_AT : _MOVES_AT + 4]] for record in records]


class Helper:
    """Base of the helpers; a subclass implements :meth:`wanted` and :meth:`press`.

    Args:
        profile: The cartridge.
    """

    #: Name in ``env.helpers``.
    name: ClassVar[str]
    #: Buttons that it presses.
    buttons: ClassVar[tuple[str, ...]] = ("a", "b", "up", "down")
    #: Entries of the RAM map that it reads, beside those of :class:`RamFrame` and of the screens.
    labels: ClassVar[tuple[str, ...]] = ()
    #: Steps after which it gives up.
    max_steps: ClassVar[int] = 400
    #: Cartridges that have nothing for it to do.
    absent_in: ClassVar[tuple[str, ...]] = ()

    def __init__(self, profile: CartridgeProfile) -> None:
        self.profile = profile

    def wanted(self, frame: RamFrame) -> Flags:
        """Return where the helper may begin, bool [E]: a cheap test that rules most emulators out."""
        raise NotImplementedError

    def press(self, view: ScreenView, stage: int) -> Press | None:
        """Return the next button, or None where there is nothing to do (any more).

        Args:
            view: The emulator.
            stage: 0 when the helper begins, then that of its last :class:`Press`.

        Raises:
            CannotActError: It has something to do and cannot.
        """
        raise NotImplementedError

    def situation(self, view: ScreenView) -> int:
        """Return a number for what the helper is wanted for: once it gave up there, it does not begin there again."""
        frame, i = view.frame, view.index
        return int(frame.map_id[i]) << 24 | int(frame.y[i]) << 16 | int(frame.x[i]) << 8 | int(frame.facing[i]) + 1


def _unexpected(view: ScreenView) -> CannotActError:
    return CannotActError(f"it met the screen {view.kind.name} ({view.message or 'without text'})")


class SkipNicknaming(Helper):
    """Answers NO where the game asks for a nickname."""

    name = "skip_nicknaming"
    buttons = ("b",)
    #: Words of the question: ``_DoYouWantToNicknameText``, and Sprout's.
    _QUESTIONS = ("a nickname", "name of its own?")

    def wanted(self, frame: RamFrame) -> Flags:
        """Return where a YES/NO box is open."""
        wanted: Flags = frame.screen_kind == ScreenKind.YES_NO
        return wanted

    def press(self, view: ScreenView, stage: int) -> Press | None:
        """Press B if that is the question."""
        asked = view.kind == ScreenKind.YES_NO and any(words in view.message for words in self._QUESTIONS)
        return Press("b") if asked else None


class DepositItems(Helper):
    """Stores ordinary items when the agent has opened a PC with a full bag, until a quarter of the bag is free.

    It takes the last slot that is no key item and no HM, all pieces of it, again and again. Walking to the PC and
    opening it is up to the agent.
    """

    name = "deposit_items"
    labels = (
        *("wNumBagItems", "wBagItems", "wNumBoxItems", "wListPointer", "wListScrollOffset", "wItemQuantity"),
        *("wMaxItemQuantity", "wTopMenuItemY", "wTopMenuItemX", "wMaxMenuItem", "wCurrentMenuItem"),
    )
    #: PlayersPCMenuEntries, and Sprout's.
    _ENTRIES = ("DEPOSIT ITEM", "PUT IN")
    _GOAL = _BAG_SIZE * 3 // 4
    _MENU, _LIST, _QUANTITY = 0, 1, 2

    def wanted(self, frame: RamFrame) -> Flags:
        """Return where the bag is full, on the map or in a menu."""
        full = frame.u8("wNumBagItems") >= _BAG_SIZE
        kind = frame.screen_kind
        here = (kind == ScreenKind.OTHER_MENU) | (kind == ScreenKind.OVERWORLD)
        wanted: Flags = full & here & (frame.in_battle == 0)
        return wanted

    def situation(self, view: ScreenView) -> int:
        """Return one number for all places on the map."""
        return -1 if view.kind == ScreenKind.OVERWORLD else super().situation(view)

    def press(self, view: ScreenView, stage: int) -> Press | None:
        """Go from the PC's menu to the item, its quantity and back."""
        if view.u8("wNumBagItems") <= self._GOAL:
            return None
        if view.kind == ScreenKind.OVERWORLD and not stage:
            raise CannotActError("the bag is full and no PC is open: it acts when the agent has opened one")
        if view.kind == ScreenKind.OTHER_MENU:
            entry = view.entry(*self._ENTRIES)
            if entry is None:
                if stage != self._MENU:
                    raise _unexpected(view)
                return self._own_pc(view)
            self._slot(view)
            return view.choose(entry, self._MENU, after=self._LIST)
        if view.kind == ScreenKind.LIST and stage in (self._LIST, self._QUANTITY):
            low, high = view.block("wListPointer")[:2]
            if int(low) | int(high) << 8 != _NUM_BAG_ITEMS:
                raise _unexpected(view)
            return view.choose(self._slot(view), self._LIST, after=self._QUANTITY)
        if view.kind == ScreenKind.QUANTITY and stage == self._QUANTITY:
            # From 1 the quantity wraps to all.
            everything = view.u8("wItemQuantity") == view.u8("wMaxItemQuantity")
            return Press("a" if everything else "down", self._QUANTITY)
        if view.kind == ScreenKind.TEXT_WAITING and stage:
            return Press("a", stage)
        if view.kind in _BUSY and stage:
            return Press("wait", stage)
        if stage:
            raise _unexpected(view)
        return None

    def _own_pc(self, view: ScreenView) -> Press | None:
        """Choose the player's PC in the menu of a public one: the second entry, above LOG OFF (DisplayPCMainMenu)."""
        log_off, own = view.entry("LOG OFF"), view.lines[view.u8("wTopMenuItemY") + 2]
        if log_off is None or "PC" not in own:
            return None
        return view.choose(1, self._MENU, after=self._MENU)

    def _slot(self, view: ScreenView) -> int:
        if view.u8("wNumBoxItems") >= _BOX_SIZE:
            raise CannotActError("the PC is full")
        items = self.profile.items
        for slot in reversed(range(len(view.bag))):
            item = view.bag[slot][0]
            if item in items and not items[item].key_item and not items[item].machine.startswith("HM"):
                return slot
        raise CannotActError("the bag has key items only")


#: Move, bit of wObtainedBadges that allows it: what UseFieldMoves uses, in this order.
_FIELD_MOVES = (("CUT", 1), ("SURF", 4), ("STRENGTH", 3), ("FLASH", 0))
#: Tilesets with water, and those of them without shore tiles (WaterTilesets, IsNextTileShoreOrWater).
_WATER_TILESETS, _NO_SHORE = frozenset((0, 3, 5, 7, 13, 14, 17, 22, 23)), frozenset((5, 7, 14))
_WATER, _SHORES = 0x14, (0x32, 0x48)
_BOULDER_PICTURE = 0x3F


class _StartMenuHelper(Helper):
    """A helper that goes through the START menu; its stage is 8 * (number of what it does, from 1) + phase."""

    buttons = ("a", "b", "start", "up", "down")
    max_steps = 120
    absent_in = ("sprout",)
    labels: ClassVar[tuple[str, ...]] = (
        *("wPartyCount", "wPartyMons", "wNumBagItems", "wBagItems", "wListScrollOffset"),
        *("wTopMenuItemY", "wTopMenuItemX", "wMaxMenuItem", "wCurrentMenuItem"),
    )
    _MENU = 1

    def press(self, view: ScreenView, stage: int) -> Press | None:
        """Press START where something is wanted, and go on from menu to menu."""
        number, phase = divmod(stage, 8)
        if stage == 0:
            number = self._begin(view)
            return Press("start", 8 * number + self._MENU) if number else None
        if self._is_done(view, number):
            return None
        if view.kind in _BUSY:
            return Press("wait", stage)
        if view.kind == ScreenKind.TEXT_WAITING:
            return Press("a", stage)
        if view.kind == ScreenKind.OVERWORLD and phase == self._MENU:
            return Press("start", stage)
        return self._in_menu(view, number, phase)

    def _begin(self, view: ScreenView) -> int:
        """Return the number of what is to be done, 0 for nothing."""
        raise NotImplementedError

    def _is_done(self, view: ScreenView, number: int) -> bool:
        """Return whether it is done."""
        raise NotImplementedError

    def _in_menu(self, view: ScreenView, number: int, phase: int) -> Press:
        """Return the next button in a menu."""
        raise NotImplementedError

    def _knower(self, view: ScreenView, move: str) -> int | None:
        """Return the first member that knows a move."""
        number = self.profile.moves.id(move)
        return next((i for i, moves in enumerate(view.moves()) if number in moves), None)

    def _to_entry(self, view: ScreenView, name: str, stage: int) -> Press:
        entry = view.entry(name)
        if entry is None:
            raise _unexpected(view)
        return view.choose(entry, stage - 1, after=stage)


class UseFieldMoves(_StartMenuHelper):
    """Uses CUT, SURF, STRENGTH or FLASH where the player stands before what needs it, and badge and move are there.

    CUT before a tree, SURF before water, STRENGTH before a boulder until it is active, FLASH in the dark.
    """

    name = "use_field_moves"
    labels = (
        *_StartMenuHelper.labels,
        *("wObtainedBadges", "wSpriteStateData1", "wSpriteStateData2"),
        *("wWalkBikeSurfState", "wStatusFlags1", "wMapPalOffset"),
    )
    _PARTY, _MOVES, _TEXTS = 2, 3, 4

    def wanted(self, frame: RamFrame) -> Flags:
        """Return where the player stands on a map and has a badge."""
        wanted: Flags = (frame.screen_kind == ScreenKind.OVERWORLD) & (frame.u8("wObtainedBadges") > 0)
        return wanted & frame.on_map

    def _begin(self, view: ScreenView) -> int:
        badges = view.u8("wObtainedBadges")
        for number, (move, badge) in enumerate(_FIELD_MOVES, 1):
            if badges >> badge & 1 and self._has_use(view, move) and self._knower(view, move) is not None:
                return number
        return 0

    def _has_use(self, view: ScreenView, move: str) -> bool:
        """Return whether ``move`` would have an effect where the player stands."""
        frame, i = view.frame, view.index
        tileset, tile = view.u8("wCurMapTileset") & 0x7F, int(frame.tile_in_front[i])
        if move == "CUT":
            return bool(frame.tree_in_front[i])
        if move == "SURF":
            shores = () if tileset in _NO_SHORE else _SHORES
            return tileset in _WATER_TILESETS and tile in (_WATER, *shores) and view.u8("wWalkBikeSurfState") != 2
        if move == "STRENGTH":
            slot = int(frame.sprite_at(*frame.square_in_front)[i])
            return view.block("wSpriteStateData1")[16 * slot] == _BOULDER_PICTURE and not view.u8("wStatusFlags1") & 1
        return view.u8("wMapPalOffset") != 0

    def _is_done(self, view: ScreenView, number: int) -> bool:
        return view.kind == ScreenKind.OVERWORLD and not self._has_use(view, _FIELD_MOVES[number - 1][0])

    def _in_menu(self, view: ScreenView, number: int, phase: int) -> Press:
        move, member = _FIELD_MOVES[number - 1][0], None
        if view.kind == ScreenKind.START_MENU and phase <= self._PARTY:
            return self._to_entry(view, "POKéMON", 8 * number + self._PARTY)
        if view.kind == ScreenKind.PARTY and phase in (self._PARTY, self._MOVES):
            member = self._knower(view, move)
            if member is not None:
                return view.choose(member, 8 * number + self._PARTY, after=8 * number + self._MOVES)
        if view.kind == ScreenKind.OTHER_MENU and phase >= self._MOVES:
            return self._to_entry(view, move, 8 * number + self._TEXTS)
        if phase == self._TEXTS:
            raise CannotActError(f"{move} had no effect")
        raise _unexpected(view)


class TeachFieldMoves(_StartMenuHelper):
    """Teaches the move of an HM in the bag that no member knows to one that can learn it.

    Of the HMs those whose moves :class:`UseFieldMoves` uses. A member with a free place for the move comes first;
    otherwise its weakest move that is no HM's is given up.
    """

    name = "teach_field_moves"
    labels = (*_StartMenuHelper.labels, "wPartySpecies", "wWhichPokemon")
    _LIST, _USE, _TEACH = 2, 3, 4

    def __init__(self, profile: CartridgeProfile) -> None:
        super().__init__(profile)
        machines = sorted((item.machine, item.id, item.name) for item in profile.items if item.machine[:2] == "HM")
        moves = [(item, name.removeprefix("HM_")) for _, item, name in machines]
        self._hm_moves = frozenset(profile.moves.id(move) for _, move in moves)
        #: Item and move of each HM that is taught, in order.
        self.machines = [(item, move) for item, move in moves if move in dict(_FIELD_MOVES)]
        self._items = np.array([item for item, _ in self.machines])

    def wanted(self, frame: RamFrame) -> Flags:
        """Return where the player stands on a map with an HM in the bag."""
        slots = frame.block("wBagItems")[:, : 2 * _BAG_SIZE : 2]
        filled = np.arange(_BAG_SIZE) < frame.u8("wNumBagItems")[:, None]
        wanted: Flags = np.any(np.isin(slots, self._items) & filled, axis=1)
        wanted &= frame.screen_kind == ScreenKind.OVERWORLD
        return wanted & (frame.u8("wPartyCount") > 0) & frame.on_map

    def situation(self, view: ScreenView) -> int:
        """Return a number for the members and the HMs: what cannot be taught today cannot be tomorrow."""
        held = bytes(sorted(item for item, _ in view.bag if item in self._items))
        return zlib.crc32(view.block("wPartySpecies").tobytes() + held) + 1

    def _begin(self, view: ScreenView) -> int:
        held = {item for item, _ in view.bag}
        for number, (item, move) in enumerate(self.machines, 1):
            if item in held and self._knower(view, move) is None:
                return number
        return 0

    def _is_done(self, view: ScreenView, number: int) -> bool:
        return self._knower(view, self.machines[number - 1][1]) is not None

    def _in_menu(self, view: ScreenView, number: int, phase: int) -> Press:
        item, move = self.machines[number - 1]
        teach = 8 * number + self._TEACH
        if view.kind == ScreenKind.START_MENU and phase <= self._LIST:
            return self._to_entry(view, "ITEM", 8 * number + self._LIST)
        if view.kind == ScreenKind.LIST and phase in (self._LIST, self._USE):
            slot = next((slot for slot, (held, _) in enumerate(view.bag) if held == item), None)
            if slot is not None:
                return view.choose(slot, 8 * number + self._LIST, after=8 * number + self._USE)
        if view.kind == ScreenKind.OTHER_MENU and phase == self._USE:
            return self._to_entry(view, "USE", teach)
        if phase != self._TEACH:
            raise _unexpected(view)
        if view.kind == ScreenKind.YES_NO:
            return view.choose(0, teach, after=teach)
        if view.kind == ScreenKind.PARTY:
            return view.choose(self._pupil(view, move), teach, after=teach)
        if view.kind == ScreenKind.MOVE_LIST:
            return view.choose(self._weakest(view), teach, after=teach)
        raise CannotActError(f"nobody learned {move}")

    def _pupil(self, view: ScreenView, move: str) -> int:
        """Return the member to teach: ABLE stands below the names of those that can learn (RedrawPartyMenu)."""
        moves = view.moves()
        able = [i for i in range(len(moves)) if view.lines[2 * i + 1][12:].strip() == "ABLE"]
        if not able:
            raise CannotActError(f"nobody in the party can learn {move}")
        return min(able, key=lambda i: (0 not in moves[i], i))

    def _weakest(self, view: ScreenView) -> int:
        """Return the place of the move to give up; the game refuses those of HMs."""
        moves = view.moves()
        member = moves[view.u8("wWhichPokemon")] if view.u8("wWhichPokemon") < len(moves) else []
        known = self.profile.moves
        places = [i for i, move in enumerate(member) if move and move not in self._hm_moves]
        if not places:
            raise CannotActError("all moves are those of HMs")
        return min(places, key=lambda i: known[member[i]].power if member[i] in known else 0)


#: The helpers by name, in the order in which they are asked.
HELPERS: dict[str, type[Helper]] = {
    helper.name: helper for helper in (SkipNicknaming, DepositItems, TeachFieldMoves, UseFieldMoves)
}


def check_helpers(names: Iterable[str]) -> tuple[str, ...]:
    """Return ``names``, once each, in the order of :data:`HELPERS`.

    Raises:
        ConfigError: A name is unknown.
    """
    chosen = list(names)
    for name in chosen:
        if name not in HELPERS:
            raise ConfigError(f"helpers must be out of {', '.join(HELPERS)}, got {name!r}")
    return tuple(name for name in HELPERS if name in chosen)
