"""One optimizer step, from the sampled batch to the written priorities."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol

import torch
from tensordict import TensorDictBase
from torch import Tensor, nn
from torchrl.objectives.utils import HardUpdate, SoftUpdate, TargetNetUpdater

from pokered_rl.errors import ConfigError, PokeredError

__all__ = ["Learner", "LearnerError", "PrioritizedReplay", "make_target_updater", "snapshot"]


class LearnerError(PokeredError):
    """A gradient is not finite, or the device is out of memory."""


class PrioritizedReplay(Protocol):
    """The methods of a replay that the learner calls."""

    def sample(self, batch_size: int) -> TensorDictBase:
        """Draw sequences [B] with `index` and `priority_weight`."""

    def update_tensordict_priority(self, data: TensorDictBase) -> None:
        """Write the priorities `td_error` [B] of the sequences `index` [B]."""


def make_target_updater(loss: nn.Module, *, hard_interval: int | None = None, tau: float = 0.005) -> TargetNetUpdater:
    """Make TorchRL's updater of the target network.

    Args:
        loss: A loss module with target parameters.
        hard_interval: Updates between two copies; None mixes a little in after each update.
        tau: Share of the online network in a soft update.
    """
    if hard_interval is None:
        return SoftUpdate(loss, tau=tau)
    # HardUpdate counts 0, 1, ..., interval and copies on reaching the last: its true period is one update longer
    # than its argument (torchrl 0.14.1).
    return HardUpdate(loss, value_network_update_interval=hard_interval - 1)


def snapshot(tree: Any) -> Any:
    """Copy nested dicts and lists, with every tensor detached, on the CPU and in memory of its own."""
    if isinstance(tree, Tensor):
        return tree.detach().to("cpu", copy=True)
    if isinstance(tree, Mapping):
        return {key: snapshot(value) for key, value in tree.items()}
    if isinstance(tree, list | tuple):
        return type(tree)(snapshot(value) for value in tree)
    return tree


class _Result(NamedTuple):
    """What an update computes."""

    #: Priorities of the batch and the norm of its gradient, [B+1].
    report: Tensor
    #: Names of the scalars.
    names: tuple[str, ...]
    #: Their values, and 1 where there is one: [2, scalars].
    scalars: Tensor
    #: The batch, with what the loss has written.
    batch: TensorDictBase


class _Recording(NamedTuple):
    """An update that was recorded, and the memory that it reads and writes."""

    graph: torch.cuda.CUDAGraph
    inputs: TensorDictBase
    #: Shapes and types of the inputs.
    form: dict[Any, Any]
    result: _Result


class _NotRecordedError(Exception):
    """An update cannot be recorded as a CUDA graph."""


class _CudaGraph:
    """Launch an update as one CUDA graph: recorded once, replayed on the next batches.

    Not tensordict's ``CudaGraphModule``: that waits for the device before each replay, and while it records no other
    thread may use CUDA, as the one that draws ahead does.

    Args:
        update: Never waits for the device.
        device: Where it computes.
    """

    #: Updates before the recording, in which libraries allocate and the optimizer makes its state.
    WARM_UP = 3

    def __init__(self, update: Callable[[TensorDictBase], _Result], device: torch.device) -> None:
        self._update = update
        self._device = device
        self._stream = torch.cuda.Stream(device)
        self._warm_ups = 0
        self._recording: _Recording | None = None

    def __call__(self, sampled: TensorDictBase) -> _Result:
        """Update on a batch in pinned memory."""
        with torch.cuda.device(self._device):
            if self._warm_ups < self.WARM_UP:
                return self._warm_up(sampled)
            if self._recording is None:
                self._recording = self._record(sampled)
            elif _form(sampled) == self._recording.form:
                self._recording.inputs.update_(sampled, non_blocking=True)
            else:
                return self._update(sampled.to(self._device, non_blocking=True))
            self._recording.graph.replay()
            return self._recording.result

    def _warm_up(self, sampled: TensorDictBase) -> _Result:
        self._warm_ups += 1
        self._stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._stream):
            result = self._update(sampled.to(self._device, non_blocking=True))
        torch.cuda.current_stream().wait_stream(self._stream)
        return result

    def _record(self, sampled: TensorDictBase) -> _Recording:
        inputs, graph = sampled.to(self._device), torch.cuda.CUDAGraph()
        random_state = torch.cuda.get_rng_state()
        try:
            with torch.cuda.graph(graph, stream=self._stream, capture_error_mode="thread_local"):
                result = self._update(inputs.copy())
        except Exception as error:
            # A recording that failed leaves the generator in it: every random number would raise from then on.
            fresh = torch.Generator(self._device)
            fresh.set_state(random_state)
            generator = torch.cuda.default_generators[torch.cuda.current_device()]
            generator.graphsafe_set_state(fresh.graphsafe_get_state())
            if isinstance(error, torch.OutOfMemoryError):
                raise
            raise _NotRecordedError(str(error).partition("\n")[0]) from error
        return _Recording(graph, inputs, _form(inputs), result)


def _form(batch: TensorDictBase) -> dict[Any, Any]:
    return {key: (value.shape, value.dtype) for key, value in batch.items(True, True)}


class _Unread:
    """An update whose report is on its way from the device.

    Args:
        sampled: What was drawn.
        report: Its priorities and the norm of its gradient, [B+1], on any device.
        update: Its number.
    """

    def __init__(self, sampled: TensorDictBase, report: Tensor, update: int) -> None:
        self.sampled, self.update = sampled, update
        self._report, self._copied = report, None
        if report.is_cuda:
            # Copied now: a copy that begins later would wait for all that was sent to the device meanwhile.
            self._report = torch.empty(report.shape, pin_memory=True).copy_(report, non_blocking=True)
            self._copied = torch.cuda.Event()
            self._copied.record(torch.cuda.current_stream(report.device))

    def report(self) -> Tensor:
        """Return the report [B+1] on the CPU, once the device has got that far."""
        if self._copied is not None:
            self._copied.synchronize()
        return self._report


class Learner:
    """Draw a batch, take an optimizer step, update the target network and the priorities.

    The gradient is checked before the optimizer uses it: one that is not finite never reaches the weights, so what is
    saved after :class:`LearnerError` is valid. On CUDA with a fused optimizer the device makes that check, and the CPU
    reads loss and priorities of an update while the next one runs: it never waits for the update that it has begun.
    Such an update is one CUDA graph, unless the device refuses, which is said once.

    Args:
        loss: Takes a batch [B], returns parts `loss_*` and further scalars, writes `td_error` [B].
        optimizer: Over the loss's parameters.
        target_updater: Called after each step.
        replay: Where batches come from and priorities go to.
        batch_size: Sequences in a batch.
        max_grad_norm: Norm that the gradient is clipped to.
        device: Where the loss's parameters are.
        autocast: bfloat16 autocast; used on CUDA only.
        schedule: Gives the learning rate of an update from the number of those before it; None keeps the optimizer's.
        diagnose: Computes further metrics from the last batch, for :meth:`diagnostics`.
        read_late: Read losses and priorities one update late; needs a fused optimizer. None does so on CUDA.
        cuda_graph: Launch an update as a CUDA graph; used on CUDA, with ``read_late`` and a capturable optimizer only.

    Raises:
        ConfigError: ``read_late`` with an optimizer that is not fused.
    """

    def __init__(
        self,
        *,
        loss: nn.Module,
        optimizer: torch.optim.Optimizer,
        target_updater: TargetNetUpdater,
        replay: PrioritizedReplay,
        batch_size: int,
        max_grad_norm: float,
        device: torch.device,
        autocast: bool = True,
        schedule: Callable[[int], float] | None = None,
        diagnose: Callable[[TensorDictBase], Mapping[str, float]] | None = None,
        read_late: bool | None = None,
        cuda_graph: bool = True,
    ) -> None:
        self.loss = loss
        self.optimizer = optimizer
        self.target_updater = target_updater
        self._schedule = schedule
        self.batch_size = batch_size
        self.updates = 0
        self._replay = replay
        self._max_grad_norm = max_grad_norm
        #: Device of the loss.
        self.device = device
        self._autocast = autocast and device.type == "cuda"
        self._parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        self._diagnose = diagnose
        self._last_batch: TensorDictBase | None = None
        #: By names of the scalars: sums and numbers [2, scalars]; a NaN, for lack of what it describes, is left out.
        self._sums: dict[tuple[str, ...], Tensor] = {}
        fused = bool(optimizer.defaults.get("fused"))
        if read_late and not fused:
            raise ConfigError("read_late needs a fused optimizer, which can leave out an update that is not finite")
        self._read_late = (device.type == "cuda" and fused) if read_late is None else read_late
        self._unread: _Unread | None = None
        #: 1 once a gradient was not finite: a fused optimizer leaves weights and moments as they are from then on.
        self._broken = torch.zeros((), device=device)
        capturable = all(group.get("capturable") for group in optimizer.param_groups)
        self._captures = cuda_graph and device.type == "cuda" and self._read_late and capturable
        self._graph = _CudaGraph(self._update, device) if self._captures else None

    def step(self) -> None:
        """Do one update.

        Raises:
            LearnerError: The gradient is not finite, or the device is out of memory; the weights are unchanged.
        """
        if self._schedule is not None:
            self._set_learning_rate(self._schedule(self.updates))
        try:
            sampled = self._replay.sample(self.batch_size)
            result = self._update_on(sampled)
        except torch.OutOfMemoryError as error:
            raise LearnerError(
                f"out of memory on {self.device} in update {self.updates + 1}; lower learner.batch_size"
                f" ({self.batch_size}) or network.size ({str(error).splitlines()[0]})"
            ) from error
        if self._read_late:
            unread, self._unread = self._unread, _Unread(sampled, result.report, self.updates + 1)
            if unread is not None:
                self._read(unread)
        else:
            self._write_priorities(sampled, result.report)
        self.target_updater.step()
        self.updates += 1
        before = self._sums.get(result.names)
        self._sums[result.names] = result.scalars.clone() if before is None else before + result.scalars
        self._last_batch = result.batch

    def _set_learning_rate(self, rate: float) -> None:
        for group in self.optimizer.param_groups:
            if not self._captures:
                group["lr"] = rate
            elif isinstance(group["lr"], Tensor):
                group["lr"].fill_(rate)  # a CUDA graph reads it there
            else:
                group["lr"] = torch.tensor(rate, device=self.device)

    def _update_on(self, sampled: TensorDictBase) -> _Result:
        """Do an update on a sample, as a CUDA graph where one can be made."""
        if self._graph is None:
            return self._update(self._to_device(sampled))
        try:
            return self._graph(_pinned(sampled))
        except _NotRecordedError as error:
            self._graph = None
            warnings.warn(
                f"the update cannot be a CUDA graph and is launched kernel by kernel ({error});"
                " runtime.cuda_graphs=false leaves this message out",
                stacklevel=2,
            )
            return self._update(self._to_device(sampled))

    def _update(self, batch: TensorDictBase) -> _Result:
        """Loss, gradient and optimizer step; with ``read_late`` the CPU never waits for the device."""
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self._autocast):
            losses = self.loss(batch)
        self.optimizer.zero_grad(set_to_none=True)
        # By TorchRL's convention the parts of a loss are called loss_*, and their sum is minimised.
        sum(value for name, value in losses.items() if name.startswith("loss_")).backward()
        grad_norm = nn.utils.clip_grad_norm_(self._parameters, self._max_grad_norm)
        if "td_error" not in batch:
            raise LearnerError(f"{type(self.loss).__name__} must write the priorities `td_error` [B] into its batch")
        report = torch.cat([batch["td_error"].detach().float(), grad_norm.detach().float().reshape(1)])  # [B+1]
        if self._read_late:
            self._broken.copy_(torch.maximum(self._broken, (~torch.isfinite(report).all()).float()))
            self.optimizer.found_inf = self._broken  # type: ignore[attr-defined]
        else:
            # The one place where the CPU waits for the device.
            report = report.cpu()
            self._check(report, self.updates + 1)
        self.optimizer.step()
        scalars = {**dict(losses.items()), "grad_norm": grad_norm}
        values = torch.stack([value.detach().float().mean() for value in scalars.values()])
        there = ~values.isnan()
        pairs = torch.stack([values.masked_fill(~there, 0.0), there.float()])
        return _Result(report, tuple(scalars), pairs, batch)

    def draw(self) -> tuple[TensorDictBase, TensorDictBase]:
        """Return a sample, and what the loss gets of it: a copy on the device."""
        sampled = self._replay.sample(self.batch_size)
        return sampled, self._to_device(sampled)

    def settle(self) -> None:
        """Read the losses and write the priorities of an update that has not been read yet.

        Raises:
            LearnerError: They are not finite; that update has left the weights unchanged.
        """
        if self._unread is not None:
            unread, self._unread = self._unread, None
            self._read(unread)

    def _read(self, unread: _Unread) -> None:
        report = unread.report()
        self._check(report, unread.update)
        self._write_priorities(unread.sampled, report)

    def _check(self, report: Tensor, update: int) -> None:
        if not bool(torch.isfinite(report).all()):
            raise LearnerError(
                f"loss or gradient is not finite in update {update} (gradient norm {float(report[-1])});"
                " the weights of the update before are saved; lower learner.learning_rate or look at the rewards"
            )

    def _write_priorities(self, sampled: TensorDictBase, report: Tensor) -> None:
        sampled.set("td_error", report[:-1])
        self._replay.update_tensordict_priority(sampled)

    def diagnostics(self) -> dict[str, float]:
        """Compute the diagnostics of the last update; costs about as much as one, so call it for logged rows only."""
        if self._diagnose is None or self._last_batch is None:
            return {}
        return dict(self._diagnose(self._last_batch))

    def means(self) -> dict[str, float]:
        """Return the means of the loss's scalars and of the gradient norm over the updates since the last call."""
        totals: dict[str, tuple[float, float]] = {}
        for names, pairs in self._sums.items():
            for name, total, number in zip(names, *pairs.tolist(), strict=True):
                before = totals.get(name, (0.0, 0.0))
                totals[name] = before[0] + total, before[1] + number
        self._sums.clear()
        return {name: total / number for name, (total, number) in totals.items() if number}

    def state_dict(self) -> dict[str, Any]:
        """Return a snapshot of all that the next update depends on, apart from the replay and the random state."""
        if self._unread is not None and bool(torch.isfinite(self._unread.report()).all()):
            self.settle()  # its priorities belong to what is saved; what is not finite is told by the next update
        state = {
            "updates": self.updates,
            "loss": self.loss.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "target_updater": self.target_updater.state_dict(),
        }
        copied: dict[str, Any] = snapshot(state)
        return copied

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a snapshot, with the settings of this learner, which may have been changed between two jobs.

        Raises:
            RuntimeError: The network is another one.
        """
        self.updates = state["updates"]
        self._broken.zero_()
        if self._captures:
            self._graph = _CudaGraph(self._update, self.device)  # the optimizer's state will lie elsewhere
        self.loss.load_state_dict(state["loss"])
        self.optimizer.load_state_dict(state["optimizer"] | {"param_groups": self._groups(state["optimizer"])})
        self.target_updater.load_state_dict(state["target_updater"])
        if isinstance(self.target_updater, HardUpdate):
            # It copies when its counter equals the interval: one that stands beyond would never get there again.
            interval = self.target_updater.value_network_update_interval
            self.target_updater.counter = min(self.target_updater.counter, interval)

    def _groups(self, saved: Mapping[str, Any]) -> list[dict[str, Any]]:
        """The saved parameter groups with this optimizer's settings."""
        return [
            old | {name: value for name, value in new.items() if name != "params"}
            for old, new in zip(saved["param_groups"], self.optimizer.param_groups, strict=True)
        ]

    def _to_device(self, sampled: TensorDictBase) -> TensorDictBase:
        if self.device.type != "cuda":
            return sampled.copy()  # the loss writes into its batch; the sample keeps its own entries
        return _pinned(sampled).to(self.device, non_blocking=True)


def _pinned(sampled: TensorDictBase) -> TensorDictBase:
    """Return a sample in pinned memory, where a replay that draws ahead has put it already."""
    return sampled if next(iter(sampled.values(True, True))).is_pinned() else sampled.pin_memory()
