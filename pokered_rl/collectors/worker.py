"""The part of the workers that runs in the worker: TorchRL's `Collector`, sending only what the learner reads."""

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
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from tensordict import NonTensorData, TensorDict, TensorDictBase
from torch import nn
from torchrl.collectors import Collector
from torchrl.envs import Compose, EnvBase, Transform, TransformedEnv

from pokered_rl.collectors.control import flatten_parameters
from pokered_rl.collectors.exploration import Exploration, epsilon_primer
from pokered_rl.collectors.worker_state import capture_state, restore_state
from pokered_rl.data import STATE_KEYS, SequenceLayout, compact_rollout
from pokered_rl.envs import EpisodeRecorder
from pokered_rl.errors import ConfigError

__all__ = [
    "WorkerCollector",
    "WorkerMessage",
    "WorkerPlan",
    "collector_in_process",
    "network_of",
    "pack_error",
    "prepare_process",
    "read_message",
    "unpack_message",
]

_PR_SET_PDEATHSIG = 1


@dataclass
class WorkerPlan:
    """Everything that one worker must know; picklable.

    Args:
        index: number of the worker in this pool.
        make_env: builds the environment [E]; called with `seed` in the worker.
        make_policy: builds the policy, a module of this worker's own.
        exploration: epsilon of this worker's emulators; None for a policy that reads none.
        control: a `SharedControl`, or what stands in for it on another machine.
        layout: of the sequences, tells which recurrent states are sent.
        observation_keys: entries that sequences are made of.
        state_keys: recurrent state entries.
        two_bit_keys: entries that are packed before they are sent.
        seed: of environment and exploration.
        state: what `capture_state` saved in an earlier job; None starts new episodes.
    """

    index: int
    make_env: Callable[..., EnvBase]
    make_policy: Callable[[], nn.Module]
    exploration: Exploration | None
    control: Any
    layout: SequenceLayout
    observation_keys: tuple[str, ...]
    state_keys: tuple[str, ...] = STATE_KEYS
    two_bit_keys: tuple[str, ...] = ()
    seed: int = 0
    state: bytes | None = None

    def build_env(self, policy: nn.Module) -> EnvBase:
        """The environment, with recurrent state and epsilon supplied to the policy.

        Without the primer of the state a recurrent policy would have no memory, and TorchRL would not say so.
        """
        env = self.make_env(seed=self.seed)
        supplied = set(env.observation_spec.keys())
        missing = [key for key in self.state_keys if key not in supplied]
        primers: list[Transform] = []
        if missing:
            make_primer: Any = getattr(policy, "make_tensordict_primer", None)
            if make_primer is None:
                raise ConfigError(f"neither the environment nor the policy supplies {missing}")
            primers.append(make_primer())
        if self.exploration is not None:
            primers.append(epsilon_primer(self.exploration))
        if not isinstance(env, TransformedEnv):
            return TransformedEnv(env, Compose(*primers))
        for primer in primers:
            env.append_transform(primer)
        return env


@dataclass
class WorkerMessage:
    """What a worker sends after each rollout.

    Attributes:
        batch: result of `compact_rollout`, or None when the worker failed.
        worker: number of the worker in its pool.
        frames: agent steps in the batch, E * T.
        weights_version: version of the weights that played it.
        state_request: the request that `state` answers.
        state: bytes of `capture_state` at the end of this batch.
        error: class name, message and traceback of what the worker died of.
    """

    batch: TensorDict | None
    worker: int = 0
    frames: int = 0
    weights_version: int = 0
    state_request: int = 0
    state: bytes | None = None
    error: tuple[str, str, str] | None = None


class WorkerCollector(Collector):
    """Collects [E, T] and hands out a `WorkerMessage` in place of the rollout.

    Runs inside a `MultiAsyncCollector` (as its `collector_class`) or directly in the learner's process. New weights are
    taken before a rollout, never during one.

    Args:
        plan: environment, policy and everything else of this worker.
        kwargs: further arguments of `Collector`.
    """

    def __init__(self, *, plan: WorkerPlan, **kwargs: Any) -> None:
        self.plan = plan
        self._flat: torch.Tensor | None = None
        self._failed = False
        self._served_request = 0
        self._weights_version, self._weights_number = 0, -1
        self._recorders: list[EpisodeRecorder] = []
        policy = self._build_policy()
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
        super().__init__(partial(plan.build_env, policy), **kwargs)
        # Dropped before the steps are stacked: nobody reads the memory image and its decoding outside the transforms.
        self._compact_next_keys = self._unread_keys()
        if plan.state is not None:
            restore_state(self, plan.state)
            plan.state = None
        transform = getattr(self.env, "transform", None)
        transforms = transform if isinstance(transform, Compose) else [transform]
        self._recorders = [each for each in transforms if isinstance(each, EpisodeRecorder)]
        for recorder in self._recorders:
            recorder.seeds["worker"] = plan.seed

    @property
    def weights_version(self) -> int:
        """Version of the weights that act now."""
        return self._weights_version

    def rollout(self) -> TensorDictBase:
        """One rollout; an exception is sent to the learner and ends the worker at the next call."""
        if self._failed:
            raise SystemExit(1)
        try:
            return super().rollout()
        except Exception as error:  # noqa: BLE001 - it is told to the learner, which decides
            self._failed = True
            return _carried(pack_error(self.plan.index, error))

    def _build_policy(self) -> nn.Module:
        policy = self.plan.make_policy().requires_grad_(False)
        self._flat = flatten_parameters(network_of(policy))
        self._take_weights()
        return policy

    def _take_weights(self) -> None:
        control = self.plan.control
        if self._flat is not None and control.version != self._weights_version:
            self._weights_version, self._weights_number = control.read_weights(self._flat)

    def _before_rollout(self) -> None:
        if self.plan.control.halted and self._served_request == self.plan.control.state_request:
            raise KeyboardInterrupt  # how a collector's worker is told to end in order
        self._take_weights()
        for recorder in self._recorders:
            recorder.follow(global_step=self.plan.control.global_steps, weights_version=self._weights_number)
        if self.plan.exploration is not None:
            self._carrier.set("epsilon", self.plan.exploration())

    def _unread_keys(self) -> tuple[Any, ...]:
        read = {*self.plan.observation_keys, *self.plan.state_keys, "step_count", "is_init"}
        keys = self.env.observation_spec.keys(True, True)
        unread = [key for key in keys if (key[0] if isinstance(key, tuple) else key) not in read]
        # The new recurrent state under `next` becomes the next step's root entry: it is not needed twice.
        states = [("next", key) for key in self.plan.state_keys]
        return (
            *unread,
            *(("next", *key) if isinstance(key, tuple) else ("next", key) for key in unread),
            *states,
        )

    def _to_message(self, rollout: TensorDictBase) -> TensorDictBase:
        if rollout.ndim == 0:  # an error, packed already
            return rollout
        plan = self.plan
        message = WorkerMessage(
            batch=compact_rollout(
                rollout,
                layout=plan.layout,
                observation_keys=plan.observation_keys,
                state_keys=plan.state_keys,
                two_bit_keys=plan.two_bit_keys,
            ),
            worker=plan.index,
            frames=rollout.numel(),
            weights_version=self._weights_version,
        )
        request = plan.control.state_request
        if request != self._served_request:
            self._served_request = request
            message.state_request, message.state = request, capture_state(self)
        return _carried(_pack(message))


def read_message(data: TensorDictBase) -> WorkerMessage:
    """Reads what an `WorkerCollector` yields."""
    return unpack_message(data["message"])


def unpack_message(payload: bytes) -> WorkerMessage:
    """Reads the bytes that an `WorkerCollector` sends."""
    message: WorkerMessage = pickle.loads(payload)  # from a worker of this run
    if message.batch is not None:
        message.batch = _tensors(message.batch)
    return message


def network_of(policy: nn.Module) -> nn.Module:
    """The part of a policy whose weights the learner hands over: its `network`, or all of it."""
    network = getattr(policy, "network", policy)
    return network if isinstance(network, nn.Module) else policy


def collector_in_process(env_unused: Any, *, plan: WorkerPlan, **kwargs: Any) -> WorkerCollector:
    """The `collector_class` of a `MultiAsyncCollector`: seeds the process and builds the worker from its plan.

    The plan travels as an argument of the process, where shared memory stays shared; TorchRL would copy it on the
    ways of environment constructors and hooks.
    """
    plan.control.announce(plan.index)
    torch.manual_seed(plan.seed)
    np.random.seed(plan.seed % 2**32)  # noqa: NPY002 - whatever third-party code draws from it
    kwargs.pop("create_env_kwargs", None)
    return WorkerCollector(plan=plan, **kwargs)


def prepare_process() -> None:
    """Runs first in a worker process: ties its life to the learner's.

    Ctrl-C and a scheduler's signals reach all processes; the learner ends the workers in order, so they ignore them.
    When the learner dies in whatever way, a thread that waits for that ends the worker; a worker that is stopped or
    hangs in foreign code is ended by the kernel, with the process that started it (Linux).
    """
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)
    server: Any = multiprocessing.forkserver._forkserver
    if server._forkserver_alive_fd is not None:
        # The fork server ends when nobody holds this pipe any more. A stopped worker that held it would keep the server
        # alive, and with it itself: its death signal below comes with the server's.
        os.close(server._forkserver_alive_fd)
        server._forkserver_alive_fd = None
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    threading.Thread(target=_end_with_learner, name="end-with-learner", daemon=True).start()
    torch.set_num_threads(1)
    # What came with the fork is here to stay. A garbage collection that walked through it would write to its pages, and
    # each worker would soon own a copy of what all of them share.
    gc.freeze()


def _end_with_learner() -> None:
    learner = multiprocessing.parent_process()
    if learner is not None:
        learner.join()
        os._exit(1)


def pack_error(worker: int, error: BaseException) -> bytes:
    """What a worker sends, as bytes, when it dies of an exception; to be called while that is handled."""
    text = (type(error).__name__, str(error), traceback.format_exc())
    return _pack(WorkerMessage(batch=None, worker=worker, error=text))


def _pack(message: WorkerMessage) -> bytes:
    """One bytes object: a tensor sent between processes costs a file descriptor and a socket, and the sender's life."""
    arrays = None if message.batch is None else _arrays(message.batch)
    return pickle.dumps(WorkerMessage(**{**message.__dict__, "batch": arrays}), protocol=5)


def _carried(payload: bytes) -> TensorDict:
    return TensorDict({"message": NonTensorData(payload)}, batch_size=[])


def _arrays(batch: TensorDictBase) -> dict[str, Any]:
    """A TensorDict as (batch size, arrays), which pickle in-band."""
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
