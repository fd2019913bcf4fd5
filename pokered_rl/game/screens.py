"""What is on the screen and which buttons can have an effect: `screen_kind`, `usable_buttons`, `input_ignored`.

The rules stand in `screen_rules.py` as a table; this module evaluates them for a batch in a fixed handful of array
operations, whatever the batch and whatever the number of rules. NumPy's, not Torch's: on a few bytes of a few images an
operation costs what its dispatch costs, a third of a tensor operation's, and RAM comes from the CPU. The rules read RAM
only: the outermost return address on the stack, the tile map, the menu variables and the script flags. Sources are in
the "Behaviour" chapters of `docs/reference/ram_map.md`; what each rule says in words is in `docs/reference/screens.md`.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

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
    "screen_arrays",
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
        ram: uint8 ``[*, R]``. A tensor on another device is copied to the CPU, where emulators leave it anyway, and
            the answers are copied back.
        layout: The columns of ``ram``; it must carry ``SCREEN_RANGES``, the stack excepted.
        stack: Whether to believe the return addresses on the stack: True for the retail game and Sprout, False for
            hacks with other code (``CartridgeProfile.stack_words``). None: if the layout carries the stack. Without
            it the rules fall back on the window's position and the font flag, and know fewer kinds.

    Raises:
        KeyError: If the layout lacks something that the rules read.
    """
    plan, found = _match(ram, layout, stack)
    return ScreenReading(*(_like(ram, values) for values in (found.kind, plan.usable(found), found.ignored)))


def screen_arrays(
    images: npt.NDArray[np.uint8], layout: RamLayout = FULL_LAYOUT
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.bool_]]:
    """``kind`` uint8 ``[N]`` and ``usable`` bool ``[N, 8]`` of ``read_screen``, from uint8 ``[N, R]``, all arrays."""
    plan = _plan(layout, None)
    found = plan.read(images)
    return found.kind, plan.usable(found)


def screen_kind(ram: Tensor, layout: RamLayout = FULL_LAYOUT, *, stack: bool | None = None) -> Tensor:
    """The kind of screen: uint8 ``[*]`` of ``ScreenKind``. Arguments as for ``read_screen``."""
    return _like(ram, _match(ram, layout, stack)[1].kind)


def usable_buttons(ram: Tensor, layout: RamLayout = FULL_LAYOUT, *, stack: bool | None = None) -> Tensor:
    """The buttons that can have an effect now: bool ``[*, 8]`` in the order of ``BUTTONS``.

    Never all False: where the game ignores everything, or the RAM does not tell, nothing is masked. Arguments as for
    ``read_screen``.
    """
    plan, found = _match(ram, layout, stack)
    return _like(ram, plan.usable(found))


def input_ignored(ram: Tensor, layout: RamLayout = FULL_LAYOUT, *, stack: bool | None = None) -> Tensor:
    """Whether no button can change what happens next, apart from hurrying a text: bool ``[*]``.

    True while a step, a script, a warp or a battle animation runs and while a text is being printed. Arguments as for
    ``read_screen``.
    """
    return _like(ram, _match(ram, layout, stack)[1].ignored)


def text_waiting(ram: Tensor, layout: RamLayout = FULL_LAYOUT, *, stack: bool | None = None) -> Tensor:
    """Whether a text waits for A or B: bool ``[*]``. Arguments as for ``read_screen``."""
    return screen_kind(ram, layout, stack=stack) == ScreenKind.TEXT_WAITING


def menu_live(ram: Tensor, layout: RamLayout = FULL_LAYOUT, *, stack: bool | None = None) -> Tensor:
    """Whether the menu variables are those of a menu that takes input now: bool ``[*]``.

    They are never cleared, so without this they describe the last menu there was. Arguments as for ``read_screen``.
    """
    plan, found = _match(ram, layout, stack)
    return _like(ram, plan.is_menu.take(found.rule))


def _match(ram: Tensor, layout: RamLayout, stack: bool | None) -> tuple[_Plan, _Matches]:
    """The rules for ``layout``, and what they find in each of the images."""
    plan = _plan(layout, stack)
    images = ram if ram.ndim == 2 else ram.reshape(-1, ram.shape[-1])
    return plan, plan.read(images.numpy(force=True))


def _like(ram: Tensor, values: npt.NDArray[Any]) -> Tensor:
    """``values`` [N, ...] with the leading dimensions and the device of ``ram``."""
    tensor = torch.from_numpy(values)
    if ram.ndim != 2:
        tensor = tensor.reshape((*ram.shape[:-1], *values.shape[1:]))
    return tensor if ram.device.type == "cpu" else tensor.to(ram.device)


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
    """The rules as arrays, for one layout.

    Args:
        layout: The columns of ``ram``.
        stack: Whether the return addresses are to be believed.
    """

    def __init__(self, layout: RamLayout, stack: bool) -> None:
        rules = [rule for rule in RULES if rule.stack is None or rule.stack is stack]
        used = {name.lstrip("!") for rule in rules for name in rule.when}
        used |= {name.lstrip("!") for _, when in MENU_BUTTONS for name in when}
        names = [name for name in CONDITIONS if name in used]
        position = {name: i for i, name in enumerate((*names, *COMPARISONS, *COMPUTED))}

        # One gather brings the bytes of all conditions, then those that are compared, then the cursor's address, then
        # the keys that the game throws away.
        addresses = [CONDITIONS[name].address for name in names]
        addresses += [RAM_MAP[label].address for label in _COMPARED] + [_CURSOR, _CURSOR + 1, _JOY_IGNORE]
        self._columns = np.array(layout.columns(addresses))
        self._num_bytes = len(names)
        self._offsets = 256 * np.arange(len(names))
        holds = np.zeros((len(names), 256), np.float32)
        for i, name in enumerate(names):
            holds[i, list(CONDITIONS[name].values)] = 1.0
        self._holds = holds.ravel()

        # The last column of the comparisons is the column of the cursor tile.
        self._tiles = layout.slice(TILE_MAP_RANGE[0], TILE_MAP_RANGE[1] - TILE_MAP_RANGE[0])
        self._compared = np.zeros((len(_COMPARED) + 2, len(COMPARISONS) + 1), np.float32)
        self._constants = np.zeros(len(COMPARISONS) + 1, np.float32)
        for k, weights in enumerate(COMPARISONS.values()):
            for label, weight in weights.items():
                if label:
                    self._compared[_COMPARED.index(label), k] = weight
                else:
                    self._constants[k] = weight
        self._compared[-2:, -1] = 1.0, 256.0
        self._constants[-1] = self._tiles.start - TILE_MAP_RANGE[0]
        self._returns = np.array(WAIT_LOOP_RETURNS, "<u2")[:, None]
        self._first_tile, self._last_tile = self._tiles.start, self._tiles.stop - 1
        self._stack = layout.slice(STACK_RANGE[0], STACK_RANGE[1] - STACK_RANGE[0]) if stack else None

        # A rule matches when all its positive conditions hold and none of its negative ones: then, and only then,
        # the sum of +1 and -1 reaches the number of the positive ones. The first rule that matches wins.
        lines = [rule.when for rule in rules] + [when for _, when in MENU_BUTTONS]
        self._weights = np.zeros((len(position), len(lines)), np.float32)
        for k, when in enumerate(lines):
            for name in when:
                self._weights[position[name.lstrip("!")], k] = -1.0 if name.startswith("!") else 1.0
        self._needed = self._weights.clip(min=0).sum(0) - 0.5
        self._num_rules = len(rules)

        # Eight booleans in a row are one word here: sets of buttons combine in one operation, and a table of them is a
        # table of numbers.
        flags = FLAGS_OF_BYTE.numpy()
        menus = [rule.kind is ScreenKind.OPTIONS or "menu" in rule.when for rule in rules]
        self.kinds = np.array([rule.kind for rule in rules], np.uint8)
        self.ignored = np.array([rule.ignored for rule in rules])
        self.is_menu = np.array(menus)
        self._fixed = flags[[0 if isinstance(rule.keys, Acts) else int(rule.keys) for rule in rules]]  # int64 [K]
        self._watched = flags[[255 if isinstance(rule.keys, Acts) else 0 for rule in rules]]  # int64 [K]
        self._passed = flags[::-1].copy()  # int64 [256]: the keys that wJoyIgnore leaves
        self._all_buttons = flags[255]
        self._buttons = np.zeros((len(MENU_BUTTONS), len(BUTTONS)), np.float32)
        for i, (button, _) in enumerate(MENU_BUTTONS):
            self._buttons[i, BUTTONS.index(button)] = 1.0

    def read(self, ram: npt.NDArray[np.uint8]) -> _Matches:
        """Which rule holds for each image of ``ram`` uint8 [N, R]."""
        x = ram.take(self._columns, 1)  # uint8 [N, C + compared + 3]
        n, rows = self._num_bytes, len(ram)
        facts = np.zeros((rows, len(self._weights)), np.float32)
        facts[:, :n] = self._holds.take(x[:, :n] + self._offsets)
        values = x[:, n:-1].astype(np.float32) @ self._compared + self._constants
        after = n + len(COMPARISONS)
        facts[:, n:after] = values[:, :-1] > 0
        tile = values[:, -1].astype(np.int64)  # the column of the cursor tile, or anything if there never was a menu
        column = np.minimum(np.maximum(tile, self._first_tile), self._last_tile)
        facts[:, after] = (ram[np.arange(rows), column] == TILE_MENU_CURSOR) & (column == tile)
        if self._stack is not None:
            words = np.ascontiguousarray(ram[:, self._stack]).view("<u2")  # [N, 64]
            facts[:, after + 1 :] = (words[:, None] == self._returns).any(2)
        matches = facts @ self._weights > self._needed  # [N, rules + lines of MENU_BUTTONS]
        rule = matches[:, : self._num_rules].argmax(1)  # the last rule always matches
        return _Matches(rule, self.kinds.take(rule), self.ignored.take(rule), matches[:, self._num_rules :], x[:, -1])

    def usable(self, found: _Matches) -> npt.NDArray[np.bool_]:
        """Bool ``[N, 8]``."""
        acts = (found.lines.astype(np.float32) @ self._buttons > 0).view(np.int64)[:, 0]
        keys = (acts & self._watched.take(found.rule) | self._fixed.take(found.rule)) & self._passed.take(found.joy)
        keys[keys == 0] = self._all_buttons
        usable: npt.NDArray[np.bool_] = keys[:, None].view(np.bool_)
        return usable


class _Matches(NamedTuple):
    """What `_Plan.read` found, [N] each.

    Attributes:
        rule: The number of the rule.
        kind: What it says.
        ignored: Whether the game ignores the buttons.
        lines: The lines of MENU_BUTTONS that hold, [N, lines].
        joy: The keys thrown away.
    """

    rule: npt.NDArray[np.int64]
    kind: npt.NDArray[np.uint8]
    ignored: npt.NDArray[np.bool_]
    lines: npt.NDArray[np.bool_]
    joy: npt.NDArray[np.uint8]


@lru_cache(maxsize=64)
def _plan(layout: RamLayout, stack: bool | None) -> _Plan:
    carried = layout.covers([STACK_RANGE])
    return _Plan(layout, carried if stack is None else carried and stack)
