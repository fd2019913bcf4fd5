"""Logged episodes as TensorDicts, with the observations that the policy saw: for offline RL and behaviour cloning."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from tensordict import TensorDict, TensorDictBase
from torchrl.data import Binary, Categorical, Composite, Unbounded
from torchrl.envs import Compose, EnvBase, InitTracker, Transform, TransformedEnv

from pokered_rl.emulator import ActionSet, Cartridge, ScreenSize
from pokered_rl.envs import RewardTerms, default_transforms, required_layout
from pokered_rl.episodes import EpisodeLog, cartridge_for, find_logs, trajectory
from pokered_rl.errors import EpisodeLogError
from pokered_rl.game import RamLayout

__all__ = ["LogReplay", "LoggedEpisodes", "action_numbers", "from_episode_logs"]

_DONE_KEYS = ("done", "terminated", "truncated")


def from_episode_logs(
    sources: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
    *,
    transforms: Callable[..., Sequence[Transform]] | None = default_transforms,
    rescore: bool = False,
    screen: ScreenSize = "half",
    ram_layout: RamLayout | None = None,
    cartridge: Cartridge | None = None,
    on_error: Literal["raise", "skip"] = "raise",
) -> LoggedEpisodes:
    """Find logs and return their trajectories, each replayed (and verified) when it is accessed.

    Args:
        sources: Run folders, ``episode_logs`` folders, log files or glob patterns.
        transforms: Builds the transforms of the environment, new ones for every log, from the keywords ``profile`` and
            ``action_set``; ``functools.partial(default_transforms, map_memory={"radius": 6})`` passes options on, and
            ``load_policy(run).make_transforms`` is what a run was trained with. None leaves the environment bare.
        rescore: Pay what the :class:`RewardTerms` among the transforms pay, in place of the rewards in the log.
        screen: Size of ``pixels``.
        ram_layout: The bytes of ``ram``; by default those that the transforms read, as in
            :func:`pokered_rl.envs.make_env`, and all of them without transforms.
        cartridge: The cartridge that was played; found by each log's SHA-1 by default.
        on_error: What iterating does at a log that cannot be read or whose replay diverges: ``"raise"``, or ``"skip"``
            it and note it in :attr:`LoggedEpisodes.errors`.

    Raises:
        EpisodeLogError: A source does not exist or holds no log.

    Example:
        >>> from pokered_rl.data import from_episode_logs
        >>> for steps in from_episode_logs("runs/quickstart", on_error="skip"):  # doctest: +SKIP
        ...     buffer.extend(steps)  # any TorchRL replay buffer
    """
    if isinstance(sources, str | os.PathLike):
        sources = [sources]
    replay = LogReplay(transforms, rescore=rescore, screen=screen, ram_layout=ram_layout, cartridge=cartridge)
    return LoggedEpisodes(find_logs(sources), replay=replay, on_error=on_error)


class LoggedEpisodes(Sequence[TensorDict]):
    """The trajectories of logs; each is replayed when it is accessed, none is cached.

    ``episodes[i]`` replays the i-th log and returns a TensorDict of batch size [T] with the keys of
    :func:`pokered_rl.envs.make_env`: ``pixels``, ``ram``, ``wait_frames``, ``step_count``, ``is_init`` and what the
    transforms write at the root and under ``"next"``; ``action`` int64 [T]; ``("next", "reward")`` float32 [T, 1] and
    the done entries. All equal what the policy saw and got, bit for bit, given the transforms of its environment.
    ``("reward_terms", name)`` float32 [T, 1] are there for every term in the log.

    A log that ends otherwise than by termination is truncated at its last step. The memory of transforms starts anew
    with each log, also where the policy's went on: at a later segment of an endless episode (``header.segment > 0``),
    and with ``MapMemory(persistent=True)``. A learned mask that is shared between emulators
    (``AffordanceMask(persistent=True)``) cannot be reconstructed from one emulator's log.

    It can be pickled: ``ProcessPoolExecutor().map(episodes.__getitem__, range(len(episodes)))`` replays on all cores.

    Attributes:
        paths: The logs, in order.
        errors: Path to error of the logs that iterating has skipped.

    Args:
        paths: The logs.
        replay: Returns the trajectory [T] of a log; a :class:`LogReplay`.
        on_error: See :func:`from_episode_logs`.
    """

    def __init__(
        self,
        paths: Iterable[str | os.PathLike[str]],
        *,
        replay: Callable[[EpisodeLog], TensorDict],
        on_error: Literal["raise", "skip"] = "raise",
    ) -> None:
        self.paths = [Path(path) for path in paths]
        self.errors: dict[Path, EpisodeLogError] = {}
        self._replay = replay
        self._on_error = on_error

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: Any) -> Any:
        """Replay a log; a slice gives the :class:`LoggedEpisodes` of some of them.

        Raises:
            EpisodeLogError: The log cannot be read or played, or its replay is not the recorded episode.
        """
        if isinstance(index, slice):
            return LoggedEpisodes(self.paths[index], replay=self._replay, on_error=self._on_error)
        return self._replay(EpisodeLog.load(self.paths[index]))

    def __iter__(self) -> Iterator[TensorDict]:
        for path in self.paths:
            try:
                steps = self._replay(EpisodeLog.load(path))
            except EpisodeLogError as error:
                if self._on_error == "raise":
                    raise
                self.errors[path] = error
                continue
            yield steps


@dataclass(frozen=True)
class LogReplay:
    """Replay a log into its trajectory [T]; the fields are the arguments of :func:`from_episode_logs`.

    With ``actions`` the trajectory is that of an agent with this action set, whose numbers ``action`` then has.
    """

    transforms: Callable[..., Sequence[Transform]] | None
    rescore: bool = False
    screen: ScreenSize = "half"
    ram_layout: RamLayout | None = None
    cartridge: Cartridge | None = None
    actions: ActionSet | None = None

    def __call__(self, log: EpisodeLog) -> TensorDict:
        """Return the trajectory of a log.

        Raises:
            EpisodeLogError: The log cannot be played, its replay is not the recorded episode, or it has an action that
                ``actions`` lacks.
        """
        cartridge = self.cartridge if self.cartridge is not None else cartridge_for(log)
        actions = self.actions or ActionSet(log.header.actions)
        numbers = action_numbers(log, actions)
        transforms: list[Transform] = []
        if self.transforms is not None:
            transforms += self.transforms(profile=cartridge.profile, action_set=actions)
        layout = self.ram_layout
        if layout is None:
            declared = required_layout(transforms, stack=cartridge.profile.stack_words)
            layout = declared if declared.size else RamLayout.full()
        if not self.rescore:
            # The log's rewards are in its environment already, where the transforms behind find them.
            transforms = [transform for transform in transforms if not isinstance(transform, RewardTerms)]
        played = trajectory(log, cartridge=cartridge, screen=self.screen, ram_layout=layout)
        played["action"] = numbers
        if self.rescore and log.header.reward_terms:
            del played["next", "reward_terms"]
        base = _LoggedEnv(played, ram_layout=layout, num_actions=len(actions))
        env = TransformedEnv(base, Compose(InitTracker(), *transforms))
        steps: TensorDict = env.rollout(log.steps, base.logged_action, auto_cast_to_device=False)[0]
        env.close(raise_if_closed=False)
        return steps


def action_numbers(log: EpisodeLog, actions: ActionSet) -> torch.Tensor:
    """Return the numbers int64 [T] that the actions of a log have in another set.

    Raises:
        EpisodeLogError: The set lacks one of them.
    """
    names = log.header.actions
    taken = np.bincount(log.actions, minlength=len(names))
    foreign = [f"{name} {taken[number]:,} times" for number, name in enumerate(names) if taken[number]]
    foreign = [each for each in foreign if each.split()[0] not in actions.names]
    if foreign:
        raise EpisodeLogError(
            f"{log.name}: another action set: it presses {', '.join(foreign)}, the agent has {', '.join(actions.names)}"
        )
    number_of = np.array([actions.names.index(name) if name in actions.names else 0 for name in names])
    return torch.from_numpy(number_of[log.actions])


class _LoggedEnv(EnvBase):
    """An environment like :class:`PokemonRedEnv` with one emulator that returns, step by step, what a log holds.

    Args:
        steps: Result of :func:`trajectory`.
        ram_layout: The bytes in its ``ram``.
        num_actions: A.
    """

    def __init__(self, steps: TensorDict, *, ram_layout: RamLayout, num_actions: int) -> None:
        super().__init__(device=torch.device("cpu"), batch_size=torch.Size([1]))
        self.ram_layout = ram_layout
        self._steps = steps
        self._step_number = 0
        after = steps["next"]
        given = {key: entry for key, entry in after[:1].items() if key not in (*_DONE_KEYS, "reward")}
        self.observation_spec = _unbounded(TensorDict(given, batch_size=[1]))
        self.action_spec = Categorical(num_actions, shape=(1,))
        self.reward_spec = Unbounded(shape=(1, 1), dtype=torch.float32)
        self.full_done_spec = Composite(
            {key: Binary(1, shape=(1, 1), dtype=torch.bool) for key in _DONE_KEYS}, shape=(1,)
        )

    def logged_action(self, tensordict: TensorDictBase) -> TensorDictBase:
        """Write the logged action; the policy of the replay."""
        step = self._step_number
        return tensordict.set("action", self._steps["action"][step : step + 1].clone())

    def _reset(self, tensordict: TensorDictBase | None = None, **kwargs: Any) -> TensorDictBase:
        self._step_number = 0
        first = self._steps[:1].exclude("next", "action")
        if "reward_terms" in self._steps["next"]:
            first["reward_terms"] = torch.zeros_like(self._steps["next", "reward_terms"][:1])
        return first

    def _step(self, tensordict: TensorDictBase) -> TensorDictBase:
        step = self._step_number
        self._step_number += 1
        return self._steps["next"][step : step + 1].clone()

    def _set_seed(self, seed: int | None) -> None:
        """Do nothing: a log has no randomness."""


def _unbounded(data: TensorDictBase) -> Composite:
    """Return unbounded specs with the shape and dtype of every entry."""
    entries = {
        key: _unbounded(entry) if isinstance(entry, TensorDictBase) else Unbounded(entry.shape, dtype=entry.dtype)
        for key, entry in data.items()
    }
    return Composite(entries, shape=data.batch_size)
