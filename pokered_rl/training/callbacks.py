"""Callbacks: the base class, and the list that calls them during a run."""

from __future__ import annotations

import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pokered_rl.disk import disk_message, is_full
from pokered_rl.errors import ConfigError, PokeredError

if TYPE_CHECKING:
    from pokered_rl.collectors import EpisodeResult
    from pokered_rl.training.checkpoint import Checkpoint
    from pokered_rl.training.evaluation import Evaluation
    from pokered_rl.training.runtime import StopReason
    from pokered_rl.training.trainer import Trainer

__all__ = ["Callback", "CallbackError", "CallbackList"]


class CallbackError(PokeredError):
    """A callback raised; the message says which one, in which method and where."""


class Callback:
    """Base class of what follows, saves or ends a run; every method does nothing.

    All methods run in the thread of the learner, between two steps of the training loop, so what they do slows learning
    down. ``trainer`` gives access to the run: see :class:`~pokered_rl.training.trainer.Trainer`.

    Example:
        >>> from pokered_rl.training import Callback, StopReason
        >>> class StopAtReturn(Callback):
        ...     def __init__(self, least: float) -> None:
        ...         self.least, self.best = least, float("-inf")
        ...
        ...     def on_episode(self, trainer, episode):
        ...         self.best = max(self.best, episode.total_reward)
        ...
        ...     def should_stop(self, trainer):
        ...         return StopReason.target if self.best >= self.least else None
        ...
        ...     def state_dict(self):
        ...         return {"best": self.best}
        ...
        ...     def load_state_dict(self, state):
        ...         self.best = state["best"]
    """

    def on_start(self, trainer: Trainer) -> None:
        """Begin a job: everything is built and restored, the workers have not started."""

    def on_batch(self, trainer: Trainer, num_steps: int) -> None:
        """Follow the workers' experience.

        Args:
            trainer: The run.
            num_steps: Agent steps that arrived since the last call; 0 after a wait in which nothing arrived.
        """

    def on_update(self, trainer: Trainer) -> None:
        """Follow a learner update, after the priorities were written."""

    def on_episode(self, trainer: Trainer, episode: EpisodeResult) -> None:
        """Take note of a finished episode."""

    def on_evaluation(self, trainer: Trainer, results: Mapping[str, Evaluation]) -> None:
        """Take note of an evaluation, by name of the policy (``trained``, ``random``)."""

    def on_checkpoint(self, trainer: Trainer, checkpoint: Checkpoint) -> None:
        """Take note of a checkpoint that is complete and on the disk."""

    def on_end(self, trainer: Trainer, stop: StopReason | Exception) -> None:
        """End a job.

        Args:
            trainer: The run; its workers are halted.
            stop: Why the loop ended: a reason, or the exception that ended it.
        """

    def should_stop(self, trainer: Trainer) -> StopReason | None:
        """Return a reason to end the loop before its next step, or None."""

    def state_dict(self) -> dict[str, Any]:
        """Return what a later job continues from: tensors, numbers, strings, lists and dicts of them."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from :meth:`state_dict`; called before :meth:`on_start`, with a checkpoint that has a state."""


class CallbackList:
    """Call callbacks in their order.

    An exception is raised as :class:`CallbackError` with the callback's name; the errors of the library's own callbacks
    name their cause already and pass unchanged.

    Args:
        callbacks: The callbacks.
        say: Prints the traceback of what fails at the end of a job that has failed already.

    Raises:
        ConfigError: An entry is no :class:`Callback`.
    """

    def __init__(self, callbacks: Sequence[Callback] = (), *, say: Callable[[str], None] = print) -> None:
        for callback in callbacks:
            if not isinstance(callback, Callback):
                raise ConfigError(f"callbacks must be Callback objects, got {callback!r}")
        self._callbacks = tuple(callbacks)
        self._say = say

    def __iter__(self) -> Iterator[Callback]:
        return iter(self._callbacks)

    def call(self, method: str, trainer: Trainer, *arguments: Any) -> None:
        """Call a method of every callback."""
        for callback in self._callbacks:
            _call(callback, method, trainer, *arguments)

    def should_stop(self, trainer: Trainer) -> StopReason | None:
        """Return the first reason that a callback gives."""
        for callback in self._callbacks:
            reason: StopReason | None = _call(callback, "should_stop", trainer)
            if reason is not None:
                return reason
        return None

    def end(self, trainer: Trainer, stop: StopReason | Exception) -> None:
        """Call ``on_end`` of every callback, of those behind a failing one, too.

        Raises:
            CallbackError: One failed, where ``stop`` is no exception; otherwise that is printed.
        """
        failed: Exception | None = None
        for callback in self._callbacks:
            try:
                _call(callback, "on_end", trainer, stop)
            except Exception as error:  # noqa: BLE001 - the others end first
                if isinstance(stop, Exception) and is_full(stop) and is_full(error):
                    continue  # one line about a full disk is enough
                if failed is not None or isinstance(stop, Exception):
                    # What a user can act on is one line for each; anything else is a defect, whose place matters.
                    told = disk_message(error) if isinstance(error, OSError) else None
                    if isinstance(error, PokeredError) and not isinstance(error, CallbackError):
                        told = str(error)
                    self._say(f"{_name(callback)} failed at the end, too: {told or traceback.format_exc()}")
                else:
                    failed = error
        if failed is not None:
            raise failed

    def state_dict(self) -> dict[str, Any]:
        """Return the states of all callbacks that have one, by their names.

        Raises:
            CallbackError: A state holds something that a checkpoint cannot.
        """
        states: dict[str, Any] = {}
        for name, callback in self._named():
            state = _call(callback, "state_dict")
            wrong = _unsaveable(state)
            if wrong is not None:
                raise CallbackError(
                    f"{name}.state_dict must return a dict of tensors, numbers, strings, lists and dicts, got {wrong}"
                )
            if state:
                states[name] = state
        return states

    def load_state_dict(self, states: Mapping[str, Any]) -> None:
        """Restore the callbacks that have a state there; the others begin anew."""
        for name, callback in self._named():
            if name in states:
                _call(callback, "load_state_dict", states[name])

    def _named(self) -> Iterator[tuple[str, Callback]]:
        """Yield each callback with the name of its class, numbered from the second of a class on."""
        seen: Counter[str] = Counter()
        for callback in self._callbacks:
            name = _name(callback)
            seen[name] += 1
            yield (name if seen[name] == 1 else f"{name}-{seen[name]}"), callback


def _name(callback: Callback) -> str:
    return type(callback).__name__


def _call(callback: Callback, method: str, *arguments: Any) -> Any:
    try:
        return getattr(callback, method)(*arguments)
    except Exception as error:
        if isinstance(error, CallbackError) or type(callback).__module__.startswith("pokered_rl."):
            raise
        place = traceback.extract_tb(error.__traceback__)[-1]
        raise CallbackError(
            f"the callback {_name(callback)} failed in {method}: {type(error).__name__}: {error}"
            f" ({place.filename}:{place.lineno})"
        ) from error


def _unsaveable(tree: Any, *, root: bool = True) -> str | None:
    """Describe the first value that a checkpoint cannot hold, or return None."""
    from torch import Tensor

    if root and not isinstance(tree, dict):
        return repr(tree)
    if isinstance(tree, Mapping):
        parts: Sequence[Any] = [*tree.keys(), *tree.values()]
    elif type(tree) in (list, tuple):
        parts = tree
    elif tree is None or type(tree) in (bool, int, float, str, bytes) or isinstance(tree, Tensor):
        return None
    else:
        return f"a {type(tree).__name__}"
    return next((found for part in parts if (found := _unsaveable(part, root=False)) is not None), None)
