"""Measure how far random actions get in Sprout: ``python tests/roms/random_policy.py [STEPS]`` (100,000)."""

from __future__ import annotations

import sys

import evidence
import numpy as np
import torch

from pokered_rl.emulator import ActionSet, ActionTiming, Cartridge, Emulator, boot
from pokered_rl.game import GameState, Milestones, RamLayout


def reached(steps: int, *, seed: int) -> dict[str, int]:
    """Return the milestones that uniformly random actions reach in one long episode, with their steps.

    Steps of 24 frames, like those that the walkthrough is counted in; no waiting while the game is busy.
    """
    cartridge = Cartridge.bundled()
    milestones = cartridge.profile.milestones
    layout = RamLayout.of("wCurMap", "wObtainedBadges", "wEventFlags", "wNumHoFTeams")
    actions, timing = ActionSet(), ActionTiming()
    rng = np.random.default_rng(seed)
    first: dict[str, int] = {}
    before = np.zeros(layout.size, np.uint8)
    ram = before.copy()
    with Emulator(cartridge) as emulator:
        boot(emulator)
        for step in range(1, steps + 1):
            button = actions.button_indices[int(rng.integers(len(actions)))]
            if button >= 0:
                emulator.press(button)
            emulator.tick(timing.hold_frames)
            if button >= 0:
                emulator.release(button)
            emulator.tick(timing.frames_per_action - timing.hold_frames)
            emulator.read_ram_into(layout, ram)
            if (ram == before).all():  # no change of the story
                continue
            before = ram.copy()
            state = GameState.from_ram(torch.from_numpy(before), layout, fields=Milestones.FIELDS)
            for name, holds in zip(milestones.names, milestones.reached(state).tolist(), strict=True):
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
