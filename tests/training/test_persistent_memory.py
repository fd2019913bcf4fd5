"""What the environments have learned outlives episodes and jobs, if the config says so."""

import io
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch

from pokered_rl.training.checkpoint import CheckpointStore

SWITCHES = ("env.persistent_map_memory", "env.persistent_action_mask")


def _memories(run: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """The state of `MapMemory` and of `AffordanceMask` in the newest checkpoint."""
    newest = CheckpointStore(run / "checkpoints").newest()
    assert newest is not None
    worker = newest.state()["workers"]["workers"][0]
    transforms = torch.load(io.BytesIO(worker["state"].numpy().tobytes()), weights_only=True)["transforms"]
    states = [state for state in transforms.values() if isinstance(state, dict)]
    (walk,) = (state for state in states if "tiles" in state and "where" in state)
    (mask,) = (state for state in states if "memory" in state)
    return walk, mask


def _visits(walk: dict[str, Any]) -> Counter[tuple[int, ...]]:
    """How often each emulator has arrived on each tile, by (emulator, map, y, x)."""
    cells, visits = walk["tiles"]["cells"], Counter()
    for row, map_id, width, height in walk["tiles"]["blocks"].tolist():
        block, cells = cells[: 3 * width * height].view(3, height, width), cells[3 * width * height :]
        for y, x in block[2].nonzero().tolist():
            visits[row, map_id, y, x] = int(block[2, y, x])
    return visits


@pytest.mark.parametrize("persistent", [True, False])
def test_memories_outlive_episodes_and_jobs_if_they_are_persistent(runs: Path, train, persistent):
    options = [f"{switch}={str(persistent).lower()}" for switch in SWITCHES]
    # With START, so that menus are seen; all emulators act at random, from fixed seeds.
    options += ["env.actions=[a,b,start,right,left,up,down]", "runtime.deterministic=true"]
    # 2 emulators, episodes of 40: each job ends with an episode, and the next one has begun.
    assert train("run.target_total_steps=80", *options) == 0
    walk, mask = _memories(runs / "a")
    assert train("run.target_total_steps=160", *options) == 0
    later_walk, later_mask = _memories(runs / "a")

    before, after = _visits(walk), _visits(later_walk)
    known = set(mask["memory"]["keys"].tolist())
    # Situations of job 1 that job 2 has met again: the time of their last use has moved on.
    met_again = {
        key
        for key, used in zip(later_mask["memory"]["keys"].tolist(), later_mask["memory"]["used"].tolist(), strict=True)
        if key in known and used > mask["memory"]["clock"]
    }
    assert known, "a menu must have been opened in job 1"
    if persistent:
        assert len(before) > 4
        assert before <= after
        assert after.total() > before.total()
        assert met_again
    else:
        assert len(before) == len(after) == 2, "each emulator knows the tile on which its new episode begins"
        assert not met_again
