"""Sprout played for the screen tests: what the rules say, beside what the processor is really doing."""

from __future__ import annotations

import importlib.util
import io
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch

from pokered_rl.game import (
    BUTTONS,
    FULL_LAYOUT,
    SCREEN_RANGES,
    RamLayout,
    ScreenKind,
    read_screen,
)
from pokered_rl.game.effects import effect_columns

_ROMS = Path(__file__).parents[1] / "roms"
LAYOUT = RamLayout(SCREEN_RANGES)

_BATTLE_MENUS = {ScreenKind.BATTLE_LEFT, ScreenKind.BATTLE_RIGHT}
VERTICAL = frozenset(ScreenKind[name] for name in ("YES_NO", "START_MENU", "LIST", "PARTY", "MOVE_LIST"))
MENUS = VERTICAL | _BATTLE_MENUS | {ScreenKind.OTHER_MENU, ScreenKind.TITLE}
#: Menus and texts, where the rules mask; on the naming screen every button has its use.
MASKED = MENUS | {ScreenKind.TEXT_WAITING, ScreenKind.QUANTITY, ScreenKind.OPTIONS}
#: The same menu or text with the cursor at the same place is one situation.
_SITUATION = ("wMenuWatchedKeys", "wTopMenuItemY", "wTopMenuItemX", "wCurrentMenuItem", "wMaxMenuItem", "wListMenuID")
_STATES_EACH = 2


def walkthrough() -> ModuleType:
    """The walkthrough of Sprout's own tests."""
    name = "sprout_walkthrough"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, _ROMS / f"{name}.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
    return sys.modules[name]


def _bytes(memory: Any, ranges: tuple[tuple[int, int], ...]) -> np.ndarray:
    return np.concatenate([np.array(memory[start:stop], dtype=np.uint8) for start, stop in ranges])


def full_ram(memory: Any) -> torch.Tensor:
    return torch.from_numpy(_bytes(memory, FULL_LAYOUT.ranges))


class Samples:
    """RAM at many moments of a game, what was really going on, and a save state of each situation."""

    def __init__(self) -> None:
        self.rams: list[np.ndarray] = []
        self.truths: list[str] = []
        self.states: dict[tuple[int, ...], list[bytes]] = defaultdict(list)

    def kinds(self) -> np.ndarray:
        """ScreenKind of each sample, uint8 [S]."""
        return np.asarray(read_screen(torch.from_numpy(np.stack(self.rams)), LAYOUT).kind)

    def look(self, player: Any) -> None:
        """Samples the moment; `player` knows the stack pointer, which the rules do not."""
        self.rams.append(_bytes(player.memory, SCREEN_RANGES))
        if player.listening:
            truth = "map"
        elif player.on_stack(0x3886):
            truth = "text"
        elif player.on_stack(0x3AEC, 0x3AE8):
            truth = "menu"
        else:
            truth = ""
        self.truths.append(truth)

    def keep(self, player: Any) -> None:
        """Keeps a save state of the situation, if it is a new one. The game does not notice."""
        situation = _situation(torch.from_numpy(_bytes(player.memory, SCREEN_RANGES)), LAYOUT)
        if len(self.states[situation]) < _STATES_EACH:
            self.states[situation].append(save(player))


def save(player: Any) -> bytes:
    state = io.BytesIO()
    player.pyboy.save_state(state)
    return state.getvalue()


def load(player: Any, state: bytes) -> None:
    player.pyboy.load_state(io.BytesIO(state))


def _situation(ram: torch.Tensor, layout: RamLayout) -> tuple[int, ...]:
    kind = int(read_screen(ram, layout).kind)
    if kind not in MASKED or kind == ScreenKind.TEXT_WAITING:
        return (kind,)
    return (kind, *(int(layout.read(ram, label)) for label in _SITUATION))


def settled(player: Any, states: Iterable[bytes]) -> dict[tuple[int, ...], bytes]:
    """One state of each situation in which the game listens, after the wait that an environment makes."""
    found: dict[tuple[int, ...], bytes] = {}
    for state in states:
        load(player, state)
        for _ in range(60):
            if not read_screen(full_ram(player.memory)).ignored:
                found.setdefault(_situation(full_ram(player.memory), FULL_LAYOUT), save(player))
                break
            player.pyboy.tick(4, False)
    return found


def sampled(base: type, every: int) -> type:
    """`base`, a player of Sprout, sampling every that many ticks into its `samples`."""

    class Sampled(base):  # type: ignore[misc]
        samples = Samples()
        _ticks = 0

        def tick(self, frames: int = 1) -> None:
            super().tick(frames)
            self._ticks += 1
            if self._ticks % every == 0:
                self.samples.look(self)

        def press(self, key: str, hold_frames: int = 8, rest_frames: int = 16) -> None:
            super().press(key, hold_frames, rest_frames)
            self.samples.keep(self)

    return Sampled


def presses(player: Any, state: bytes, frames: int = 48) -> Iterator[tuple[int, bool]]:
    """Each button pressed in `state`: its index, and whether that changed anything in RAM."""

    def after(button: str | None) -> np.ndarray:
        load(player, state)
        if button:
            player.pyboy.button_press(button)
        player.pyboy.tick(8, False)
        if button:
            player.pyboy.button_release(button)
        player.pyboy.tick(frames - 8, False)
        return _bytes(player.memory, FULL_LAYOUT.ranges)

    idle = after(None)
    for index, button in enumerate(BUTTONS):
        yield index, bool(((after(button.lower()) != idle) & effect_columns().numpy()).any())
