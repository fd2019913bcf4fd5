"""How far random actions get in Sprout: ``python tests/roms/random_policy.py [STEPS]`` (100,000)."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

sys.path[:0] = [str(Path(__file__).resolve().parent), str(Path(__file__).resolve().parents[2])]

import evidence  # noqa: E402
import torch  # noqa: E402

from pokered_rl.emulator import Cartridge, Emulator, EmulatorPool, boot  # noqa: E402
from pokered_rl.game import GameState, Milestones, RamLayout  # noqa: E402


def reached(steps: int, *, seed: int) -> dict[str, int]:
    """Milestones reached by uniformly random actions of the default set in one long episode, with their steps."""
    cartridge = Cartridge.bundled()
    milestones = cartridge.profile.milestones
    layout = RamLayout.of("wCurMap", "wObtainedBadges", "wEventFlags", "wNumHoFTeams")
    rng = np.random.default_rng(seed)
    first: dict[str, int] = {}
    with Emulator(cartridge) as emulator:
        start = boot(emulator)
    with EmulatorPool(cartridge, num_emulators=1, ram_layout=layout) as pool:
        pool.reset([0], [start])
        before = b""
        for step in range(1, steps + 1):
            ram = pool.step(rng.integers(len(pool.actions), size=1)).ram
            if ram.tobytes() == before:  # nothing of the story moved
                continue
            before = ram.tobytes()
            here = milestones.reached(GameState.from_ram(torch.from_numpy(ram), layout, fields=Milestones.FIELDS))[0]
            for name, holds in zip(milestones.names, here.tolist(), strict=True):
                if holds:
                    first.setdefault(name, step)
    return first


def main() -> None:
    steps = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    milestones = Cartridge.bundled().profile.milestones.names
    first = reached(steps, seed=0)
    evidence.write(
        "sprout_random_policy",
        unit="step at which a milestone was first reached, in one episode of uniformly random actions, seed 0",
        steps=steps,
        reached=len(first),
        milestones=len(milestones),
        samples=first,
    )
    print(f"{len(first)} of {len(milestones)} milestones in {steps:,} steps: {first}")


if __name__ == "__main__":
    main()
