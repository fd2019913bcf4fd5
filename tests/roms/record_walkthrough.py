"""Record the walkthrough after a change of the cartridge.

    PYTHONPATH=roms/sprout python tests/roms/record_walkthrough.py

Writes the keys with the RAM hash at each milestone to ``pokered_rl/emulator/data`` (what ``start_states`` replays), and
the agent steps to each milestone to ``docs/benchmarks/results`` (what the docs show).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import evidence
import sprout_walkthrough as walkthrough
import torch

from pokered_rl.emulator import PYBOY_VERSION, Cartridge, Emulator
from pokered_rl.game import FULL_LAYOUT, GameState, Milestones, ScreenKind, read_screen
from pokered_rl.game.ram_map import address

ROOT = Path(__file__).resolve().parents[2]

RECORDING = ROOT / "pokered_rl" / "emulator" / "data" / "sprout_walkthrough.json"
FRAMES_PER_ACTION = 24
LETTERS = {"a": "A", "b": "B", "select": "C", "start": "S", "right": "R", "left": "L", "up": "U", "down": "D"}

Log = list[tuple[int, str, bool]]


def letters(log: Log, begin: int, end: int) -> str:
    """Encode the key changes of frames begin..end-1 with the frames between them; ``.`` ends it."""
    out, now = "", begin
    for frame, key, down in log:
        if begin <= frame < end:
            out += f"{frame - now}{LETTERS[key] if down else LETTERS[key].lower()}"
            now = frame
    return f"{out}{end - now}."


def record(log: Log, frames: int) -> dict[str, Any]:
    """Replay the keys on the package's emulator, and find where each milestone is reached.

    A part ends one frame before a key goes down on a map that takes input: `start_states` draws that frame.
    """
    cartridge = Cartridge.bundled()
    milestones = cartridge.profile.milestones
    reached: dict[str, int] = {}
    parts: list[dict[str, Any]] = []
    held: set[str] = set()
    last = 0
    with Emulator(cartridge) as emulator:

        def until(frame: int) -> None:
            """Tick to a frame, checking the milestones at the end of every step."""
            while emulator.frame_count < frame:
                emulator.tick(
                    min(FRAMES_PER_ACTION - emulator.frame_count % FRAMES_PER_ACTION, frame - emulator.frame_count)
                )
                begun = emulator.memory[address("wCurMapWidth")]  # before that map 0 means nothing
                if begun and (emulator.frame_count % FRAMES_PER_ACTION == 0 or emulator.frame_count == frame):
                    state = GameState.from_ram(torch.from_numpy(emulator.ram()), FULL_LAYOUT, fields=Milestones.FIELDS)
                    for name, here in zip(milestones.names, milestones.reached(state), strict=True):
                        if here:
                            reached.setdefault(name, emulator.frame_count)

        def cut() -> None:
            screen = read_screen(torch.from_numpy(emulator.ram()))
            if screen.kind != ScreenKind.OVERWORLD or screen.ignored:
                return
            for name in milestones.names:
                if name in reached and name not in [part["name"] for part in parts]:
                    parts.append({"name": name, "frame": emulator.frame_count, "ram_sha256": emulator.ram_hash()})

        for frame, key, down in [*log, (frames, "", True)]:
            until(frame)
            if down and not held and frame - 1 > last:
                cut()
            if not key:
                break
            (emulator.press if down else emulator.release)(key)
            (held.add if down else held.discard)(key)
            last = frame
    begin = 0
    for part in parts:
        end = part.pop("frame")
        part["keys"] = letters(log, begin, end - 1) if end > begin else ""  # reached together with the one before
        begin = end
    return {
        "recording": {
            "source": "tests/roms/sprout_walkthrough.py, written by tests/roms/record_walkthrough.py",
            "cartridge_sha1": cartridge.sha1,
            "pyboy": PYBOY_VERSION,
            "milestones": parts,
        },
        "steps": {name: -(-reached[name] // FRAMES_PER_ACTION) for name in milestones.names},
    }


def dumps(table: dict[str, Any]) -> str:
    return json.dumps(table, indent=1) + "\n"


def main() -> None:
    with walkthrough.Traveller() as player:
        walkthrough.play(player)
        made = record(player.log, player.frames)
    RECORDING.write_text(dumps(made["recording"]))
    evidence.write(
        "sprout_walkthrough",
        unit="agent steps of 24 frames from power-on to the milestone",
        samples=made["steps"],
    )
    print("\n".join(f"{name:18} {steps:6}" for name, steps in made["steps"].items()))


if __name__ == "__main__":
    main()
