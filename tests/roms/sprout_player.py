"""Play Sprout by keys alone; routes are searched on the map in RAM.

Bare PyBoy, because these tests check the cartridge, not the library.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pyboy import PyBoy

CARTRIDGE = Path(__file__).resolve().parents[2] / "roms" / "sprout.gb"

LEDGE = 31  #: tile of a ledge in the outdoor set
CUR_MAP, Y, X, WALK_COUNTER, FACING = 0xD35E, 0xD361, 0xD362, 0xCFC5, 0xC109
STEPS = {"down": (0, 1, 0), "up": (0, -1, 4), "left": (-1, 0, 8), "right": (1, 0, 12)}
OVERWORLD = (0x0402, 0x0405)
TALK, HIDDEN, SCRIPT = 0x0499, 0x046E, 0x041A
BATTLES = (0x062F, 0x0578)  # after a step, after a turn on the spot
TEXT_WAITS, MENU_WAITS, PARTY_WAITS = 0x3886, 0x3AEC, 0x3AE8
PAGE_CORNER = 0xC3A0  #: the first tile of the screen; 0x63 while a page of the book is shown


class Player:
    """A game from power-on; every method returns when the game takes input again, or raises."""

    def __init__(self, rom: Path = CARTRIDGE) -> None:
        self.pyboy = PyBoy(str(rom), window="null", sound_emulated=False, log_level="ERROR")
        self.memory: Any = self.pyboy.memory
        self.frames = 0
        self.log: list[tuple[int, str, bool]] = []  #: (frame, key, down), for a replay

    def __enter__(self) -> Player:
        return self

    def __exit__(self, *_: object) -> None:
        self.pyboy.stop(save=False)

    # ---------------------------------------------------------------- reading
    def __getitem__(self, address: int) -> int:
        return int(self.memory[address])

    def word(self, address: int) -> int:
        return self[address] | self[address + 1] << 8

    def big(self, address: int) -> int:
        return self[address] << 8 | self[address + 1]

    @property
    def where(self) -> tuple[int, int, int]:
        return self[CUR_MAP], self[X], self[Y]

    @property
    def outermost(self) -> int:
        return self.word(0xDFFD)

    def on_stack(self, *addresses: int) -> bool:
        """Whether one of the words is on the stack, above the stack pointer."""
        begin = self.pyboy.register_file.SP
        stack = bytes(self.memory[begin:0xDFFF]) if 0xDE00 < begin < 0xDFFF else b""
        return any(a.to_bytes(2, "little") in stack for a in addresses)

    def event(self, bit: int) -> bool:
        return bool(self[0xD747 + bit // 8] >> bit % 8 & 1)

    def screen_text(self) -> str:
        """Return the letters of wTileMap, line by line."""
        rows = []
        for y in range(18):
            row = ""
            for tile in self.memory[0xC3A0 + 20 * y : 0xC3A0 + 20 * y + 20]:
                if 0x80 <= tile <= 0x99:
                    row += chr(tile - 0x80 + ord("A"))
                elif 0xA0 <= tile <= 0xB9:
                    row += chr(tile - 0xA0 + ord("a"))
                elif tile >= 0xF6:
                    row += str(tile - 0xF6)
                else:
                    row += {0xE8: ".", 0xE7: "!", 0xE6: "?", 0xF4: ",", 0xED: ">", 0xE0: "'"}.get(tile, " ")
            rows.append(row)
        return "\n".join(rows)

    def ram_hash(self) -> str:
        data = bytes(self.memory[0xC000:0xE000]) + bytes(self.memory[0xFF80:0xFFFF])
        return hashlib.sha1(data).hexdigest()

    @property
    def listening(self) -> bool:
        """Whether the overworld takes a key (the rule of the retail game)."""
        return (
            self.outermost in OVERWORLD
            and not self[WALK_COUNTER]
            and not self[0xD057]
            and not self[0xCD6B]
            and not self[0xD730] & 0xA0
            and not self[0xD736] & 0xC3
        )

    # ---------------------------------------------------------------- time and keys
    def tick(self, frames: int = 1) -> None:
        self.pyboy.tick(frames, False)
        self.frames += frames

    def wait(self, condition: Any, frames: int = 600) -> None:
        for _ in range(frames):
            if condition():
                return
            self.tick()
        raise AssertionError(
            f"waited {frames} frames at {self.where}, stack {self.outermost:04X}\n{self.screen_text()}"
        )

    def down(self, key: str) -> None:
        self.log.append((self.frames, key, True))
        self.pyboy.button_press(key)

    def up(self, key: str) -> None:
        self.log.append((self.frames, key, False))
        self.pyboy.button_release(key)

    def settle_any(self, frames: int = 900) -> str:
        """Tick until something waits for a key: "map", "text", "menu", "page" or, after that many frames, "".

        A polling loop is inside the call that identifies it only part of the time, so three looks have to agree.
        """
        seen = {"map": 0, "text": 0, "menu": 0, "page": 0}
        for _ in range(frames):
            if self.listening:
                seen["map"] += 1
            elif self.on_stack(TEXT_WAITS):
                seen["text"] += 1
            elif self.on_stack(MENU_WAITS, PARTY_WAITS):
                seen["menu"] += 1
            elif self[PAGE_CORNER] == 0x63:
                seen["page"] += 1
            else:
                seen["map"] = 0
            for what, count in seen.items():
                if count >= 3:
                    return what
            self.tick()
        return ""

    def begin(self) -> None:
        """Start a new game with the first names offered; end in the bedroom."""
        for _ in range(60):
            waits = self.settle_any(24)
            if waits == "map":
                return
            if waits == "menu" and self[0xCC29] == 0x01 and self[0xCC26] == 0:
                self.press("down", 4, 4)  # the list of names: the line under NEW NAME
            elif waits:
                self.press("a", 4, 4)
            elif self.outermost and not self[0xD125]:
                self.press("start", 4, 4)
        raise AssertionError("the game does not begin")

    def press(self, key: str, hold_frames: int = 8, rest_frames: int = 16) -> None:
        self.down(key)
        self.tick(hold_frames)
        self.up(key)
        self.tick(rest_frames)

    def replay(self, log: list[tuple[int, str, bool]], frames: int) -> None:
        """Replay key presses from power-on."""
        for frame, key, is_down in log:
            self.tick(frame - self.frames)
            (self.down if is_down else self.up)(key)
        self.tick(frames - self.frames)

    def settle(self) -> None:
        """Tick until the overworld takes input twice in a row (a script may run in between)."""
        for _ in range(1200):
            if self.listening:
                self.tick(4)
                if self.listening or self.outermost in (TALK, *BATTLES):
                    return
            if self.outermost in (TALK, HIDDEN, SCRIPT, *BATTLES):
                return
            self.tick()
        raise AssertionError(f"the game does not settle at {self.where}, stack {self.outermost:04X}")

    # ---------------------------------------------------------------- walking
    def tile(self, x: int, y: int) -> int:
        """Return the bottom-left tile of a step, from the block map and the blocks in the cartridge."""
        stride = self[0xD369] + 6
        block = self[0xC6E8 + (y + 6) // 2 * stride + (x + 6) // 2]
        at = self.word(0xD52C) + 16 * block + 4 + (8 if y % 2 else 0) + (2 if x % 2 else 0)
        return int(self.memory[self[0xD52B], at])

    def walkable(self) -> set[int]:
        at, tiles = self.word(0xD530), set()
        while (tile := self[at]) != 0xFF:
            tiles.add(tile)
            at += 1
        return tiles

    def taken(self) -> set[tuple[int, int]]:
        return {
            (self[0xC205 + 16 * i] - 4, self[0xC204 + 16 * i] - 4)
            for i in range(1, self[0xD4E1] + 1)
            if self[0xC100 + 16 * i]
        }

    def warps(self) -> set[tuple[int, int]]:
        return {(self[0xD3AF + 4 * i + 1], self[0xD3AF + 4 * i]) for i in range(self[0xD3AE])}

    def route(self, goals: set[tuple[int, int]]) -> list[str] | None:
        walkable, warps = self.walkable(), self.warps()
        # From a mat one can walk along the mat; any other warp leads off the map.
        closed = (self.taken() | (set() if (self[X], self[Y]) in warps else warps)) - goals
        width, height = self[0xD525], self[0xD524]
        start = (self[X], self[Y])
        came: dict[tuple[int, int], tuple[tuple[int, int], str] | None] = {start: None}
        todo = deque([start])
        while todo:
            here = todo.popleft()
            if here in goals:
                keys: list[str] = []
                step = came[here]
                while step:
                    keys.append(step[1])
                    step = came[step[0]]
                return keys[::-1]
            for key, (dx, dy, _) in STEPS.items():
                there = (here[0] + dx, here[1] + dy)
                if there in came or there in closed or not (0 <= there[0] < width and 0 <= there[1] < height):
                    continue
                tile = self.tile(*there)
                if tile not in walkable:
                    if key != "down" or tile != LEDGE or self[0xD367] != 0:
                        continue
                    there = (there[0], there[1] + 1)
                    if there in came or self.tile(*there) not in walkable:
                        continue
                came[there] = (here, key)
                todo.append(there)
        return None

    def step(self, key: str) -> bool:
        """Hold a direction until something changes; return whether the player moved."""
        before = self.where
        self.down(key)
        for _ in range(24):
            self.tick()
            if self[WALK_COUNTER] or self.where != before or self.outermost not in OVERWORLD or self[0xD736] & 0xC3:
                break
        self.up(key)
        self.tick(2)
        self.settle()
        return self.where != before

    def walk_to(self, *goals: tuple[int, int]) -> None:
        """Walk to the nearest of the goals on this map; search again after every step, because people move."""
        begin, failures = self[CUR_MAP], 0
        while self[CUR_MAP] == begin and (self[X], self[Y]) not in goals:
            if self.outermost not in OVERWORLD:
                return
            keys = self.route(set(goals))
            if not keys or not self.step(keys[0]):
                failures += 1
                if failures > 60:
                    raise AssertionError(f"no way from {self.where} to {goals}")
                self.tick(16)

    def face(self, key: str) -> None:
        """Turn towards something solid, without walking."""
        for _ in range(10):
            if self[FACING] == STEPS[key][2]:
                return
            self.press(key, 2, 6)
        raise AssertionError(f"cannot face {key}")

    def leave(self, key: str, *from_: tuple[int, int]) -> None:
        """Walk over an edge or a mat onto another map."""
        begin = self[CUR_MAP]
        self.walk_to(*from_)
        for _ in range(8):
            self.step(key)
            if self[CUR_MAP] != begin:
                self.settle()
                return
            if self.outermost not in OVERWORLD:
                return
        raise AssertionError(f"{key} does not lead out at {self.where}")

    def enter(self, *doors: tuple[int, int]) -> None:
        """Walk onto a warp: door, stairs, ladder."""
        begin = self[CUR_MAP]
        self.walk_to(*doors)
        self.wait(lambda: self[CUR_MAP] != begin or self.outermost not in OVERWORLD, 120)
        self.settle()

    def look(self, key: str) -> None:
        """Face something and press A; return when a text or menu waits."""
        self.face(key)
        self.press("a", 4, 8)
        self.settle_text()

    def choose(self, item: int) -> None:
        """Move the cursor of the open menu to a line and press A."""
        for _ in range(30):
            if self[0xCC26] == item:
                break
            self.press("down" if self[0xCC26] < item else "up", 4, 8)
        self.press("a", 4, 8)

    # ---------------------------------------------------------------- talking
    def talk_to(self, slot: int) -> None:
        """Go to a person, who may walk meanwhile, and press A; return when the text waits."""
        for _ in range(40):
            x, y = self[0xC205 + 16 * slot] - 4, self[0xC204 + 16 * slot] - 4
            beside = {(x, y + 1): "up", (x, y - 1): "down", (x - 1, y): "right", (x + 1, y): "left"}
            self.walk_to(*beside)
            key = beside.get((self[X], self[Y]))
            if key is None or (self[0xC205 + 16 * slot] - 4, self[0xC204 + 16 * slot] - 4) != (x, y):
                continue
            self.face(key)
            self.press("a", 4, 8)
            if self.outermost == TALK:
                self.settle_text()
                return
        raise AssertionError(f"nobody to talk to in slot {slot} on map {self[CUR_MAP]}")

    def talk_through(self, limit: int = 60) -> str:
        """Press A until the text is over; return what was on the screen."""
        seen = ""
        for _ in range(limit):
            if self.listening:
                return seen
            seen += self.screen_text() + "\n"
            self.press("a", 4, 12)
            self.settle_text()
        raise AssertionError(f"the talk does not end\n{self.screen_text()}")

    def settle_text(self) -> None:
        """Tick until a text or a menu waits, or the text is over."""
        if not self.settle_any():
            raise AssertionError(f"neither text nor menu waits\n{self.screen_text()}")

    # ---------------------------------------------------------------- fighting
    def menu_is(self, keys: int, y: int | None = None, x: int | None = None) -> bool:
        """Whether the waiting menu is this one."""
        return self[0xCC29] == keys and (y is None or self[0xCC24] == y) and (x is None or self[0xCC25] == x)

    def best_move(self, worth: Callable[[Player, int], float]) -> int:
        """Return the line, from 1, of the strongest move with PP left."""
        moves = [
            (worth(self, self[0xD01C + i]) if self[0xD02D + i] & 63 else -1.0, -i) for i in range(4) if self[0xD01C + i]
        ]
        return 1 - max(moves)[1]

    def fight(self, worth: Callable[[Player, int], float], run: bool = False) -> int:
        """Fight, or run, until the map is back; return wBattleResult."""
        for _ in range(900):
            if self.listening:
                return self[0xCF0B]
            waits = self.settle_any()
            if not waits:
                break
            if waits != "menu":
                self.press("a", 4, 8)
            elif self.menu_is(0x11) or self.menu_is(0x21):
                if run:
                    if self.menu_is(0x11):
                        self.press("right", 4, 8)
                    self.choose(1)
                else:
                    if self.menu_is(0x21):
                        self.press("left", 4, 8)
                    self.choose(0)
            elif self.menu_is(0xC7):
                self.choose(self.best_move(worth))
            elif self.menu_is(0x01, 1, 0):
                self.choose(next(i for i in range(self[0xD163]) if self.big(0xD16C + 44 * i)))
            elif self.menu_is(0x03, 8, 15):
                self.choose(0)  # a new move: yes
            elif self.menu_is(0x03, 8, 5):
                self.choose(min(range(4), key=lambda i: worth(self, self[0xD01C + i])))  # instead of the weakest
            elif self.menu_is(0x03):
                self.press("b", 4, 8)
            else:
                self.press("a", 4, 8)
        raise AssertionError(f"the battle does not end\n{self.screen_text()}")
