"""Classify the screen, and tell which buttons can have an effect.

The rules are a table in ``screen_rules.py``; this module evaluates them for a batch in a fixed number of array
operations. They are NumPy's because on a few bytes of a few images the dispatch of an operation dominates, and NumPy's
costs a third of Torch's. The rules read RAM only: the outermost return address on the stack, the tile map, the menu
variables and the script flags. Sources are in the "Behaviour" chapters of ``docs/reference/ram_map.md``; each rule in
words is in ``docs/reference/screens.md``.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import product
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pokered_rl.game.ram_map import FULL_LAYOUT, RAM_MAP, RamLayout
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
    Keys,
    Rule,
    ScreenKind,
)
from pokered_rl.game.state_fields import FLAGS_OF_BYTE

__all__ = [
    "BUTTONS",
    "SCREEN_RANGES",
    "BusyRule",
    "ScreenKind",
    "ScreenReading",
    "input_ignored",
    "read_screen",
    "screen_arrays",
    "screen_kind",
    "usable_buttons",
]


class ScreenReading(NamedTuple):
    """Kind of screen, usable buttons, and whether input is ignored, computed together.

    Attributes:
        kind: uint8 ``[*]`` of ``ScreenKind``.
        usable: bool ``[*, 8]`` in the order of ``BUTTONS``.
        ignored: bool ``[*]``, whether the game ignores the buttons.
    """

    kind: Tensor
    usable: Tensor
    ignored: Tensor


def read_screen(ram: Tensor, layout: RamLayout = FULL_LAYOUT, *, stack: bool | None = None) -> ScreenReading:
    """Classify the screen and tell which buttons can have an effect.

    Args:
        ram: uint8 ``[*, R]``. A tensor on another device is copied to the CPU, and the results are copied back.
        layout: The columns of ``ram``; it must carry ``SCREEN_RANGES``, the stack excepted.
        stack: Whether to use the return addresses on the stack: True for the retail game and Sprout, False for
            hacks with other code (``CartridgeProfile.stack_words``). None: if the layout carries the stack. Without
            it the rules use the window's position and the font flag, and distinguish fewer kinds.

    Raises:
        KeyError: If the layout lacks something that the rules read.
    """
    plan, found = _match(ram, layout, stack)
    return ScreenReading(*(_like(ram, values) for values in (found.kind, plan.usable(found), found.ignored)))


def screen_arrays(
    images: npt.NDArray[np.uint8], layout: RamLayout = FULL_LAYOUT
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.bool_]]:
    """Return ``kind`` uint8 ``[N]`` and ``usable`` bool ``[N, 8]`` of ``read_screen`` for uint8 ``[N, R]``."""
    plan = _plan(layout, None)
    found = plan.read(images)
    return found.kind, plan.usable(found)


def screen_kind(ram: Tensor, layout: RamLayout = FULL_LAYOUT, *, stack: bool | None = None) -> Tensor:
    """Return the kind of screen: uint8 ``[*]`` of ``ScreenKind``. Arguments as for ``read_screen``."""
    return _like(ram, _match(ram, layout, stack)[1].kind)


def usable_buttons(ram: Tensor, layout: RamLayout = FULL_LAYOUT, *, stack: bool | None = None) -> Tensor:
    """Return the buttons that can have an effect now: bool ``[*, 8]`` in the order of ``BUTTONS``.

    Never all False: where the game ignores everything, or RAM does not tell, all buttons are usable. Arguments as for
    ``read_screen``.
    """
    plan, found = _match(ram, layout, stack)
    return _like(ram, plan.usable(found))


def input_ignored(ram: Tensor, layout: RamLayout = FULL_LAYOUT, *, stack: bool | None = None) -> Tensor:
    """Return whether no button can change what happens next, except to speed up a text: bool ``[*]``.

    True while a step, a script, a warp or a battle animation runs and while a text is being printed. Arguments as for
    ``read_screen``.
    """
    return _like(ram, _match(ram, layout, stack)[1].ignored)


def _match(ram: Tensor, layout: RamLayout, stack: bool | None) -> tuple[_Plan, _Matches]:
    """Return the rules for ``layout``, and which one holds for each of the images."""
    plan = _plan(layout, stack)
    images = ram if ram.ndim == 2 else ram.reshape(-1, ram.shape[-1])
    return plan, plan.read(images.numpy(force=True))


def _like(ram: Tensor, values: npt.NDArray[Any]) -> Tensor:
    """Return ``values`` [N, ...] with the leading dimensions and the device of ``ram``."""
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


#: Address ranges that the functions of this module read.
SCREEN_RANGES: tuple[tuple[int, int], ...] = _ranges()


class _Plan:
    """The rules as arrays, for one layout.

    Args:
        layout: The columns of ``ram``.
        stack: Whether to use the return addresses.
    """

    def __init__(self, layout: RamLayout, stack: bool) -> None:
        rules = [rule for rule in RULES if rule.stack is None or rule.stack is stack]
        used = {name.lstrip("!") for rule in rules for name in rule.when}
        used |= {name.lstrip("!") for _, when in MENU_BUTTONS for name in when}
        names = [name for name in CONDITIONS if name in used]
        position = {name: i for i, name in enumerate((*names, *COMPARISONS, *COMPUTED))}

        # One gather brings the bytes of all conditions, then those that are compared, then the cursor's address, then
        # the keys that the game ignores.
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

        # Eight booleans are one 64-bit word here: sets of buttons combine in one operation.
        flags = FLAGS_OF_BYTE.numpy()
        self.kinds = np.array([rule.kind for rule in rules], np.uint8)
        self.ignored = np.array([rule.ignored for rule in rules])
        self._fixed = flags[[0 if isinstance(rule.keys, Acts) else int(rule.keys) for rule in rules]]  # int64 [K]
        watched = {Acts.WATCHED: 255, Acts.WATCHED_BUT_A: 255 - Keys.A}
        self._watched = flags[[watched[rule.keys] if isinstance(rule.keys, Acts) else 0 for rule in rules]]  # int64 [K]
        self._passed = flags[::-1].copy()  # int64 [256]: the keys that wJoyIgnore leaves
        self._all_buttons = flags[255]
        self._buttons = np.zeros((len(MENU_BUTTONS), len(BUTTONS)), np.float32)
        for i, (button, _) in enumerate(MENU_BUTTONS):
            self._buttons[i, BUTTONS.index(button)] = 1.0

    def read(self, ram: npt.NDArray[np.uint8]) -> _Matches:
        """Return which rule holds for each image of ``ram`` uint8 [N, R]."""
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


class BusyRule:
    """Rule that tells whether one running game ignores input: ``rule(memory)``, the answer of :func:`input_ignored`.

    Between two frames of a game the array operations of :func:`input_ignored` would cost more than the frames. Here
    the same table of rules is reduced once to this question, which some thirty bytes answer in a microsecond.

    Args:
        stack_words: Whether return addresses on the stack mean what they mean in the retail game (not in hacks).
    """

    def __init__(self, *, stack_words: bool = True) -> None:
        rules = _without_redundant([rule for rule in RULES if rule.stack in (None, stack_words)])
        names = {name.lstrip("!") for rule in rules for name in rule.when}
        # One bit for each condition; one table for each address, from its byte to the bits of what then holds.
        bits = {name: 1 << index for index, name in enumerate(sorted(names | set(COMPUTED)))}
        tables: dict[int, list[int]] = {}
        for name in sorted(names - set(COMPUTED)):
            table = tables.setdefault(CONDITIONS[name].address, [0] * 256)
            for value in CONDITIONS[name].values:
                table[value] |= bits[name]
        self._tables = tuple(tables.items())
        self._menu_bit = bits["menu"]
        # The other computed conditions: a certain return address is somewhere on the stack.
        words = zip(COMPUTED[1:], WAIT_LOOP_RETURNS, strict=True)
        self._stack_words = [(word.to_bytes(2, "little"), bits[name]) for name, word in words] if stack_words else []
        self._decisions = [
            (
                sum(bits[name] for name, wanted in _wanted(rule).items() if wanted),
                sum(bits[name] for name, wanted in _wanted(rule).items() if not wanted),
                rule.ignored,
            )
            for rule in rules
        ]
        #: Answer for each set of conditions seen so far; None where it depends on the stack scan.
        self._known: dict[int, bool | None] = {}

    def __call__(self, memory: Any) -> bool:
        """Return whether the game ignores input now.

        Args:
            memory: Bytes by address, and lists of them by range, as ``PyBoy.memory`` gives them.
        """
        holds = 0
        for address, table in self._tables:
            holds |= table[memory[address]]
        cursor = memory[_CURSOR] | memory[_CURSOR + 1] << 8
        if TILE_MAP_RANGE[0] <= cursor < TILE_MAP_RANGE[1] and memory[cursor] == TILE_MENU_CURSOR:
            holds |= self._menu_bit
        try:
            busy = self._known[holds]
        except KeyError:
            choices = product(*((0, bit) for _, bit in self._stack_words))
            answers = {self._decide(holds | sum(found)) for found in choices}
            busy = self._known[holds] = answers.pop() if len(answers) == 1 else None
        if busy is None:
            stack = bytes(memory[STACK_RANGE[0] : STACK_RANGE[1]])
            for word, bit in self._stack_words:
                if _has_word(stack, word):
                    holds |= bit
            busy = self._decide(holds)
        return busy

    def _decide(self, holds: int) -> bool:
        return next(
            ignored for needed, barred, ignored in self._decisions if holds & needed == needed and not holds & barred
        )


def _wanted(rule: Rule) -> dict[str, bool]:
    """Return condition -> whether it must hold or must not; the last mention counts."""
    return {name.lstrip("!"): not name.startswith("!") for name in rule.when}


def _without_redundant(rules: list[Rule]) -> list[Rule]:
    """Drop rules before a more general one with the same answer.

    Many rules name the kinds of menus; the last of them, "a menu", is enough here.
    """
    kept: list[Rule] = []
    for index, rule in enumerate(rules):
        for later in rules[index + 1 :]:
            if later.ignored != rule.ignored:
                kept.append(rule)
                break
            if _wanted(later).items() <= _wanted(rule).items():
                break
        else:
            kept.append(rule)
    return kept


def _has_word(stack: bytes, word: bytes) -> bool:
    """Return whether a word is on the stack, at one of its even offsets."""
    place = stack.find(word)
    while place >= 0 and place % 2:
        place = stack.find(word, place + 1)
    return place >= 0
