"""What runs in a worker: TorchRL's ``Collector``, sending encoded sequences in place of rollouts."""

import contextlib
import ctypes
import gc
import multiprocessing.forkserver
import os
import pickle
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from tensordict import NonTensorData, TensorDict, TensorDictBase
from torch import nn
from torchrl.collectors import Collector
from torchrl.data import Composite, Unbounded
from torchrl.envs import Compose, EnvBase, TensorDictPrimer, Transform, TransformedEnv

from pokered_rl.atomic import LockToken
from pokered_rl.collectors.control import WatchRequest, flatten_parameters
from pokered_rl.collectors.experience import Experience, ExperienceMaker
from pokered_rl.collectors.worker_state import capture_state, restore_state
from pokered_rl.data import SequenceBuilder, SequenceCodec
from pokered_rl.disk import disk_message, is_full
from pokered_rl.envs import EpisodeMeter, EpisodeRecorder
from pokered_rl.errors import ConfigError, PokeredError, RunLostError
from pokered_rl.modules import RecurrentQuantileNetwork
from pokered_rl.signals import STOP_SIGNALS

__all__ = [
    "Exploration",
    "WorkerCollector",
    "WorkerMessage",
    "WorkerSpec",
    "emulator_epsilons",
]

_PR_SET_PDEATHSIG = 1


def emulator_epsilons(num_emulators: int, *, base: float = 0.4, alpha: float = 7.0) -> torch.Tensor:
    """Return the exploration rate of every emulator of a run, float32 [N] (Horgan et al. 2018).

    ``eps_i = base ** (1 + alpha i / (N - 1))`` with i the emulator's number over all workers and nodes; a single
    emulator explores with ``base``. A restarted or replaced worker keeps its rates.

    Args:
        num_emulators: N, emulators of the whole run.
        base: Rate of the most exploring emulator, in (0, 1].
        alpha: Spread of the rates, >= 0.

    Raises:
        ConfigError: A value is out of range.
    """
    if num_emulators < 1:
        raise ConfigError(f"num_emulators must be >= 1, got {num_emulators}")
    if not 0 < base <= 1:
        raise ConfigError(f"epsilon base must be in (0, 1], got {base}")
    if alpha < 0:
        raise ConfigError(f"epsilon alpha must be >= 0, got {alpha}")
    exponent = 1 + alpha * torch.arange(num_emulators, dtype=torch.float64) / max(1, num_emulators - 1)
    return (base**exponent).float()


class Exploration:
    """Epsilon of the emulators of one worker, float32 [E, 1]; called by a ``TensorDictPrimer``.

    Args:
        epsilon: Rates of these emulators, float32 [E].
        warmup_steps: Steps of the whole run during which every action is random.
        global_steps: Returns the steps of the whole run so far.
    """

    def __init__(self, epsilon: torch.Tensor, *, warmup_steps: int = 0, global_steps: Callable[[], int]) -> None:
        self.epsilon = epsilon.reshape(-1, 1)
        self.warmup_steps = warmup_steps
        self._global_steps = global_steps

    def __call__(self) -> torch.Tensor:
        """Return epsilon as of now in a new tensor, float32 [E, 1]."""
        if self.warmup_steps and self._global_steps() < self.warmup_steps:
            return torch.ones_like(self.epsilon)
        return self.epsilon.clone()


@dataclass
class WorkerSpec:
    """What one worker is built from; picklable.

    Args:
        index: Number of the worker in this pool.
        make_env: Builds the environment [E]; called with ``seed`` in the worker.
        make_policy: Builds the policy, a module of this worker's own.
        exploration: Epsilon of this worker's emulators; None for a policy that reads none.
        control: A :class:`SharedControl`, or its replacement on another machine.
        builder: Makes sequences of this worker's rollouts.
        codec: Packs them for the replay.
        seed: Of environment and exploration.
        attempt: How often workers of this number were replaced in the run.
        state: What :func:`capture_state` saved in an earlier job; None starts new episodes.
        lock: Of the run that the worker writes into; None checks nothing.
    """

    index: int
    make_env: Callable[..., EnvBase]
    make_policy: Callable[[], nn.Module]
    exploration: Exploration | None
    control: Any
    builder: SequenceBuilder
    codec: SequenceCodec
    seed: int = 0
    attempt: int = 0
    state: bytes | None = None
    lock: LockToken | None = None

    def build_env(self, policy: nn.Module) -> EnvBase:
        """Build the environment, with primers for the recurrent state and epsilon.

        Without the primer of the state a recurrent policy has no memory, and TorchRL raises no error.
        """
        env = self.make_env(seed=self.seed)
        supplied = set(env.observation_spec.keys())
        missing = [key for key in self.builder.state_keys if key not in supplied]
        primers: list[Transform] = []
        if missing:
            make_primer: Any = getattr(policy, "make_tensordict_primer", None)
            if make_primer is None:
                raise ConfigError(f"neither the environment nor the policy supplies {missing}")
            primers.append(make_primer())
        if self.exploration is not None:
            # A primer of `epsilon`, not a buffer of the policy, which weight updates would overwrite.
            spec = Composite(epsilon=Unbounded(shape=(1,)))
            primers.append(TensorDictPrimer(spec, default_value={"epsilon": self.exploration}, expand_specs=True))
        if not isinstance(env, TransformedEnv):
            return TransformedEnv(env, Compose(*primers))
        for primer in primers:
            env.append_transform(primer)
        return env


@dataclass
class WorkerMessage:
    """What a worker sends after each rollout."""

    #: What the rollout brings, or None when the worker failed.
    experience: Experience | None
    #: Number of the worker in its pool.
    worker: int = 0
    #: Entries of the record that a live page reads, while one follows the run.
    watched: dict[str, Any] | None = None
    #: Version of the weights that acted.
    weights_version: int = 0
    #: The request that ``state`` answers.
    state_request: int = 0
    #: Bytes of :func:`capture_state` at the end of this batch.
    state: bytes | None = None
    #: Class name, message and traceback of the exception that ended the worker.
    error: tuple[str, str, str] | None = None


class WorkerCollector(Collector):
    """Collect [E, T] and return a :class:`WorkerMessage` in place of the rollout.

    Runs inside a ``MultiAsyncCollector`` (as its ``collector_class``) or directly in the learner's process. New weights
    are loaded before a rollout, never during one.

    Args:
        spec: What the worker is built from.
        kwargs: Further arguments of ``Collector``.
    """

    def __init__(self, *, spec: WorkerSpec, **kwargs: Any) -> None:
        self.spec = spec
        self._flat: torch.Tensor | None = None
        self._failed = False
        self._served_request = self._served_log = 0
        self._weights_version, self._weights_number = 0, -1
        self._recorders: list[EpisodeRecorder] = []
        self._meters: list[EpisodeMeter] = []
        #: Holds the worker's open episodes.
        self.experience = ExperienceMaker(builder=spec.builder, codec=spec.codec, worker=spec.index)
        policy = self._acting = self._build_policy()
        kwargs |= {
            "policy": policy,
            "policy_factory": None,
            "use_buffers": False,
            "track_traj_ids": False,
            "return_same_td": True,
            "auto_register_policy_transforms": False,
            "postproc": self._to_message,
            "pre_collect_hook": self._before_rollout,
        }
        super().__init__(partial(spec.build_env, policy), **kwargs)
        # Dropped before the steps are stacked: only the transforms read the memory image and its decoding.
        self._compact_next_keys = self._unread_keys()
        if spec.state is not None:
            restore_state(self, spec.state)
            spec.state = None
        transform = getattr(self.env, "transform", None)
        transforms = transform if isinstance(transform, Compose) else [transform]
        self._recorders = [each for each in transforms if isinstance(each, EpisodeRecorder)]
        self._meters = [each for each in transforms if isinstance(each, EpisodeMeter)]
        for recorder in self._recorders:
            recorder.seeds["worker"], recorder.attempt = spec.seed, spec.attempt

    def rollout(self) -> TensorDictBase:
        """Collect one rollout; an exception is sent to the learner and ends the worker at the next call."""
        if self._failed:
            raise SystemExit(1)
        try:
            return super().rollout()
        except Exception as error:  # noqa: BLE001 - sent to the learner, which decides
            return self._fail(error)

    def shutdown(self, *arguments: Any, **options: Any) -> None:
        """End the environment; a log that belongs to a run that was lost is not written."""
        with contextlib.suppress(RunLostError):
            super().shutdown(*arguments, **options)

    def _fail(self, error: Exception) -> TensorDict:
        self._failed = True
        return _carried(pack_error(self.spec.index, error))

    def _build_policy(self) -> nn.Module:
        policy = self.spec.make_policy().requires_grad_(False)
        self._flat = flatten_parameters(network_of(policy))
        self._load_weights()
        return policy

    def _load_weights(self) -> None:
        control = self.spec.control
        if self._flat is not None and control.version != self._weights_version:
            self._weights_version, self._weights_number = control.read_weights(self._flat)

    def _before_rollout(self) -> None:
        if self.spec.control.halted and self._served_request == self.spec.control.state_request:
            raise KeyboardInterrupt  # ends a collector's worker in order
        self._load_weights()
        for recorder in self._recorders:
            recorder.follow(global_step=self.spec.control.global_steps, weights_version=self._weights_number)
        if self.spec.exploration is not None:
            self._carrier.set("epsilon", self.spec.exploration())
        for meter in self._meters:
            meter.watching = self.spec.control.watch != 0

    def _unread_keys(self) -> tuple[Any, ...]:
        builder = self.spec.builder
        read = {*builder.observation_keys, *builder.state_keys, "step_count", "is_init"}
        keys = self.env.observation_spec.keys(True, True)
        unread = [key for key in keys if (key[0] if isinstance(key, tuple) else key) not in read]
        # The new recurrent state under `next` becomes the next step's root entry: it is not needed twice.
        states = [("next", key) for key in builder.state_keys]
        return (
            *unread,
            *(("next", *key) if isinstance(key, tuple) else ("next", key) for key in unread),
            *states,
        )

    def _to_message(self, rollout: TensorDictBase) -> TensorDictBase:
        if rollout.ndim == 0:  # an error, packed already
            return rollout
        try:
            return _carried(_pack(self._message(rollout)))
        except Exception as error:  # noqa: BLE001 - as above
            return self._fail(error)

    def _message(self, rollout: TensorDictBase) -> WorkerMessage:
        spec = self.spec
        message = WorkerMessage(
            experience=self.experience(rollout, [figures for meter in self._meters for figures in meter.take()]),
            worker=spec.index,
            weights_version=self._weights_version,
        )
        for meter in self._meters:
            if meter.watching:
                message.watched = self._look(meter, rollout)
        request = spec.control.state_request
        if request != self._served_request:
            self._served_request = request
            message.state_request, message.state = request, capture_state(self)
        return message

    def _look(self, meter: EpisodeMeter, rollout: TensorDictBase) -> dict[str, Any] | None:
        """Return the entries of a live page's record of a rollout [E, T]; None where nothing was measured."""
        steps = meter.take_steps()
        if steps is None:
            return None
        step_count, pixels = rollout["step_count"].reshape(rollout.shape), rollout.get("pixels", None)
        reward, done = (rollout["next", key].reshape(rollout.shape).T.numpy() for key in ("reward", "done"))
        seen: dict[str, Any] = {
            "first_step": step_count[:, 0].numpy().astype(np.int32),
            "places": steps.places,
            "flags": steps.flags,
            "levels": steps.levels,
            "actions": rollout["action"].T.numpy().astype(np.uint8),  # [T, E]
            "rewards": reward.astype(np.float32),
            "done": done.astype(np.uint8),
            "milestones": [list(each) for each in steps.milestones],
            "cells": steps.cells,
        }
        if pixels is not None:
            # The picture before the last step, which shows the place after the one before it.
            seen["pictures"] = pixels[:, -1].flatten(2).numpy()
        asked = WatchRequest.of_number(self.spec.control.watch)
        emulator = -1 if asked is None else asked.emulator - self.spec.index * len(rollout)
        if asked is not None and 0 <= emulator < len(rollout):
            seen |= {"emulator": emulator, "terms": steps.terms[:, emulator], "term_names": list(meter.term_names)}
            seen |= self._look_at(emulator, asked.log_request, rollout)
        return seen

    def _look_at(self, emulator: int, log_request: int, rollout: TensorDictBase) -> dict[str, Any]:
        """Return what a live page shows of the emulator that it looks at, over T steps with A actions."""
        seen: dict[str, Any] = {}
        if (pixels := rollout.get("pixels", None)) is not None:
            seen["screens"] = pixels[emulator].flatten(2).numpy()
        if (mask := rollout.get("action_mask", None)) is not None:
            seen["masks"] = np.packbits(mask[emulator].numpy(), axis=-1, bitorder="little")
        if (values := rollout.get("action_value", None)) is not None:
            seen["values"] = values[emulator].half().numpy()  # [T, A], as the policy valued them
        network = network_of(self._acting)
        if isinstance(network, RecurrentQuantileNetwork):
            last = rollout[emulator : emulator + 1, -1:].select(*network.observation_keys, *network.state_keys)
            step = last.clone().auto_batch_size_(1)
            for key in network.state_keys:
                step.set(key, last.get(key)[:, 0])
            with torch.no_grad():  # [A, N], at the last step, with the mean weights
                seen["quantiles"] = network(step).get(network.quantiles_key)[0, 0].half().numpy()
        if log_request not in (0, self._served_log):
            logs = (recorder.log_so_far(emulator) for recorder in self._recorders)
            if (log := next(filter(None, logs), None)) is not None:  # else its episode has just ended: the next one's
                seen["log"], self._served_log = log.to_bytes(), log_request
        return seen


def unpack_message(payload: bytes) -> WorkerMessage:
    """Return the message in the bytes that a :class:`WorkerCollector` sends as the entry ``message``."""
    message: WorkerMessage = pickle.loads(payload)  # from a worker of this run
    if message.experience is not None and message.experience.sequences is not None:
        message.experience.sequences = _tensors(message.experience.sequences)
    return message


def network_of(policy: nn.Module) -> nn.Module:
    """Return the part of a policy whose weights the learner publishes: its ``network``, or all of it."""
    network = getattr(policy, "network", policy)
    return network if isinstance(network, nn.Module) else policy


def collector_in_process(env_unused: Any, *, spec: WorkerSpec, **kwargs: Any) -> WorkerCollector:
    """Seed the process and build the worker; the ``collector_class`` of a ``MultiAsyncCollector``.

    ``spec`` is an argument of the process, so that shared memory stays shared; TorchRL copies what it passes through
    environment constructors and hooks.
    """
    spec.control.announce(spec.index)
    if spec.lock is not None:
        spec.lock.guard(spec.lock.path.parent)
    torch.manual_seed(spec.seed)
    np.random.seed(spec.seed % 2**32)  # noqa: NPY002 - third-party code may draw from it
    kwargs.pop("create_env_kwargs", None)
    return WorkerCollector(spec=spec, **kwargs)


def prepare_process() -> None:
    """Prepare a worker process: ignore signals, and end with the learner.

    Ctrl-C and a scheduler's signals reach all processes; the learner ends the workers in order, so they ignore them.
    When the learner dies, a thread that waits for that ends the worker; a worker that is stopped or hangs in foreign
    code is ended by the kernel, with the process that started it (Linux).
    """
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    server: Any = multiprocessing.forkserver._forkserver
    if server._forkserver_alive_fd is not None:
        # The fork server ends when no process holds this pipe. A stopped worker that held it would keep the server
        # alive, and so itself: its death signal below is sent when the server ends.
        os.close(server._forkserver_alive_fd)
        server._forkserver_alive_fd = None
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    threading.Thread(target=_end_with_learner, name="end-with-learner", daemon=True).start()
    torch.set_num_threads(1)
    # Objects that came with the fork are never freed. A garbage collection that visits them writes to their pages, and
    # each worker would soon own a copy of what all workers share.
    gc.freeze()


def _end_with_learner() -> None:
    learner = multiprocessing.parent_process()
    if learner is not None:
        learner.join()
        os._exit(1)


def pack_error(worker: int, error: BaseException) -> bytes:
    """Return the message, as bytes, of a worker that an exception ends; to be called while that is handled."""
    # The file system is one line; anything else is a defect, whose place matters.
    told = disk_message(error) if isinstance(error, OSError) else None
    text = (type(error).__name__, str(error), told or traceback.format_exc())
    if told and is_full(error):
        text = (PokeredError.__name__, told, told)  # another worker would find no room either: the run ends
    return _pack(WorkerMessage(experience=None, worker=worker, error=text))


def _pack(message: WorkerMessage) -> bytes:
    """Return one bytes object: a tensor between processes would need a file descriptor and a living sender."""
    experience = message.experience
    if experience is not None and experience.sequences is not None:
        message = replace(message, experience=replace(experience, sequences=_arrays(experience.sequences)))
    return pickle.dumps(message, protocol=5)


def _carried(payload: bytes) -> TensorDict:
    return TensorDict({"message": NonTensorData(payload)}, batch_size=[])


def _arrays(batch: TensorDictBase) -> dict[str, Any]:
    """Return a TensorDict as batch size and arrays, which are pickled in-band."""
    entries = {
        key: _arrays(value) if isinstance(value, TensorDictBase) else value.contiguous().numpy()
        for key, value in batch.items()
    }
    return {"size": list(batch.batch_size), "entries": entries}


def _tensors(arrays: Mapping[str, Any]) -> TensorDict:
    entries = {
        key: _tensors(value) if isinstance(value, dict) else torch.from_numpy(value)
        for key, value in arrays["entries"].items()
    }
    return TensorDict(entries, batch_size=arrays["size"])
