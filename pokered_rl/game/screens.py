"""What is on the screen and which buttons can have an effect: `screen_kind`, `usable_buttons`, `input_ignored`.

The rules stand in `screen_rules.py` as a table; this module evaluates them for a batch in a fixed handful of tensor
operations, whatever the batch and whatever the number of rules. They read RAM only: the outermost return address on
the stack, the tile map, the menu variables and the script flags. Sources are in the "Behaviour" chapters of
`docs/reference/ram_map.md`; what each rule says in words is in `docs/reference/screens.md`.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from pokered_rl.game.ram_layout import FULL_LAYOUT, RamLayout
from pokered_rl.game.ram_map import RAM_MAP
from pokered_rl.game.screen_rules import (
    BUTTONS,
    COMPUTED,
    CONDITIONS,
    RULES,
    STACK_RANGE,
    TILE_MAP_RANGE,
    TILE_MENU_CURSOR,
    WAIT_FOR_BUTTON_RETURN,
    Acts,
    ScreenKind,
)

__all__ = [
    "BUTTONS",
    "SCREEN_RANGES",
    "ScreenKind",
    "ScreenReading",
    "input_ignored",
    "menu_live",
    "read_screen",
    "screen_kind",
    "text_waiting",
    "usable_buttons",
]


class ScreenReading(NamedTuple):
    """All answers about the screen at once, for the price of one.

    Attributes:
        kind: uint8 ``[*]`` of ``ScreenKind``.
        usable: bool ``[*, 8]`` in the order of ``BUTTONS``.
        ignored: bool ``[*]``, whether the game ignores the buttons.
    """

    kind: Tensor
    usable: Tensor
    ignored: Tensor


def read_screen(ram: Tensor, layout: RamLayout = FULL_LAYOUT) -> ScreenReading:
    """Classify the screen and say what the buttons can do.

    Args:
        ram: uint8 ``[*, R]``.
        layout: The columns of ``ram``; it must carry ``SCREEN_RANGES``. Where it lacks the stack, the rules fall
            back on the window position and the font flag, which know fewer kinds.

    Raises:
        KeyError: If the layout lacks something else that the rules read.
    """
    plan = _plan(layout, ram.device)
    conditions = plan.conditions(ram)
    rule = plan.rule(conditions)
    return ScreenReading(plan.kinds[rule], plan.usable(ram, rule), plan.ignored[rule])


def screen_kind(ram: Tensor, layout: RamLayout = FULL_LAYOUT) -> Tensor:
    """The kind of screen: uint8 ``[*]`` of ``ScreenKind``. Arguments as for ``read_screen``."""
    plan = _plan(layout, ram.device)
    return plan.kinds[plan.rule(plan.conditions(ram))]


def usable_buttons(ram: Tensor, layout: RamLayout = FULL_LAYOUT) -> Tensor:
    """The buttons that can have an effect now: bool ``[*, 8]`` in the order of ``BUTTONS``.

    Never all False: where the game ignores everything, or the RAM does not tell, nothing is masked. Arguments as for
    ``read_screen``.
    """
    plan = _plan(layout, ram.device)
    return plan.usable(ram, plan.rule(plan.conditions(ram)))


def input_ignored(ram: Tensor, layout: RamLayout = FULL_LAYOUT) -> Tensor:
    """Whether no button can change what happens next, apart from hurrying a text: bool ``[*]``.

    True while a step, a script, a warp, a battle animation runs or a text is being printed. Arguments as for
    ``read_screen``.
    """
    plan = _plan(layout, ram.device)
    return plan.ignored[plan.rule(plan.conditions(ram))]


def text_waiting(ram: Tensor, layout: RamLayout = FULL_LAYOUT) -> Tensor:
    """Whether a text waits for A or B: bool ``[*]``. Arguments as for ``read_screen``."""
    return screen_kind(ram, layout) == ScreenKind.TEXT_WAITING


def menu_live(ram: Tensor, layout: RamLayout = FULL_LAYOUT) -> Tensor:
    """Whether the menu variables are those of a menu that takes input now: bool ``[*]``.

    They are never cleared, so without this they describe the last menu there was. Arguments as for ``read_screen``.
    """
    plan = _plan(layout, ram.device)
    return plan.is_menu[plan.rule(plan.conditions(ram))]


_MENU_LABELS = (
    "wCurrentMenuItem",
    "wMaxMenuItem",
    "wMenuWatchedKeys",
    "wMenuWrappingEnabled",
    "wMenuWatchMovingOutOfBounds",
    "wListScrollOffset",
    "wListCount",
    "wListMenuID",
    "wJoyIgnore",
)
_CURSOR = RAM_MAP["wMenuCursorLocation"].address


def _ranges() -> tuple[tuple[int, int], ...]:
    ranges = [STACK_RANGE, TILE_MAP_RANGE, RAM_MAP["wMenuCursorLocation"].range]
    ranges += [RAM_MAP[label].range for label in _MENU_LABELS]
    ranges += [(condition.address, condition.address + 1) for condition in CONDITIONS.values()]
    return RamLayout.merged(ranges).ranges


#: What the readers of this module need.
SCREEN_RANGES: tuple[tuple[int, int], ...] = _ranges()

_UP, _DOWN, _SELECT, _ALL_KEYS = 64, 128, 4, 255
_LIST_KEYS = 0x07
_ITEM_LIST = 3


class _Plan:
    """The rules as tensors, for one layout and device."""

    def __init__(self, layout: RamLayout, device: torch.device) -> None:
        stack = layout.covers([STACK_RANGE])
        rules = [rule for rule in RULES if rule.stack is None or rule.stack is stack]
        used = {name.lstrip("!") for rule in rules for name in rule.when}
        names = [name for name in CONDITIONS if name in used]
        position = {name: i for i, name in enumerate((*names, *COMPUTED))}

        addresses = tuple(CONDITIONS[name].address for name in names)
        holds = torch.zeros(len(names), 256)
        for i, name in enumerate(names):
            holds[i, list(CONDITIONS[name].values)] = 1.0
        self._holds = holds.flatten().to(device)
        self._columns = layout.index(addresses, device)
        self._offsets = 256 * torch.arange(len(names), device=device)

        # A rule matches when all its positive conditions hold and none of its negative ones: then, and only then,
        # the sum of +1 and -1 reaches the number of the positive ones. The first rule that matches wins.
        weights = torch.zeros(len(position), len(rules))
        for k, rule in enumerate(rules):
            for name in rule.when:
                weights[position[name.lstrip("!")], k] = -1.0 if name.startswith("!") else 1.0
        self._weights = weights.to(device)
        self._needed = weights.clamp(min=0).sum(0).to(device) - 0.5
        self._order = torch.arange(len(rules), 0, -1, dtype=torch.float32, device=device)

        self.kinds = torch.tensor([rule.kind for rule in rules], dtype=torch.uint8, device=device)
        self.ignored = torch.tensor([rule.ignored for rule in rules], device=device)
        self.is_menu = torch.tensor(["menu" in rule.when for rule in rules], device=device)
        fixed = [0 if isinstance(rule.keys, Acts) else int(rule.keys) for rule in rules]
        self._fixed = torch.tensor(fixed, dtype=torch.int64, device=device)
        self._watched = torch.tensor([isinstance(rule.keys, Acts) for rule in rules], device=device)

        self._tiles = layout.column(TILE_MAP_RANGE[0])
        self._num_tiles = TILE_MAP_RANGE[1] - TILE_MAP_RANGE[0]
        self._cursor = layout.index((_CURSOR, _CURSOR + 1), device)
        self._stack = None
        if stack:
            self._stack = layout.slice(STACK_RANGE[0], STACK_RANGE[1] - STACK_RANGE[0])
        self._menu = layout.index(tuple(RAM_MAP[label].address for label in _MENU_LABELS), device)
        self._bits = torch.tensor([1, 2, 4, 8, 16, 32, 64, 128], device=device)

    def conditions(self, ram: Tensor) -> Tensor:
        """Which conditions hold: float32 ``[*, C]`` of 0 and 1."""
        holds = self._holds.take(ram.index_select(-1, self._columns) + self._offsets)  # [*, C - 2]
        low, high = ram.index_select(-1, self._cursor).to(torch.int64).unbind(-1)
        tile = (256 * high + low - TILE_MAP_RANGE[0]).unsqueeze(-1)  # [*, 1], anything if there never was a menu
        inside = tile.clamp(0, self._num_tiles - 1)
        cursor = ram.gather(-1, inside + self._tiles) == TILE_MENU_CURSOR
        menu = cursor & (inside == tile)
        if self._stack is None:
            waits = torch.zeros_like(menu)
        else:
            words = ram[..., self._stack].clone(memory_format=torch.contiguous_format).view(torch.int16)  # [*, 64]
            waits = (words == WAIT_FOR_BUTTON_RETURN).any(-1, keepdim=True)
        return torch.cat((holds, menu, waits), -1)

    def rule(self, conditions: Tensor) -> Tensor:
        """Index of the first rule that matches: int64 ``[*]``."""
        matches = conditions @ self._weights > self._needed  # [*, K]; the last rule always matches
        return (matches * self._order).argmax(-1)

    def usable(self, ram: Tensor, rule: Tensor) -> Tensor:
        """Bool ``[*, 8]``, given the rule that matched."""
        menu = ram.index_select(-1, self._menu).to(torch.int64)
        item, last, watched, wraps, leaves, scroll, count, list_id, ignored = menu.unbind(-1)
        # The cursor moves unless it stands at the end of a menu that does not wrap. A list that is left past an end
        # scrolls, as long as there is something to scroll to (DisplayListMenuIDLoop).
        wraps = (wraps != 0) & (last != 0)
        leaves = leaves != 0
        in_list = watched == _LIST_KEYS
        up = (item > 0) | wraps | leaves & (~in_list | (scroll > 0))
        down = (item < last) | wraps | leaves & (~in_list | (count >= scroll + 3))
        # SELECT swaps entries of item lists, and CANCEL is no entry (HandleItemListSwapping).
        swaps = ~in_list | (list_id == _ITEM_LIST) & (item + scroll < count)
        acts = (watched | up * _UP | down * _DOWN) & ~(~swaps * _SELECT)
        keys = torch.where(self._watched[rule], acts, self._fixed[rule]) & ~ignored
        keys = torch.where(keys == 0, _ALL_KEYS, keys)
        return (keys.unsqueeze(-1) & self._bits) != 0


@lru_cache(maxsize=64)
def _plan(layout: RamLayout, device: torch.device) -> _Plan:
    return _Plan(layout, device)
