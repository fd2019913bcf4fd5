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
    (walk,) = (
        state["memory"] for state in states if "tiles" in (state.get("memory") or {}) and "facing" in state["memory"]
    )
    (mask,) = (state["failures"] for state in states if "failures" in state)
    return walk, mask


def _visits(walk: dict[str, Any]) -> Counter[tuple[int, ...]]:
    """How often each emulator has arrived on each tile, by (emulator, map, y, x)."""
    visits: Counter[tuple[int, ...]] = Counter()
    for emulator, tiles in enumerate(walk["tiles"]["emulators"]):
        cells = tiles["cells"]
        for map_id, width, height in tiles["blocks"]:
            block, cells = cells[: 3 * width * height].view(3, height, width), cells[3 * width * height :]
            for y, x in block[2].nonzero().tolist():
                visits[emulator, map_id, y, x] = int(block[2, y, x])
    return visits


def _situations(mask: dict[str, Any]) -> list[tuple[int, ...]]:
    """The remembered situations, the least recently met first."""
    return [tuple(key) for key in mask["keys"].tolist()]


@pytest.mark.parametrize("persistent", [True, False])
def test_memories_outlive_episodes_and_jobs_if_they_are_persistent(runs: Path, train, persistent):
    options = [f"{switch}={str(persistent).lower()}" for switch in SWITCHES]
    # With START, so that menus are seen; all emulators act at random, from fixed seeds.
    options += ["env.actions=[a,b,start,right,left,up,down]", "runtime.deterministic=true"]
    options.append("curriculum.enabled=false")  # an archived start brings the memory of its state
    # 2 emulators, episodes of 40: each job ends with an episode, and the next one has begun.
    assert train("run.target_total_steps=80", *options) == 0
    walk, mask = _memories(runs / "a")
    assert train("run.target_total_steps=160", *options) == 0
    later_walk, later_mask = _memories(runs / "a")

    before, after = _visits(walk), _visits(later_walk)
    known, later = _situations(mask), _situations(later_mask)
    # Situations that job 2 has met again stand behind the others: the order of those of job 1 has changed, or new ones
    # stand between them.
    still_known = [key for key in later if key in known]
    met_again = bool(still_known) and (
        still_known != [key for key in known if key in still_known] or later[: len(still_known)] != still_known
    )
    assert known, "a menu must have been opened in job 1"
    if persistent:
        assert len(before) > 4
        assert before <= after
        assert after.total() > before.total()
        assert met_again
    else:
        assert len(before) == len(after) == 2, "each emulator knows the tile on which its new episode begins"
        assert not met_again
