"""Base of the transforms that read ``ram``: keys, layout of RAM, start of episodes, memory of each emulator."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch
from tensordict import NestedKey, TensorDictBase
from torchrl.data import Composite, TensorSpec
from torchrl.envs import EnvBase, Transform

from pokered_rl.envs.memory import EmulatorMemory
from pokered_rl.envs.ram_frame import RamFrame, label_ranges, read_frame
from pokered_rl.errors import CheckpointError, ConfigError
from pokered_rl.game import RamLayout

__all__ = ["RamTransform", "choose_keys", "flags", "put"]


def put(out: TensorDictBase, key: NestedKey, value: torch.Tensor | TensorDictBase) -> None:
    """Set an entry without the checks of shape and device where both are right by construction."""
    if isinstance(key, str) and (out.device is None or out.device.type == "cpu"):
        out._set_str(key, value, validated=True, inplace=False)
    else:
        out.set(key, value)


def choose_keys(name: str, keys: Sequence[NestedKey] | None, default: Sequence[NestedKey]) -> list[NestedKey]:
    """Return ``keys``, or the default; both must have the same length.

    Raises:
        ConfigError: They have not.
    """
    if keys is not None and len(keys) != len(default):
        raise ConfigError(f"{name} must replace {list(default)}, got {list(keys)}")
    return list(default if keys is None else keys)


class RamTransform(Transform):
    """Base of the transforms: reads ``ram`` uint8 [*, R], keeps a memory of each emulator, adds entries.

    A subclass lists the entries of the RAM map that it reads in :attr:`labels` (or overrides :attr:`ram_ranges`) and
    implements :meth:`_allocate` (make :attr:`memory` for E emulators), :meth:`_start` (an episode begins in some
    emulators), :meth:`_advance` (all emulators made a step) and :meth:`_write` (write the outputs of all emulators).

    Without an environment the transform is a function of tensordicts, one call a step: ``transform(td)`` is a step of
    every emulator; those in an ``is_init`` entry, and all at the first call, begin an episode instead. ``action`` is
    used when it is there.

    Args:
        in_keys: Entries to read in place of :attr:`IN_KEYS`, in the same order.
        out_keys: Entries to write in place of :attr:`OUT_KEYS`, in the same order.
        ram_layout: Addresses of the columns of RAM; None takes ``env.ram_layout``, or the full image without one.

    Raises:
        ConfigError: ``in_keys`` or ``out_keys`` has another length than the default.
    """

    #: Entries that are read, RAM and action first.
    IN_KEYS: ClassVar[tuple[NestedKey, ...]] = ("ram", "action")
    #: Entries that are written.
    OUT_KEYS: ClassVar[tuple[NestedKey, ...]] = ()
    #: Whether an archived start state brings what the transform remembered in it.
    carries_memory: bool = False
    #: Entries of the RAM map that the transform reads: the environment has to deliver them.
    labels: ClassVar[tuple[str, ...]] = ()

    def __init__(
        self,
        *,
        in_keys: Sequence[NestedKey] | None = None,
        out_keys: Sequence[NestedKey] | None = None,
        ram_layout: RamLayout | None = None,
    ) -> None:
        super().__init__(
            in_keys=choose_keys("in_keys", in_keys, self.IN_KEYS),
            out_keys=choose_keys("out_keys", out_keys, self.OUT_KEYS),
        )
        self.num_emulators = 0
        #: What :meth:`_allocate` made; saved and restored with the environment.
        self.memory: EmulatorMemory | None = None
        self._given_layout = ram_layout
        self._layout: RamLayout | None = ram_layout

    @property
    def ram_ranges(self) -> tuple[tuple[int, int], ...]:
        """Address ranges (start, stop) that the transform reads."""
        return label_ranges(self.labels)

    @property
    def ram_layout(self) -> RamLayout:
        """Addresses of the columns of RAM."""
        if self._layout is None:
            env = self._base_env()
            self._layout = RamLayout.full() if env is None else getattr(env, "ram_layout", RamLayout.full())
        return self._layout

    def _base_env(self) -> EnvBase | None:
        """Return the innermost environment, or None outside of one."""
        env = self.container
        while env is not None and "base_env" in env.__dict__.get("_modules", {}):
            env = env.base_env
        return env

    def set_container(self, container: Transform | EnvBase) -> None:
        """Attach the transform to an environment and take its layout."""
        super().set_container(container)
        self._layout = self._given_layout

    def _allocate(self, num_emulators: int) -> EmulatorMemory | None:
        """Return the memory of E = ``num_emulators`` emulators."""
        return None

    def _start(self, frame: RamFrame, emulators: npt.NDArray[np.bool_]) -> None:
        """Begin an episode in ``emulators`` (bool [E]); leave the memory of the others as it is."""

    def _advance(self, frame: RamFrame, action: npt.NDArray[np.int64] | None) -> None:
        """Take the step of all emulators that led to ``frame`` into the memory."""

    def _write(self, frame: RamFrame, out: TensorDictBase) -> None:
        """Write the outputs of all emulators into ``out``."""

    def _ram(self, tensordict: TensorDictBase) -> torch.Tensor:
        key = self.in_keys[0]
        ram: torch.Tensor | None = tensordict.get(key, None)
        if ram is None:
            raise KeyError(f"{type(self).__name__} needs the entry {key!r}, which the tensordict lacks")
        return ram

    def _frame(self, tensordict: TensorDictBase) -> RamFrame:
        frame = read_frame(self._ram(tensordict), self.ram_layout)
        if frame.num_emulators != self.num_emulators:
            self._prepare(frame.num_emulators)
        return frame

    def _prepare(self, num_emulators: int) -> None:
        self.memory = self._allocate(num_emulators)
        self.num_emulators = num_emulators

    def _put(self, out: TensorDictBase, key: NestedKey, values: npt.NDArray[Any], frame: RamFrame) -> torch.Tensor:
        """Write ``values`` [E, ...] under ``key`` with the leading dimensions of RAM; return the tensor."""
        tensor = torch.from_numpy(values)
        if len(frame.lead) != 1:
            tensor = tensor.reshape(*frame.lead, *values.shape[1:])
        put(out, key, tensor)
        return tensor

    def _actions(self, tensordict: TensorDictBase) -> npt.NDArray[np.int64] | None:
        action = tensordict.get(self.in_keys[1], None) if len(self.in_keys) > 1 else None
        if action is None:
            return None
        if action.ndim == 1 and action.dtype == torch.int64 and action.device.type == "cpu":
            known: npt.NDArray[np.int64] = action.numpy()
            return known
        ram = tensordict.get(self.in_keys[0], None)
        if action.dtype == torch.bool or (ram is not None and action.ndim == ram.ndim and action.shape[-1] > 1):
            action = action.to(torch.uint8).argmax(-1)  # one-hot
        flat: npt.NDArray[np.int64] = action.reshape(-1).cpu().numpy()
        return flat

    def _step(self, tensordict: TensorDictBase, next_tensordict: TensorDictBase) -> TensorDictBase:
        frame = self._frame(next_tensordict)
        self._advance(frame, self._actions(tensordict))
        self._write(frame, next_tensordict)
        return next_tensordict

    def _reset(self, tensordict: TensorDictBase, tensordict_reset: TensorDictBase) -> TensorDictBase:
        frame = self._frame(tensordict_reset)
        starting = flags(tensordict.get("_reset", None), frame.num_emulators)
        self._start(frame, starting)
        if self.carries_memory:
            self._recall(starting)
        self._write(frame, tensordict_reset)
        return tensordict_reset

    def _recall(self, starting: npt.NDArray[np.bool_]) -> None:
        """Load the memories that the start states of the emulators carry."""
        start_of = getattr(self._base_env(), "start", None)
        if start_of is None or self.memory is None:
            return
        for index in np.flatnonzero(starting).tolist():
            start, name = start_of(index), type(self).__name__
            if start.memory and name in start.memory:
                try:
                    self.load_emulator_state(index, start.memory[name])
                except (KeyError, ValueError, TypeError, AttributeError, IndexError, RuntimeError) as error:
                    raise CheckpointError(
                        f"the start state {start.name} carries a memory that {name} cannot read"
                        f" ({type(error).__name__}: {error}); it is damaged, or of another version or layout"
                    ) from error

    def emulator_state(self, index: int) -> dict[str, Any]:
        """Return what is remembered of one emulator, as tensors and plain values."""
        return {} if self.memory is None else self.memory.emulator_state(index)

    def load_emulator_state(self, index: int, state: Mapping[str, Any]) -> None:
        """Give an emulator, whose episode has just begun, what :meth:`emulator_state` returned in the same state."""
        if self.memory is not None:
            self.memory.load_emulator_state(index, state)

    def _call(self, next_tensordict: TensorDictBase) -> TensorDictBase:
        return self.forward(next_tensordict)

    def forward(self, tensordict: TensorDictBase) -> TensorDictBase:
        """Make one step of every emulator, outside of an environment."""
        first = self.num_emulators == 0
        frame = self._frame(tensordict)
        init = tensordict.get("is_init", None)
        starting = np.full(frame.num_emulators, first) if init is None else flags(init, frame.num_emulators) | first
        if not starting.all():
            self._advance(frame, self._actions(tensordict))
        if starting.any():
            self._start(frame, starting)
        self._write(frame, tensordict)
        return tensordict

    def _add_spec(
        self, observation_spec: Composite, key: NestedKey, make: Callable[[tuple[int, ...]], TensorSpec]
    ) -> None:
        """Add ``make(lead)`` under ``key``; lead are the dimensions of RAM before its last."""
        spec = make(tuple(observation_spec[self.in_keys[0]].shape[:-1]))
        observation_spec[key] = spec.to(observation_spec.device) if observation_spec.device else spec

    def transform_observation_spec(self, observation_spec: Composite) -> Composite:
        """Add the specs of the entries written."""
        return observation_spec

    def get_extra_state(self) -> dict[str, Any]:
        """Return the memory of all emulators."""
        return {
            "num_emulators": self.num_emulators,
            "memory": None if self.memory is None else self.memory.state_dict(),
        }

    def set_extra_state(self, state: Mapping[str, Any]) -> None:
        """Restore :meth:`get_extra_state`."""
        if state["num_emulators"]:
            self._prepare(state["num_emulators"])
            if self.memory is not None:
                self.memory.load_state_dict(state["memory"])


def flags(mask: torch.Tensor | None, num_emulators: int) -> npt.NDArray[np.bool_]:
    """Return a mask [*, 1] as bool [E]; no mask selects all."""
    if mask is None:
        return np.ones(num_emulators, bool)
    selected: npt.NDArray[np.bool_] = mask.reshape(num_emulators, -1).any(-1).cpu().numpy()
    return selected
