"""`GameStateReader`: the decoded game state."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import ClassVar

import torch
from tensordict import NestedKey, TensorDictBase
from torchrl.data import Composite, Unbounded

from pokered_rl.envs.transforms.base import RamTransform
from pokered_rl.game import GameState, RamLayout, state_ranges
from pokered_rl.game.state import STATE_FIELDS

__all__ = ["GameStateReader"]


class GameStateReader(RamTransform):
    """Decodes RAM into named tensors.

    Reads:
        ``ram`` uint8 [*, R].

    Writes:
        ``("game", field)`` for each field of :class:`~pokered_rl.game.GameState`, with its shape and dtype.

    Resets:
        Nothing: there is no memory. :meth:`forward` takes any batch, also [B, T] from a replay buffer.

    Args:
        fields: Names of the fields; None decodes all.
        in_keys: RAM.
        out_keys: The state.
        ram_layout: See :class:`RamTransform`.

    Raises:
        KeyError: A field is unknown.

    Example:
        >>> from tensordict import TensorDict
        >>> from pokered_rl.envs import GameStateReader
        >>> reader = GameStateReader(fields=["map_id", "x", "y"])
        >>> reader(TensorDict({"ram": torch.zeros(2, 8319, dtype=torch.uint8)}, [2]))["game", "x"]
        tensor([0, 0])
    """

    IN_KEYS: ClassVar = ("ram",)
    OUT_KEYS: ClassVar = ("game",)

    def __init__(
        self,
        *,
        fields: Iterable[str] | None = None,
        in_keys: Sequence[NestedKey] | None = None,
        out_keys: Sequence[NestedKey] | None = None,
        ram_layout: RamLayout | None = None,
    ) -> None:
        self.fields = STATE_FIELDS if fields is None else tuple(fields)
        self._ranges = state_ranges(self.fields)
        super().__init__(in_keys=in_keys, out_keys=out_keys, ram_layout=ram_layout)

    @property
    def ram_ranges(self) -> tuple[tuple[int, int], ...]:
        """Address ranges (start, stop) that the fields need."""
        return self._ranges

    def forward(self, tensordict: TensorDictBase) -> TensorDictBase:
        """Decode a tensordict of any batch size."""
        state = GameState.from_ram(self._ram(tensordict), self.ram_layout, fields=self.fields)
        known = state.to_tensordict(retain_none=False).select(*self.fields)
        tensordict.set(self.out_keys[0], known)
        return tensordict

    def _step(self, tensordict: TensorDictBase, next_tensordict: TensorDictBase) -> TensorDictBase:
        return self.forward(next_tensordict)

    def _reset(self, tensordict: TensorDictBase, tensordict_reset: TensorDictBase) -> TensorDictBase:
        return self.forward(tensordict_reset)

    def transform_observation_spec(self, observation_spec: Composite) -> Composite:
        """Add the fields."""
        lead = tuple(observation_spec[self.in_keys[0]].shape[:-1])
        sample = torch.zeros(*lead, self.ram_layout.size, dtype=torch.uint8)
        state = GameState.from_ram(sample, self.ram_layout, fields=self.fields)
        spec = Composite(shape=lead)
        for name in self.fields:
            value = getattr(state, name)
            spec[name] = Unbounded(shape=value.shape, dtype=value.dtype)
        observation_spec[self.out_keys[0]] = spec
        return observation_spec
