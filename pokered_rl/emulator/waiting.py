"""Evaluate the rules of ``pokered_rl.game`` for one running game: whether it ignores input.

:func:`pokered_rl.game.input_ignored` takes a batch of RAM images; between two frames of a single game its array
operations would cost more than the frames. Here the same table of rules is reduced once to this question, which some
thirty bytes answer in a microsecond. A test holds both answers equal.
"""

from itertools import product
from typing import Protocol, overload

from pokered_rl.game.ram_map import RAM_MAP
from pokered_rl.game.screen_rules import (
    COMPUTED,
    CONDITIONS,
    RULES,
    STACK_RANGE,
    TILE_MAP_RANGE,
    TILE_MENU_CURSOR,
    WAIT_LOOP_RETURNS,
    Rule,
)

__all__ = ["WAIT_CHUNK_FRAMES", "BusyRule", "Memory"]

#: Frames between two checks. The overworld polls the pad every second frame, menus every third or fourth.
WAIT_CHUNK_FRAMES = 4


class Memory(Protocol):
    """Bytes by address, and lists of them by range, as ``PyBoy.memory`` gives them."""

    @overload
    def __getitem__(self, address: int, /) -> int: ...
    @overload
    def __getitem__(self, address: slice, /) -> list[int]: ...


class BusyRule:
    """Rule that tells whether a game ignores input: ``rule(memory)``.

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
        self._cursor = RAM_MAP["wMenuCursorLocation"].address
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

    def __call__(self, memory: Memory) -> bool:
        """Return whether the game ignores input now.

        Args:
            memory: Work and high RAM by address.
        """
        holds = 0
        for address, table in self._tables:
            holds |= table[memory[address]]
        cursor = memory[self._cursor] | memory[self._cursor + 1] << 8
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
    """Return condition -> whether it must hold or must not; the last mention counts, as in ``pokered_rl.game``."""
    return {name.lstrip("!"): not name.startswith("!") for name in rule.when}


def _without_redundant(rules: list[Rule]) -> list[Rule]:
    """Drop rules before a more general one with the same answer.

    Fourteen rules name the kinds of menus; the last of them, "a menu", is enough here.
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
