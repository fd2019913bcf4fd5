"""Verify a logged episode: replay it, compute again what it claims, and say what could not be compared."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torchrl.envs import Transform

from pokered_rl.data.episode_logs import LogReplay
from pokered_rl.emulator import Cartridge
from pokered_rl.envs.ram_frame import label_ranges, read_frame
from pokered_rl.envs.transforms import RewardTerms
from pokered_rl.envs.transforms.episode_recorder import MILESTONE_RULE, MilestoneTracker
from pokered_rl.episodes import EpisodeLog, EpisodePlayer, Outcome, ReachedMilestone, cartridge_for
from pokered_rl.errors import EpisodeLogError
from pokered_rl.game import CartridgeProfile, RamLayout
from pokered_rl.game.ram_map import address

__all__ = ["MilestoneFinder", "Verification", "verify_log"]


@dataclass(frozen=True, kw_only=True)
class Verification:
    """What :func:`verify_log` found; every difference is an error."""

    #: Agent steps and emulator frames that were played again.
    steps: int
    frames: int
    #: Full RAM hashes that were found equal.
    hashes_equal: int
    #: Milestones of the replay, in order.
    milestones: tuple[ReachedMilestone, ...]
    #: What of actions, waiting frames, milestones, outcome and rewards could not be compared, and why.
    not_compared: Mapping[str, str]

    @property
    def word(self) -> str:
        """``verified``, or ``RAM equal`` when something could not be compared."""
        return "RAM equal" if self.not_compared else "verified"

    def __str__(self) -> str:
        """Return the word, and what was not compared."""
        left = "; ".join(f"{what} ({why})" for what, why in self.not_compared.items())
        return f"{self.word}; not compared: {left}" if left else self.word


class MilestoneFinder:
    """Find the milestones of one emulator from its RAM after each step, by the rule of training.

    Args:
        profile: Whose story and maps.
    """

    #: Bytes of RAM to show.
    LAYOUT = RamLayout.merged(label_ranges(MilestoneTracker.LABELS))

    def __init__(self, profile: CartridgeProfile) -> None:
        self._profile = profile
        self._tracker = MilestoneTracker(num_emulators=1, profile=profile)
        self._teams = self.LAYOUT.column(address("wNumHoFTeams"))
        self._teams_at_start: int | None = None
        #: Steps shown so far, the state at the start not counted.
        self.steps = -1
        #: Found so far.
        self.found: list[ReachedMilestone] = []
        #: Step at which the hall of fame was entered, None before.
        self.finished_at: int | None = None

    def show_from_power_on(self, ram: npt.NDArray[np.uint8], step: int) -> None:
        """Take in the RAM after ``step`` steps since power-on: what holds when a map is first loaded does not count."""
        if self._teams_at_start is None:
            frame = read_frame(torch.from_numpy(ram)[None], self.LAYOUT)
            if not frame.on_map[0]:
                return
        self.show(ram)
        self.steps = step

    def show(self, ram: npt.NDArray[np.uint8]) -> None:
        """Take in the RAM at the start, then after each step: uint8 [R] of :attr:`LAYOUT`, not changed afterwards."""
        frame = read_frame(torch.from_numpy(ram)[None], self.LAYOUT)
        self.steps += 1
        if self._teams_at_start is None:
            self._teams_at_start = int(ram[self._teams])
            self._tracker.start(frame, np.ones(1, bool))
            return
        self.found += [ReachedMilestone(self.steps, name) for _, name in self._tracker.advance(frame)]
        if self.finished_at is None and int(ram[self._teams]) > self._teams_at_start:
            self.finished_at = self.steps


def verify_log(
    log: EpisodeLog,
    *,
    cartridge: Cartridge | None = None,
    transforms: Callable[..., Sequence[Transform]] | None = None,
) -> Verification:
    """Replay a log and compare RAM, actions, waiting frames, milestones, outcome and rewards with it.

    Args:
        log: The episode.
        cartridge: The cartridge it was played on; found by default.
        transforms: Builds the transforms of the run, as :func:`~pokered_rl.data.from_episode_logs` takes them, to
            compute the rewards again.

    Raises:
        EpisodeLogError: The log cannot be played, or something in it is not what was played.
    """
    cartridge = cartridge if cartridge is not None else cartridge_for(log)
    not_compared: dict[str, str] = {}
    _check_hashes(log)
    if log.chain is None:
        compared = sum(step > 0 for step in log.ram_hashes)
        not_compared["actions"] = f"no hash a step: RAM compared after {compared} of {log.steps} steps"
        not_compared["waiting frames"] = "played as logged"
    elif log.header.chain_layout.size == 0:
        not_compared["actions"] = "its hash a step covers no RAM"
    finder = MilestoneFinder(cartridge.profile)
    with EpisodePlayer(log, cartridge=cartridge, screen="half", check_waits=log.chain is not None) as player:
        finder.show(player.emulator.ram(finder.LAYOUT))
        while player.step < log.steps:
            player.play_step()
            finder.show(player.emulator.ram(finder.LAYOUT))
        hashes_equal = player.hashes_checked
    checks = {"milestones": _check_milestones(log, finder.found), "outcome": _check_outcome(log, finder.finished_at)}
    checks["rewards"] = _check_rewards(log, cartridge, transforms)
    return Verification(
        steps=log.steps,
        frames=log.frames,
        hashes_equal=hashes_equal,
        milestones=tuple(finder.found),
        not_compared=not_compared | {what: why for what, why in checks.items() if why},
    )


def _check_hashes(log: EpisodeLog) -> None:
    """Raise an error for a full RAM hash that its header promises and that is not there."""
    every = log.header.ram_hash_every_steps
    missing = [step for step in range(every, log.steps + 1, every) if step not in log.ram_hashes]
    if missing:
        raise EpisodeLogError(
            f"{log.name}: the RAM hash after step {missing[0]} is missing: its header promises one every {every} steps"
        )


def _check_milestones(log: EpisodeLog, found: Sequence[ReachedMilestone]) -> str:
    """Return why the milestones could not be compared, empty when all were equal."""
    claimed = list(log.milestones)
    if log.header.milestone_rule != MILESTONE_RULE:
        return "noted by no rule or another one" if claimed or log.header.milestone_rule else ""
    if log.header.segment == 0:
        if claimed != list(found):
            first = next((each for each in claimed if each not in found), None)
            left_out = next((each for each in found if each not in claimed), None)
            what = f"{first.name} at step {first.step} was not reached" if first else "they are not those reached"
            if first is None and left_out is not None:
                what = f"{left_out.name} at step {left_out.step} is left out"
            raise EpisodeLogError(f"{log.name}: its milestones: {what}")
        return ""
    untrue = [each for each in claimed if each not in found]
    if untrue:
        raise EpisodeLogError(
            f"{log.name}: its milestones: {untrue[0].name} at step {untrue[0].step} was not reached in the replay"
        )
    return "" if len(claimed) == len(found) else "those of the episode's earlier logs are not noted again"


def _check_outcome(log: EpisodeLog, finished_at: int | None) -> str:
    """Return why the outcome could not be compared, empty when it is what must have happened."""
    header, limit = log.header, log.header.max_episode_steps
    length = header.episode_steps + log.steps
    if header.terminate_at_hall_of_fame and finished_at is not None:
        if finished_at != log.steps or log.outcome is not Outcome.TERMINATED:
            raise EpisodeLogError(
                f"{log.name}: the hall of fame was entered at step {finished_at} and ends the episode, but the log has "
                f"{log.steps} steps and the outcome {log.outcome}"
            )
        return ""
    if log.outcome is Outcome.TERMINATED:
        if header.terminate_at_hall_of_fame:
            raise EpisodeLogError(f"{log.name}: its outcome is terminated, but the hall of fame was not entered")
        return "terminated by a rule that the log does not name"
    if log.chain is None:
        return "its header does not name the step limit"
    if log.outcome is Outcome.TRUNCATED:
        if limit is None or length < limit:
            return "truncated by a rule that the log does not name"
        return "" if length == limit else "its step limit was extended"
    return "its step limit was extended" if limit is not None and length >= limit else ""


def _check_rewards(log: EpisodeLog, cartridge: Cartridge, transforms: Callable[..., Sequence[Transform]] | None) -> str:
    """Return why the rewards could not be computed again, empty when all were equal."""
    names = log.header.reward_terms
    if not names and not log.rewards.any():
        return ""
    if transforms is None:
        return "the run's reward is not known here"
    if log.header.carried_memory or log.header.segment > 0:
        return "they depend on what was remembered of earlier steps"
    made = transforms(profile=cartridge.profile)
    terms = [term for transform in made if isinstance(transform, RewardTerms) for term in transform.terms]
    if tuple(term.name for term in terms) != names:
        return "the run's reward has other terms"
    counting = [term.name for term in terms if term.outlives_episodes and term.weight]
    if counting:
        return f"{', '.join(counting)} depends on earlier episodes"
    again = LogReplay(lambda **_: [RewardTerms(terms=terms)], rescore=True, cartridge=cartridge)(log)
    for column, name in enumerate(names):
        _compare(log, f"the reward term {name}", log.term_rewards[:, column], again["next", "reward_terms", name])
    _compare(log, "the reward", log.rewards, again["next", "reward"])
    return ""


def _compare(log: EpisodeLog, what: str, logged: npt.NDArray[np.float32], found: torch.Tensor) -> None:
    numbers = found.reshape(-1).numpy()
    different = np.flatnonzero((logged != numbers) & ~(np.isnan(logged) & np.isnan(numbers)))
    if different.size:
        step = int(different[0])
        raise EpisodeLogError(
            f"{log.name}: {what} of step {step} is {float(logged[step])} in the log and {float(numbers[step])} when it "
            "is computed again"
        )
