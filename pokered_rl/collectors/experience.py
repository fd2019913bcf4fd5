"""What a worker makes of its rollouts: encoded sequences, and the results of the episodes that ended."""

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from tensordict import TensorDict, TensorDictBase
from torch import Tensor

from pokered_rl.data import SequenceBuilder, SequenceCodec
from pokered_rl.envs import EpisodeFigures

__all__ = ["EpisodeResult", "Experience", "ExperienceMaker"]


class EpisodeResult(NamedTuple):
    """One finished episode."""

    worker: int
    #: Its number in the worker.
    emulator: int
    #: Sum of the rewards, not discounted.
    total_reward: float
    #: Length in agent steps.
    steps: int
    #: What happened in the game; None where no :class:`~pokered_rl.envs.EpisodeMeter` measures it.
    figures: EpisodeFigures | None = None

    @property
    def from_archive(self) -> bool:
        """Whether it began in a state of the archive, and not at power-on or in a given start state."""
        return self.figures is not None and bool(self.figures.cell)


@dataclass
class Experience:
    """What one rollout brings the learner."""

    #: Agent steps, E * T.
    num_steps: int
    #: Sequences [S] as the replay stores them; None without any.
    sequences: TensorDict | None
    #: Sequences left out for a reward or priority that is not finite.
    not_finite: int
    #: Emulators with a reward that is not finite, each with the step of its episode at which the rollout begins.
    bad_rewards: list[tuple[int, int]]
    #: Episodes that ended.
    episodes: list[EpisodeResult]
    #: Open episodes and their steps that are lost with the worker, see :attr:`SequenceBuilder.unsent`.
    unsent: tuple[int, int]


class ExperienceMaker:
    """Build and encode the sequences of one worker, and measure its episodes.

    Args:
        builder: Makes sequences of rollouts; of this worker alone.
        codec: Packs them for the replay.
        worker: Number of the worker.
    """

    def __init__(self, *, builder: SequenceBuilder, codec: SequenceCodec, worker: int) -> None:
        self._builder = builder
        self._codec = codec
        self._worker = worker
        self._running: NDArray[np.float64] | None = None  # [2, E]: return and length of the open episodes

    def __call__(self, rollout: TensorDictBase, figures: Iterable[EpisodeFigures] = ()) -> Experience:
        """Return what a rollout [E, T] brings.

        Args:
            rollout: See :meth:`SequenceBuilder.extend`.
            figures: Of the episodes that ended in it.
        """
        reward, done = (rollout["next", key].reshape(rollout.shape) for key in ("reward", "done"))  # [E, T]
        if self._running is None:
            self._running = np.zeros((2, len(reward)))
        bad = (~torch.isfinite(reward)).any(1).nonzero().flatten().tolist()
        bad_rewards = [(emulator, int(self._running[1, emulator])) for emulator in bad]
        sequences = self._builder.extend(rollout)
        finite = _finite(sequences)
        not_finite = len(sequences) - len(finite)
        return Experience(
            num_steps=rollout.numel(),
            sequences=self._codec.inv(finite) if len(finite) else None,
            not_finite=not_finite,
            bad_rewards=bad_rewards,
            episodes=self._measured(self._running, reward, done.numpy(), figures),
            unsent=self._builder.unsent,
        )

    def state_dict(self) -> dict[str, Any]:
        """Return open episodes, as tensors and plain values."""
        running = None if self._running is None else torch.from_numpy(self._running.copy())
        return {"builder": self._builder.state_dict(), "running": running}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from :meth:`state_dict`."""
        self._builder.load_state_dict(state["builder"])
        self._running = None if state["running"] is None else state["running"].numpy().copy()

    def _measured(
        self,
        running: NDArray[np.float64],
        reward: Tensor,
        done: NDArray[np.bool_],
        figures: Iterable[EpisodeFigures],
    ) -> list[EpisodeResult]:
        """Return the episodes that ended in a rollout [E, T], and move ``running`` behind it."""
        total = reward.float().double().nan_to_num(0, 0, 0).cumsum(1).numpy()  # [E, T]
        measured: dict[int, deque[EpisodeFigures]] = {}
        for each in figures:
            measured.setdefault(each.emulator, deque()).append(each)
        results = []
        # Return and length of the steps of the rollout before the open episode began are subtracted.
        for emulator, step in np.argwhere(done):
            total_reward, length = running[:, emulator] + (total[emulator, step], step + 1)
            own = measured.get(int(emulator))
            result = EpisodeResult(self._worker, int(emulator), float(total_reward), int(length))
            results.append(result._replace(figures=own.popleft() if own else None))
            running[:, emulator] = (-total[emulator, step], -(step + 1))
        running += np.stack([total[:, -1], np.full(len(total), total.shape[1])])
        return results


def _finite(sequences: TensorDict) -> TensorDict:
    """Leave out sequences with a reward or priority that is not finite."""
    kept = torch.isfinite(sequences["reward"]).all(1)
    if "td_error" in sequences:
        kept &= torch.isfinite(sequences["td_error"])
    return sequences if bool(kept.all()) else sequences[kept]
