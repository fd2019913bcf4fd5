"""`RewardTerms`: the reward as a sum of named terms."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from tensordict import NestedKey, TensorDict, TensorDictBase, unravel_key
from torchrl.data import Composite, Unbounded

from pokered_rl.envs.ram_frame import PROGRESS_LABELS, RamFrame, label_ranges
from pokered_rl.envs.rewards import RewardStep, RewardTerm, TileTracker, make_terms
from pokered_rl.envs.transforms.base import RamTransform, put
from pokered_rl.errors import ConfigError
from pokered_rl.game import RamLayout

__all__ = ["RewardTerms"]


class RewardTerms(RamTransform):
    """Computes the reward from the memory before and after each step.

    Reads:
        ``ram`` uint8 [*, R], of this step and (remembered) of the last one; ``action``.

    Writes:
        ``reward`` float32 [*, 1], the weighted sum of all terms, in place of the environment's. ``("reward_terms",
        name)`` float32 [*, 1] for each term, weight included, so they add up to the reward; zeros after a reset.

    Resets:
        All terms of the rows in ``_reset``: each episode pays anew.

    Args:
        terms: the terms; None makes the preset ``balanced`` (`pokered_rl.envs.rewards.make_terms`).
        write_terms: write the single terms as well.
        ram_key, action_key, ram_layout: see `RamTransform`.
        reward_key: where the sum goes; a key beside ``reward`` gives the environment a second reward.
        terms_key: where the terms go.

    Raises:
        ConfigError: two terms share a name.

    Example:
        >>> from tensordict import TensorDict
        >>> from pokered_rl.envs import RewardTerms
        >>> from pokered_rl.envs.rewards import NewTiles, Steps
        >>> reward = RewardTerms(terms=[NewTiles(weight=1.0), Steps(weight=0.5)])
        >>> td = reward(TensorDict({"ram": torch.zeros(1, 8319, dtype=torch.uint8)}, [1]))  # the episode starts
        >>> reward(td)["reward"]  # and stands still
        tensor([[-0.5000]])
    """

    def __init__(
        self,
        *,
        terms: Iterable[RewardTerm] | None = None,
        write_terms: bool = True,
        ram_key: NestedKey = "ram",
        action_key: NestedKey = "action",
        reward_key: NestedKey = "reward",
        terms_key: NestedKey = "reward_terms",
        ram_layout: RamLayout | None = None,
    ) -> None:
        self.terms = tuple(make_terms() if terms is None else terms)
        names = [term.name for term in self.terms]
        if len(set(names)) != len(names):
            raise ConfigError(f"reward terms must have distinct names, got {', '.join(names)}")
        self.term_names = tuple(names)
        self.write_terms = write_terms
        terms_keys = [unravel_key((terms_key, name)) for name in names] if write_terms else []
        super().__init__(
            out_keys=[reward_key, *terms_keys], ram_key=ram_key, action_key=action_key, ram_layout=ram_layout
        )
        self.reward_key = reward_key
        self.terms_key = terms_key
        self._weights = np.array([[term.weight for term in self.terms]], np.float32)

    @property
    def ram_ranges(self) -> tuple[tuple[int, int], ...]:
        """Address ranges (start, stop) that the terms read."""
        labels = {*RamFrame.LABELS, *PROGRESS_LABELS}
        for term in self.terms:
            labels.update(term.labels)
        return label_ranges(labels)

    @property
    def last_values(self) -> npt.NDArray[np.float32]:
        """Weighted values of the last step, float32 [E, number of terms]; replaced, not changed, by the next one."""
        return self._past.values

    def _allocate(self, num_rows: int) -> None:
        self._tiles = TileTracker(num_rows=num_rows)
        self._past = _Past(np.zeros((num_rows, len(self.terms)), np.float32))
        for term in self.terms:
            term.prepare(num_rows)

    def _start(self, frame: RamFrame, rows: npt.NDArray[np.bool_], out: TensorDictBase) -> None:
        self._tiles.start(frame, rows)
        for term in self.terms:
            term.begin(frame, rows)
        self._past.before = frame
        values = self._past.values.copy()
        values[rows] = 0
        self._write_terms(values, frame, out)
        if out.get(self.reward_key, None) is not None:  # only without an environment: a reset has no reward
            self._put(out, self.reward_key, values.sum(1, keepdims=True), frame)

    def forward(self, tensordict: TensorDictBase) -> TensorDictBase:
        """One step of every row, outside of an environment; where an episode starts, the reward is 0."""
        tensordict = super().forward(tensordict)
        if tensordict.get(self.reward_key, None) is None:
            tensordict.set(self.reward_key, torch.zeros(*tensordict.get(self.ram_key).shape[:-1], 1))
        return tensordict

    def _advance(
        self, frame: RamFrame, action: npt.NDArray[np.int64] | None, out: TensorDictBase, tensordict: TensorDictBase
    ) -> None:
        self._tiles.advance(frame)
        past = self._past
        before = past.before if past.before is not None else frame
        step = RewardStep(now=frame, before=before, action=action, tiles=self._tiles)
        happened = step.happened
        values = np.zeros((frame.num_rows, len(self.terms)), np.float32)
        for column, term in enumerate(self.terms):
            if happened[term.only_with]:
                values[:, column] = term.evaluate(step)
        values *= self._weights
        past.values, past.before = values, frame
        self._put(out, self.reward_key, values.sum(1, keepdims=True), frame)
        self._write_terms(values, frame, out)

    def _write_terms(self, values: npt.NDArray[np.float32], frame: RamFrame, out: TensorDictBase) -> None:
        if not self.write_terms:
            return
        table = torch.from_numpy(values.T.copy()).reshape(len(self.terms), *frame.lead, 1)
        columns = dict(zip(self.term_names, table.unbind(0), strict=True))
        # The checks of the public constructor cost 25 us; shapes are right by construction.
        terms = TensorDict._new_unsafe(columns, batch_size=out.batch_size, device=out.device)
        put(out, self.terms_key, terms)

    def transform_observation_spec(self, observation_spec: Composite) -> Composite:
        """Adds the terms; the reward has its place in the reward spec."""
        if self.write_terms:
            for name in self.term_names:
                self._add_spec(
                    observation_spec,
                    unravel_key((self.terms_key, name)),
                    lambda lead: Unbounded(shape=(*lead, 1), dtype=torch.float32),
                )
        return observation_spec

    def transform_reward_spec(self, reward_spec: Composite) -> Composite:
        """Adds the sum where it is not the environment's own reward."""
        if self.reward_key not in reward_spec.keys(True, True):
            shape = (*reward_spec.shape, 1)
            reward_spec[self.reward_key] = Unbounded(shape=shape, dtype=torch.float32, device=reward_spec.device)
        return reward_spec

    def get_extra_state(self) -> dict[str, Any]:
        """The memory of all terms, by name, and the last frame."""
        if self.num_rows == 0 or self._past.before is None:
            return {"num_rows": 0}
        return {
            "num_rows": self.num_rows,
            "tiles": self._tiles.state_dict(),
            "terms": {term.name: term.state_dict() for term in self.terms},
            "before": self._past.before.tensor.clone(),
            "layout": [list(span) for span in self._past.before.layout.ranges],
            "values": torch.from_numpy(self._past.values.copy()),
        }

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Restores `get_extra_state`; a term that was not there when it was saved begins its episode now."""
        self.num_rows = state["num_rows"]
        if self.num_rows == 0:
            return
        self._allocate(self.num_rows)
        layout = RamLayout(tuple((start, stop) for start, stop in state["layout"]))
        frame = self._past.before = RamFrame(state["before"], layout)
        self._tiles.load_state_dict(state["tiles"])
        for term in self.terms:
            if term.name in state["terms"]:
                term.load_state_dict(state["terms"][term.name])
            else:
                term.begin(frame, np.ones(self.num_rows, bool))
        if len(self.terms) == state["values"].shape[1]:
            self._past.values = state["values"].numpy().copy()


class _Past:
    """What is known from the step before (apart from the module, whose attributes are slow to set).

    Attributes:
        before: the frame one step ago.
        values: float32 [E, number of terms], the weighted values of that step.
    """

    def __init__(self, values: npt.NDArray[np.float32]) -> None:
        self.before: RamFrame | None = None
        self.values = values
