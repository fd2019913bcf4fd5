"""Evaluate a policy, and compare it with a random one: same mask, same start, same length."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from rich.console import Console
from rich.table import Table
from tensordict import TensorDictBase
from tensordict.nn import TensorDictModuleBase
from torch import Tensor
from torchrl.envs import EnvBase, ExplorationType, set_exploration_type
from torchrl.envs.utils import step_mdp

from pokered_rl.atomic import write_atomically
from pokered_rl.game import GameState, Milestones
from pokered_rl.observations import allowed_actions
from pokered_rl.training.callbacks import Callback
from pokered_rl.training.runtime import Deadline, StopReason

if TYPE_CHECKING:
    from pokered_rl.training.policy import TrainedPolicy
    from pokered_rl.training.trainer import Trainer

__all__ = [
    "GAME_FIELDS",
    "Evaluation",
    "FinalEvaluation",
    "RandomPolicy",
    "evaluate",
    "mean_interval",
    "rate_interval",
    "table",
]

#: Fields of ``("game", ...)`` that an environment needs for an evaluation with milestones (``make_env(game_fields=)``).
GAME_FIELDS = (*Milestones.FIELDS, "x", "y")

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

    @property
    def mean_coverage(self) -> float:
        """Return the mean over the episodes."""
        return sum(self.coverage) / len(self.coverage)

    @property
    def mean_return(self) -> float:
        """Return the mean over the episodes."""
        return sum(self.returns) / len(self.returns)

    def as_dict(self) -> dict[str, Any]:
        """Return means and single values, for JSON."""
        return {
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
    with torch.no_grad(), set_exploration_type(exploration):
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
            if not playing.any():
                break
            tensordict = step_mdp(tensordict)
    return Evaluation([len(visited) for visited in places], returns.tolist(), lengths.tolist(), reached)


class FinalEvaluation(Callback):
    """Play episodes with the trained policy and with a random one when a run is complete, and show both.

    They are played when the time is up, too, unless a scheduler ends the job. The result is in ``evaluation.json``.

    Args:
        trained: Loads the policy from the run folder.
        deadline: Says whether a scheduler ends the job.
        num_episodes: Episodes of each policy.
        max_steps: Agent steps after which an episode is cut off.
        epsilon: Exploration rate of the trained policy.
        seed: Seed of both.
        console: Where the table goes.
    """

    def __init__(
        self,
        trained: Callable[[], TrainedPolicy],
        *,
        deadline: Deadline,
        num_episodes: int,
        max_steps: int,
        epsilon: float,
        seed: int,
        console: Console,
    ) -> None:
        self._trained = trained
        self._deadline = deadline
        self._num_episodes = num_episodes
        self._max_steps = max_steps
        self._epsilon = epsilon
        self._seed = seed
        self._console = console

    def on_end(self, trainer: Trainer, stop: StopReason | Exception) -> None:
        """Play, write and show, unless the run goes on in another job."""
        if stop is StopReason.deadline:
            finished = math.isinf(self._deadline.seconds_until_killed)
        else:
            finished = stop in (StopReason.target, StopReason.episodes)
        if not finished:
            return
        trainer.workers.close()  # their memory and cores are needed
        trained = self._trained()
        results = {}
        for name, epsilon in (("trained", self._epsilon), ("random", 1.0)):
            env = trained.make_env(
                num_emulators=self._num_episodes, epsilon=epsilon, seed=self._seed, game_fields=("map_id", "x", "y")
            )
            policy = trained.policy if name == "trained" else RandomPolicy(seed=self._seed)
            try:
                results[name] = evaluate(env, policy, max_steps=self._max_steps)
            finally:
                env.close()
        content = {name: result.as_dict() for name, result in results.items()}
        write_atomically(trainer.folder / "evaluation.json", json.dumps(content, indent=1).encode())
        self._console.print(table(results["trained"], results["random"]))
        trainer.callbacks.call("on_evaluation", trainer, results)


def table(trained: Evaluation, random: Evaluation) -> Table:
    """Make a table of both policies."""
    shown = Table(title=f"{len(trained.coverage)} episodes each, same start, mask and length")
    shown.add_column("policy")
    for heading in ("map coverage", "best", "return", "best"):
        shown.add_column(heading, justify="right")
    for name, result in (("trained", trained), ("random", random)):
        shown.add_row(
            name,
            f"{result.mean_coverage:.1f}",
            str(max(result.coverage)),
            f"{result.mean_return:.2f}",
            f"{max(result.returns):.2f}",
        )
    return shown
