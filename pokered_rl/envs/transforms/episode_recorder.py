"""`EpisodeRecorder`: writes an episode log for everything that is played."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from tensordict import NestedKey, TensorDictBase
from torchrl.data import Composite
from torchrl.envs import EnvBase, Transform

from pokered_rl.emulator import PYBOY_VERSION, SaveState
from pokered_rl.envs.milestones import MilestoneTracker
from pokered_rl.envs.pokemon_red import PokemonRedEnv
from pokered_rl.envs.ram_frame import RamFrame
from pokered_rl.envs.transforms.base import RamTransform
from pokered_rl.envs.transforms.reward_terms import RewardTerms
from pokered_rl.episodes import EpisodeFolder, EpisodeHeader, EpisodeLogWriter, Outcome
from pokered_rl.game import CartridgeProfile, RamLayout

__all__ = ["EpisodeRecorder"]


class EpisodeRecorder(RamTransform):
    """Logs start state, actions, waiting frames, rewards, milestones and hashes of memory, one file an episode.

    A log plays the episode again, byte for byte, and proves it by the hashes (`pokered_rl.episodes.player`). Files are
    written when an episode ends; the start state is stored once. Put the recorder behind `RewardTerms`.

    Episodes without an end (continuous mode) are cut into segments of ``segment_steps``: each is a log of its own that
    begins in the state in which the last one ended. An episode that goes on after its worker's state was restored goes
    on as a further segment, too, so a crash or the end of a job loses at most what was in progress.

    Reads:
        ``ram`` uint8 [*, R], ``action``, ``wait_frames``, ``reward``, ``terminated``, ``truncated``; ``epsilon`` when
        it is there. From the `PokemonRedEnv` it stands on: start states and hashes over the whole memory.

    Writes:
        Nothing into the tensordict; ``<folder>/*.episode`` and ``<folder>/start_states/*.state``.

    Resets:
        The rows in ``_reset`` begin a new log. One that was not over is written with the outcome ``shutdown``; so are
        all open ones when the environment is closed.

    Args:
        folder: where the logs go, usually ``<run>/episode_logs``.
        run_name: name of the run.
        worker: number of the collector worker.
        num_workers: number of workers; ``global_step`` grows by this for each step of an emulator here.
        global_step: agent steps of the run when the recorder is made; see `follow`.
        weights_version: the learner's number of the weights that play; see `follow`.
        config_sha256: hash of the run's config.
        seeds: named seeds; entries may be added while nothing has been played.
        profile: names of the milestones; None takes the cartridge's.
        ram_hash_every_steps: distance of the hashes.
        every_episodes: log each n-th episode of every emulator, the first one included.
        segment_steps: cut an episode into logs of so many steps; None leaves each in one piece.
        ram_key, action_key, ram_layout: see `RamTransform`.

    Raises:
        RuntimeError: it does not stand on a `PokemonRedEnv`.
        ValueError: a distance is not positive.

    Example:
        >>> env = make_env(num_emulators=2, recorder={"folder": folder, "run_name": "demo"})  # doctest: +SKIP
    """

    labels: ClassVar[tuple[str, ...]] = MilestoneTracker.LABELS

    def __init__(
        self,
        *,
        folder: str | os.PathLike[str],
        run_name: str = "run",
        worker: int = 0,
        num_workers: int = 1,
        global_step: int = 0,
        weights_version: int = -1,
        config_sha256: str = "",
        seeds: Mapping[str, int] | None = None,
        profile: CartridgeProfile | None = None,
        ram_hash_every_steps: int = 100,
        every_episodes: int = 1,
        segment_steps: int | None = None,
        ram_key: NestedKey = "ram",
        action_key: NestedKey = "action",
        ram_layout: RamLayout | None = None,
    ) -> None:
        super().__init__(out_keys=[], ram_key=ram_key, action_key=action_key, ram_layout=ram_layout)
        if ram_hash_every_steps < 1:
            raise ValueError(f"ram_hash_every_steps must be >= 1, got {ram_hash_every_steps}")
        if every_episodes < 1:
            raise ValueError(f"every_episodes must be >= 1, got {every_episodes}")
        if segment_steps is not None and segment_steps < 1:
            raise ValueError(f"segment_steps must be >= 1 or None, got {segment_steps}")
        self.folder = EpisodeFolder(folder)
        self.run_name = run_name
        self.worker = worker
        self.num_workers = num_workers
        self.global_step = global_step
        self.weights_version = weights_version
        self.config_sha256 = config_sha256
        self.seeds = dict(seeds or {})
        self.profile = profile
        self.ram_hash_every_steps = ram_hash_every_steps
        self.every_episodes = every_episodes
        self.segment_steps = segment_steps
        self._newest_start = 0
        self._env: PokemonRedEnv | None = None
        self._rewards: RewardTerms | None = None

    @property
    def env(self) -> PokemonRedEnv:
        """The environment that start states and hashes come from."""
        if self._env is None:
            base = self._base_env()
            if not isinstance(base, PokemonRedEnv):
                raise RuntimeError(
                    f"EpisodeRecorder must stand on a PokemonRedEnv, got {type(base).__name__}: only the emulator "
                    "knows start states and the whole memory"
                )
            self._env = base
            base.before_close.append(self.finish)
            self._rewards = next((t for t in _siblings(self) if isinstance(t, RewardTerms)), None)
        return self._env

    @property
    def term_names(self) -> tuple[str, ...]:
        """Names of the reward columns of the logs."""
        return self._rewards.term_names if self._rewards is not None else ()

    def follow(self, *, global_step: int, weights_version: int) -> None:
        """Brings the counters up to date with the run's; a worker calls it before each batch.

        In between ``global_step`` is extrapolated. It never falls behind that of a log already begun here, so that the
        names of an emulator's logs stay in order.

        Args:
            global_step: agent steps of the whole run so far.
            weights_version: the learner's number of the weights that play from now on.
        """
        self.global_step = max(global_step, self._newest_start)
        self.weights_version = weights_version

    def _allocate(self, num_rows: int) -> None:
        profile = self.profile or CartridgeProfile.get(self.env.cartridge.kind)
        self._writers: list[EpisodeLogWriter | None] = [None] * num_rows
        self._episodes = [0] * num_rows
        self._segments = [0] * num_rows
        self._resumed: list[int] = []  # rows whose episode goes on in a new log, from the next step
        self._milestones = MilestoneTracker(num_rows=num_rows, profile=profile)

    def _open(self, row: int, state: SaveState) -> None:
        """Begins a log of ``row``, which is in ``state`` now."""
        env = self.env
        header = EpisodeHeader(
            run_name=self.run_name,
            worker=self.worker,
            emulator=row,
            global_step=self.global_step,
            cartridge_sha1=env.cartridge.sha1,
            cartridge_title=env.cartridge.title,
            pyboy_version=PYBOY_VERSION,
            state_version=state.state_version,
            start_state_sha256=self.folder.add_start_state(state),
            actions=env.actions.names,
            frames_per_action=env.timing.frames_per_action,
            hold_frames=env.timing.hold_frames,
            episode=self._episodes[row] - 1,
            segment=self._segments[row],
            config_sha256=self.config_sha256,
            wait_while_busy=env.wait_while_busy,
            max_wait_frames=env.max_wait_frames,
            reward_terms=self.term_names,
            ram_hash_every_steps=self.ram_hash_every_steps,
            start_unix_seconds=time.time(),
        )
        self._writers[row] = EpisodeLogWriter(folder=self.folder.path, header=header, start_ram_hash=env.ram_hash(row))

    def _reset_env_preprocess(self, tensordict: TensorDictBase | None) -> TensorDictBase | None:
        # The last moment at which the emulators still show how the episodes end.
        if self.num_rows:
            mask = None if tensordict is None else tensordict.get(self._reset_key, None)
            rows = range(self.num_rows) if mask is None else mask.reshape(self.num_rows, -1).any(-1).nonzero()
            for row in rows:
                self._finish(int(row), Outcome.SHUTDOWN)
        return super()._reset_env_preprocess(tensordict)

    def _start(self, frame: RamFrame, rows: npt.NDArray[np.bool_], out: TensorDictBase) -> None:
        self._milestones.start(frame, rows)
        for row in np.flatnonzero(rows).tolist():
            self._episodes[row] += 1
            self._segments[row] = 0
            if (self._episodes[row] - 1) % self.every_episodes == 0:
                self._open(row, self.env.start_state(row))

    def _inv_call(self, tensordict: TensorDictBase) -> TensorDictBase:
        # Before a step: the last moment at which a restored emulator is where its episode goes on.
        if self.num_rows and self._resumed:
            for row, state in zip(self._resumed, self.env.save_states(self._resumed), strict=True):
                self._open(row, state)
            self._resumed = []
        return tensordict

    def _step(self, tensordict: TensorDictBase, next_tensordict: TensorDictBase) -> TensorDictBase:
        frame = self._frame(next_tensordict)
        before = self.global_step
        self.global_step += self.num_workers * frame.num_rows
        actions = self._actions(tensordict)
        if actions is None:
            raise KeyError(f"EpisodeRecorder needs the entry {self.action_key!r}, which the tensordict lacks")
        waits = next_tensordict.get("wait_frames").reshape(-1).tolist()
        rewards = next_tensordict.get("reward").reshape(-1).tolist()
        terms = self._rewards.last_values if self._rewards is not None else np.zeros((frame.num_rows, 0))
        reached = self._milestones.advance(frame)
        # What acts, and how far the run is, is known only once it has acted.
        rate = tensordict.get("epsilon", None)
        epsilon = None if rate is None else rate.reshape(-1).tolist()
        for row, action in enumerate(actions.tolist()):
            writer = self._writers[row]
            if writer is None:
                continue
            if writer.steps == 0:
                self._newest_start = before
                writer.header = replace(
                    writer.header,
                    global_step=before,
                    weights_version=self.weights_version,
                    seeds=dict(self.seeds),
                    epsilon=None if epsilon is None else epsilon[row],
                )
            writer.step(action, wait_frames=waits[row], reward=rewards[row], terms=terms[row])
            if writer.ram_hash_due:
                writer.add_ram_hash(self.env.ram_hash(row))
        for row, name in reached:
            if (writer := self._writers[row]) is not None:
                writer.add_milestone(name)
        terminated = next_tensordict.get("terminated").reshape(-1)
        over = terminated | next_tensordict.get("truncated").reshape(-1)
        if bool(over.any()):
            for row in over.nonzero().squeeze(-1).tolist():
                self._finish(row, Outcome.TERMINATED if bool(terminated[row]) else Outcome.TRUNCATED)
        if self.segment_steps is not None:
            self._cut_segments(self.segment_steps)
        return next_tensordict

    def _cut_segments(self, steps: int) -> None:
        """Ends the logs that are long enough and goes on in new ones."""
        full = [row for row, writer in enumerate(self._writers) if writer is not None and writer.steps >= steps]
        for row, state in zip(full, self.env.save_states(full) if full else [], strict=True):
            self._finish(row, Outcome.CONTINUED)
            self._segments[row] += 1
            self._open(row, state)

    def _finish(self, row: int, outcome: Outcome) -> None:
        if row in self._resumed:
            self._resumed.remove(row)
        writer = self._writers[row]
        if writer is not None:
            self._writers[row] = None
            writer.finish(outcome, ram_hash=self.env.ram_hash(row), end_unix_seconds=time.time())

    def finish(self) -> None:
        """Writes all open logs with the outcome ``shutdown``; the environment calls it before it closes."""
        for row in range(self.num_rows):
            self._finish(row, Outcome.SHUTDOWN)

    def forward(self, tensordict: TensorDictBase) -> TensorDictBase:
        """Not available: without an emulator there is nothing to record.

        Raises:
            RuntimeError: always.
        """
        raise RuntimeError("EpisodeRecorder records an environment: append it to one instead of calling it")

    def set_container(self, container: Transform | EnvBase) -> None:
        """Attaches the recorder."""
        super().set_container(container)
        self._env = self._rewards = None

    def transform_observation_spec(self, observation_spec: Composite) -> Composite:
        """Adds nothing."""
        return observation_spec

    def get_extra_state(self) -> dict[str, Any]:
        """The counters. What logs hold is not part of it: their episodes go on in further segments."""
        state: dict[str, Any] = {"global_step": self.global_step, "newest_start": self._newest_start, "episodes": []}
        if self.num_rows:
            # A log without a step is not written: what goes on is then still the same segment.
            segments = [
                segment + int(writer is not None and writer.steps > 0)
                for segment, writer in zip(self._segments, self._writers, strict=True)
            ]
            logged = [row for row, writer in enumerate(self._writers) if writer is not None or row in self._resumed]
            state |= {
                "episodes": list(self._episodes),
                "segments": segments,
                "logged": logged,
                "milestones": self._milestones.state_dict(),
            }
        return state

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Restores `get_extra_state`: at the next step a new log begins for every episode that was logged.

        The emulators must have been put back when that step is made (`PokemonRedEnv.load_episode_state`).
        """
        self.global_step, self._newest_start = state["global_step"], state["newest_start"]
        if not state["episodes"]:
            return
        self.finish()
        self.num_rows = len(state["episodes"])
        self._allocate(self.num_rows)
        self._episodes, self._segments = list(state["episodes"]), list(state["segments"])
        self._resumed = list(state["logged"])
        self._milestones.load_state_dict(state["milestones"])


def _siblings(transform: Transform) -> list[Transform]:
    """All transforms of the environment that ``transform`` belongs to."""
    container = transform.container
    own = getattr(container, "transform", None)
    return list(own) if own is not None and hasattr(own, "__iter__") else []
