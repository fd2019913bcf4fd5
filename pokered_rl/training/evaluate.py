"""The trained agent beside a random policy: same mask, same start, same length."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from rich.table import Table
from tensordict import TensorDictBase
from tensordict.nn import TensorDictModuleBase
from torch import Tensor
from torchrl.envs import EnvBase, ExplorationType, set_exploration_type
from torchrl.envs.utils import step_mdp

__all__ = ["Evaluation", "RandomPolicy", "evaluate", "table"]

_PLACE_KEYS = (("game", "map_id"), ("game", "x"), ("game", "y"))


class RandomPolicy(TensorDictModuleBase):
    """Draws uniformly from the allowed actions.

    Reads ``action_mask`` bool [E, A]; a row without an allowed action counts as all allowed. Writes ``action``
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
        allowed = mask | ~mask.any(-1, keepdim=True)  # [E, A]
        action = torch.multinomial(allowed.float(), 1, generator=self._generator).squeeze(-1)  # [E]
        return tensordict.set("action", action)


@dataclass(frozen=True)
class Evaluation:
    """What some episodes came to; one entry for each episode."""

    #: Unique (map, x, y) visited, the start included.
    coverage: list[int]
    #: Sum of the rewards.
    returns: list[float]
    #: Agent decisions.
    lengths: list[int]

    @property
    def mean_coverage(self) -> float:
        """Mean over the episodes."""
        return sum(self.coverage) / len(self.coverage)

    @property
    def mean_return(self) -> float:
        """Mean over the episodes."""
        return sum(self.returns) / len(self.returns)

    def as_dict(self) -> dict[str, Any]:
        """Means and single values, for JSON."""
        return {
            "episodes": len(self.coverage),
            "mean_coverage": self.mean_coverage,
            "mean_return": self.mean_return,
            "coverage": self.coverage,
            "returns": self.returns,
            "lengths": self.lengths,
        }


def evaluate(env: EnvBase, policy: TensorDictModuleBase, *, max_steps: int) -> Evaluation:
    """Play one episode on each of the env's emulators.

    Args:
        env: Batch size [E]; one episode is played on each row, from its reset to its first done step.
        policy: Acts with exploration on; its rate is what the env's primer says.
        max_steps: Decisions after which an episode is cut off.

    Returns:
        E episodes.
    """
    num_episodes = env.batch_size[0]
    places: list[set[tuple[int, ...]]] = [set() for _ in range(num_episodes)]
    returns = torch.zeros(num_episodes)
    lengths = torch.zeros(num_episodes, dtype=torch.int64)
    playing = torch.ones(num_episodes, dtype=torch.bool)

    def note_places(tensordict: TensorDictBase) -> None:
        here = torch.stack([tensordict[key].reshape(num_episodes) for key in _PLACE_KEYS], dim=-1)  # [E, 3]
        for row, place in enumerate(here.tolist()):
            if playing[row]:
                places[row].add(tuple(place))

    with torch.no_grad(), set_exploration_type(ExplorationType.RANDOM):
        tensordict = env.reset()
        note_places(tensordict)
        for _ in range(max_steps):
            tensordict = env.step(policy(tensordict))
            after = tensordict["next"]
            note_places(after)
            returns += torch.where(playing, after["reward"].reshape(num_episodes), 0.0)
            lengths += playing
            playing &= ~after["done"].reshape(num_episodes)
            if not playing.any():
                break
            tensordict = step_mdp(tensordict)
    return Evaluation([len(visited) for visited in places], returns.tolist(), lengths.tolist())


def table(trained: Evaluation, random: Evaluation) -> Table:
    """Both policies side by side."""
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
