"""Made-up logs, for tests of the format that need no emulator, and one that was really played."""

import hashlib

import numpy as np
import pytest

from pokered_rl.episodes import EpisodeHeader, EpisodeLog, Outcome, ReachedMilestone, record_episode

ACTIONS = ("noop", "a", "b", "start", "right", "left", "up", "down")


def _header(**changes):
    fields = {
        "run_name": "test",
        "worker": 1,
        "emulator": 2,
        "global_step": 5000,
        "cartridge_sha1": "ab" * 20,
        "cartridge_title": "SPROUT",
        "pyboy_version": "2.8.1",
        "state_version": 29,
        "start_state_sha256": "cd" * 32,
        "actions": ACTIONS,
        "frames_per_action": 24,
        "hold_frames": 8,
        "reward_terms": ("coverage", "events"),
        "seeds": {"env": 7},
    }
    return EpisodeHeader(**(fields | changes))


def _log(steps=250, seed=0, **changes):
    generator = np.random.default_rng(seed)
    terms = np.stack([generator.random(steps) < 0.2, generator.random(steps) < 0.01], axis=1).astype(np.float32)
    hashed = [*range(0, steps, 100), steps]
    fields = {
        "header": _header(),
        "actions": generator.integers(0, len(ACTIONS), steps).astype(np.uint8),
        "wait_frames": (generator.integers(0, 241, steps) * (generator.random(steps) < 0.1)).astype(np.uint16),
        "rewards": terms.sum(axis=1),
        "term_rewards": terms,
        "ram_hashes": {step: hashlib.sha256(f"{seed} {step}".encode()).hexdigest() for step in hashed},
        "milestones": (ReachedMilestone(17, "left the house"),),
        "outcome": Outcome.TRUNCATED,
        "end_unix_seconds": 1.5,
    }
    return EpisodeLog(**(fields | changes))


@pytest.fixture(scope="session")
def make_header():
    return _header


@pytest.fixture(scope="session")
def make_log():
    return _log


@pytest.fixture(scope="session")
def played(sprout, start, tmp_path_factory):
    """A log of 120 steps on Sprout with a RAM hash every 20: walks about, opens and closes the menu."""
    generator = np.random.default_rng(5)
    actions = generator.choice(len(ACTIONS), 120, p=(0.05, 0.05, 0.1, 0.08, 0.18, 0.18, 0.18, 0.18))
    path = record_episode(
        actions.tolist(),
        cartridge=sprout,
        start_state=start,
        folder=tmp_path_factory.mktemp("run") / "episode_logs",
        ram_hash_every_steps=20,
        reward_terms=("column",),
        terms=lambda ram: (float(ram[0xD362 - 0xC000]),),
    )
    return EpisodeLog.load(path)
