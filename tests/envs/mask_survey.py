"""The mask against the game: every menu and text of Sprout's walkthrough, every button, with and without the memory."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tensordict import TensorDict

from pokered_rl.emulator import PYBOY_VERSION, ActionSet, Cartridge, Emulator, EmulatorPool, SaveState, press_effects
from pokered_rl.envs import AffordanceMask
from pokered_rl.game import BUTTONS, FULL_LAYOUT, ScreenKind, read, read_screen, screen_lines

sys.path[:0] = [str(Path(__file__).parents[1] / "roms")]

import sprout_walkthrough  # noqa: E402

#: Screens that wait for a button and are not the map.
WAITING = tuple(
    ScreenKind[name]
    for name in (
        "TEXT_WAITING", "YES_NO", "START_MENU", "LIST", "QUANTITY", "PARTY", "BATTLE_LEFT", "BATTLE_RIGHT",
        "MOVE_LIST", "NAMING", "OPTIONS", "OTHER_MENU", "TITLE",
    )
)  # fmt: skip
#: Lists from top to bottom: LEFT and RIGHT mean nothing there.
VERTICAL = tuple(ScreenKind[name] for name in ("YES_NO", "START_MENU", "LIST", "PARTY", "MOVE_LIST"))

_MENU = ("wMenuWatchedKeys", "wTopMenuItemY", "wTopMenuItemX", "wCurrentMenuItem", "wMaxMenuItem", "wListScrollOffset")
_ALL = ActionSet(tuple(button.lower() for button in BUTTONS))


def _walker(*, letters: bool) -> Any:
    """A player of Sprout that keeps a state of every screen that waits, told apart by menu and, if wanted, letters."""

    class Walker(sprout_walkthrough.Traveller):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.kept: dict[tuple[Any, ...], bytes] = {}

        def press(self, *arguments: Any, **options: Any) -> None:
            super().press(*arguments, **options)
            self._look()

        def settle_any(self, *arguments: Any, **options: Any) -> str:
            waits = str(super().settle_any(*arguments, **options))
            self._look()
            return waits

        def _look(self) -> None:
            ram = torch.from_numpy(
                np.concatenate([np.array(self.memory[a:b], dtype=np.uint8) for a, b in FULL_LAYOUT.ranges])
            )
            reading = read_screen(ram)
            if reading.ignored or int(reading.kind) not in WAITING:
                return
            menu = () if reading.kind == ScreenKind.TEXT_WAITING else tuple(int(read(ram, label)) for label in _MENU)
            text = tuple(line.replace("▼", " ") for line in screen_lines(ram)) if letters else ()
            self._keep((int(reading.kind), *menu, *text))

        def _keep(self, signature: tuple[Any, ...]) -> None:
            if signature not in self.kept:
                state = io.BytesIO()
                self.pyboy.save_state(state)
                self.kept[signature] = state.getvalue()

    return Walker()


def waiting_states(cartridge: Cartridge, *, last: str, letters: bool) -> Iterator[tuple[str, SaveState]]:
    """A state of every menu and text from power-on to the end of step ``last``: (where it was met, state).

    After each step the START menu is opened as well, and every entry of it.

    Args:
        cartridge: Sprout.
        last: name of a step of the walkthrough.
        letters: the same menu with another text is another screen.
    """
    with _walker(letters=letters) as player:
        for name, step in sprout_walkthrough.STEPS:
            step(player)
            _browse(player)
            for raw in player.kept.values():
                yield (
                    name,
                    SaveState(
                        pyboy=raw,
                        cartridge_sha1=cartridge.sha1,
                        cartridge_title=cartridge.title,
                        pyboy_version=PYBOY_VERSION,
                    ),
                )
            player.kept = dict.fromkeys(player.kept, b"")
            if name == last:
                return


def _browse(player: Any) -> None:
    """Opens the START menu and each entry, presses a few keys there, and leaves the game as it was."""
    here = io.BytesIO()
    player.pyboy.save_state(here)
    player.press("start")
    player.settle_any()
    menu = io.BytesIO()
    player.pyboy.save_state(menu)
    for line in range(player[0xCC28]):  # wMaxMenuItem
        menu.seek(0)
        player.pyboy.load_state(menu)
        player.choose(line)
        player.settle_any(120)
        for key in ("down", "a", "down", "a", "up", "b"):
            player.press(key)
            player.settle_any(60)
    here.seek(0)
    player.pyboy.load_state(here)  # and no frame more: the walkthrough goes on as if nothing had been


@dataclass
class Row:
    """What was found on one kind of screen.

    Attributes:
        screens: states tried.
        idle: presses that change nothing.
        masked: those of them that the rules mask.
        masked_with_memory: those of them that rules and memory mask.
        wrong: presses that the rules mask and that change something.
        wrong_with_memory: presses that rules or memory mask and that change something.
        sideways: LEFT or RIGHT left usable on a vertical list.
    """

    screens: int = 0
    idle: int = 0
    masked: int = 0
    masked_with_memory: int = 0
    wrong: list[str] = field(default_factory=list)
    wrong_with_memory: list[str] = field(default_factory=list)
    sideways: list[str] = field(default_factory=list)

    def add(self, other: Row) -> None:
        """Adds up."""
        for name, value in asdict(other).items():
            setattr(self, name, getattr(self, name) + value)


class Survey:
    """Tries every button on one screen after the other.

    Args:
        cartridge: Sprout.

    Attributes:
        rows: by kind of screen.
    """

    def __init__(self, cartridge: Cartridge) -> None:
        self.rows: dict[str, Row] = {}
        self._emulator = Emulator(cartridge)
        self._pool = EmulatorPool(cartridge, num_emulators=1, actions=_ALL)

    def __enter__(self) -> Survey:
        return self

    def __exit__(self, *_: object) -> None:
        self._emulator.close()
        self._pool.close()

    def run(self, states: Iterable[tuple[str, SaveState]]) -> Survey:
        """Tries all of them."""
        for where, state in states:
            if state.pyboy:
                self._try(where, state)
        return self

    def total(self) -> Row:
        """The sum of all rows."""
        total = Row()
        for row in self.rows.values():
            total.add(row)
        return total

    def _try(self, where: str, state: SaveState) -> None:
        self._emulator.load_state(state)
        ram = torch.from_numpy(self._emulator.ram())
        reading = read_screen(ram)
        kind = ScreenKind(int(reading.kind))
        effects = press_effects(self._emulator, state)
        learned = self._learned(ram, state)
        row = Row(screens=1)
        at = f"on {kind.name} after {where}: {' / '.join(line.strip() for line in screen_lines(ram) if line)}"
        for index, (button, acts) in enumerate(zip(BUTTONS, effects, strict=True)):
            by_rules, by_both = not reading.usable[index], not learned[index]
            if acts:
                row.wrong += [f"{button} {at}"] * by_rules
                row.wrong_with_memory += [f"{button} {at}"] * by_both
            else:
                row.idle += 1
                row.masked += by_rules
                row.masked_with_memory += by_both
            if kind in VERTICAL and button in ("LEFT", "RIGHT") and not by_rules:
                row.sideways.append(f"{button} {at}")
        self.rows.setdefault(kind.name, Row()).add(row)

    def _learned(self, ram: torch.Tensor, state: SaveState) -> list[bool]:
        """The mask of somebody who came here often, and tried three times whatever was allowed."""
        mask = AffordanceMask(actions=_ALL, decay=1.0)
        allowed = mask(TensorDict({"ram": ram[None]}, [1]))["action_mask"]
        for _ in range(mask.fail_threshold):
            for action in allowed[0].nonzero().flatten().tolist():
                self._pool.reset([0], [state])
                after = torch.from_numpy(self._pool.step([action]).ram)
                mask(TensorDict({"ram": after, "action": torch.tensor([action])}, [1]))
                mask(TensorDict({"ram": ram[None]}, [1]))
        return [bool(each) for each in mask(TensorDict({"ram": ram[None]}, [1]))["action_mask"][0]]
