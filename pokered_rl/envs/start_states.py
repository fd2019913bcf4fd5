"""`StartStates`: the save states that episodes begin from."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from pokered_rl.emulator import SaveState
from pokered_rl.errors import ConfigError

__all__ = ["StartState", "StartStates"]

#: What is accepted as the description of a start state.
StartStateLike = "str | os.PathLike[str] | SaveState"


class StartState(NamedTuple):
    """One entry of the pool."""

    name: str
    state: SaveState
    weight: float


class StartStates:
    """A weighted pool of save states, drawn from at every reset; states can join while training runs.

    Args:
        states: files or `SaveState` objects, alone, in a sequence (equal weights) or as a mapping to weights.

    Raises:
        ConfigError: a weight is not positive, or the pool would be empty.
        SaveStateError: a file cannot be read.
    """

    def __init__(
        self,
        states: str
        | os.PathLike[str]
        | SaveState
        | Iterable[str | os.PathLike[str] | SaveState]
        | Mapping[str | os.PathLike[str] | SaveState, float],
    ) -> None:
        self._entries: list[StartState] = []
        self._cumulated = np.zeros(0)
        if isinstance(states, str | os.PathLike | SaveState):
            states = [states]
        weights = states if isinstance(states, Mapping) else dict.fromkeys(states, 1.0)
        for source, weight in weights.items():
            if isinstance(source, SaveState):
                self.add(source, weight=weight, name=source.sha256[:12])
            else:
                self.add(SaveState.load(source), weight=weight, name=Path(source).stem)
        if not self._entries:
            raise ConfigError("start_states must name at least one state, got none")

    def add(self, state: SaveState, *, weight: float = 1.0, name: str | None = None) -> None:
        """Adds a state, or changes the weight of one with the same content.

        Raises:
            ConfigError: the weight is not positive.
        """
        if not weight > 0:
            raise ConfigError(f"the weight of a start state must be > 0, got {weight} for {name or state.sha256[:12]}")
        entry = StartState(name or state.sha256[:12], state, float(weight))
        self._entries = [e for e in self._entries if e.state.sha256 != state.sha256] + [entry]
        self._cumulated = np.cumsum([e.weight for e in self._entries])

    def draw(self, generator: np.random.Generator) -> StartState:
        """Draws an entry in proportion to its weight."""
        point = generator.random() * self._cumulated[-1]
        return self._entries[int(np.searchsorted(self._cumulated, point, side="right"))]

    def __iter__(self):  # type: ignore[no-untyped-def]
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)
