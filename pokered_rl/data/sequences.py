"""Build overlapping sequences of fixed length from collector batches.

One item of the replay is one sequence of ``L = burn_in + unroll + n_step`` steps (R2D2, Kapturowski et al. 2019,
section 2.3). Only the ``unroll`` steps get a loss; the ``n_step`` steps behind them are successors. The final
observation of an episode of K steps is stored as step K: it serves as a bootstrap, never as a transition.

A sequence is returned as soon as its last step is known, not when the episode ends: an episode of 2,048 steps would
otherwise reach the learner minutes late and all at once, and every open episode would wait in memory.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from tensordict import TensorDict, TensorDictBase
from torch import Tensor

from pokered_rl.data.rollouts import OBSERVATION_KEYS, STATE_KEYS, SequenceLayout, compact_rollout
from pokered_rl.errors import ConfigError
from pokered_rl.objectives.functional import rescaled_n_step_targets, sequence_priority

__all__ = ["SequenceBuilder"]

_Ints = NDArray[np.int64]
_Flags = NDArray[np.bool_]

_POLICY_VALUES = ("taken_value", "greedy_value")
#: Arrays of `_OpenEpisodes` that its state holds.
_ARRAYS = ("write", "origin", "next_sequence", "is_open", "state_at")
#: A step is addressed by one number, its place: emulator * _STRIDE + position.
_STRIDE = 1 << 40


@dataclass
class _Segments:
    """Parts of episodes whose sequences are complete; arrays with one entry a segment."""

    emulator: _Ints
    #: Position of the episode's step 0.
    origin: _Ints
    #: First sequence to build.
    first: _Ints
    #: One past the last sequence to build.
    last: _Ints
    #: Steps of the episode that are known.
    known: _Ints
    #: Whether the episode has ended; its final observation is then step ``known``.
    ended: _Flags


class SequenceBuilder:
    """Turn the batches of one worker into stored sequences; no sequence crosses an episode.

    Reads batches [E, T] (see :func:`~pokered_rl.data.rollouts.compact_rollout`) and returns a TensorDict [S] with the
    entries of a loss batch:

    - observations [S, L, ...], ``action`` int64 [S, L], ``reward`` f32 [S, L];
    - ``terminated``, ``truncated``, ``is_init``, ``mask`` bool [S, L]; ``mask`` is True at steps with a transition;
    - the recurrent state [S, H] of the first step that is not padding, and with ``layout.unroll_state`` that of the
      first loss step under ``unroll_state``;
    - ``td_error`` f32 [S], the policy's own priority, when the batches carry action values:
      ``eta max|d| + (1 - eta) mean|d|`` over the loss steps, d_t = n-step target_t - Q(s_t, a_t) in rescaled space, the
      greedy value of the successor steps as bootstrap. The policy does not know the value of a final observation; the
      greedy value of the step before replaces it until the learner's first update of that sequence.

    Padding is zero, ``mask`` False.

    Args:
        layout: Lengths of burn-in, unroll, successors and the period.
        observation_keys: Observation entries of a step; those absent from the batches are left out.
        state_keys: Recurrent state entries; empty for a network without memory.
        gamma: Discount of the policy's own priority.
        eta: Weight of the maximum in the priority.
        rescale_eps: Value rescaling of the priority; None for plain values.
        state_dtype: Type in which recurrent states are stored (``torch.float16`` halves them).
        send: "sequences" returns each as soon as it is complete, "episodes" holds them until their episode has ended;
            open episodes are then lost whole when their worker is.

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
        self._open: _OpenEpisodes | None = None
        #: Steps of episodes that were joined in progress which never get a loss.
        self.steps_lost = 0

    def extend(self, batch: TensorDictBase) -> TensorDict:
        """Add a batch and return the sequences that it completes.

        Args:
            batch: A rollout [E, T]; it begins where the one before it has ended.

        Returns:
            TensorDict [S], S >= 0.

        Raises:
            ValueError: ``is_init`` and ``done`` contradict each other (a sequence would cross an episode), a batch is
                missing, or the number of emulators has changed.
        """
        batch = self._compacted(batch)
        steps = batch.get("steps")
        done = (steps.get("terminated") | steps.get("truncated")).numpy()  # [E, T]
        is_init, first_step = steps.get("is_init").numpy(), batch.get("first_step").numpy()
        episodes = self._open = self._open or _OpenEpisodes(len(done), self.layout)
        episodes.check(is_init, done, first_step)
        self.steps_lost += episodes.join(is_init[:, 0], first_step)
        segments = episodes.append(batch, done, state_dtype=self.state_dtype)
        # An episode joined in progress may end before the step where its first sequence would have started.
        unreached = np.maximum(segments.first * self.layout.period_steps - segments.known, 0)[segments.ended]
        self.steps_lost -= int(unreached.sum())
        sequences = self._build(episodes, segments)
        episodes.drop_old_states()
        return sequences

    def example(self, batch: TensorDictBase) -> TensorDict:
        """Return one sequence [1] of zeros with the entries that this kind of batch leads to (any E and T >= 1)."""
        batch = self._compacted(batch)
        zero = np.zeros(1, np.int64)
        episodes = _OpenEpisodes(1, self.layout)
        episodes.reserve(1, {key: value.flatten(0, 1) for key, value in batch.get("steps").items()})
        episodes.states = {
            key: value.new_zeros(1, *value.shape[1:], dtype=self.state_dtype)
            for key, value in batch.get("states").items()
        }
        episodes.state_at = zero
        return self._gather(episodes, _Segments(zero, zero, zero, zero, zero, zero > 0), zero, zero)

    @property
    def unsent(self) -> tuple[int, int]:
        """Open episodes, and their steps with a loss that no returned sequence holds: lost with this builder."""
        return self._open.unsent(whole=self.send == "episodes") if self._open is not None else (0, 0)

    def state_dict(self) -> dict[str, Any]:
        """Return open episodes and lost steps, as tensors and plain values (loadable with ``weights_only=True``)."""
        return {"steps_lost": self.steps_lost, "open": self._open.state_dict() if self._open is not None else {}}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from :meth:`state_dict`."""
        self.steps_lost = state["steps_lost"]
        self._open = _OpenEpisodes.from_state_dict(state["open"], self.layout) if state["open"] else None

    def _compacted(self, batch: TensorDictBase) -> TensorDict:
        return compact_rollout(
            batch, layout=self.layout, observation_keys=self.observation_keys, state_keys=self.state_keys
        )

    def _build(self, episodes: "_OpenEpisodes", segments: _Segments) -> TensorDict:
        """Return sequences [first, last) of every segment, as far as ``send`` lets them go."""
        count = segments.last - segments.first
        segment = np.repeat(np.arange(len(count)), count)  # [S]
        number = segments.first[segment] + np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
        sequences = self._gather(episodes, segments, segment, number)
        if self.send == "episodes":
            ready = [sequences[:0]]
            for index, emulator in enumerate(segments.emulator):
                episodes.pending[emulator].append(sequences[torch.from_numpy(segment == index)])
                if segments.ended[index]:
                    ready += episodes.pending[emulator]
                    episodes.pending[emulator] = []
            sequences = torch.cat(ready)
        return sequences

    def _gather(self, episodes: "_OpenEpisodes", segments: _Segments, segment: _Ints, number: _Ints) -> TensorDict:
        """Copy sequences [S] out of the open episodes: sequence ``number`` [S] of the episode of ``segment`` [S]."""
        layout = self.layout
        start = number[:, None] * layout.period_steps  # [S, 1] first loss step
        known = segments.known[segment][:, None]
        step_0 = (segments.emulator * _STRIDE + segments.origin)[segment]  # [S] its place
        step = start - layout.burn_in_steps + np.arange(layout.length)  # [S, L]
        # Step `known` is the final observation of an ended episode; a sequence of an open one ends before it.
        real = (step >= 0) & (step <= known) & ((start >= layout.burn_in_steps) | (step >= start))
        steps = episodes.steps_at(np.where(real, step_0[:, None] + step, 0))
        for value in steps.values():
            value.numpy()[~real] = 0
        policy_values = {key: steps.pop(key) for key in _POLICY_VALUES if key in steps}
        first_real = layout.first_real_step(torch.from_numpy(number)).numpy()
        sequences = TensorDict(
            {**steps, "mask": torch.from_numpy(real & (step < known)), **episodes.states_at(step_0 + first_real)},
            batch_size=[len(number)],
        )
        if layout.unroll_state and self.state_keys:
            sequences["unroll_state"] = TensorDict(episodes.states_at(step_0 + start[:, 0]), batch_size=[len(number)])
        if policy_values:
            sequences["td_error"] = self._priority(sequences, **policy_values)
        return sequences

    def _priority(self, sequences: TensorDict, taken_value: Tensor, greedy_value: Tensor) -> Tensor:
        """Return the priority [S] from the policy's own values [S, L]."""
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
        unroll = slice(first, first + self.layout.unroll_steps)
        error = target[:, : self.layout.unroll_steps] - taken_value[:, unroll]
        return sequence_priority(error, sequences["mask"][:, unroll], eta=self.eta)


class _OpenEpisodes:
    """The steps of one worker's open episodes, kept until the last sequence that contains them has been built.

    A ring of steps for each emulator, addressed by positions that only grow.

    Args:
        num_emulators: E, emulators of the worker.
        layout: Of the sequences; tells how long a step is needed.
    """

    def __init__(self, num_emulators: int, layout: SequenceLayout) -> None:
        self.num_emulators = num_emulators
        self.layout = layout
        self.capacity = 0  # C, steps that a ring holds
        self.steps: dict[str, Tensor] = {}  # each [E, C, ...]
        self.write: _Ints = np.zeros(num_emulators, np.int64)  # position of the next step
        self.origin: _Ints = np.zeros(num_emulators, np.int64)  # position of the open episode's step 0
        self.next_sequence: _Ints = np.zeros(num_emulators, np.int64)  # its first sequence not yet built
        self.is_open: _Flags = np.zeros(num_emulators, np.bool_)
        self.states: dict[str, Tensor] = {}  # each [n, H], recurrent states of some steps
        self.state_at: _Ints = np.zeros(0, np.int64)  # [n] their places
        #: Complete sequences of open episodes, for a builder that sends whole episodes.
        self.pending: list[list[TensorDict]] = [[] for _ in range(num_emulators)]

    def check(self, is_init: _Flags, done: _Flags, first_step: _Ints) -> None:
        """Raise if the batch does not continue the open episodes."""
        if len(done) != self.num_emulators:
            raise ValueError(f"a batch of {len(done)} emulators, before {self.num_emulators}; make another builder")
        late = is_init[:, 1:] != done[:, :-1]
        if late.any():
            emulator, step = np.argwhere(late)[0]
            raise ValueError(
                f"emulator {emulator}, step {step + 1}: is_init is {is_init[emulator, step + 1]} "
                f"after a step whose done is {done[emulator, step]}; a sequence would cross an episode"
            )
        crossing = is_init[:, 0] & self.is_open
        if crossing.any():
            raise ValueError(
                f"emulator {crossing.argmax()}: is_init at the first step, but its episode is open; make another "
                "builder for a worker that begins anew"
            )
        expected = self.write - self.origin
        gap = self.is_open & (first_step != expected)
        if gap.any():
            emulator = gap.argmax()
            raise ValueError(
                f"emulator {emulator}: the batch begins at step {first_step[emulator]} of its episode, step "
                f"{expected[emulator]} was expected; a batch was lost"
            )

    def join(self, is_init: _Flags, first_step: _Ints) -> int:
        """Open an episode for each emulator that has none; one in progress is joined where its next sequence starts.

        Returns:
            Steps of joined episodes that come before that.
        """
        layout = self.layout
        new = ~self.is_open
        step = np.where(is_init, 0, first_step)
        sequence = np.where(step > 0, -(-(step + layout.burn_in_steps) // layout.period_steps), 0)
        self.origin = np.where(new, self.write - step, self.origin)
        self.next_sequence = np.where(new, sequence, self.next_sequence)
        self.is_open = np.ones_like(self.is_open)
        return int((new * (sequence * layout.period_steps - step)).sum())

    def append(self, batch: TensorDictBase, done: _Flags, *, state_dtype: torch.dtype) -> _Segments:
        """Write a compact batch behind the known steps; return the segments of its episodes that can be built."""
        time = done.shape[1]
        ended_before: _Ints = np.cumsum(done, 1) - done  # [E, T]
        position = self.write[:, None] + np.arange(time) + ended_before  # a final observation follows each end
        place = (np.arange(self.num_emulators)[:, None] * _STRIDE + position).ravel()
        write = self.write + time + done.sum(1)
        steps = {key: value.flatten(0, 1) for key, value in batch.get("steps").items()}
        for key in self.steps.keys() - steps.keys():
            del self.steps[key]  # open episodes saved by an earlier version of the library may hold more
        self.reserve(int((write - self._oldest_needed()).max()) + time, steps)
        self._put(place, steps)

        final_index = batch.get("final_index")
        if final_index.numel():
            final = dict(batch.get("final").items())
            if "greedy_value" in steps:
                final["greedy_value"] = steps["greedy_value"][final_index]
            zeros = {key: torch.zeros_like(value[final_index]) for key, value in steps.items() if key not in final}
            self._put(place[final_index.numpy()] + 1, final | zeros)

        self.state_at = np.concatenate([self.state_at, place[batch.get("state_index").numpy()]])
        for key, value in batch.get("states").items():
            value = value.to(state_dtype)
            self.states[key] = torch.cat([self.states[key], value]) if key in self.states else value.clone()
        return self._advance(done, position, write)

    def _advance(self, done: _Flags, position: _Ints, write: _Ints) -> _Segments:
        """Move to the last episode of each emulator and return the segments that have become complete."""
        layout, period = self.layout, self.layout.period_steps
        emulator, step = np.nonzero(done)  # in the order of emulator, then time
        end = position[emulator, step]
        is_first = np.diff(emulator, prepend=-1) != 0
        # A later episode of the same emulator starts behind the final observation of the one before.
        origin = np.where(is_first, self.origin[emulator], np.roll(end, 1) + 2)
        first = np.where(is_first, self.next_sequence[emulator], 0)
        known = end - origin + 1
        last = np.maximum(-(-known // period), first)
        ended = _Segments(emulator, origin, first, last, known, np.ones(len(emulator), np.bool_))

        self.origin[emulator] = end + 2  # of an emulator's several ends the last one stays
        self.next_sequence[emulator] = 0
        self.write = write
        self.is_open = write > self.origin
        emulator = np.nonzero(self.is_open)[0]
        origin, first = self.origin[emulator], self.next_sequence[emulator]
        known = write[emulator] - origin
        last = np.maximum((known - layout.unroll_steps - layout.n_step) // period + 1, first)
        self.next_sequence[emulator] = last
        still_open = _Segments(emulator, origin, first, last, known, np.zeros(len(emulator), np.bool_))
        pairs = zip(vars(ended).values(), vars(still_open).values(), strict=True)
        return _Segments(*(np.concatenate(pair) for pair in pairs))

    def unsent(self, *, whole: bool) -> tuple[int, int]:
        """Return the number of open episodes, and of their known steps (``whole``: all) that have had no loss yet."""
        built, layout = self.next_sequence, self.layout
        with_loss = np.where(built > 0, (built - 1) * layout.period_steps + layout.unroll_steps, 0)
        known = self.write - self.origin
        steps = known if whole else np.maximum(known - with_loss, 0)
        return int(self.is_open.sum()), int(steps[self.is_open].sum())

    def steps_at(self, place: _Ints) -> dict[str, Tensor]:
        """Return copies [*, ...] of the steps at these places [*]."""
        index = self._index(place)
        return {
            key: ring.flatten(0, 1).index_select(0, index.flatten()).view(*index.shape, *ring.shape[2:])
            for key, ring in self.steps.items()
        }

    def states_at(self, place: _Ints) -> dict[str, Tensor]:
        """Return the recurrent states [S, H] before the steps at these places [S]."""
        if not self.states:
            return {}
        order = np.argsort(self.state_at)
        found = np.searchsorted(self.state_at[order], place)
        index = order[np.minimum(found, len(order) - 1)]
        if len(index) and (self.state_at[index] != place).any():
            raise ValueError("a sequence starts at a step whose recurrent state was not sent; layouts differ")
        return {key: value[torch.from_numpy(index)] for key, value in self.states.items()}

    def drop_old_states(self) -> None:
        """Forget the recurrent states that no sequence will start from."""
        emulator, position = np.divmod(self.state_at, _STRIDE)
        kept = position >= self._oldest_needed()[emulator]
        self.state_at = self.state_at[kept]
        self.states = {key: value[torch.from_numpy(kept)] for key, value in self.states.items()}

    def reserve(self, capacity: int, like: Mapping[str, Tensor]) -> None:
        """Make room for ``capacity`` steps an emulator, with entries ``like`` [n, ...]; written steps stay."""
        if capacity <= self.capacity and self.steps:
            return
        first = np.maximum(self.write - self.capacity, 0)
        places = _places(first, self.write)
        kept = self.steps_at(places)
        self.capacity = max(capacity, self.capacity)
        self.steps = {
            key: torch.zeros(self.num_emulators, self.capacity, *value.shape[1:], dtype=value.dtype)
            for key, value in like.items()
        }
        self._put(places, kept)

    def state_dict(self) -> dict[str, Any]:
        """Return the steps that are still needed, and all bookkeeping."""
        oldest = self._oldest_needed()
        return {
            "steps": self.steps_at(_places(oldest, self.write)),
            "lengths": torch.from_numpy(self.write - oldest),
            **{name: torch.from_numpy(getattr(self, name).copy()) for name in _ARRAYS},
            "states": {key: value.clone() for key, value in self.states.items()},
            "pending": [[dict(item.items()) for item in items] for items in self.pending],
        }

    @classmethod
    def from_state_dict(cls, state: Mapping[str, Any], layout: SequenceLayout) -> "_OpenEpisodes":
        """Undo :meth:`state_dict`."""
        lengths = state["lengths"].numpy()
        episodes = cls(len(lengths), layout)
        for name in _ARRAYS:
            setattr(episodes, name, state[name].numpy().copy())
        episodes.states = {key: value.clone() for key, value in state["states"].items()}
        episodes.pending = [
            [TensorDict(item, batch_size=[len(item["mask"])]) for item in items] for items in state["pending"]
        ]
        episodes.reserve(max(1, int(lengths.max())), state["steps"])
        episodes._put(_places(episodes.write - lengths, episodes.write), state["steps"])
        return episodes

    def _oldest_needed(self) -> _Ints:
        """Return the position [E] of the first step that a sequence still to be built can contain."""
        step = np.maximum(self.next_sequence * self.layout.period_steps - self.layout.burn_in_steps, 0)
        return np.where(self.is_open, np.minimum(self.origin + step, self.write), self.write)

    def _index(self, place: _Ints) -> Tensor:
        """Return the index of places [*] into a ring seen as [E * C, ...]."""
        emulator, position = np.divmod(place, _STRIDE)
        return torch.from_numpy(emulator * self.capacity + position % self.capacity)

    def _put(self, place: _Ints, values: Mapping[str, Tensor]) -> None:
        # With an index or a mask PyTorch copies number by number; NumPy and `index_select` copy whole steps.
        index = self._index(place).numpy()
        for key, value in values.items():
            self.steps[key].view(-1, *value.shape[1:]).numpy()[index] = value.numpy()


def _places(first: _Ints, last: _Ints) -> _Ints:
    """Return the places of all positions in [first, last), emulator by emulator."""
    lengths = last - first
    emulator = np.repeat(np.arange(len(lengths)), lengths)
    offset = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    place: _Ints = emulator * _STRIDE + first[emulator] + offset
    return place
