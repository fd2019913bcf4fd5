"""Measure what Sprout costs to emulate: ``python tests/roms/measure_cost.py`` on an idle machine.

Processor time of one action (24 frames, the last one drawn) as a share of the same on a cartridge that only reads the
line counter and the divider, as PyBoy's own default ROM does, and never halts. The estimate for the retail game, which
was never measured, is 570 us walking and 1,200 us in menus and waiting texts where that loop takes 1,200 us (20,000
frames a second).
"""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import evidence
import sprout_player as sp

ROUNDS, ACTIONS = 15, 50
#: Retail estimate over the busy loop's 1,200 us.
ESTIMATE = {"walking": 570 / 1200, "walking_outdoors": 570 / 1200, "menu": 1.0, "text": 1.0}


#: 0100: jp 0150. 0150: di; then ldh a,(LY); cp 144; jr c,+0; ldh a,(DIV); cp 255; jr z,+0; jr 0151
ENTRY = bytes.fromhex("00c35001")
LOOP = bytes.fromhex("f3 f044 fe90 3800 f004 feff 2800 18f2")


def busy_loop(folder: Path) -> sp.Player:
    rom = bytearray(32 * 1024)
    rom[0x100 : 0x100 + len(ENTRY)] = ENTRY
    rom[0x150 : 0x150 + len(LOOP)] = LOOP
    rom[0x14D] = 0xE7  # checksum of an empty header
    file = folder / "busy.gb"
    file.write_bytes(rom)
    player = sp.Player(file)
    player.tick(600)
    before = player.pyboy.register_file.PC
    assert 0x150 <= before < 0x160, f"the loop is left at {before:04X}"
    return player


def to_and_fro(number: int) -> str:
    return "right" if number // 5 % 2 == 0 else "left"


def walking(player: sp.Player) -> Callable[[int], str]:
    """Walk across the bedroom, a step for every action."""
    player.walk_to((1, 3))
    return to_and_fro


def walking_outdoors(player: sp.Player) -> Callable[[int], str]:
    """Walk along the southern edge of MOSSBY, where people walk, too."""
    player.walk_to((0, 1))
    player.settle()
    player.walk_to((6, 7))
    player.step("down")
    player.settle()
    player.walk_to((3, 16))
    return to_and_fro


def standing(player: sp.Player) -> Callable[[int], str]:
    player.walk_to((1, 3))
    return lambda number: ""


def menu(player: sp.Player) -> Callable[[int], str]:
    player.press("start", 4, 20)
    assert player.settle_any() == "menu"
    return lambda number: ""


def text(player: sp.Player) -> Callable[[int], str]:
    player.walk_to((3, 2))
    player.face("up")
    player.press("a", 4, 8)
    assert player.settle_any() == "text"
    return lambda number: ""


def action(player: sp.Player, key: str) -> None:
    if key:
        player.pyboy.button_press(key)
    player.pyboy.tick(8, False)
    if key:
        player.pyboy.button_release(key)
    player.pyboy.tick(15, False)
    player.pyboy.tick(1, True)


def main() -> None:
    players: dict[str, tuple[sp.Player, Callable[[int], str]]] = {}
    for name, prepare in {
        "walking": walking,
        "walking_outdoors": walking_outdoors,
        "standing": standing,
        "menu": menu,
        "text": text,
    }.items():
        player = sp.Player()
        player.begin()
        players[name] = player, prepare(player)
    with tempfile.TemporaryDirectory() as folder:
        players["busy_loop"] = busy_loop(Path(folder)), lambda number: ""
    samples: dict[str, list[float]] = {name: [] for name in players}
    for _ in range(ROUNDS):  # in turn, so that other load affects all of them
        for name, (player, key) in players.items():
            begin = time.process_time()
            for number in range(ACTIONS):
                action(player, key(number))
            samples[name].append((time.process_time() - begin) / ACTIONS * 1e6)
    for player, _ in players.values():
        player.pyboy.stop(save=False)
    shares = {
        name: statistics.median(own / base for own, base in zip(took, samples["busy_loop"], strict=True))
        for name, took in samples.items()
        if name != "busy_loop"
    }
    of_estimate = {name: shares[name] / ESTIMATE[name] for name in ESTIMATE}
    evidence.write(
        "sprout_cost",
        unit="samples: us of processor time for 24 frames; share: of the busy loop's, median of the rounds",
        estimate=ESTIMATE,
        share=shares,
        of_estimate=of_estimate,
        samples=samples,
    )
    print(json.dumps({"share": shares, "of_estimate": of_estimate}, indent=1))


if __name__ == "__main__":
    main()
