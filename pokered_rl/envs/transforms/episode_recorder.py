"""`EpisodeRecorder`: writes an episode log of everything that is played, with the milestones that are reached."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from tensordict import NestedKey, TensorDictBase
from torchrl.envs import EnvBase, Transform

from pokered_rl.emulator import PYBOY_VERSION, SaveState
from pokered_rl.envs.memory import EmulatorMemory
from pokered_rl.envs.pokemon_red import PokemonRedEnv
from pokered_rl.envs.ram_frame import PROGRESS_LABELS, GameProgress, RamFrame
from pokered_rl.envs.transforms.base import RamTransform, flags
from pokered_rl.envs.transforms.helper_actions import HelperActions
from pokered_rl.envs.transforms.reward_terms import RewardTerms
from pokered_rl.episodes import EpisodeFolder, EpisodeHeader, EpisodeLog, EpisodeLogWriter, Outcome
from pokered_rl.errors import ConfigError
from pokered_rl.game import CartridgeProfile, GameState, Milestones, RamLayout

__all__ = ["EpisodeRecorder", "MilestoneTracker"]

#: Name of the rule by which milestones count as reached; a change of :class:`MilestoneTracker` gives it another name.
MILESTONE_RULE = "story and maps 1"


class MilestoneTracker(EmulatorMemory):
    """Reports the milestones of the cartridge's story, and ``map:NAME`` for every map entered.

    What holds at the start of an episode is not reported, nor anything while no map is loaded. The story is compared
    only in steps that changed a map, the party, the bag or an event, or in which a map was loaded.

    Args:
        num_emulators: E.
        profile: Whose story and maps.
    """

    #: Entries of the RAM map that are read.
    LABELS: tuple[str, ...] = (*RamFrame.LABELS, *PROGRESS_LABELS)
    NOT_SAVED: ClassVar = frozenset({"_all"})

    def __init__(self, *, num_emulators: int, profile: CartridgeProfile) -> None:
        self._profile = profile
        self._maps = np.zeros((num_emulators, 256), bool)
        self._story = np.zeros((num_emulators, len(profile.milestones)), bool)
        self._all = np.arange(num_emulators)
        self._known: GameProgress | None = None
        self._here = np.full(num_emulators, -1, np.int64)
        self._was_on_map = np.zeros(num_emulators, bool)

    def _reached(self, frame: RamFrame) -> npt.NDArray[np.bool_]:
        milestones = self._profile.milestones
        reached: npt.NDArray[np.bool_] | None = frame.computed.get(milestones)
        if reached is None:
            state = GameState.from_ram(frame.tensor, frame.layout, fields=Milestones.FIELDS)
            reached = frame.computed[milestones] = milestones.reached(state).cpu().numpy()
        return reached

    def start(self, frame: RamFrame, emulators: npt.NDArray[np.bool_]) -> None:
        """Begin an episode in ``emulators`` (bool [E])."""
        self._maps[emulators] = False
        self._maps[self._all[emulators], frame.map_id[emulators]] = True
        self._story[emulators] = self._reached(frame)[emulators]
        self._here, self._was_on_map = frame.map_id, frame.on_map

    def advance(self, frame: RamFrame) -> list[tuple[int, str]]:
        """Take in a step; return (emulator, milestone) for each one just reached."""
        moved = frame.map_id != self._here
        if frame.progress is self._known and not moved.any() and not (frame.on_map & ~self._was_on_map).any():
            self._was_on_map = frame.on_map
            return []
        self._known, self._here, self._was_on_map = frame.progress, frame.map_id, frame.on_map
        fresh = self._reached(frame) & ~self._story & frame.on_map[:, None]
        self._story |= fresh
        reached = [(int(index), self._profile.milestones.names[k]) for index, k in np.argwhere(fresh)]
        for index in np.flatnonzero(frame.on_map & ~self._maps[self._all, self._here]).tolist():
            map_id = int(self._here[index])
            self._maps[index, map_id] = True
            reached.append((index, f"map:{self._profile.maps.name(map_id)}"))
        return reached


class EpisodeRecorder(RamTransform):
    """Logs start state, actions, waiting frames, rewards, milestones and hashes of RAM, one file an episode.

    A log replays the episode byte for byte and proves it by the hashes (:mod:`pokered_rl.episodes.player`). Files are
    written when an episode ends; each start state is stored once. Put the recorder behind :class:`RewardTerms`.

    Episodes without an end (continuous mode) are cut into segments of ``segment_steps``: each is a log of its own that
    begins in the state in which the last one ended. An episode that continues after its worker's state was restored
    continues as a further segment, so a crash or the end of a job loses only the open logs.

    Reads:
        ``ram`` uint8 [*, R], ``action``, ``wait_frames``, ``reward``, ``terminated``, ``truncated``; ``epsilon`` when
        it is there. From the :class:`PokemonRedEnv` it is attached to: start states and
        hashes of the whole RAM.

    Writes:
        Nothing into the tensordict; ``<folder>/*.episode`` and ``<folder>/start_states/*.state``.

    Resets:
        The emulators in ``_reset`` begin a new log. An open log is written with the outcome ``shutdown``, as are all
        open ones when the environment is closed.

    Args:
        folder: Where the logs go, usually ``<run>/episode_logs``.
        run_name: Name of the run.
        worker: Number of the collector worker.
        num_workers: Number of workers; ``global_step`` grows by this for each step of an emulator here.
        config_sha256: Hash of the run's config.
        seeds: Named seeds; entries may be added before the first step.
        profile: Names of the milestones; None takes the cartridge's.
        ram_hash_every_steps: Distance of the hashes.
        every_episodes: Log each n-th episode of every emulator, the first one included.
        segment_steps: Cut an episode into logs of this many steps; None does not cut.
        run_id: Identity of the run.
        job: Number of the job within the run.
        acting: Who chooses the actions: ``policy``, ``person``, ``script`` or ``random``; empty when unknown.
        weights_sha256: SHA-256 of the file of weights that acts.
        in_keys: The entries above, in their order.
        ram_layout: See :class:`RamTransform`.

    Raises:
        ConfigError: A distance is not positive.
        RuntimeError: It is not attached to a :class:`PokemonRedEnv`.

    Example:
        >>> env = make_env(num_emulators=2, recorder={"folder": folder, "run_name": "demo"})  # doctest: +SKIP
    """

    IN_KEYS: ClassVar = (
        "ram",
        "action",
        "wait_frames",
        "reward",
        "terminated",
        "truncated",
        "epsilon",
    )
    labels: ClassVar[tuple[str, ...]] = MilestoneTracker.LABELS
    carries_memory = True  # what was reached before is not logged again
    memory: MilestoneTracker

    def __init__(
        self,
        *,
        folder: str | os.PathLike[str],
        run_name: str = "run",
        worker: int = 0,
        num_workers: int = 1,
        config_sha256: str = "",
        seeds: Mapping[str, int] | None = None,
        profile: CartridgeProfile | None = None,
        ram_hash_every_steps: int = 100,
        every_episodes: int = 1,
        segment_steps: int | None = None,
        run_id: str = "",
        job: int = 0,
        acting: str = "",
        weights_sha256: str = "",
        in_keys: Sequence[NestedKey] | None = None,
        ram_layout: RamLayout | None = None,
    ) -> None:
        super().__init__(in_keys=in_keys, ram_layout=ram_layout)
        if ram_hash_every_steps < 1:
            raise ConfigError(f"ram_hash_every_steps must be >= 1, got {ram_hash_every_steps}")
        if every_episodes < 1:
            raise ConfigError(f"every_episodes must be >= 1, got {every_episodes}")
        if segment_steps is not None and segment_steps < 1:
            raise ConfigError(f"segment_steps must be >= 1 or None, got {segment_steps}")
        self.folder = EpisodeFolder(folder)
        self.run_name = run_name
        self.worker = worker
        self.num_workers = num_workers
        self.config_sha256 = config_sha256
        self.seeds = dict(seeds or {})
        self.profile = profile
        self.ram_hash_every_steps = ram_hash_every_steps
        self.every_episodes = every_episodes
        self.segment_steps = segment_steps
        self.run_id = run_id
        self.job = job
        #: How often this worker was replaced in the run.
        self.attempt = 0
        #: Who chooses the actions from the next step on.
        self.acting = acting
        self.weights_sha256 = weights_sha256
        self._global_step = 0
        self._job_global_step: int | None = None
        self._restored_history: tuple[int, ...] | None = None
        self._weights_version = -1
        self._newest_start = 0
        self._env: PokemonRedEnv | None = None
        self._rewards: RewardTerms | None = None
        self._helpers: HelperActions | None = None

    @property
    def env(self) -> PokemonRedEnv:
        """The environment that start states and hashes are taken from."""
        if self._env is None:
            base = self._base_env()
            if not isinstance(base, PokemonRedEnv):
                raise RuntimeError(
                    f"EpisodeRecorder must be attached to a PokemonRedEnv, got {type(base).__name__}: start states and "
                    "hashes come from its emulators"
                )
            self._env = base
            base.before_close.append(self.finish)
            base.on_capture.append(self._note_capture)
            container = getattr(self.container, "transform", ())
            siblings = list(container) if isinstance(container, Iterable) else []
            self._rewards = next((each for each in siblings if isinstance(each, RewardTerms)), None)
            self._helpers = next((each for each in siblings if isinstance(each, HelperActions)), None)
        return self._env

    def follow(self, *, global_step: int, weights_version: int) -> None:
        """Set the counters of the run (agent steps, version of the weights); a worker calls it before each batch.

        In between ``global_step`` is extrapolated. It never falls behind that of a log already begun here, so that the
        names of an emulator's logs stay in order.
        """
        if self._job_global_step is None:
            self._job_global_step = global_step
        self._global_step = max(global_step, self._newest_start)
        self._weights_version = weights_version

    def _allocate(self, num_emulators: int) -> EmulatorMemory:
        profile = self.profile or CartridgeProfile.get(self.env.cartridge.kind)
        self._writers: list[EpisodeLogWriter | None] = [None] * num_emulators
        self._episodes = [0] * num_emulators
        self._segments = [0] * num_emulators
        self._steps_before = [0] * num_emulators  # of each emulator in its history, before the open log
        self._episode_steps_before = [0] * num_emulators  # of the episode, before the open log
        self._resumed: list[int] = []  # emulators whose episode continues in a new log from the next step on
        return MilestoneTracker(num_emulators=num_emulators, profile=profile)

    def _open(self, index: int, state: SaveState) -> None:
        """Begin a log of the emulator, which is in ``state`` now."""
        env = self.env
        header = EpisodeHeader(
            run_name=self.run_name,
            worker=self.worker,
            emulator=index,
            global_step=self._global_step,
            cartridge_sha1=env.cartridge.sha1,
            cartridge_title=env.cartridge.title,
            pyboy_version=PYBOY_VERSION,
            state_version=state.state_version,
            start_state_sha256=self.folder.add_start_state(state),
            actions=env.actions.names,
            frames_per_action=env.timing.frames_per_action,
            hold_frames=env.timing.hold_frames,
            episode=self._episodes[index] - 1,
            segment=self._segments[index],
            config_sha256=self.config_sha256,
            wait_while_busy=env.wait_while_busy,
            max_wait_frames=env.max_wait_frames,
            reward_terms=self._rewards.term_names if self._rewards is not None else (),
            ram_hash_every_steps=self.ram_hash_every_steps,
            start_unix_seconds=time.time(),
            run_id=self.run_id,
            job=self.job,
            attempt=self.attempt,
            history=self._history_name,
            history_steps=self._steps_before[index],
            episode_steps=env.step_count(index),
            milestone_rule=MILESTONE_RULE,
            max_episode_steps=env.step_limit(index),
            terminate_at_hall_of_fame=env.terminate_at_hall_of_fame,
            helpers=self._helpers.helpers if self._helpers is not None else (),
            carried_memory=self._segments[index] > 0 or env.start(index).memory is not None,
            chain_ranges=tuple(address for span in self.ram_layout.ranges for address in span),
        )
        self._episode_steps_before[index] = env.step_count(index)
        self._writers[index] = EpisodeLogWriter(
            folder=self.folder.path, header=header, start_ram_hash=env.ram_hash(index)
        )

    @property
    def _history_name(self) -> tuple[int, ...]:
        return self._restored_history or (self.job, self.attempt)

    def _note_capture(self, index: int, state: SaveState) -> None:
        """Note a state that was captured for other episodes, before or after this transform has seen its step."""
        writer = self._writers[index] if self.num_emulators else None
        if writer is not None:
            writer.add_captured(self.env.step_count(index) - self._episode_steps_before[index], state.sha256)

    def _reset_env_preprocess(self, tensordict: TensorDictBase | None) -> TensorDictBase | None:
        # The last moment at which the emulators are in the states in which the episodes end.
        if self.num_emulators:
            mask = None if tensordict is None else tensordict.get("_reset", None)
            for index in np.flatnonzero(flags(mask, self.num_emulators)).tolist():
                self._finish(index, Outcome.SHUTDOWN)
        return super()._reset_env_preprocess(tensordict)

    def _start(self, frame: RamFrame, emulators: npt.NDArray[np.bool_]) -> None:
        self.memory.start(frame, emulators)
        for index in np.flatnonzero(emulators).tolist():
            self._episodes[index] += 1
            self._segments[index] = 0
            if (self._episodes[index] - 1) % self.every_episodes == 0:
                self._open(index, self.env.start_state(index))

    def _inv_call(self, tensordict: TensorDictBase) -> TensorDictBase:
        # Before a step: the last moment at which a restored emulator is in the state its episode continues from.
        if self.num_emulators and self._resumed:
            for index, state in zip(self._resumed, self.env.save_states(self._resumed), strict=True):
                self._open(index, state)
            self._resumed = []
        return tensordict

    def _step(self, tensordict: TensorDictBase, next_tensordict: TensorDictBase) -> TensorDictBase:
        frame = self._frame(next_tensordict)
        before = self._global_step
        self._global_step += self.num_workers * frame.num_emulators
        actions = self._actions(tensordict)
        if actions is None:
            raise KeyError(f"EpisodeRecorder needs the entry {self.in_keys[1]!r}, which the tensordict lacks")
        waits, rewards, terminated, truncated = (
            next_tensordict.get(key).reshape(-1).tolist() for key in self.in_keys[2:6]
        )
        rates = tensordict.get(self.in_keys[6], None)
        epsilons = [None] * len(actions) if rates is None else rates.reshape(-1).tolist()
        ram = next_tensordict.get(self.in_keys[0]).reshape(frame.num_emulators, -1).numpy()
        terms = self._rewards.last_values if self._rewards is not None else np.zeros((len(actions), 0))
        for index, action in enumerate(actions.tolist()):
            writer = self._writers[index]
            if writer is None:
                continue
            if writer.steps == 0:  # policy and progress of the run are known from the first step on
                self._newest_start = before
                writer.header = replace(
                    writer.header,
                    global_step=before,
                    weights_version=self._weights_version,
                    seeds=dict(self.seeds),
                    epsilon=epsilons[index],
                    job_global_step=self._job_global_step or 0,
                    weights_sha256=self.weights_sha256,
                )
            if self._helpers is not None and (helper := self._helpers.acted(index)) is not None:
                writer.set_acting(f"helper:{helper}")
            elif self.acting or self._helpers is not None:
                other = self.acting == "policy" and self.weights_sha256 != writer.header.weights_sha256
                writer.set_acting(f"policy:{self.weights_sha256[:12]}" if other else self.acting or "unknown")
            writer.step(action, wait_frames=waits[index], reward=rewards[index], terms=terms[index], ram=ram[index])
            if writer.ram_hash_due:
                writer.add_ram_hash(self.env.ram_hash(index))
        for index, name in self.memory.advance(frame):
            if (writer := self._writers[index]) is not None:
                writer.add_milestone(name)
        if True in terminated or True in truncated:
            for index in range(len(actions)):
                if terminated[index] or truncated[index]:
                    self._finish(index, Outcome.TERMINATED if terminated[index] else Outcome.TRUNCATED)
        if self.segment_steps is not None:
            self._cut_segments(self.segment_steps)
        return next_tensordict

    def _cut_segments(self, steps: int) -> None:
        """End the logs that are long enough and continue in new ones."""
        full = [index for index, writer in enumerate(self._writers) if writer is not None and writer.steps >= steps]
        for index, state in zip(full, self.env.save_states(full) if full else [], strict=True):
            self._note_capture(index, state)
            self._finish(index, Outcome.CONTINUED)
            self._segments[index] += 1
            self._open(index, state)

    def _finish(self, index: int, outcome: Outcome) -> None:
        if index in self._resumed:
            self._resumed.remove(index)
        writer = self._writers[index]
        if writer is not None:
            self._writers[index] = None
            self._steps_before[index] += writer.steps
            writer.finish(outcome, ram_hash=self.env.ram_hash(index), end_unix_seconds=time.time())

    def log_so_far(self, index: int) -> EpisodeLog | None:
        """Return what the open log of an emulator holds up to now; None without one, or without a step."""
        writer = self._writers[index] if self.num_emulators else None
        if writer is None or not writer.steps:
            return None
        return writer.log(Outcome.SHUTDOWN, ram_hash=self.env.ram_hash(index), end_unix_seconds=time.time())

    def finish(self) -> None:
        """Write all open logs with the outcome ``shutdown``; the environment calls it before it closes."""
        for index in range(self.num_emulators):
            self._finish(index, Outcome.SHUTDOWN)

    def forward(self, tensordict: TensorDictBase) -> TensorDictBase:
        """Raise an error: there is nothing to record without an emulator.

        Raises:
            RuntimeError: Always.
        """
        raise RuntimeError("EpisodeRecorder records an environment: append it to one instead of calling it")

    def set_container(self, container: Transform | EnvBase) -> None:
        """Attach the recorder to an environment."""
        super().set_container(container)
        self._env = self._rewards = self._helpers = None

    def get_extra_state(self) -> dict[str, Any]:
        """Return the counters and milestones. Open logs are not part of it: their episodes continue in new segments."""
        state = {**super().get_extra_state(), "global_step": self._global_step, "newest_start": self._newest_start}
        if self.num_emulators:
            state["episodes"] = list(self._episodes)
            state["history"] = list(self._history_name)
            state["steps_before"] = [
                steps + (writer.steps if writer is not None else 0)
                for steps, writer in zip(self._steps_before, self._writers, strict=True)
            ]
            # A log without a step is not written: the next one is still the same segment.
            state["segments"] = [
                segment + int(writer is not None and writer.steps > 0)
                for segment, writer in zip(self._segments, self._writers, strict=True)
            ]
            state["logged"] = [
                index for index, writer in enumerate(self._writers) if writer is not None or index in self._resumed
            ]
        return state

    def set_extra_state(self, state: Mapping[str, Any]) -> None:
        """Restore :meth:`get_extra_state`: a new log begins at the next step for every episode that was logged.

        The emulators must have been restored before that step (:meth:`PokemonRedEnv.load_episode_state`).
        """
        self.finish()
        super().set_extra_state(state)
        self._global_step, self._newest_start = state["global_step"], state["newest_start"]
        if self.num_emulators:
            self._episodes, self._segments = list(state["episodes"]), list(state["segments"])
            self._resumed = list(state["logged"])
            self._restored_history, self._steps_before = tuple(state["history"]), list(state["steps_before"])
