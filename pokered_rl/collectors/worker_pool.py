"""Worker pools: the part common to all kinds, and the in-process kind."""

import copy
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import TracebackType
from typing import Any, Self

import numpy as np
import torch
from torch import nn
from torchrl.envs import EnvBase

import pokered_rl.errors
from pokered_rl.collectors.control import SharedControl
from pokered_rl.collectors.exploration import Exploration, emulator_epsilons
from pokered_rl.collectors.sink import ExperienceSink
from pokered_rl.collectors.worker import WorkerCollector, WorkerMessage, WorkerPlan, network_of, read_message
from pokered_rl.collectors.worker_state import capture_state
from pokered_rl.data import RateLimiter, SequenceBuilder, SequenceReplay
from pokered_rl.errors import ConfigError, PokeredError

__all__ = ["InlinePool", "WorkerError", "WorkerPool", "error_of"]


class WorkerError(PokeredError):
    """Workers fail again and again, or for a reason that a restart does not cure."""


class WorkerPool:
    """Base of the two kinds of workers: what they play, how they explore, what they count.

    Args:
        make_envs: one function per worker that builds its environment [E]; called with the keyword `seed`.
        policy: reads observations, recurrent state and epsilon, writes `action`, `action_value` and the next state.
            Workers get copies; the learner's own weights are handed over by `set_weights` only.
        emulators_per_worker: E.
        steps_per_batch: T, agent steps of each emulator in one batch.
        builder: makes sequences of batches.
        replay: takes the sequences.
        limiter: samples per insert; None never waits.
        observation_keys: entries sent to the learner; those of the builder by default.
        two_bit_keys: observation entries packed two bits a value before they are sent.
        epsilon_base: see `emulator_epsilons`; None for a policy that reads no epsilon.
        epsilon_alpha: see `emulator_epsilons`.
        warmup_steps: steps of the whole run in which every action is random.
        seed: of environments and exploration.
    """

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
        observation_keys: Sequence[str] | None = None,
        two_bit_keys: Sequence[str] = (),
        epsilon_base: float | None = 0.4,
        epsilon_alpha: float = 7.0,
        warmup_steps: int = 0,
        seed: int = 0,
    ) -> None:
        if not make_envs:
            raise ConfigError("make_envs must name at least one environment")
        if emulators_per_worker < 1 or steps_per_batch < 1:
            raise ConfigError(
                "emulators_per_worker and steps_per_batch must be >= 1, "
                f"got {emulators_per_worker} and {steps_per_batch}"
            )
        self.num_workers = len(make_envs)
        self.emulators_per_worker = emulators_per_worker
        self.steps_per_batch = steps_per_batch
        self.sink = ExperienceSink(builder=builder, replay=replay, limiter=limiter)
        # A copy: a policy handed to workers would share its storage with them, and every step of the learner would
        # reach them half done.
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
        self._plans = [
            WorkerPlan(
                index=index,
                make_env=make_env,
                make_policy=partial(copy.deepcopy, self._policy),
                exploration=self._exploration(index * emulators_per_worker, warmup_steps),
                control=self.control,
                layout=builder.layout,
                observation_keys=tuple(observation_keys or builder.observation_keys),
                state_keys=tuple(builder.state_keys),
                two_bit_keys=tuple(two_bit_keys),
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
        """Hands the learner's weights to the workers, who take them before their next rollout.

        Args:
            network: the policy's network (same parameter names as `policy.network`), on any device.
            version: the learner's number of these weights, for the logs; nothing is copied when it was handed over
                before.

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
        """Starts playing; `collect` does it when needed."""
        raise NotImplementedError

    def check(self) -> None:
        """Raises what has stopped the workers, if anything has; cheap."""

    def collect(self) -> None:
        """Takes in what the workers have played, or waits shortly for it.

        Raises:
            WorkerError: the workers cannot go on.
            PokeredError: a worker met a wrong cartridge, state or setting.
        """
        raise NotImplementedError

    def close(self) -> None:
        """Ends all workers. Closing twice does nothing."""

    def halt(self) -> None:
        """Ends playing at the next complete batch of each worker, so that a following `state_dict` is the end."""

    def kill(self) -> None:
        """Ends all workers at once, for a process that is about to end itself."""

    def stats(self) -> dict[str, float]:
        """Numbers for the metrics: losses, weight age, episodes cut short."""
        counts = self.sink.builder.counts
        result = {
            "weight_age_versions": float(self._weight_age[0]),
            "weight_age_seconds": self._weight_age[1],
            "steps_lost": float(counts["steps_lost"]),
            "episodes_cut": float(counts["episodes_cut"]),
        }
        if self.sink.limiter is not None:
            result["samples_per_insert"] = self.sink.limiter.ratio
        return result

    def state_dict(self) -> dict[str, Any]:
        """Everything that the next batch depends on, weights apart."""
        raise NotImplementedError

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continues from `state_dict`; to be called before the first batch.

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
                    self.sink.load_worker_state_dict(worker, saved["sink"])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _exploration(self, first: int, warmup_steps: int) -> Exploration | None:
        if self.epsilons is None:
            return None
        rates = self.epsilons[first : first + self.emulators_per_worker].clone()
        return Exploration(rates, warmup_steps=warmup_steps, global_steps=partial(_global_steps, self.control))

    def _plan(self, worker: int) -> WorkerPlan:
        """The plan of a worker that is about to start, with a seed that no earlier start had."""
        plan = copy.copy(self._plans[worker])
        entropy = [self._seed, worker, self._incarnations[worker]]
        plan.seed = int(np.random.SeedSequence(entropy).generate_state(1)[0]) >> 1
        plan.state = self._states.get(worker)
        return plan

    def _receive(self, worker: int, message: WorkerMessage) -> None:
        with self.sink.lock:
            self._states.pop(worker, None)  # it has played on from there
            self.sink.add(worker, message)
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
            "sink": self.sink.worker_state_dict(worker),
        }

    def _state(self, workers: dict[int, Any]) -> dict[str, Any]:
        # A worker that has not played yet stands where the last job left it.
        for worker, state in self._states.items():
            workers.setdefault(worker, self._saved_worker(worker, state))
        return {"sink": self.sink.state_dict(), "incarnation": max(self._incarnations), "workers": workers}


def _global_steps(control: SharedControl) -> int:
    return control.global_steps


class InlinePool(WorkerPool):
    """One worker inside the learner's process, stepped by `collect`: reproducible, and easy to debug.

    Args:
        options: see `WorkerPool`; `make_envs` has one entry.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        if self.num_workers != 1:
            raise ConfigError(f"workers in the learner's process are one worker, got {self.num_workers}")
        self._collector: WorkerCollector | None = None
        self._batches: Any = None
        self._keep_restored_weights = False

    def collect(self) -> None:
        """Plays one batch."""
        self.start()
        message = read_message(next(self._batches))
        if message.error is not None:
            raise error_of(message.error)
        self._receive(0, message)

    def state_dict(self) -> dict[str, Any]:
        """Everything that the next batch depends on, weights apart."""
        weights, _, number = self.control.copy_weights()
        workers = {} if self._collector is None else {0: self._saved_worker(0, capture_state(self._collector))}
        return self._state(workers) | {"weights": weights, "weights_number": number}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continues from `state_dict`; the emulators are put back at once, while the caller's random state is open.

        The weights that acted are put back too. A learner pushes its newest ones when it starts; without the
        interruption the older ones would have acted until the next regular push, so that first push is not taken.
        """
        super().load_state_dict(state)
        self.control.restore_weights(state["weights"], number=state["weights_number"])
        self._keep_restored_weights = True
        self.start()

    def set_weights(self, network: nn.Module, *, version: int | None = None) -> bool:
        """See `WorkerPool.set_weights`; the first call after `load_state_dict` changes nothing."""
        if self._keep_restored_weights:
            self._keep_restored_weights = False
            return False
        return super().set_weights(network, version=version)

    def close(self) -> None:
        """Closes the environment."""
        if self._collector is not None:
            self._collector.shutdown()
            self._collector = self._batches = None

    def start(self) -> None:
        """Opens the emulators; `collect` does it when needed."""
        if self._collector is None:
            self._collector = WorkerCollector(
                plan=self._plan(0),
                frames_per_batch=self.emulators_per_worker * self.steps_per_batch,
                total_frames=-1,
            )
            self._batches = iter(self._collector)


def error_of(description: tuple[str, str, str]) -> PokeredError:
    """The exception that a worker died of: its own kind when it is one of the library's, else `WorkerError`."""
    name, text, trace = description
    kind = getattr(pokered_rl.errors, name, None)
    if isinstance(kind, type) and issubclass(kind, PokeredError):
        return kind(text)
    return WorkerError(f"{name}: {text}\n{trace}")
