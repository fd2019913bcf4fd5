"""Logging an episode that somebody else decides: scripted presses, a demonstration, a test.

Training logs through the `EpisodeRecorder` transform; this is the same log for actions that are known beforehand.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pokered_rl.emulator import PYBOY_VERSION, ActionSet, ActionTiming, Cartridge, EmulatorPool, SaveState
from pokered_rl.episodes.folder import EpisodeFolder
from pokered_rl.episodes.header import EpisodeHeader, Outcome
from pokered_rl.episodes.log import EpisodeLogWriter

__all__ = ["record_episode"]

#: From the full RAM image after a step to the value of each reward term.
TermFunction = Callable[[npt.NDArray[np.uint8]], Sequence[float]]


def record_episode(
    actions: Sequence[int],
    *,
    cartridge: Cartridge,
    start_state: SaveState,
    folder: str | os.PathLike[str],
    action_set: ActionSet | None = None,
    timing: ActionTiming | None = None,
    wait_while_busy: bool = True,
    max_wait_frames: int = 240,
    run_name: str = "recorded",
    worker: int = 0,
    emulator: int = 0,
    global_step: int = 0,
    ram_hash_every_steps: int = 100,
    reward_terms: Sequence[str] = (),
    terms: TermFunction | None = None,
    outcome: Outcome = Outcome.TRUNCATED,
) -> Path:
    """Plays actions from a start state and writes the log of it.

    Args:
        actions: indices into the action set, at least one.
        cartridge: what to play.
        start_state: where to begin.
        folder: the ``episode_logs`` folder.
        action_set: what the indices mean.
        timing: frames of a step.
        wait_while_busy: whether to wait while the game ignores input.
        max_wait_frames: longest wait in one step.
        run_name: for the header.
        worker: for the header.
        emulator: for the header.
        global_step: for the header and the name.
        ram_hash_every_steps: distance of the RAM hashes.
        reward_terms: names of the reward terms.
        terms: computes them; the reward is their sum.
        outcome: how the episode ends.

    Returns:
        The path of the log.

    Raises:
        ValueError: no action, or one that is not in the set.
    """
    if not actions:
        raise ValueError("actions must hold at least one action, got none")
    action_set = action_set if action_set is not None else ActionSet()
    timing = timing if timing is not None else ActionTiming()
    logs = EpisodeFolder(folder)
    header = EpisodeHeader(
        run_name=run_name,
        worker=worker,
        emulator=emulator,
        global_step=global_step,
        cartridge_sha1=cartridge.sha1,
        cartridge_title=cartridge.title,
        pyboy_version=PYBOY_VERSION,
        state_version=start_state.state_version,
        start_state_sha256=logs.add_start_state(start_state),
        actions=action_set.names,
        frames_per_action=timing.frames_per_action,
        hold_frames=timing.hold_frames,
        wait_while_busy=wait_while_busy,
        max_wait_frames=max_wait_frames,
        reward_terms=tuple(reward_terms),
        ram_hash_every_steps=ram_hash_every_steps,
        start_unix_seconds=time.time(),
    )
    with EmulatorPool(
        cartridge,
        num_emulators=1,
        actions=action_set,
        timing=timing,
        wait_while_busy=wait_while_busy,
        max_wait_frames=max_wait_frames,
    ) as pool:
        pool.reset([0], [start_state])
        writer = EpisodeLogWriter(folder=logs.path, header=header, start_ram_hash=pool.ram_hash(0))
        for action in actions:
            step = pool.step([action])
            given = tuple(terms(step.ram[0])) if terms is not None else (0.0,) * len(reward_terms)
            writer.step(action, wait_frames=int(step.wait_frames[0]), reward=sum(given), terms=given)
            if writer.ram_hash_due:
                writer.add_ram_hash(pool.ram_hash(0))
        path = writer.finish(outcome, ram_hash=pool.ram_hash(0), end_unix_seconds=time.time())
    assert path is not None  # at least one step was fed
    return path
