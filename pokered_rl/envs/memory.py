"""Memory of E emulators that can be saved and restored, altogether or for one emulator."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch

from pokered_rl.envs.ram_frame import RamFrame
from pokered_rl.errors import CheckpointError
from pokered_rl.game import RamLayout

__all__ = ["EmulatorMemory", "SparseMemory", "StepMemory", "to_array", "to_tensor"]


def to_tensor(array: npt.NDArray[Any]) -> torch.Tensor:
    """Copy an array into a tensor; uint64 becomes int64 of the same bits."""
    array = np.ascontiguousarray(array)
    return torch.from_numpy(array.view(np.int64) if array.dtype == np.uint64 else array).clone()


def to_array(tensor: torch.Tensor, dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """Return the values of a tensor that :func:`to_tensor` made of an array of ``dtype``."""
    return tensor.numpy().view(dtype)


class EmulatorMemory:
    """Base of objects whose attributes are arrays [E, ...] and other memories.

    Which attributes are saved: NumPy arrays and :class:`EmulatorMemory` objects, but for those in :attr:`NOT_SAVED`.
    """

    #: Attributes that follow from others.
    NOT_SAVED: ClassVar[frozenset[str]] = frozenset()

    def _parts(self) -> dict[str, Any]:
        return {
            key: value
            for key, value in vars(self).items()
            if isinstance(value, np.ndarray | EmulatorMemory) and key not in self.NOT_SAVED
        }

    def state_dict(self) -> dict[str, Any]:
        """Return the memory of all emulators as tensors."""
        return {
            key: part.state_dict() if isinstance(part, EmulatorMemory) else to_tensor(part)
            for key, part in self._parts().items()
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore :meth:`state_dict` of as many emulators.

        Raises:
            CheckpointError: The state lacks a part: another version of the library wrote it.
        """
        for key, part in self._parts().items():
            if key not in state:
                raise CheckpointError(
                    f"the saved memory of the emulators has no {key!r}: another version of pokered_rl wrote it; go on"
                    " with that version, or begin a new run (curriculum.source takes the archive of this one)"
                )
            if isinstance(part, EmulatorMemory):
                part.load_state_dict(state[key])
            else:  # not in place: frames share some of these arrays
                array = np.empty_like(part)
                array[...] = to_array(state[key], part.dtype)
                setattr(self, key, array)

    def emulator_state(self, index: int) -> dict[str, Any]:
        """Return the memory of one emulator as tensors."""
        return {
            key: part.emulator_state(index) if isinstance(part, EmulatorMemory) else to_tensor(part[index : index + 1])
            for key, part in self._parts().items()
        }

    def load_emulator_state(self, index: int, state: Mapping[str, Any]) -> None:
        """Give one emulator the memory that :meth:`emulator_state` returned for any emulator."""
        for key, part in self._parts().items():
            if isinstance(part, EmulatorMemory):
                part.load_emulator_state(index, state[key])
            else:
                array = part.copy()
                array[index] = to_array(state[key], part.dtype)[0]
                setattr(self, key, array)


class SparseMemory(EmulatorMemory):
    """Base of memories that save each emulator by itself, in less space than their arrays take.

    A subclass implements :meth:`emulator_state` and :meth:`load_emulator_state`.
    """

    num_emulators: int

    def state_dict(self) -> dict[str, Any]:
        """Return the memory of all emulators."""
        return {"emulators": [self.emulator_state(index) for index in range(self.num_emulators)]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore :meth:`state_dict`.

        Raises:
            CheckpointError: The state is of another number of emulators.
        """
        saved = len(state["emulators"])
        if saved != self.num_emulators:
            raise CheckpointError(
                f"{type(self).__name__}: the state is of {saved} emulators, this environment has {self.num_emulators}"
            )
        for index, each in enumerate(state["emulators"]):
            self.load_emulator_state(index, each)

    def emulator_state(self, index: int) -> dict[str, Any]:
        """Return the memory of one emulator as tensors."""
        raise NotImplementedError

    def load_emulator_state(self, index: int, state: Mapping[str, Any]) -> None:
        """Give one emulator the memory that :meth:`emulator_state` returned for any emulator."""
        raise NotImplementedError


class StepMemory(EmulatorMemory):
    """A memory that also keeps the frame of the step before.

    The frame is no part of an emulator's state: where that is loaded, an episode begins in the frame it was taken in.
    """

    before: RamFrame | None = None

    def state_dict(self) -> dict[str, Any]:
        """Return the memory of all emulators as tensors."""
        before = self.before
        frame = None if before is None else (before.tensor.clone(), [list(span) for span in before.layout.ranges])
        return {**super().state_dict(), "before": frame}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore :meth:`state_dict` of as many emulators."""
        super().load_state_dict(state)
        if state["before"] is not None:
            ram, spans = state["before"]
            self.before = RamFrame(ram, RamLayout(tuple((start, stop) for start, stop in spans)))
