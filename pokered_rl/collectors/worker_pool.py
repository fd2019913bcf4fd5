"""Worker pools: the part that all kinds have in common, the sink of their batches, and the in-process kind."""

import copy
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any, Protocol, Self

import numpy as np
import torch
from tensordict import TensorDictBase
from torch import nn
from torchrl.envs import EnvBase

import pokered_rl.errors
from pokered_rl.atomic import LockToken
from pokered_rl.collectors.control import SharedControl
from pokered_rl.collectors.experience import EpisodeResult, Experience
from pokered_rl.collectors.worker import (
    Exploration,
    WorkerCollector,
    WorkerMessage,
    WorkerSpec,
    emulator_epsilons,
    network_of,
    unpack_message,
)
from pokered_rl.collectors.worker_state import capture_state
from pokered_rl.data import RateLimiter, SequenceBuilder, SequenceCodec, SequenceReplay
from pokered_rl.envs import EpisodeFigures
from pokered_rl.errors import ConfigError, PokeredError

_log = logging.getLogger(__name__)

__all__ = ["ExperienceSink", "InlinePool", "WorkerError", "WorkerPool"]


#: Emulators that began together end together: one batch of every worker of a large run can end this many episodes.
_RECENT_EPISODES = 20_000
#: Sequences with a reward that is not finite that are left out in any case.
_MOST_NOT_FINITE = 20
#: How many of these a checkpoint holds.
_SAVED_EPISODES = 100


class WorkerError(PokeredError):
    """Workers fail again and again, or for a reason that a restart does not cure."""


class _Replay(Protocol):
    codec: SequenceCodec

    def extend(self, sequences: TensorDictBase) -> torch.Tensor: ...


class ExperienceSink:
    """Insert what workers send, count steps, episodes and losses; safe to call from any thread.

    Args:
        replay: Anything with ``extend(sequences)`` and the ``codec`` of its sequences.
        limiter: Counts what was inserted; None for no limit.
    """

    def __init__(self, *, replay: _Replay, limiter: RateLimiter | None = None) -> None:
        self.replay = replay
        self.limiter = limiter
        self.lock = threading.RLock()
        self.steps = 0
        self.episodes = 0
        self.sequences = 0
        #: What went with lost workers: steps that no sequence has brought, and the open episodes that they were of.
        self.counts = {"steps_lost": 0, "episodes_cut": 0}
        #: Sequences that were left out for a reward or priority that is not finite.
        self.not_finite = 0
        #: The latest finished episodes, oldest first.
        self.recent: deque[EpisodeResult] = deque(maxlen=_RECENT_EPISODES)
        #: Called with each message that has :attr:`~pokered_rl.collectors.worker.WorkerMessage.watched` entries.
        self.on_watched: Callable[[WorkerMessage], None] | None = None
        #: :attr:`Experience.unsent` of the last message of each worker.
        self.unsent: dict[int, tuple[int, int]] = {}

    def add(self, message: WorkerMessage) -> None:
        """Insert the sequences of a message and count its steps and episodes.

        Raises:
            ConfigError: Most of all sequences are not finite: leaving them out would hide that the run does not learn.
        """
        experience = message.experience
        assert experience is not None
        with self.lock:
            self._warn(message.worker, experience)
            if experience.sequences is not None:
                self.replay.extend(experience.sequences)
                self.sequences += len(experience.sequences)
                if self.limiter is not None:
                    self.limiter.inserted(len(experience.sequences))
            self.steps += experience.num_steps
            self.episodes += len(experience.episodes)
            self.recent.extend(experience.episodes)
            self.unsent[message.worker] = experience.unsent
        if message.watched is not None and self.on_watched is not None:
            self.on_watched(message)

    def cut(self, worker: int) -> None:
        """Count the open episodes of a lost worker."""
        with self.lock:
            episodes, steps = self.unsent.pop(worker, (0, 0))
            self.counts["episodes_cut"] += episodes
            self.counts["steps_lost"] += steps

    def state_dict(self) -> dict[str, Any]:
        """Return counters and recent episodes."""
        return {
            "steps": self.steps,
            "episodes": self.episodes,
            "sequences": self.sequences,
            "counts": dict(self.counts),
            "recent": [_saved(result) for result in self.finished_since(self.episodes - _SAVED_EPISODES)],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from :meth:`state_dict`."""
        self.steps, self.episodes, self.sequences = state["steps"], state["episodes"], state["sequences"]
        self.counts = {name: state["counts"][name] for name in self.counts}
        self.recent.extend(_restored(result) for result in state["recent"])

    def finished_since(self, count: int) -> list[EpisodeResult]:
        """Return the episodes finished after the first ``count``, oldest first, as far as ``recent`` reaches."""
        with self.lock:
            new = min(len(self.recent), max(0, self.episodes - count))
            return [self.recent[index - new] for index in range(new)]

    def _warn(self, worker: int, experience: Experience) -> None:
        """Say in which episodes a reward is not finite, and count what was left out for it."""
        for emulator, step in experience.bad_rewards:
            _log.warning(
                "worker %d, emulator %d: a reward in its episode that began %d steps before this batch is not finite"
                " (the run has %d finished episodes, %d steps); a line of the worker names the term",
                *(worker, emulator, step, self.episodes, self.steps),
            )
        self.not_finite += experience.not_finite
        if experience.not_finite and self.not_finite > max(_MOST_NOT_FINITE, self.sequences):
            raise ConfigError(
                f"{self.not_finite} sequences have a reward or value that is not finite, more than the {self.sequences}"
                " others: correct the reward term that a line above names, or lower learner.learning_rate"
            )


def _saved(result: EpisodeResult) -> list[Any]:
    """Return an episode as plain values for a checkpoint, without its places."""
    figures = None if result.figures is None else {**asdict(result.figures), "places": ()}
    return [*result[:-1], figures]


def _restored(saved: Sequence[Any]) -> EpisodeResult:
    worker, emulator, total_reward, steps, figures = saved
    known = None if figures is None else EpisodeFigures(**figures)
    return EpisodeResult(worker, emulator, total_reward, steps, known)


class WorkerPool:
    """Base of the worker pools: environments and policy of the workers, exploration, counters, state.

    Args:
        make_envs: One function per worker that builds its environment [E]; called with the keyword ``seed``.
        policy: Reads observations, recurrent state and epsilon, writes ``action``, ``action_value`` and the next state.
            Workers get copies; they see the learner's weights through :meth:`set_weights` only.
        emulators_per_worker: E.
        steps_per_batch: T, agent steps of each emulator in one batch.
        builder: Makes sequences of rollouts; each worker gets a copy.
        replay: Takes the sequences, as its ``codec`` has packed them in the workers. A :class:`SequenceReplay` that
            compresses has to be allocated or loaded before.
        limiter: Samples per insert; None never waits.
        epsilon_base: See :func:`emulator_epsilons`; None for a policy that reads no epsilon.
        epsilon_alpha: See :func:`emulator_epsilons`.
        warmup_steps: Agent steps of the whole run during which every action is random.
        seed: Of environments and exploration.
    """

    #: Whether workers that have been started act without :meth:`collect`.
    acts_by_itself = False

    def __init__(
        self,
        *,
        make_envs: Sequence[Callable[..., EnvBase]],
        policy: nn.Module,
        emulators_per_worker: int,
        steps_per_batch: int,
        builder: SequenceBuilder,
        replay: SequenceReplay,
        limiter: RateLimiter | None = None,
        epsilon_base: float | None = 0.4,
        epsilon_alpha: float = 7.0,
        warmup_steps: int = 0,
        seed: int = 0,
    ) -> None:
        if not make_envs:
            raise ConfigError("make_envs must hold at least one function, got none")
        if emulators_per_worker < 1 or steps_per_batch < 1:
            raise ConfigError(
                "emulators_per_worker and steps_per_batch must be >= 1, "
                f"got {emulators_per_worker} and {steps_per_batch}"
            )
        self.num_workers = len(make_envs)
        self.emulators_per_worker = emulators_per_worker
        self.steps_per_batch = steps_per_batch
        self.sink = ExperienceSink(replay=replay, limiter=limiter)
        # A copy: a policy handed to workers shares its storage with them, and they would see half-done updates.
        self._policy = copy.deepcopy(policy).cpu().requires_grad_(False)
        self.control = SharedControl(network_of(self._policy), num_workers=self.num_workers)
        self.control.write_weights(network_of(self._policy))
        self._pushed_at: dict[int, float] = {self.control.version: time.monotonic()}
        self._last_pushed: int | None = None
        self._weight_age = (0, 0.0)
        self._seed = seed
        self._incarnations = [0] * self.num_workers
        self._states: dict[int, bytes] = {}
        total = self.num_workers * emulators_per_worker
        self.epsilons = (
            None if epsilon_base is None else emulator_epsilons(total, base=epsilon_base, alpha=epsilon_alpha)
        )
        #: Of the run that the workers write into; they check it before they do. None checks nothing.
        self.lock: LockToken | None = None
        self._specs = [
            WorkerSpec(
                index=index,
                make_env=make_env,
                make_policy=partial(copy.deepcopy, self._policy),
                exploration=self._exploration(index * emulators_per_worker, warmup_steps),
                control=self.control,
                builder=builder,
                codec=replay.codec,
            )
            for index, make_env in enumerate(make_envs)
        ]

    @property
    def steps(self) -> int:
        """Agent steps received over all jobs."""
        return self.sink.steps

    @property
    def episodes(self) -> int:
        """Episodes finished over all jobs."""
        return self.sink.episodes

    @property
    def sequences(self) -> int:
        """Sequences inserted over all jobs."""
        return self.sink.sequences

    def set_weights(self, network: nn.Module, *, version: int | None = None) -> bool:
        """Publish the learner's weights; workers load them before their next rollout.

        Args:
            network: The policy's network (same parameter names as ``policy.network``), on any device.
            version: The learner's number of these weights, for the logs; nothing is copied when it was the last one
                published.

        Returns:
            Whether anything was copied.
        """
        if version is not None and version == self._last_pushed:
            return False
        self._last_pushed = version
        pushed = self.control.write_weights(network, number=-1 if version is None else version)
        self._pushed_at[pushed] = time.monotonic()
        for old in [key for key in self._pushed_at if key < pushed - 1000]:
            del self._pushed_at[old]
        return True

    def start(self) -> None:
        """Start the workers; :meth:`collect` does it when needed."""
        raise NotImplementedError

    def check(self) -> None:
        """Raise what has stopped the workers, if anything has; cheap."""

    def collect(self) -> None:
        """Insert what the workers have collected, or wait shortly for it.

        Raises:
            WorkerError: The workers cannot go on.
            PokeredError: The cartridge, a start state or a setting of a worker is invalid.
        """
        raise NotImplementedError

    def close(self) -> None:
        """End all workers. Closing twice does nothing."""

    def halt(self) -> None:
        """End each worker after its next batch, so that a following :meth:`state_dict` holds the end of the job."""

    def kill(self) -> None:
        """End all workers at once, for a process that is about to end itself."""

    def stats(self) -> dict[str, float]:
        """Return metrics: lost steps, weight staleness, truncated episodes."""
        result = {
            "weight_age_versions": float(self._weight_age[0]),
            "weight_age_seconds": self._weight_age[1],
            **{name: float(count) for name, count in self.sink.counts.items()},
        }
        if self.sink.not_finite:
            result["sequences_not_finite"] = float(self.sink.not_finite)
        if self.sink.limiter is not None:
            result["samples_per_insert"] = self.sink.limiter.ratio
        return result

    def state_dict(self) -> dict[str, Any]:
        """Return everything that the next batch depends on, except the weights."""
        raise NotImplementedError

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from :meth:`state_dict`; to be called before the first batch.

        States of workers that this pool does not have, or with another number of emulators, are dropped.
        """
        with self.sink.lock:
            self.sink.load_state_dict(state["sink"])
            self.control.global_steps = self.sink.steps
            # Workers that start without a state must not repeat the episodes of an earlier job.
            self._incarnations = [int(state["incarnation"]) + 1] * self.num_workers
            for worker, saved in state["workers"].items():
                if worker < self.num_workers and saved["emulators"] == self.emulators_per_worker:
                    self._states[worker] = bytes(saved["state"].numpy().tobytes())
                    self.sink.unsent[worker] = tuple(saved["unsent"])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _exploration(self, first: int, warmup_steps: int) -> Exploration | None:
        if self.epsilons is None:
            return None
        rates = self.epsilons[first : first + self.emulators_per_worker].clone()
        return Exploration(rates, warmup_steps=warmup_steps, global_steps=partial(_global_steps, self.control))

    def worker_spec(self, worker: int) -> WorkerSpec:
        """Return what a worker that is about to start must know, with a seed that no earlier start had."""
        spec = copy.copy(self._specs[worker])
        entropy = [self._seed, worker, self._incarnations[worker]]
        spec.seed = int(np.random.SeedSequence(entropy).generate_state(1)[0]) >> 1
        spec.attempt = self._incarnations[worker]
        spec.builder = copy.deepcopy(spec.builder)  # holds the worker's open episodes
        spec.codec = spec.codec.clone()  # without the replay that it is part of
        spec.state = self._states.get(worker)
        spec.lock = self.lock
        return spec

    def _receive(self, worker: int, message: WorkerMessage) -> None:
        with self.sink.lock:
            self._states.pop(worker, None)  # the worker is past it
            self.sink.add(message)
            self.control.global_steps = self.sink.steps
            version = self.control.version
            pushed = self._pushed_at.get(message.weights_version)
            self._weight_age = (
                version - message.weights_version,
                0.0 if pushed is None else time.monotonic() - pushed,
            )

    def _saved_worker(self, worker: int, state: bytes) -> dict[str, Any]:
        return {
            "emulators": self.emulators_per_worker,
            "state": torch.frombuffer(bytearray(state), dtype=torch.uint8),
            "unsent": list(self.sink.unsent.get(worker, (0, 0))),
        }

    def _state(self, workers: dict[int, Any]) -> dict[str, Any]:
        # A worker that has sent no batch yet is still in the state of the last job.
        for worker, state in self._states.items():
            workers.setdefault(worker, self._saved_worker(worker, state))
        return {"sink": self.sink.state_dict(), "incarnation": max(self._incarnations), "workers": workers}


def _global_steps(control: SharedControl) -> int:
    return control.global_steps


class InlinePool(WorkerPool):
    """One worker inside the learner's process, stepped by :meth:`collect`: reproducible, and easy to debug.

    Args:
        options: See :class:`WorkerPool`; ``make_envs`` has one entry.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        if self.num_workers != 1:
            raise ConfigError(f"an InlinePool has one worker, got make_envs for {self.num_workers}")
        self._collector: WorkerCollector | None = None
        self._batches: Any = None
        self._keep_restored_weights = False

    def collect(self) -> None:
        """Collect one batch."""
        self.start()
        message = unpack_message(next(self._batches)["message"])
        if message.error is not None:
            raise error_of(message.error)
        self._receive(0, message)

    def state_dict(self) -> dict[str, Any]:
        """Return everything that the next batch depends on, except the weights."""
        weights, _, number = self.control.copy_weights()
        workers = {} if self._collector is None else {0: self._saved_worker(0, capture_state(self._collector))}
        return self._state(workers) | {"weights": weights, "weights_number": number}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from :meth:`state_dict`; the emulators are restored at once, before the caller's random state is.

        The weights that acted are restored too. A learner publishes its newest weights when it starts; without the
        interruption the older ones would have acted until the next regular copy, so that first call changes nothing.
        """
        super().load_state_dict(state)
        if "weights" in state:  # not after a job with worker processes
            self.control.restore_weights(state["weights"], number=state["weights_number"])
            self._keep_restored_weights = True
        self.start()

    def set_weights(self, network: nn.Module, *, version: int | None = None) -> bool:
        """See :meth:`WorkerPool.set_weights`; the first call after :meth:`load_state_dict` changes nothing."""
        if self._keep_restored_weights:
            self._keep_restored_weights = False
            return False
        return super().set_weights(network, version=version)

    def close(self) -> None:
        """Close the environment."""
        if self._collector is not None:
            self._collector.shutdown()
            self._collector = self._batches = None

    def start(self) -> None:
        """Start the emulators; :meth:`collect` does it when needed."""
        if self._collector is None:
            self._collector = WorkerCollector(
                spec=self.worker_spec(0),
                frames_per_batch=self.emulators_per_worker * self.steps_per_batch,
                total_frames=-1,
            )
            self._batches = iter(self._collector)


def error_of(description: tuple[str, str, str]) -> PokeredError:
    """Return the exception that ended a worker: of its own class if the library defines it, else a WorkerError."""
    name, text, trace = description
    kind = getattr(pokered_rl.errors, name, None)
    if isinstance(kind, type) and issubclass(kind, PokeredError):
        return kind(text)
    return WorkerError(f"{name}: {text}\n{trace}")
