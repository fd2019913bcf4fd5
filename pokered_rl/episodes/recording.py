"""Log an episode whose actions are known beforehand: scripted presses, a demonstration, a test.

Training logs through the transform :class:`~pokered_rl.envs.transforms.EpisodeRecorder`; the log is the same.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pokered_rl.emulator import PYBOY_VERSION, ActionSet, ActionTiming, Cartridge, EmulatorPool, SaveState
from pokered_rl.episodes.folder import EpisodeFolder
from pokered_rl.episodes.header import EpisodeHeader, Outcome
from pokered_rl.episodes.log import EpisodeLogWriter
from pokered_rl.errors import ConfigError
from pokered_rl.game import FULL_LAYOUT

__all__ = ["record_episode"]


def record_episode(
    actions: Sequence[int],
    *,
    cartridge: Cartridge,
    start_state: SaveState,
    folder: str | os.PathLike[str],
    terms: Callable[[npt.NDArray[np.uint8]], Sequence[float]] | None = None,
    outcome: Outcome = Outcome.TRUNCATED,
    acting: str = "script",
    **header: Any,
) -> Path:
    """Play actions from a start state and write the log of it.

    Args:
        actions: Indices into the action set, at least one.
        cartridge: The cartridge to play.
        start_state: Where to begin.
        folder: The ``episode_logs`` folder.
        terms: Computes the values of ``reward_terms`` from the full RAM image after a step; the reward is their sum.
        outcome: Why the log ends.
        acting: Who chose the actions: ``policy``, ``person``, ``script`` or ``random``.
        **header: Fields of :class:`EpisodeHeader`, such as ``global_step`` and ``reward_terms``. The emulator is played
            with its ``actions``, ``frames_per_action``, ``hold_frames``, ``wait_while_busy`` and ``max_wait_frames``.

    Returns:
        The path of the log.

    Raises:
        ConfigError: There is no action, or a field of the header is not as the emulator needs it.
        EpisodeLogError: A field of the header is out of range.
    """
    if not actions:
        raise ConfigError("actions must hold at least one action, got none")
    logs, timing = EpisodeFolder(folder), ActionTiming()
    defaults: dict[str, Any] = {
        "run_name": "recorded",
        "worker": 0,
        "emulator": 0,
        "global_step": 0,
        "actions": ActionSet().names,
        "frames_per_action": timing.frames_per_action,
        "hold_frames": timing.hold_frames,
        "start_unix_seconds": time.time(),
        "chain_ranges": tuple(address for span in FULL_LAYOUT.ranges for address in span),
    }
    known = EpisodeHeader(
        cartridge_sha1=cartridge.sha1,
        cartridge_title=cartridge.title,
        pyboy_version=PYBOY_VERSION,
        state_version=start_state.state_version,
        start_state_sha256=logs.add_start_state(start_state),
        **(defaults | header),
    )
    with EmulatorPool(
        cartridge,
        num_emulators=1,
        actions=ActionSet(known.actions),
        timing=ActionTiming(frames_per_action=known.frames_per_action, hold_frames=known.hold_frames),
        wait_while_busy=known.wait_while_busy,
        max_wait_frames=known.max_wait_frames,
    ) as pool:
        pool.reset([0], [start_state])
        writer = EpisodeLogWriter(folder=logs.path, header=known, start_ram_hash=pool.ram_hash(0))
        writer.set_acting(acting)
        for action in actions:
            step = pool.step([action])
            values = tuple(terms(step.ram[0])) if terms is not None else (0.0,) * len(known.reward_terms)
            waited = int(step.wait_frames[0])
            writer.step(action, wait_frames=waited, reward=sum(values), terms=values, ram=step.ram[0])
            if writer.ram_hash_due:
                writer.add_ram_hash(pool.ram_hash(0))
        path = writer.finish(outcome, ram_hash=pool.ram_hash(0), end_unix_seconds=time.time())
    assert path is not None  # at least one step was played
    return path
