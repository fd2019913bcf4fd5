"""The mask against the game: every menu and text of Sprout's walkthrough, every button, with and without the memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from tensordict import TensorDict

from pokered_rl.emulator import ActionSet, Cartridge, Emulator, EmulatorPool, SaveState, press_effects, walkthrough
from pokered_rl.envs import AffordanceMask
from pokered_rl.game import BUTTONS, FULL_LAYOUT, ScreenKind, read_screen, screen_lines

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


def waiting_states(cartridge: Cartridge, *, last: str, letters: bool, depth: int) -> Iterator[tuple[str, SaveState]]:
    """A state of every menu and text from power-on to milestone ``last``: (where it was met, state).

    The recorded walkthrough is replayed, and looked at before each key. From each menu met for the first time, and from
    the map at each milestone, ways lead off that the walkthrough did not go: all usable buttons, at most ``depth``
    deep, each menu once.

    Args:
        cartridge: Sprout.
        last: name of a milestone.
        letters: the same menu with another text is another screen.
        depth: most buttons pressed off the walkthrough's way.
    """
    with Emulator(cartridge) as emulator:
        explorer = _Explorer(emulator, letters=letters)
        for part in walkthrough._recording()["milestones"]:
            name = part["name"]
            for frames, key in walkthrough._EVENT.findall(part["keys"]):
                emulator.tick(int(frames))
                if key == ".":
                    continue
                if key.isupper():
                    found = list(explorer.look(depth))
                    yield from ((name, state) for state in found)
                (emulator.press if key.isupper() else emulator.release)(walkthrough._KEYS[key.upper()])
            if part["keys"]:
                emulator.tick(1)
            assert emulator.ram_hash() == part["ram_sha256"], f"not the recorded walkthrough at {name}"
            yield from ((name, state) for state in list(explorer.leave(("start",), depth)))
            if name == last:
                return


class _Explorer:
    """Keeps states of screens that were not met before, and goes on from them; the game stands where it stood."""

    def __init__(self, emulator: Emulator, *, letters: bool) -> None:
        self._emulator, self._letters = emulator, letters
        self._seen: set[tuple[Any, ...]] = set()
        self._expanded: set[tuple[Any, ...]] = set()

    def look(self, depth: int) -> Iterator[SaveState]:
        """The moment, if it is a menu or text that waits and is new, and what lies around it."""
        ram = torch.from_numpy(self._emulator.ram())
        reading = read_screen(ram)
        kind = ScreenKind(int(reading.kind))
        if reading.ignored or kind not in WAITING:
            return
        menu = () if kind is ScreenKind.TEXT_WAITING else (int(FULL_LAYOUT.read(ram, label)) for label in _MENU)
        situation = (kind, *menu)
        text = tuple(line.replace("▼", " ") for line in screen_lines(ram)) if self._letters else ()
        if (situation, text) not in self._seen:
            self._seen.add((situation, text))
            yield self._emulator.save_state()
        if situation not in self._expanded and kind is not ScreenKind.NAMING:
            self._expanded.add(situation)
            names = (button.lower() for button, usable in zip(BUTTONS, reading.usable, strict=True) if usable)
            yield from self.leave(tuple(names), depth)

    def leave(self, buttons: tuple[str, ...], depth: int) -> Iterator[SaveState]:
        """What each of the buttons leads to."""
        if not depth:
            return
        here = self._emulator.save_state()
        for button in buttons:
            self._emulator.load_state(here)
            _press(self._emulator, button)
            yield from self.look(depth - 1)
        self._emulator.load_state(here)


def _press(emulator: Emulator, key: str) -> None:
    """Presses a key and waits until the game listens, as an environment does."""
    emulator.press(key)
    emulator.tick(8)
    emulator.release(key)
    emulator.tick(16)
    for _ in range(60):
        if not read_screen(torch.from_numpy(emulator.ram())).ignored:
            return
        emulator.tick(4)


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
                step = self._pool.step([action])
                entries = {
                    "ram": torch.from_numpy(step.ram),
                    "wait_frames": torch.from_numpy(step.wait_frames)[:, None],
                }
                mask(TensorDict({**entries, "action": torch.tensor([action])}, [1]))
                mask(TensorDict({"ram": ram[None]}, [1]))
        return [bool(each) for each in mask(TensorDict({"ram": ram[None]}, [1]))["action_mask"][0]]
