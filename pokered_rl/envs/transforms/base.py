"""What all transforms that read ``ram`` have in common: where RAM comes from, which rows restart, what is declared."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch
from tensordict import NestedKey, TensorDictBase
from torchrl.data import Composite, TensorSpec
from torchrl.envs import EnvBase, Transform

from pokered_rl.envs.ram_frame import RamFrame, label_ranges, read_frame
from pokered_rl.game import RamLayout

__all__ = ["RamTransform", "put"]


def put(out: TensorDictBase, key: NestedKey, value: torch.Tensor | TensorDictBase) -> None:
    """``out.set(key, value)``, without its checks of shape and device where both are right by construction."""
    if isinstance(key, str) and (out.device is None or out.device.type == "cpu"):
        out._set_str(key, value, validated=True, inplace=False)
    else:
        out.set(key, value)


class RamTransform(Transform):
    """Base of the transforms: reads ``ram`` uint8 [*, R], keeps one memory row for each emulator, adds entries.

    A subclass lists what it reads in `labels` (or overrides `ram_ranges`) and implements `_allocate` (memory for E
    rows), `_start` (some rows begin an episode) and `_advance` (all rows made a step). Both write the outputs of all
    rows; `_start` leaves the memory of the other rows as it is.

    Without an environment the transform works as a function of tensordicts, one call a step: ``transform(td)`` is a
    step of every row; rows in an ``is_init`` entry, and all rows at the first call, start anew instead. ``action`` is
    used when it is there.

    Args:
        ram_key: entry that holds RAM.
        action_key: entry that holds the action taken (Categorical or one-hot).
        ram_layout: addresses of the columns of RAM. None: what the environment declares (``env.ram_layout``),
            or the full image without one.
    """

    #: Entries of the RAM map that the transform reads: the environment has to deliver them.
    labels: ClassVar[tuple[str, ...]] = ()

    def __init__(
        self,
        *,
        out_keys: Sequence[NestedKey],
        ram_key: NestedKey = "ram",
        action_key: NestedKey = "action",
        ram_layout: RamLayout | None = None,
    ) -> None:
        super().__init__(in_keys=[ram_key], out_keys=list(out_keys))
        self.ram_key = ram_key
        self.action_key = action_key
        self.num_rows = 0
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
        """The innermost environment, or None outside of one."""
        env = self.container
        while env is not None and "base_env" in env.__dict__.get("_modules", {}):
            env = env.base_env
        return env

    def set_container(self, container: Transform | EnvBase) -> None:
        """Attaches the transform; the layout is asked for again."""
        super().set_container(container)
        self._layout = self._given_layout

    def _allocate(self, num_rows: int) -> None:
        """Makes memory for ``num_rows`` emulators."""

    def _start(self, frame: RamFrame, rows: npt.NDArray[np.bool_], out: TensorDictBase) -> None:
        """Begins an episode in ``rows`` (bool [E]) and writes the outputs of all rows into ``out``."""
        raise NotImplementedError

    def _advance(
        self, frame: RamFrame, action: npt.NDArray[np.int64] | None, out: TensorDictBase, tensordict: TensorDictBase
    ) -> None:
        """Takes the step that led to ``frame`` into the memory and writes the outputs into ``out`` (the next step)."""
        raise NotImplementedError

    def _ram(self, tensordict: TensorDictBase) -> torch.Tensor:
        ram: torch.Tensor | None = tensordict.get(self.ram_key, None)
        if ram is None:
            raise KeyError(f"{type(self).__name__} needs the entry {self.ram_key!r}, which the tensordict lacks")
        return ram

    def _frame(self, tensordict: TensorDictBase) -> RamFrame:
        ram = self._ram(tensordict)
        frame = read_frame(ram, self.ram_layout)
        if frame.num_rows != self.num_rows:
            self._allocate(frame.num_rows)
            self.num_rows = frame.num_rows
        return frame

    def _put(self, out: TensorDictBase, key: NestedKey, values: npt.NDArray[Any], frame: RamFrame) -> torch.Tensor:
        """Writes ``values`` [E, ...] under ``key`` with the leading dimensions of RAM; returns the tensor."""
        tensor = torch.from_numpy(values)
        if len(frame.lead) != 1:
            tensor = tensor.reshape(*frame.lead, *values.shape[1:])
        put(out, key, tensor)
        return tensor

    def _actions(self, tensordict: TensorDictBase) -> npt.NDArray[np.int64] | None:
        action = tensordict.get(self.action_key, None)
        if action is None:
            return None
        if action.ndim == 1 and action.dtype == torch.int64 and action.device.type == "cpu":
            known: npt.NDArray[np.int64] = action.numpy()
            return known
        ram = tensordict.get(self.ram_key, None)
        if action.dtype == torch.bool or (ram is not None and action.ndim == ram.ndim and action.shape[-1] > 1):
            action = action.to(torch.uint8).argmax(-1)  # one-hot
        flat: npt.NDArray[np.int64] = action.reshape(-1).cpu().numpy()
        return flat

    def _step(self, tensordict: TensorDictBase, next_tensordict: TensorDictBase) -> TensorDictBase:
        self._advance(self._frame(next_tensordict), self._actions(tensordict), next_tensordict, tensordict)
        return next_tensordict

    def _reset(self, tensordict: TensorDictBase, tensordict_reset: TensorDictBase) -> TensorDictBase:
        frame = self._frame(tensordict_reset)
        mask = tensordict.get(self._reset_key, None)
        self._start(frame, _rows(mask, frame.num_rows), tensordict_reset)
        return tensordict_reset

    @property
    def _reset_key(self) -> NestedKey:
        return "_reset"

    def _call(self, next_tensordict: TensorDictBase) -> TensorDictBase:
        return self.forward(next_tensordict)

    def forward(self, tensordict: TensorDictBase) -> TensorDictBase:
        """One step of every row, outside of an environment."""
        first = self.num_rows == 0
        frame = self._frame(tensordict)
        init = tensordict.get("is_init", None)
        rows = np.zeros(frame.num_rows, bool) if init is None else _rows(init, frame.num_rows)
        if first:
            rows[:] = True
        if not rows.all():
            self._advance(frame, self._actions(tensordict), tensordict, tensordict)
        if rows.any():
            self._start(frame, rows, tensordict)
        return tensordict

    def _add_spec(self, observation_spec: Composite, key: NestedKey, make: Any) -> None:
        """Adds ``make(lead)`` under ``key``; lead are the dimensions of RAM before its last."""
        lead = tuple(observation_spec[self.ram_key].shape[:-1])
        spec: TensorSpec = make(lead)
        observation_spec[key] = spec.to(observation_spec.device) if observation_spec.device else spec


def _rows(mask: torch.Tensor | None, num_rows: int) -> npt.NDArray[np.bool_]:
    if mask is None:
        return np.ones(num_rows, bool)
    rows: npt.NDArray[np.bool_] = mask.reshape(num_rows, -1).any(-1).cpu().numpy()
    return rows
