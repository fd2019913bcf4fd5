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
from torch.nn.functional import linear

from pokered_rl.game.ram_layout import FULL_LAYOUT, RamLayout
from pokered_rl.game.ram_map import RAM_MAP
from pokered_rl.game.screen_rules import (
    BUTTONS,
    COMPARISONS,
    COMPUTED,
    CONDITIONS,
    MENU_BUTTONS,
    RULES,
    STACK_RANGE,
    TILE_MAP_RANGE,
    TILE_MENU_CURSOR,
    WAIT_LOOP_RETURNS,
    Acts,
    ScreenKind,
)
from pokered_rl.game.state_fields import FLAGS_OF_BYTE

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


def read_screen(ram: Tensor, layout: RamLayout = FULL_LAYOUT, *, stack: bool | None = None) -> ScreenReading:
    """Classify the screen and say what the buttons can do.

    Args:
        ram: uint8 ``[*, R]``.
        layout: The columns of ``ram``; it must carry ``SCREEN_RANGES``, the stack excepted.
        stack: Whether to believe the return addresses on the stack: True for the retail game and Sprout, False for
            hacks with other code (``CartridgeProfile.stack_words``). None: if the layout carries the stack. Without
            it the rules fall back on the window's position and the font flag, and know fewer kinds.

    Raises:
        KeyError: If the layout lacks something that the rules read.
    """
    plan = _plan(layout, ram.device, stack)
    found = plan.read(ram)
    return ScreenReading(plan.kinds.take(found.rule), plan.usable(found), plan.ignored.take(found.rule))


def screen_kind(ram: Tensor, layout: RamLayout = FULL_LAYOUT, *, stack: bool | None = None) -> Tensor:
    """The kind of screen: uint8 ``[*]`` of ``ScreenKind``. Arguments as for ``read_screen``."""
    plan = _plan(layout, ram.device, stack)
    return plan.kinds.take(plan.read(ram).rule)


def usable_buttons(ram: Tensor, layout: RamLayout = FULL_LAYOUT, *, stack: bool | None = None) -> Tensor:
    """The buttons that can have an effect now: bool ``[*, 8]`` in the order of ``BUTTONS``.

    Never all False: where the game ignores everything, or the RAM does not tell, nothing is masked. Arguments as for
    ``read_screen``.
    """
    plan = _plan(layout, ram.device, stack)
    return plan.usable(plan.read(ram))


def input_ignored(ram: Tensor, layout: RamLayout = FULL_LAYOUT, *, stack: bool | None = None) -> Tensor:
    """Whether no button can change what happens next, apart from hurrying a text: bool ``[*]``.

    True while a step, a script, a warp or a battle animation runs and while a text is being printed. Arguments as for
    ``read_screen``.
    """
    plan = _plan(layout, ram.device, stack)
    return plan.ignored.take(plan.read(ram).rule)


def text_waiting(ram: Tensor, layout: RamLayout = FULL_LAYOUT, *, stack: bool | None = None) -> Tensor:
    """Whether a text waits for A or B: bool ``[*]``. Arguments as for ``read_screen``."""
    return screen_kind(ram, layout, stack=stack) == ScreenKind.TEXT_WAITING


def menu_live(ram: Tensor, layout: RamLayout = FULL_LAYOUT, *, stack: bool | None = None) -> Tensor:
    """Whether the menu variables are those of a menu that takes input now: bool ``[*]``.

    They are never cleared, so without this they describe the last menu there was. Arguments as for ``read_screen``.
    """
    plan = _plan(layout, ram.device, stack)
    return plan.is_menu.take(plan.read(ram).rule)


_CURSOR = RAM_MAP["wMenuCursorLocation"].address
_JOY_IGNORE = RAM_MAP["wJoyIgnore"].address
_COMPARED = tuple(sorted({label for weights in COMPARISONS.values() for label in weights if label}))


def _ranges() -> tuple[tuple[int, int], ...]:
    ranges = [STACK_RANGE, TILE_MAP_RANGE, RAM_MAP["wMenuCursorLocation"].range]
    ranges += [RAM_MAP[label].range for label in _COMPARED]
    ranges += [(condition.address, condition.address + 1) for condition in CONDITIONS.values()]
    return RamLayout.merged(ranges).ranges


#: What the readers of this module need.
SCREEN_RANGES: tuple[tuple[int, int], ...] = _ranges()


class _Plan:
    """The rules as tensors, for one layout and device.

    Args:
        layout: The columns of ``ram``.
        device: Where ``ram`` lives.
        stack: Whether the return addresses are to be believed.
    """

    def __init__(self, layout: RamLayout, device: torch.device, stack: bool) -> None:
        rules = [rule for rule in RULES if rule.stack is None or rule.stack is stack]
        used = {name.lstrip("!") for rule in rules for name in rule.when}
        used |= {name.lstrip("!") for _, when in MENU_BUTTONS for name in when}
        names = [name for name in CONDITIONS if name in used]
        position = {name: i for i, name in enumerate((*names, *COMPARISONS, *COMPUTED))}

        # One gather brings the bytes of all conditions, then those that are compared, then the cursor's address, then
        # the keys that the game throws away.
        addresses = [CONDITIONS[name].address for name in names]
        addresses += [RAM_MAP[label].address for label in _COMPARED] + [_CURSOR, _CURSOR + 1, _JOY_IGNORE]
        self._columns = layout.index(tuple(addresses), device)
        self._num_bytes = len(names)
        self._offsets = torch.tensor([256 * i if i < len(names) else 0 for i in range(len(addresses))], device=device)
        holds = torch.zeros(len(names), 256)
        for i, name in enumerate(names):
            holds[i, list(CONDITIONS[name].values)] = 1.0
        self._holds = holds.flatten().to(device)

        # The last column of the comparisons is the column of the cursor tile. Doubles: addresses are exact on a GPU.
        self._tiles = layout.slice(TILE_MAP_RANGE[0], TILE_MAP_RANGE[1] - TILE_MAP_RANGE[0])
        compared = torch.zeros(len(_COMPARED) + 2, len(COMPARISONS) + 1, dtype=torch.float64)
        constants = torch.zeros(len(COMPARISONS) + 1, dtype=torch.float64)
        for k, weights in enumerate(COMPARISONS.values()):
            for label, weight in weights.items():
                if label:
                    compared[_COMPARED.index(label), k] = weight
                else:
                    constants[k] = weight
        compared[-2:, -1] = torch.tensor([1.0, 256.0], dtype=torch.float64)
        constants[-1] = self._tiles.start - TILE_MAP_RANGE[0]
        self._compared, self._constants = compared.t().contiguous().to(device), constants.to(device)
        self._returns = torch.tensor(WAIT_LOOP_RETURNS, dtype=torch.int16, device=device)
        self._stack = layout.slice(STACK_RANGE[0], STACK_RANGE[1] - STACK_RANGE[0]) if stack else None

        # A rule matches when all its positive conditions hold and none of its negative ones: then, and only then,
        # the sum of +1 and -1 reaches the number of the positive ones. The first rule that matches wins.
        lines = [rule.when for rule in rules] + [when for _, when in MENU_BUTTONS]
        weights_of = torch.zeros(len(position), len(lines))
        for k, when in enumerate(lines):
            for name in when:
                weights_of[position[name.lstrip("!")], k] = -1.0 if name.startswith("!") else 1.0
        self._weights = weights_of.to(device)
        self._needed = weights_of.clamp(min=0).sum(0).to(device) - 0.5
        self._num_rules = len(rules)
        self._order = torch.arange(len(rules), 0, -1, dtype=torch.float32, device=device)

        # Eight booleans in a row are one word here: sets of buttons combine in one operation, and a table of them is a
        # table of numbers.
        menus = [rule.kind is ScreenKind.OPTIONS or "menu" in rule.when for rule in rules]
        fixed = [0 if isinstance(rule.keys, Acts) else int(rule.keys) for rule in rules]
        watched = [255 if isinstance(rule.keys, Acts) else 0 for rule in rules]
        self.kinds = torch.tensor([rule.kind for rule in rules], dtype=torch.uint8, device=device)
        self.ignored = torch.tensor([rule.ignored for rule in rules], device=device)
        self.is_menu = torch.tensor(menus, device=device)
        self._fixed = FLAGS_OF_BYTE[fixed].to(device)  # int64 [K]
        self._watched = FLAGS_OF_BYTE[watched].to(device)  # int64 [K]
        self._passed = FLAGS_OF_BYTE.flip(0).to(device)  # int64 [256]: the keys that wJoyIgnore leaves
        self._all_buttons = FLAGS_OF_BYTE[255].to(device)
        buttons = torch.zeros(len(MENU_BUTTONS), len(BUTTONS))
        for i, (button, _) in enumerate(MENU_BUTTONS):
            buttons[i, BUTTONS.index(button)] = 1.0
        self._buttons = buttons.to(device)

    def read(self, ram: Tensor) -> _Matches:
        """Which conditions hold, and what follows from them."""
        x = ram.index_select(-1, self._columns) + self._offsets  # int64 [*, C + compared + 2]
        holds = self._holds.take(x[..., : self._num_bytes])
        values = linear(x[..., self._num_bytes : -1].to(torch.float64), self._compared, self._constants)
        tile = values[..., -1:]  # the column of the cursor tile, or anything if there never was a menu
        column = tile.clamp(self._tiles.start, self._tiles.stop - 1)
        menu = (ram.gather(-1, column.to(torch.int64)) == TILE_MENU_CURSOR) & (column == tile)
        found = [holds, values[..., :-1] > 0, menu]
        if self._stack is None:
            found.append(torch.zeros_like(menu).expand(*menu.shape[:-1], len(WAIT_LOOP_RETURNS)))
        else:
            # A fresh copy: a view as words has to begin at an even byte.
            words = ram[..., self._stack].clone(memory_format=torch.contiguous_format).view(torch.int16)  # [*, 64]
            found.append((words.unsqueeze(-1) == self._returns).any(-2))  # [*, 3]
        matches = torch.cat(found, -1) @ self._weights > self._needed  # [*, rules + lines of MENU_BUTTONS]
        rule = (matches[..., : self._num_rules] * self._order).argmax(-1)  # the last rule always matches
        return _Matches(rule, matches[..., self._num_rules :], x[..., -1])

    def usable(self, found: _Matches) -> Tensor:
        """Bool ``[*, 8]``."""
        acts = (found.lines.to(torch.float32) @ self._buttons > 0).view(torch.int64).squeeze(-1)  # [*]
        keys = (acts & self._watched.take(found.rule) | self._fixed.take(found.rule)) & self._passed.take(found.joy)
        return torch.where(keys == 0, self._all_buttons, keys).unsqueeze(-1).view(torch.bool)


class _Matches(NamedTuple):
    """What `_Plan.read` found: the rule, the lines of MENU_BUTTONS that hold, the byte of the keys thrown away."""

    rule: Tensor
    lines: Tensor
    joy: Tensor


@lru_cache(maxsize=64)
def _plan(layout: RamLayout, device: torch.device, stack: bool | None) -> _Plan:
    carried = layout.covers([STACK_RANGE])
    return _Plan(layout, device, carried if stack is None else carried and stack)
