"""From collector batches to overlapping sequences of fixed length, with the recurrent state at their first row.

One item of the replay is one sequence of `L = burn_in + unroll + n_step` rows (R2D2, Kapturowski et al. 2019,
section 2.3). Only the `unroll` rows get a loss; the `n_step` rows behind them are successors. An episode of K steps
yields K + 1 rows: the last holds the final observation, good for a bootstrap, never for a transition.

Sequences leave the builder as soon as their last row is known, not when the episode ends: an episode of 2,048 steps
would otherwise reach the learner minutes late and all at once, and every open episode would wait in memory.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from tensordict import TensorDict, TensorDictBase
from torch import Tensor

from pokered_rl.data.open_rows import ROW_STRIDE, OpenRows
from pokered_rl.data.rollouts import (
    OBSERVATION_KEYS,
    STATE_KEYS,
    SequenceLayout,
    compact_rollout,
)
from pokered_rl.errors import ConfigError
from pokered_rl.objectives.functional import rescaled_n_step_targets, sequence_priority

__all__ = ["SequenceBuilder"]

_Ints = NDArray[np.int64]

#: Entries of a row beside its observation.
_FLAGS = ("terminated", "truncated", "is_init")
_ACTOR_VALUES = ("taken_value", "greedy_value")


class SequenceBuilder:
    """Turns the batches of many workers into stored sequences; no sequence ever crosses an episode.

    Reads (batches [E, T], see `compact_rollout`, which is applied when the worker has not done it yet) and returns a
    TensorDict [S] with the entries of a loss batch:

    - observations [S, L, ...], `action` int64 [S, L], `reward` f32 [S, L];
    - `terminated`, `truncated`, `is_init`, `mask` bool [S, L]; `mask` is True at rows that hold a transition;
    - the recurrent state [S, H] of the first row that is not padding, and with `layout.unroll_state` that of the first
      loss row under `unroll_state`;
    - `td_error` f32 [S], the policy's own priority, when the batches carry action values:
      `eta max|d| + (1 - eta) mean|d|` over the loss rows, d_t = n-step target_t - Q(s_t, a_t) in rescaled space, the
      greedy value of the successor rows as bootstrap. The value of a final observation is not known to the policy;
      the greedy value of the step before stands in for it until the learner's first update of that sequence.

    Rows that are padding are zero, `mask` False. A segment whose final observation is unknown (see `cut`) loses its
    last step: the observation of that step becomes the final observation.

    Args:
        layout: lengths of burn-in, unroll, successors and the period.
        observation_keys: observation entries of a row; those absent from the batches are left out.
        state_keys: recurrent state entries; empty for a network without memory.
        gamma: discount of the policy-side priority.
        eta: weight of the maximum in the priority.
        rescale_eps: value rescaling of the priority; None for plain values.
        state_dtype: type in which recurrent states are stored (`torch.float16` halves them).
        send: "sequences" sends each as soon as it is complete, "episodes" holds them until their episode has ended
            (open episodes are then lost whole when their worker is).

    Example:
        >>> builder = SequenceBuilder(layout=SequenceLayout(burn_in_steps=40, unroll_steps=80, n_step=5))
        >>> for batch in collector:  # doctest: +SKIP
        ...     replay.extend(builder.extend(batch))
    """

    def __init__(
        self,
        *,
        layout: SequenceLayout,
        observation_keys: Iterable[str] = OBSERVATION_KEYS,
        state_keys: Sequence[str] = STATE_KEYS,
        gamma: float = 0.997,
        eta: float = 0.9,
        rescale_eps: float | None = 1e-3,
        state_dtype: torch.dtype = torch.float32,
        send: Literal["sequences", "episodes"] = "sequences",
    ) -> None:
        if send not in ("sequences", "episodes"):
            raise ConfigError(f"send must be 'sequences' or 'episodes', got {send!r}")
        self.layout = layout
        self.observation_keys = tuple(observation_keys)
        self.state_keys = tuple(state_keys)
        self.gamma = gamma
        self.eta = eta
        self.rescale_eps = rescale_eps
        self.state_dtype = state_dtype
        self.send = send
        self._lanes: dict[int, OpenRows] = {}
        #: Steps received, episodes completed, sequences sent, steps that will never get a loss, episodes cut short.
        self.counts = {"steps": 0, "episodes": 0, "sequences": 0, "steps_lost": 0, "episodes_cut": 0}

    def extend(self, batch: TensorDictBase, *, worker: int = 0) -> TensorDict:
        """Adds one batch of a worker and returns the sequences that it completes.

        Args:
            batch: a rollout [E, T], or the result of `compact_rollout`; batches of a worker are contiguous in time.
            worker: which worker it comes from.

        Returns:
            TensorDict [S], S >= 0.

        Raises:
            ValueError: `is_init` and `done` contradict each other (a sequence would cross an episode), or the number
                of emulators has changed.
        """
        if batch.ndim:
            batch = compact_rollout(
                batch, layout=self.layout, observation_keys=self.observation_keys, state_keys=self.state_keys
            )
        steps = batch.get("steps")
        num_emulators, time = steps.batch_size
        lane = self._lanes.setdefault(worker, OpenRows(num_emulators))
        if lane.num_emulators != num_emulators:
            raise ValueError(
                f"worker {worker} sent {num_emulators} emulators, before {lane.num_emulators}; drop() it first"
            )
        values = {key: value.flatten(0, 1) for key, value in steps.items()}
        done = (steps.get("terminated") | steps.get("truncated")).numpy()
        self._check_starts(lane, steps.get("is_init").numpy(), done, worker)
        self._check_continues(lane, batch.get("first_step").numpy(), worker)

        ends_before = np.cumsum(done, 1) - done  # [E, T] episodes of this batch that ended before step t
        position = lane.write[:, None] + np.arange(time) + ends_before  # [E, T] a final row follows each end
        write = lane.write + time + done.sum(1)
        self._open_first_segments(lane, steps.get("is_init").numpy()[:, 0], batch.get("first_step").numpy())

        lane.reserve(int((write - self._oldest_needed(lane)).max()) + time, values)
        emulator = np.broadcast_to(np.arange(num_emulators)[:, None], position.shape)
        lane.write_rows(lane.flat_index(emulator.ravel(), position.ravel()), values)
        self._write_finals(lane, batch, values, emulator.ravel(), position.ravel())
        self._add_states(lane, batch, emulator.ravel(), position.ravel())

        segments = self._segments(lane, done, position, write)
        lane.write = write
        self.counts["steps"] += num_emulators * time
        self.counts["episodes"] += int(done.sum())
        sequences = self._emit(lane, *segments)
        self._prune_states(lane)
        return sequences

    def example(self, batch: TensorDictBase) -> TensorDict:
        """One sequence [1] of zeros with the entries that this kind of batch leads to (any E and T >= 1)."""
        scratch = SequenceBuilder(
            layout=self.layout,
            observation_keys=self.observation_keys,
            state_keys=self.state_keys,
            state_dtype=self.state_dtype,
        )
        if batch.ndim:
            batch = compact_rollout(
                batch, layout=self.layout, observation_keys=self.observation_keys, state_keys=self.state_keys
            )
        steps = batch.get("steps")
        lane = OpenRows(1)
        lane.reserve(1, {key: value.flatten(0, 1) for key, value in steps.items()})
        lane.states = {
            key: value.new_zeros(1, *value.shape[1:], dtype=self.state_dtype)
            for key, value in batch.get("states").items()
        }
        lane.state_rows = np.zeros(1, np.int64)
        zero = np.zeros(1, np.int64)
        return scratch._gather(lane, zero, zero, zero, zero)

    def cut(self, worker: int, *, keep: bool = True) -> TensorDict | None:
        """Ends the open episodes of a worker that will not send their next rows.

        Their last observation becomes the final one, its step is lost and the step before counts as truncated.

        Args:
            worker: which worker; unknown ones are ignored.
            keep: False drops the open rows instead.

        Returns:
            The remaining sequences [S], or None where there was nothing to end.
        """
        lane = self._lanes.pop(worker, None)
        if lane is None or not lane.is_open.any():
            return None
        emulator = np.nonzero(lane.is_open)[0]
        known = (lane.write - lane.origin)[emulator]
        self.counts["episodes_cut"] += len(emulator)
        if not keep or self.send == "episodes":
            first_lost = lane.next_sequence[emulator] * self.layout.period_steps
            if self.send == "episodes":
                first_lost = np.zeros_like(first_lost)
            self.counts["steps_lost"] += int(np.maximum(known - first_lost, 0).sum())
            return None
        self.counts["steps_lost"] += len(emulator)
        last = lane.flat_index(emulator, lane.write[emulator] - 1)
        for key in ("action", "reward", *_FLAGS):
            lane.rows[key].view(-1)[last] = 0
        before = lane.flat_index(emulator, lane.write[emulator] - 2)
        lane.rows["truncated"].view(-1)[before] = True
        end = -(-(known - 1) // self.layout.period_steps)
        return self._emit(
            lane,
            emulator,
            lane.origin[emulator],
            lane.next_sequence[emulator],
            np.maximum(end, lane.next_sequence[emulator]),
            known - 1,
            np.ones(len(emulator), np.bool_),
        )

    def state_dict(self) -> dict[str, Any]:
        """Open rows, states and counters, as tensors and plain values (loadable with `weights_only=True`)."""
        return {
            "counts": dict(self.counts),
            "workers": {worker: self.worker_state_dict(worker) for worker in self._lanes},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Takes over what `state_dict` returned; sequences then continue as if nothing had happened."""
        self.counts.update(state["counts"])
        self._lanes = {}
        for worker, worker_state in state["workers"].items():
            self.load_worker_state_dict(worker, worker_state)

    def worker_state_dict(self, worker: int) -> dict[str, Any]:
        """Open rows and states of one worker; empty for a worker that has sent nothing."""
        lane = self._lanes.get(worker)
        return lane.state_dict(self._oldest_needed(lane)) if lane is not None else {}

    def load_worker_state_dict(self, worker: int, state: Mapping[str, Any]) -> None:
        """Puts back what `worker_state_dict` returned."""
        if state:
            self._lanes[worker] = OpenRows.from_state_dict(state)
        else:
            self._lanes.pop(worker, None)

    def _check_starts(self, lane: OpenRows, is_init: NDArray[np.bool_], done: NDArray[np.bool_], worker: int) -> None:
        late = is_init[:, 1:] != done[:, :-1]
        if late.any():
            emulator, step = np.argwhere(late)[0]
            raise ValueError(
                f"worker {worker}, emulator {emulator}, row {step + 1}: is_init is {is_init[emulator, step + 1]} after "
                f"a step whose done is {done[emulator, step]}; a sequence would cross an episode"
            )
        crossing = is_init[:, 0] & lane.is_open
        if crossing.any():
            raise ValueError(
                f"worker {worker}, emulator {crossing.argmax()}: is_init at the first row, but its episode is open; "
                "cut() the worker first"
            )

    def _check_continues(self, lane: OpenRows, first_step: _Ints, worker: int) -> None:
        gap = lane.is_open & (first_step != lane.write - lane.origin)
        if gap.any():
            emulator = int(gap.argmax())
            raise ValueError(
                f"worker {worker}, emulator {emulator}: the batch begins at step {first_step[emulator]} of its "
                f"episode, step {(lane.write - lane.origin)[emulator]} was expected; a batch was lost, "
                "cut() the worker first"
            )

    def _open_first_segments(self, lane: OpenRows, is_init: NDArray[np.bool_], first_step: _Ints) -> None:
        """Starts a segment for each emulator that has none; an episode in progress starts at its next grid point."""
        layout = self.layout
        fresh = ~lane.is_open
        step = np.where(is_init, 0, first_step)
        sequence = np.where(step > 0, -(-(step + layout.burn_in_steps) // layout.period_steps), 0)
        lane.origin = np.where(fresh, lane.write - step, lane.origin)
        lane.next_sequence = np.where(fresh, sequence, lane.next_sequence)
        lane.is_open = np.ones_like(lane.is_open)
        self.counts["steps_lost"] += int((fresh * (sequence * layout.period_steps - step)).sum())

    def _oldest_needed(self, lane: OpenRows) -> _Ints:
        """Position [E] of the first row that a sequence still to be sent can contain."""
        step = np.maximum(lane.next_sequence * self.layout.period_steps - self.layout.burn_in_steps, 0)
        return np.where(lane.is_open, np.minimum(lane.origin + step, lane.write), lane.write)

    def _write_finals(
        self,
        lane: OpenRows,
        batch: TensorDictBase,
        values: Mapping[str, Tensor],
        emulator: _Ints,
        position: _Ints,
    ) -> None:
        """Writes the final observation behind each done step."""
        step = batch.get("final_index")
        if not step.numel():
            return
        final = batch.get("final")
        final_keys = set(final.keys())
        rows = {
            key: final.get(key) if key in final_keys else torch.zeros_like(value[step]) for key, value in values.items()
        }
        if "greedy_value" in values:
            rows["greedy_value"] = values["greedy_value"][step]
        at = step.numpy()
        lane.write_rows(lane.flat_index(emulator[at], position[at] + 1), rows)

    def _add_states(self, lane: OpenRows, batch: TensorDictBase, emulator: _Ints, position: _Ints) -> None:
        at = batch.get("state_index").numpy()
        lane.state_rows = np.concatenate([lane.state_rows, emulator[at] * ROW_STRIDE + position[at]])
        states = batch.get("states")
        for key in self.state_keys:
            new = states.get(key).to(self.state_dtype)
            lane.states[key] = torch.cat([lane.states[key], new]) if key in lane.states else new.clone()

    def _prune_states(self, lane: OpenRows) -> None:
        emulator = lane.state_rows // ROW_STRIDE
        kept = lane.state_rows - emulator * ROW_STRIDE >= self._oldest_needed(lane)[emulator]
        lane.state_rows = lane.state_rows[kept]
        index = torch.from_numpy(kept)
        lane.states = {key: value[index] for key, value in lane.states.items()}

    def _segments(
        self, lane: OpenRows, done: NDArray[np.bool_], position: _Ints, write: _Ints
    ) -> tuple[_Ints, _Ints, _Ints, _Ints, _Ints, NDArray[np.bool_]]:
        """Cuts the batch at its done steps and moves the lane to the last, open segment of each emulator.

        Returns:
            For each segment: emulator, origin, first and one-past-last sequence to send, known steps, ended.
        """
        period = self.layout.period_steps
        emulator, step = np.nonzero(done)  # in the order of emulator, then time
        end = position[emulator, step]
        first_of_emulator = np.r_[True, emulator[1:] != emulator[:-1]] if len(emulator) else np.zeros(0, bool)
        # A later segment of the same emulator starts behind the final row of the one before.
        origin = np.where(first_of_emulator, lane.origin[emulator], np.roll(end, 1) + 2)
        first = np.where(first_of_emulator, lane.next_sequence[emulator], 0)
        known = end - origin + 1
        # An adopted episode may end before the grid point where its first sequence would have started.
        unreached = np.maximum(first * period - known, 0)
        self.counts["steps_lost"] -= int(unreached.sum())
        last = np.maximum(-(-known // period), first)

        ended = np.unique(emulator)
        last_end = np.zeros(lane.num_emulators, np.int64)
        last_end[emulator] = end  # the last assignment, the latest end, stays
        lane.origin[ended] = last_end[ended] + 2
        lane.next_sequence[ended] = 0
        lane.is_open = write > lane.origin
        still = np.nonzero(lane.is_open)[0]
        open_known = (write - lane.origin)[still]
        open_first = lane.next_sequence[still].copy()
        complete = (open_known - self.layout.unroll_steps - self.layout.n_step) // period + 1
        open_last = np.maximum(complete, open_first)
        lane.next_sequence[still] = open_last
        return (
            np.concatenate([emulator, still]),
            np.concatenate([origin, lane.origin[still]]),
            np.concatenate([first, open_first]),
            np.concatenate([last, open_last]),
            np.concatenate([known, open_known]),
            np.concatenate([np.ones(len(emulator), bool), np.zeros(len(still), bool)]),
        )

    def _emit(
        self,
        lane: OpenRows,
        emulator: _Ints,
        origin: _Ints,
        first: _Ints,
        last: _Ints,
        known: _Ints,
        ended: NDArray[np.bool_],
    ) -> TensorDict:
        """Gathers sequences [first, last) of every segment."""
        count = last - first
        segment = np.repeat(np.arange(len(count)), count)  # [S]
        number = first[segment] + np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
        sequences = self._gather(lane, emulator[segment], origin[segment], number, known[segment])
        if self.send == "sequences":
            self.counts["sequences"] += len(segment)
            return sequences
        ready: list[TensorDict] = [sequences[:0]]
        for index, owner in enumerate(emulator):
            lane.pending[owner].append(sequences[torch.from_numpy(segment == index)])
            if ended[index]:
                ready += lane.pending[owner]
                lane.pending[owner] = []
        sequences = torch.cat(ready)
        self.counts["sequences"] += len(sequences)
        return sequences

    def _gather(self, lane: OpenRows, emulator: _Ints, origin: _Ints, number: _Ints, known: _Ints) -> TensorDict:
        layout = self.layout
        start = number * layout.period_steps
        step = start[:, None] - layout.burn_in_steps + np.arange(layout.length)  # [S, L]
        real = (step >= 0) & (step <= known[:, None])
        real &= (start[:, None] >= layout.burn_in_steps) | (step >= start[:, None])
        # The row at `known` is the final observation of an ended segment; an open one never reaches it.
        mask = torch.from_numpy(real & (step < known[:, None]))
        position = np.where(real, origin[:, None] + step, 0)
        index = lane.flat_index(np.broadcast_to(emulator[:, None], position.shape), position)
        padding = torch.from_numpy(~real)
        rows: dict[str, Tensor] = {}
        for key, ring in lane.rows.items():
            value = ring.flatten(0, 1)[index]  # [S, L, ...]
            value[padding] = 0
            rows[key] = value
        policy_values = {key: rows.pop(key) for key in _ACTOR_VALUES if key in rows}
        state_at = emulator * ROW_STRIDE + origin + layout.first_real_step(torch.from_numpy(number)).numpy()
        sequences = TensorDict({**rows, "mask": mask, **self._states_at(lane, state_at)}, batch_size=[len(number)])
        if layout.unroll_state and self.state_keys:
            states = self._states_at(lane, emulator * ROW_STRIDE + origin + start)
            sequences["unroll_state"] = TensorDict(states, batch_size=[len(number)])
        if policy_values:
            sequences["td_error"] = self._priority(sequences, **policy_values)
        return sequences

    def _states_at(self, lane: OpenRows, state_at: _Ints) -> dict[str, Tensor]:
        if not self.state_keys:
            return {}
        order = np.argsort(lane.state_rows)
        found = np.searchsorted(lane.state_rows[order], state_at)
        index = order[np.minimum(found, len(order) - 1)]
        if len(index) and (lane.state_rows[index] != state_at).any():
            raise ValueError("a sequence starts at a step whose recurrent state was not sent; layouts differ")
        return {key: value[torch.from_numpy(index)] for key, value in lane.states.items()}

    def _priority(self, sequences: TensorDict, taken_value: Tensor, greedy_value: Tensor) -> Tensor:
        """Priority [S] from the values that the policy itself gave to its steps."""
        first, last = self.layout.burn_in_steps, self.layout.length - 1
        target = rescaled_n_step_targets(
            sequences["reward"][:, first:last],
            sequences["terminated"][:, first:last],
            sequences["truncated"][:, first:last],
            greedy_value[:, first + 1 :].unsqueeze(-1),
            gamma=self.gamma,
            n_step=self.layout.n_step,
            eps=self.rescale_eps,
        ).squeeze(-1)  # [S, unroll + n_step - 1]
        loss_rows = slice(first, first + self.layout.unroll_steps)
        error = target[:, : self.layout.unroll_steps] - taken_value[:, loss_rows]
        return sequence_priority(error, sequences["mask"][:, loss_rows], eta=self.eta)
