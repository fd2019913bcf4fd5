"""Memory shared by learner and workers: the newest weights in one buffer, and a few numbers.

Every worker maps the same memory, so publishing weights costs one copy for any number of workers, and a worker copies
them only when their version has changed.
"""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from pokered_rl.errors import ConfigError

__all__ = ["SharedControl", "WatchRequest", "flatten_parameters", "shared_bytes"]

_ALIGNMENT = 16
# Fields of the header, int64.
_WRITING, _WRITTEN, _GLOBAL_STEPS, _STATE_REQUEST, _HALT, _NUMBER, _WATCH = range(7)
_HEADER_SIZE = 8
#: Where Linux keeps shared memory; a container's default is 64 MB.
_SHARED_FOLDER = Path("/dev/shm")
#: Each shared tensor is a file of whole pages.
_PAGE_BYTES = 4096


class WatchRequest(NamedTuple):
    """What workers send for a live page; :attr:`SharedControl.watch` holds it as a number, 0 for nothing."""

    #: Emulator of which actions values and reward terms are sent, too; counted over all workers, -1 for none.
    emulator: int = -1
    #: Changes when the log of that emulator's open episode is wanted, once; 0 for never.
    log_request: int = 0

    def to_number(self) -> int:
        """Return a number that is not 0."""
        return self.log_request << 32 | self.emulator + 2

    @classmethod
    def of_number(cls, number: int) -> WatchRequest | None:
        """Undo :meth:`to_number`; None for 0."""
        return cls((number & 0xFFFFFFFF) - 2, number >> 32) if number else None


class SharedControl:
    """Memory shared by one learner and its workers; picklable as an argument of a process.

    Args:
        module: Its parameters and buffers are what workers copy.
        num_workers: W.

    Raises:
        ConfigError: The shared memory of this system has no room for it.
    """

    def __init__(self, module: nn.Module, *, num_workers: int) -> None:
        _check_room(shared_bytes(module, num_workers=num_workers), _SHARED_FOLDER)
        self._names = sorted(module.state_dict())
        self._weights = torch.zeros(_flat_size(_tensors(module)), dtype=torch.uint8).share_memory_()
        self._staging: Tensor | None = None
        self._header = torch.zeros(_HEADER_SIZE, dtype=torch.int64).share_memory_()
        self._pids = torch.zeros(num_workers, dtype=torch.int64).share_memory_()

    @property
    def version(self) -> int:
        """How often weights have been written."""
        return int(self._header[_WRITTEN])

    @property
    def global_steps(self) -> int:
        """Agent steps of the whole run that have reached the learner."""
        return int(self._header[_GLOBAL_STEPS])

    @global_steps.setter
    def global_steps(self, value: int) -> None:
        self._header[_GLOBAL_STEPS] = value

    @property
    def state_request(self) -> int:
        """Number of the last request for the workers' states; 0 before the first."""
        return int(self._header[_STATE_REQUEST])

    @property
    def watch(self) -> int:
        """What workers send of each step for a live page: see :class:`WatchRequest`."""
        return int(self._header[_WATCH])

    @watch.setter
    def watch(self, value: int) -> None:
        self._header[_WATCH] = value

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_staging": None}

    def request_state(self, *, halt: bool) -> int:
        """Ask every worker for its state (``halt``: and to end) with its next batch; return the request's number."""
        if halt:
            self._header[_HALT] = 1
        self._header[_STATE_REQUEST] += 1
        return self.state_request

    @property
    def halted(self) -> bool:
        """Whether workers end after their next batch."""
        return bool(self._header[_HALT])

    def announce(self, worker: int) -> None:
        """Publish the calling process's id as the worker's, so that it can be ended even while it hangs."""
        self._pids[worker] = os.getpid()

    def pid(self, worker: int) -> int:
        """Return the process id of a worker; 0 before :meth:`announce`."""
        return int(self._pids[worker])

    def forget(self, worker: int) -> None:
        """Forget the process id of a worker that has ended."""
        self._pids[worker] = 0

    @torch.no_grad()
    def write_weights(self, module: nn.Module, *, number: int = -1) -> int:
        """Copy the module's parameters and buffers for the workers; return the new version.

        Args:
            module: With the parameter names of the constructor's module.
            number: The learner's number of these weights, for the logs; -1 when it has none.

        Raises:
            ValueError: The names differ.
        """
        if sorted(module.state_dict()) != self._names:
            raise ValueError("the module's parameters have other names than those the workers were started with")
        values = _tensors(module)
        if self._staging is None or self._staging.device != values[0].device:
            self._staging = torch.zeros_like(self._weights, device=values[0].device)
        for value, target in zip(values, _views(self._staging, values), strict=True):
            target.copy_(value)
        return self.restore_weights(self._staging, number=number)

    def restore_weights(self, flat: Tensor, *, number: int = -1) -> int:
        """Publish weights in the form of :meth:`copy_weights`; return the new version."""
        self._header[_WRITING] += 1
        self._weights.copy_(flat)
        self._header[_NUMBER] = number
        self._header[_WRITTEN] = self._header[_WRITING]
        return self.version

    def copy_weights(self) -> tuple[Tensor, int, int]:
        """Return a copy of the newest weights, uint8 [bytes], their version and the learner's number."""
        flat = torch.empty_like(self._weights)
        return flat, *self.read_weights(flat)

    def read_weights(self, flat: Tensor) -> tuple[int, int]:
        """Copy the newest weights into ``flat`` (see :func:`flatten_parameters`).

        Returns:
            Their version, and the learner's number of them, -1 where it gave none.
        """
        while True:
            version = self.version
            flat.copy_(self._weights)
            number = int(self._header[_NUMBER])
            if int(self._header[_WRITING]) == version:
                return version, number
            time.sleep(1e-3)  # the learner was writing: what was copied may be half old, half new


def shared_bytes(module: nn.Module, *, num_workers: int) -> int:
    """Return the bytes of shared memory that a :class:`SharedControl` takes: all that learner and workers share.

    Batches travel through pipes.
    """
    sizes = (_flat_size(_tensors(module)), 8 * _HEADER_SIZE, 8 * num_workers)
    return sum(-(-size // _PAGE_BYTES) * _PAGE_BYTES for size in sizes)


def _check_room(needed: int, folder: Path) -> None:
    """Refuse to share more than fits: Linux would end the process without a message (SIGBUS) at the first write."""
    free = shutil.disk_usage(folder).free if folder.is_dir() else needed
    if needed > free:
        raise ConfigError(
            f"learner and workers share {needed / 1e6:,.1f} MB, {folder} has {free / 1e6:,.1f} MB free; start the "
            "container with --shm-size=1g, choose a smaller network.size, or set collector.backend=inline"
        )


@torch.no_grad()
def flatten_parameters(module: nn.Module) -> Tensor:
    """Move all parameters and buffers of a module into one buffer, uint8 [bytes], and return it.

    The module keeps working as before; overwriting the buffer overwrites its weights.
    """
    values = _tensors(module)
    flat = torch.zeros(_flat_size(values), dtype=torch.uint8)
    for value, target in zip(values, _views(flat, values), strict=True):
        target.copy_(value)
        value.data = target
    return flat


def _tensors(module: nn.Module) -> list[Tensor]:
    """Return the parameters and buffers in the order of their names."""
    state = module.state_dict(keep_vars=True)
    return [state[name] for name in sorted(state)]


def _flat_size(values: list[Tensor]) -> int:
    return sum(_padded(value) for value in values)


def _padded(value: Tensor) -> int:
    return -(-value.numel() * value.element_size() // _ALIGNMENT) * _ALIGNMENT


def _views(flat: Tensor, values: list[Tensor]) -> list[Tensor]:
    """Return views into a flat buffer with the types and shapes of ``values``."""
    views, offset = [], 0
    for value in values:
        size = value.numel() * value.element_size()
        views.append(flat[offset : offset + size].view(value.dtype).view(value.shape))
        offset += _padded(value)
    return views
