"""Press random keys on Sprout and check the invariants of its RAM.

``python tests/roms/sprout_fuzz.py [ACTIONS]`` presses that many (200,000) from the start states of all milestones.
"""

from __future__ import annotations

import io
import random
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from sprout_player import Player

KEYS = ("a", "b", "start", "select", "up", "down", "left", "right", None)
FRAMES = 24
HOLD = 8


def broken_promises(p: Player) -> list[str]:
    """Return what in RAM is outside its documented range."""
    wrong = []

    def promise(holds: bool, what: str) -> None:
        if not holds:
            wrong.append(what)

    started = p[0xD525] > 0
    promise(p[0xD163] <= 6, f"party count {p[0xD163]}")
    for i in range(min(p[0xD163], 6)):
        at = 0xD16B + 44 * i
        level, hp, most = p[at + 0x21], p.big(at + 1), p.big(at + 0x22)
        promise(1 <= level <= 100, f"level {level}")
        promise(0 < most <= 999 and hp <= most, f"HP {hp}/{most}")
        promise(p[0xD164 + i] == p[at], "species list")
        promise(any(p[at + 8 + k] for k in range(4)), "no moves")
    promise(not started or p[0xD164 + p[0xD163]] == 0xFF, "species list does not end")
    for a in range(0xD347, 0xD34A):
        promise(p[a] >> 4 <= 9 and p[a] & 15 <= 9, f"money {p[a]:02X}")
    promise(p[0xD31D] <= 20, f"bag {p[0xD31D]}")
    promise(not started or p[0xD31E + 2 * p[0xD31D]] == 0xFF, "bag does not end")
    for i in range(p[0xD31D]):
        promise(1 <= p[0xD31F + 2 * i] <= 99, f"quantity {p[0xD31F + 2 * i]}")
    if p.listening and started:
        promise(p[0xD362] < p[0xD525] and p[0xD361] < p[0xD524], f"off the map at {p.where}")
        promise(p.tile(p[0xD362], p[0xD361]) in p.walkable(), f"inside a wall at {p.where}")
    promise(p[0xDA80] <= 20, f"box {p[0xDA80]}")
    promise(not started or p[0xDA81 + p[0xDA80]] == 0xFF, "box does not end")
    promise(p[0xD53A] <= 50, f"things kept {p[0xD53A]}")
    promise(not started or p[0xD53B + 2 * p[0xD53A]] == 0xFF, "things kept do not end")
    for i in range(1, min(p[0xD4E1], 15) + 1):
        if p[0xC100 + 16 * i] and p.listening:
            x, y = p[0xC205 + 16 * i] - 4, p[0xC204 + 16 * i] - 4
            promise(0 <= x < p[0xD525] and 0 <= y < p[0xD524], f"a person off the map at {x}, {y}")
    promise(p[0xD057] in (0, 1, 2, 0xFF), f"wIsInBattle {p[0xD057]}")
    promise(p[0xCFC5] <= 8, f"walk counter {p[0xCFC5]}")
    promise(p[0xDA43] < 60 and p[0xDA44] < 60 and p[0xDA45] < 60, "clock")
    if p[0xD057] in (1, 2) and p[0xD014]:
        promise(p.big(0xD015) <= p.big(0xD023), f"battle HP {p.big(0xD015)}/{p.big(0xD023)}")
        promise(p.big(0xCFE6) <= p.big(0xCFF4), f"enemy HP {p.big(0xCFE6)}/{p.big(0xCFF4)}")
        promise(1 <= p[0xD022] <= 100, f"battle level {p[0xD022]}")
        promise(1 <= p[0xCFF3] <= 100, f"enemy level {p[0xCFF3]}")
        for a in (*range(0xCD1A, 0xCD20), *range(0xCD2E, 0xCD34)):
            promise(p[a] == 0 or 1 <= p[a] <= 13, f"stat modifier {p[a]}")
    stack = p.pyboy.register_file.SP
    promise(stack > 0xDF00 or stack < 0xC000, f"stack {stack:04X}")
    promise(0 < p.pyboy.register_file.PC < 0x8000 or p.pyboy.register_file.PC >= 0xFF80, "code runs in RAM")
    return wrong


def fuzz(
    player: Player, seed: int, actions: int, *, weights: tuple[int, ...] = (4, 2, 1, 1, 4, 4, 4, 4, 1)
) -> dict[str, int]:
    """Press keys at random; raise at the first broken invariant, or when nothing changes any more."""
    rng = random.Random(seed)
    silent, seen = 0, {"talk": 0, "battle": 0, "maps": 0}
    maps: set[int] = set()
    for number in range(actions):
        key = rng.choices(KEYS, weights)[0]
        before = (player.where, player.outermost, bytes(player.memory[0xC3A0:0xC508]))
        if key:
            player.pyboy.button_press(key)
        player.tick(HOLD)
        if key:
            player.pyboy.button_release(key)
        player.tick(FRAMES - HOLD)
        wrong = broken_promises(player)
        if wrong:
            raise AssertionError(f"seed {seed}, action {number} ({key}): {wrong} at {player.where}")
        silent = silent + 1 if before == (player.where, player.outermost, bytes(player.memory[0xC3A0:0xC508])) else 0
        if silent > 400:
            raise AssertionError(
                f"seed {seed}, action {number}: nothing moves at {player.where}\n{player.screen_text()}"
            )
        seen["talk"] += player.outermost == 0x0499
        seen["battle"] += player[0xD057] != 0
        maps.add(player[0xD35E])
    seen["maps"] = len(maps)
    return seen


def from_state(number: int, file: Path, actions: int) -> dict[str, int]:
    """Press random keys from one start state; its number is the seed."""
    from pokered_rl.emulator import SaveState

    with Player() as player:
        player.pyboy.load_state(io.BytesIO(SaveState.load(file).pyboy))
        return {"seed": number, "actions": actions, **fuzz(player, number, actions)}


def main() -> None:
    """Run all start states; stop at the first broken invariant with its seed and place."""
    import evidence

    from pokered_rl.emulator import start_states

    states = start_states("sprout")
    each = (int(sys.argv[1]) if len(sys.argv) > 1 else 200_000) // len(states)
    samples = {}
    with ProcessPoolExecutor() as pool:
        rows = pool.map(from_state, range(len(states)), states.values(), [each] * len(states))
        for name, row in zip(states, rows, strict=True):
            samples[name] = row
            print(name, row, flush=True)
    evidence.write(
        "sprout_fuzz",
        unit="random actions of 24 frames; talk, battle: of them seen in a text or menu, in a battle; maps: entered",
        actions=sum(sample["actions"] for sample in samples.values()),
        start_states=len(states),
        broken_promises=0,
        samples=samples,
    )


if __name__ == "__main__":
    main()
