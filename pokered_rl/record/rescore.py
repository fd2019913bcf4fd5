"""Score old logs with another reward: what the terms of another config would have paid for the same steps."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from pokered_rl.data.episode_logs import LogReplay
from pokered_rl.emulator import Cartridge
from pokered_rl.envs.rewards import RewardTerm, make_terms
from pokered_rl.envs.transforms import RewardTerms
from pokered_rl.episodes import EpisodeLog, cartridge_for

__all__ = ["rescore"]


def rescore(
    log: EpisodeLog, *, terms: Iterable[RewardTerm] | None = None, cartridge: Cartridge | None = None
) -> EpisodeLog:
    """Replay a log and return it with the rewards of other terms.

    Args:
        log: The episode.
        terms: The reward terms, new ones for each log: they remember what they have paid. By default those of the
            preset ``balanced``; ``make_terms(**load_preset("exploration"))`` makes others.
        cartridge: The cartridge it was played on; found by default.

    Raises:
        EpisodeLogError: The log cannot be played, or its replay is not the recorded episode.

    Example:
        >>> rescore(log, terms=make_terms(weights={"new_tiles": 1.0})).term_returns  # doctest: +SKIP
        {'new_tiles': 58.0, ...}
    """
    cartridge = cartridge if cartridge is not None else cartridge_for(log)
    scorer = RewardTerms(terms=make_terms(profile=cartridge.profile) if terms is None else terms)
    steps = LogReplay(lambda **_: [scorer], rescore=True, cartridge=cartridge)(log)
    names = scorer.term_names
    return replace(
        log,
        header=replace(log.header, reward_terms=names),
        rewards=steps["next", "reward"][:, 0].numpy(),
        term_rewards=np.concatenate([steps["next", "reward_terms", name].numpy() for name in names], axis=1),
    )
