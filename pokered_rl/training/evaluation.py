"""Evaluate a policy, and compare it with a random one: same mask, same start, same length."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from rich.table import Table
from tensordict import TensorDictBase
from tensordict.nn import TensorDictModuleBase
from torch import Tensor
from torchrl.envs import EnvBase, ExplorationType, set_exploration_type
from torchrl.envs.utils import step_mdp

from pokered_rl.game import GameState, Milestones
from pokered_rl.observations import allowed_actions

if TYPE_CHECKING:
    from pokered_rl.training.config import Config
    from pokered_rl.training.policy import TrainedPolicy

__all__ = [
    "GAME_FIELDS",
    "Evaluation",
    "RandomPolicy",
    "evaluate",
    "evaluate_policies",
    "given_lines",
    "given_logs",
    "mean_interval",
    "rate_interval",
    "rate_text",
    "table",
]

#: Fields of ``("game", ...)`` that an environment needs for an evaluation with milestones (``make_env(game_fields=)``).
GAME_FIELDS = (*Milestones.FIELDS, "x", "y")

#: Emulators that are played at a time.
_EMULATORS = 25
#: Milestones that a table has room for.
_MILESTONE_COLUMNS = 3
_PLACE_KEYS = (("game", "map_id"), ("game", "x"), ("game", "y"))


class RandomPolicy(TensorDictModuleBase):
    """Draw uniformly from the allowed actions.

    Reads ``action_mask`` bool [E, A]; a mask that allows none allows all. Writes ``action``
    int64 [E].

    Args:
        seed: Seed of its own generator.
    """

    def __init__(self, *, seed: int = 0) -> None:
        super().__init__()
        self.in_keys = ["action_mask"]
        self.out_keys = ["action"]
        self._generator = torch.Generator().manual_seed(seed)

    def forward(self, tensordict: TensorDictBase) -> TensorDictBase:
        """Choose actions for a batch [E]."""
        mask: Tensor = tensordict["action_mask"]
        action = torch.multinomial(allowed_actions(mask).float(), 1, generator=self._generator).squeeze(-1)  # [E]
        return tensordict.set("action", action)


@dataclass(frozen=True)
class Evaluation:
    """Results of some episodes; one entry for each episode."""

    #: Unique (map, x, y) visited, the start included.
    coverage: list[int]
    #: Sum of the rewards.
    returns: list[float]
    #: Agent steps.
    lengths: list[int]
    #: Milestones of the story that the episode reached, with the step after which each first held.
    milestones: list[dict[str, int]] = field(default_factory=list)
    #: Agent steps of the run when its weights were written.
    at_steps: int = 0

    @classmethod
    def joined(cls, parts: Sequence[Evaluation], *, at_steps: int = 0) -> Evaluation:
        """Return the episodes of several evaluations as one."""
        return cls(
            coverage=[value for part in parts for value in part.coverage],
            returns=[value for part in parts for value in part.returns],
            lengths=[value for part in parts for value in part.lengths],
            milestones=[value for part in parts for value in part.milestones],
            at_steps=at_steps,
        )

    @property
    def mean_coverage(self) -> float:
        """Return the mean over the episodes."""
        return sum(self.coverage) / len(self.coverage)

    @property
    def mean_return(self) -> float:
        """Return the mean over the episodes."""
        return sum(self.returns) / len(self.returns)

    @property
    def mean_milestones(self) -> float:
        """Return the mean number of milestones that an episode reached."""
        return sum(map(len, self.milestones)) / len(self.coverage)

    def rate(self, milestone: str) -> float:
        """Return the share of the episodes that reached a milestone."""
        return sum(milestone in each for each in self.milestones) / len(self.coverage)

    def furthest(self, story: Sequence[str]) -> tuple[str, float] | None:
        """Return the milestone furthest in the story that any episode reached, and its rate."""
        return next(((name, rate) for name in reversed(story) if (rate := self.rate(name))), None)

    def as_dict(self) -> dict[str, Any]:
        """Return means and single values, for JSON."""
        return {
            "at_steps": self.at_steps,
            "episodes": len(self.coverage),
            "mean_coverage": self.mean_coverage,
            "mean_return": self.mean_return,
            "coverage": self.coverage,
            "returns": self.returns,
            "lengths": self.lengths,
            "milestones": self.milestones,
        }

    def summary(self, names: Sequence[str] = ()) -> dict[str, Any]:
        """Return means and rates with their 95 % intervals, for JSON.

        Intervals of means are bootstrapped, those of rates are Wilson's. They say what another draw of episodes would
        give, with this very agent; they say nothing about agents trained with other seeds. A single episode has none
        (None).

        Args:
            names: milestones that are listed even if no episode reached them, in their order.
        """
        count = len(self.coverage)
        outcomes = zip(self.coverage, self.returns, self.lengths, self.milestones or [{}] * count, strict=True)
        means: dict[str, Sequence[float]] = {"coverage": self.coverage, "return": self.returns, "length": self.lengths}
        reached = {name: sorted(each[name] for each in self.milestones if name in each) for name in names}
        return {
            "episodes": count,
            "distinct_episodes": len({repr(outcome) for outcome in outcomes}),
            **{
                name: {"mean": sum(values) / count, "interval": mean_interval(values) if count > 1 else None}
                for name, values in means.items()
            },
            "milestones": {
                name: {
                    "rate": len(steps) / count,
                    "interval": rate_interval(len(steps), count) if count > 1 else None,
                    "median_step": steps[len(steps) // 2] if steps else None,
                }
                for name, steps in reached.items()
            },
        }


def rate_interval(successes: int, trials: int) -> tuple[float, float]:
    """Return Wilson's 95 % interval of a rate (E. B. Wilson 1927), valid for few trials and for rates of 0 and 1."""
    z = 1.959964
    rate, z2 = successes / trials, z * z
    centre = (rate + z2 / (2 * trials)) / (1 + z2 / trials)
    half = z / (1 + z2 / trials) * math.sqrt(rate * (1 - rate) / trials + z2 / (4 * trials * trials))
    return max(0.0, centre - half), min(1.0, centre + half)


def mean_interval(values: Sequence[float], *, resamples: int = 2000, seed: int = 0) -> tuple[float, float]:
    """Return the bootstrapped 95 % interval of a mean (percentiles of the means of resampled values, Efron 1979)."""
    generator = random.Random(seed)
    means = sorted(sum(generator.choices(values, k=len(values))) / len(values) for _ in range(resamples))
    return means[round(0.025 * (resamples - 1))], means[round(0.975 * (resamples - 1))]


def evaluate(
    env: EnvBase,
    policy: TensorDictModuleBase,
    *,
    max_steps: int,
    milestones: Milestones | None = None,
    explore: bool = True,
    seed: int = 0,
    stopped: Callable[[], object] = lambda: None,
) -> Evaluation:
    """Play one episode on each of the env's emulators.

    Args:
        env: Batch size [E]; one episode is played on each emulator, from its reset to its first done step. It delivers
            ``("game", ...)``: ``map_id``, ``x`` and ``y``, and all of `GAME_FIELDS` when there are milestones.
        policy: Acts on its tensordicts.
        max_steps: Agent steps after which an episode is cut off.
        milestones: What is noted when an episode reaches it; what holds at the start is not.
        explore: Act as workers do, with the noise of the network and the rate that the env's primer says; otherwise
            greedily on mean weights. The game is deterministic: from one start state such episodes are all the same.
        seed: Of the random actions and the noise of a policy that draws them by torch's seed; the process's random
            state is left as it was.
        stopped: Anything but None ends the evaluation after the step.

    Returns:
        E episodes.
    """
    num_episodes = env.batch_size[0]
    places: list[set[tuple[int, ...]]] = [set() for _ in range(num_episodes)]
    returns = torch.zeros(num_episodes)
    lengths = torch.zeros(num_episodes, dtype=torch.int64)
    playing = torch.ones(num_episodes, dtype=torch.bool)
    reached: list[dict[str, int]] = [{} for _ in range(num_episodes)]
    held = torch.zeros(num_episodes, 0, dtype=torch.bool)  # [E, M] milestones that held at some step, or at the start

    def note_places(tensordict: TensorDictBase) -> None:
        here = torch.stack([tensordict[key].reshape(num_episodes) for key in _PLACE_KEYS], dim=-1)  # [E, 3]
        for emulator, place in enumerate(here.tolist()):
            if playing[emulator]:
                places[emulator].add(tuple(place))

    def held_milestones(tensordict: TensorDictBase) -> Tensor:
        assert milestones is not None
        fields = {name: tensordict["game", name] for name in Milestones.FIELDS}
        return milestones.reached(GameState(**fields, batch_size=[num_episodes])).reshape(num_episodes, -1)

    exploration = ExplorationType.RANDOM if explore else ExplorationType.DETERMINISTIC
    with torch.no_grad(), set_exploration_type(exploration), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        tensordict = env.reset()
        note_places(tensordict)
        if milestones is not None:
            held = held_milestones(tensordict)
        for _ in range(max_steps):
            tensordict = env.step(policy(tensordict))
            after = tensordict["next"]
            note_places(after)
            returns += torch.where(playing, after["reward"].reshape(num_episodes), 0.0)
            lengths += playing
            if milestones is not None:
                fresh = held_milestones(after) & ~held & playing.unsqueeze(-1)
                held = held | fresh
                for emulator, index in fresh.nonzero().tolist():
                    reached[emulator][milestones.names[index]] = int(lengths[emulator])
            playing &= ~after["done"].reshape(num_episodes)
            if not playing.any() or stopped() is not None:
                break
            tensordict = step_mdp(tensordict)
    return Evaluation([len(visited) for visited in places], returns.tolist(), lengths.tolist(), reached)


def evaluate_policies(
    trained: TrainedPolicy,
    *,
    policies: Sequence[str] = ("trained",),
    num_episodes: int,
    max_steps: int,
    epsilon: float,
    seed: int,
    stopped: Callable[[], object] = lambda: None,
) -> dict[str, Evaluation]:
    """Evaluate the policy of a run, a random one, or both, with fixed seeds.

    Args:
        trained: The policy, and the environment that episodes are played in.
        policies: ``trained``, ``random`` or both.
        num_episodes: Episodes of each; at most `_EMULATORS` are played at a time.
        max_steps: Agent steps after which an episode is cut off.
        epsilon: Exploration rate of the trained policy.
        seed: Of the environment, of the noise and of the random policy.
        stopped: Anything but None ends the evaluation.

    Returns:
        The results by name of the policy; empty when it was ended.
    """
    results: dict[str, Evaluation] = {}
    milestones = trained.cartridge.profile.milestones
    for name in policies:
        parts: list[Evaluation] = []
        for first in range(0, num_episodes, _EMULATORS):
            env = trained.make_env(
                num_emulators=min(_EMULATORS, num_episodes - first),
                epsilon=epsilon if name == "trained" else 1.0,
                seed=seed + first,
                game_fields=GAME_FIELDS,
                max_episode_steps=max_steps,
            )
            policy = trained.policy if name == "trained" else RandomPolicy(seed=seed + first)
            try:
                part = evaluate(
                    env, policy, max_steps=max_steps, milestones=milestones, seed=seed + first, stopped=stopped
                )
            finally:
                env.close()
            if stopped() is not None:
                return {}
            parts.append(part)
        results[name] = Evaluation.joined(parts, at_steps=trained.steps)
    return results


def given_logs(config: Config) -> dict[str, list[str]]:
    """Return the options that give a run logged episodes to learn from, with their values; empty without any."""
    options = {
        "demonstrations.logs": config.demonstrations.logs,
        "curriculum.from_logs": config.curriculum.from_logs,
    }
    return {key: list(logs) for key, logs in options.items() if logs}


def given_lines(config: Config) -> list[str]:
    """Return a line for each option of :func:`given_logs`, to be shown with the results of the run."""
    return [f"it learned with {key}: {', '.join(logs)}" for key, logs in given_logs(config).items()]


def table(results: Sequence[tuple[str, Evaluation]], story: Sequence[str] = ()) -> Table:
    """Make a table with a row for each named evaluation, intervals included.

    Args:
        results: Name and evaluation of each row.
        story: Milestones in the order of the story; the last ones that any evaluation reached get a column each.
    """
    count = len(results[-1][1].coverage)
    shown = Table(title=f"{count} episodes each, same starts, mask and length; 95 % intervals")
    shown.add_column("policy", no_wrap=True)
    reached = {name for _, result in results for episode in result.milestones for name in episode}
    columns = [name for name in story if name in reached][-_MILESTONE_COLUMNS:]
    for heading in ("tiles", "return", *columns):
        shown.add_column(heading, justify="right")
    for name, result in results:
        summary = result.summary()
        shown.add_row(
            name,
            _with_interval(summary["coverage"]),
            f"{result.mean_return:.1f}",
            *(rate_text(result.rate(milestone), result).replace(" ", "\n") for milestone in columns),
        )
    return shown


def rate_text(rate: float, result: Evaluation) -> str:
    """Return the rate of a milestone with its interval."""
    count = len(result.coverage)
    low, high = rate_interval(round(rate * count), count)
    return f"{rate:.0%} ({100 * low:.0f}-{high:.0%})"


def _with_interval(entry: dict[str, Any]) -> str:
    text = f"{entry['mean']:.0f}"
    if entry["interval"] is None:
        return text
    low, high = entry["interval"]
    return f"{text}\n({low:.0f}-{high:.0f})"
