"""`StartStates`: the save states that episodes begin from."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from pokered_rl.emulator import SaveState
from pokered_rl.errors import ConfigError

__all__ = ["StartSource", "StartState", "StartStates", "StatesLike"]

StateLike = str | os.PathLike[str] | SaveState
#: Files or states: one, several, a mapping to weights, or a mapping of names to files or states, or to pairs of such a
#: one and a weight.
StatesLike = (
    StateLike | Iterable[StateLike] | Mapping[StateLike, float] | Mapping[str, StateLike | tuple[StateLike, float]]
)


class StartState(NamedTuple):
    """One entry of the pool."""

    name: str
    state: SaveState
    weight: float
    #: What the transforms that carry their memory remember at the start, by name of their class.
    memory: Mapping[str, Any] | None = None
    #: Agent steps after which the episode is truncated, unless it is extended; None takes the environment's limit.
    max_steps: int | None = None
    #: Agent steps from power-on to this state.
    depth_steps: int = 0
    #: Key of the archive's cell, empty for other starts.
    cell: str = ""


class StartSource(Protocol):
    """What an environment asks for the start of an episode."""

    def draw(self, generator: np.random.Generator, *, emulator: int = 0, num_emulators: int = 1) -> StartState:
        """Draw the start of an episode of ``emulator``, one of ``num_emulators``."""


_KINDS = (str, os.PathLike, SaveState)


def _entry(key: Any, value: Any) -> tuple[str, StateLike, float]:
    """Return name, state and weight of an entry of a mapping: state to weight, or name to state (and weight)."""
    if isinstance(key, _KINDS) and isinstance(value, int | float) and not isinstance(value, bool):
        return key.sha256[:12] if isinstance(key, SaveState) else Path(key).stem, key, value
    pair = tuple(value) if isinstance(value, list | tuple) else (value, 1.0)
    if len(pair) == 2 and isinstance(pair[0], _KINDS) and isinstance(pair[1], int | float):
        return str(key), pair[0], pair[1]
    raise _wrong_kind(f"{value!r:.80} for {key!r:.80}")


def _wrong_kind(got: str) -> ConfigError:
    return ConfigError(f"start_states must be files or states, map them to weights, or map names to them; got {got}")


class StartStates:
    """A weighted pool of save states, drawn from at every reset; states can be added during training.

    Args:
        states: Files or :class:`~pokered_rl.emulator.SaveState` objects: one, several (equal weights), a mapping to
            weights, or a mapping of names to them (:func:`~pokered_rl.emulator.start_states`), each alone or in a pair
            with its weight.

    Raises:
        ConfigError: A weight is not positive, an entry is of another kind, or the pool would be empty.
        SaveStateError: A file cannot be read.
    """

    def __init__(self, states: StatesLike) -> None:
        self._entries: list[StartState] = []
        self._cumulated = np.zeros(0)
        given: Any = states  # of any kind, at run time
        if isinstance(given, _KINDS):
            given = [given]
        elif isinstance(given, bytes) or not isinstance(given, Iterable):
            raise _wrong_kind(f"{given!r:.80}")
        entries = given if isinstance(given, Mapping) else dict.fromkeys(given, 1.0)
        for key, value in entries.items():
            name, source, weight = _entry(key, value)
            self.add(source if isinstance(source, SaveState) else SaveState.load(source), weight=weight, name=name)
        if not self._entries:
            raise ConfigError("start_states must name at least one state, got none")

    def add(self, state: SaveState, *, weight: float = 1.0, name: str | None = None) -> None:
        """Add a state, or change the weight of one with the same content.

        Raises:
            ConfigError: The weight is not positive.
        """
        if not weight > 0:
            raise ConfigError(f"the weight of a start state must be > 0, got {weight} for {name or state.sha256[:12]}")
        entry = StartState(name or state.sha256[:12], state, float(weight))
        self._entries = [e for e in self._entries if e.state.sha256 != state.sha256] + [entry]
        self._cumulated = np.cumsum([e.weight for e in self._entries])

    def draw(self, generator: np.random.Generator, *, emulator: int = 0, num_emulators: int = 1) -> StartState:
        """Draw an entry in proportion to its weight, the same way for every emulator."""
        point = generator.random() * self._cumulated[-1]
        return self._entries[int(np.searchsorted(self._cumulated, point, side="right"))]

    def __iter__(self) -> Iterator[StartState]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)
