"""Scoring old logs with another reward: what would this config have paid for what was played?"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
from tensordict import TensorDict

from pokered_rl.emulator import Cartridge
from pokered_rl.envs.rewards import RewardTerm, make_terms
from pokered_rl.envs.transforms import RewardTerms
from pokered_rl.episodes import EpisodeLog, EpisodePlayer, cartridge_for
from pokered_rl.game import RamLayout

__all__ = ["Rescored", "rescore"]


@dataclass(frozen=True, kw_only=True)
class Rescored:
    """The rewards of an episode under other terms. T steps, K terms.

    Attributes:
        log: the episode.
        names: names of the terms.
        term_rewards: float32 [T, K], weights included.
    """

    log: EpisodeLog
    names: tuple[str, ...]
    term_rewards: npt.NDArray[np.float32]

    @property
    def rewards(self) -> npt.NDArray[np.float32]:
        """float32 [T], the sum of the terms, as `RewardTerms` adds them up."""
        return np.asarray(self.term_rewards.sum(axis=1))

    @property
    def episode_return(self) -> float:
        """Sum of the rewards."""
        return float(self.rewards.sum(dtype=np.float64))

    @property
    def term_returns(self) -> dict[str, float]:
        """What each term gave over the episode."""
        return dict(zip(self.names, self.term_rewards.sum(axis=0, dtype=np.float64).tolist(), strict=True))

    def as_log(self) -> EpisodeLog:
        """The log with these rewards instead of the recorded ones, for `trajectory` or to be saved elsewhere."""
        return replace(
            self.log,
            header=replace(self.log.header, reward_terms=self.names),
            rewards=self.rewards,
            term_rewards=self.term_rewards,
        )


def rescore(
    log: EpisodeLog, *, terms: Iterable[RewardTerm] | None = None, cartridge: Cartridge | None = None
) -> Rescored:
    """Replays a log and scores it anew.

    Args:
        log: the episode.
        terms: the reward terms, new ones for each log: they remember what they have paid. By default those of the
            preset ``balanced``; ``make_terms(**load_preset("exploration"))`` makes others.
        cartridge: the cartridge it was played on; found by default.

    Raises:
        EpisodeLogError: the log cannot be played, or its replay is not the recorded episode.

    Example:
        >>> rescore(log, terms=make_terms(weights={"new_tiles": 1.0})).term_returns  # doctest: +SKIP
        {'new_tiles': 58.0, ...}
    """
    cartridge = cartridge if cartridge is not None else cartridge_for(log)
    scorer = RewardTerms(terms=make_terms(profile=cartridge.profile) if terms is None else terms, write_terms=False)
    layout = RamLayout.merged(scorer.ram_ranges)
    scorer = RewardTerms(terms=scorer.terms, write_terms=False, ram_layout=layout)
    values = np.empty((log.steps, len(scorer.terms)), np.float32)
    with EpisodePlayer(log, cartridge=cartridge, screen="half") as player:
        scorer(_observed(player, layout))  # the episode begins
        for step in range(log.steps):
            player.play_step()
            observed = _observed(player, layout)
            observed["action"] = torch.from_numpy(log.actions[step : step + 1].astype(np.int64))
            scorer(observed)
            values[step] = scorer.last_values[0]
    return Rescored(log=log, names=scorer.term_names, term_rewards=values)


def _observed(player: EpisodePlayer, layout: RamLayout) -> TensorDict:
    ram = torch.from_numpy(player.emulator.ram(layout))[None]  # [1, R]
    return TensorDict({"ram": ram}, batch_size=[1])
