"""Compact rollouts: a collector batch reduced to what sequences are built from.

A TorchRL batch [E, T] holds every observation twice (root and ``next``), the recurrent state at every step and all
action values. A sequence needs each observation once, the observation after an episode's last step, the recurrent
state only where a sequence can start, and two numbers of the action values. The rest is not kept.
"""

from collections.abc import Iterable, Sequence

import torch
from tensordict import TensorDict, TensorDictBase
from torch import Tensor

from pokered_rl.errors import ConfigError
from pokered_rl.observations import allowed_actions

__all__ = [
    "OBSERVATION_KEYS",
    "STATE_KEYS",
    "SequenceLayout",
    "compact_rollout",
]

#: Observation entries of the Pokémon environment that the network, the loss or the replay read.
OBSERVATION_KEYS = ("pixels", "map_memory", "context", "last_action", "last_reward", "action_mask")
#: Recurrent state entries of the network.
STATE_KEYS = ("recurrent_state_h", "recurrent_state_c")


class SequenceLayout:
    """How an episode is cut into overlapping sequences of equal length (all lengths in agent steps).

    Sequence s takes its loss on steps [s * period, s * period + unroll). Before them lie ``burn_in`` steps that only
    warm up the recurrent state, after them ``n_step`` steps that only serve as successors.

    Args:
        burn_in_steps: Steps before the first loss step, >= 0.
        unroll_steps: Steps with loss, >= 1.
        n_step: Successor steps after the last loss step, >= 1.
        period_steps: Distance between the first loss steps of two sequences, 1..unroll_steps; with the default,
            ``unroll_steps``, every step of an episode gets a loss exactly once.
        unroll_state: Keep the recurrent state of the first loss step as well; the loss compares it with what the
            burn-in makes of the stored one (R2D2's delta-Q).

    Raises:
        ConfigError: A length is out of its range.
    """

    def __init__(
        self,
        *,
        burn_in_steps: int,
        unroll_steps: int,
        n_step: int,
        period_steps: int | None = None,
        unroll_state: bool = False,
    ) -> None:
        period_steps = unroll_steps if period_steps is None else period_steps
        if burn_in_steps < 0:
            raise ConfigError(f"burn_in_steps must be >= 0, got {burn_in_steps}")
        if unroll_steps < 1:
            raise ConfigError(f"unroll_steps must be >= 1, got {unroll_steps}")
        if n_step < 1:
            raise ConfigError(f"n_step must be >= 1, got {n_step}")
        if not 1 <= period_steps <= unroll_steps:
            raise ConfigError(
                f"period_steps must be in 1..unroll_steps ({unroll_steps}), or steps would never get a loss; "
                f"got {period_steps}"
            )
        self.burn_in_steps = burn_in_steps
        self.unroll_steps = unroll_steps
        self.n_step = n_step
        self.period_steps = period_steps
        self.unroll_state = unroll_state

    @property
    def length(self) -> int:
        """Steps of one stored sequence, L."""
        return self.burn_in_steps + self.unroll_steps + self.n_step

    def first_real_step(self, sequence: Tensor) -> Tensor:
        """Return the episode step of the first step that is not padding: a sequence's recurrent state is stored there.

        Burn-in is all or nothing: where it would begin before the episode does, all of it is padding.

        Args:
            sequence: int64 [*], number of the sequence in its episode.

        Returns:
            int64 [*].
        """
        start = sequence * self.period_steps
        return torch.where(start >= self.burn_in_steps, start - self.burn_in_steps, start)

    def is_state_step(self, step: Tensor) -> Tensor:
        """Return True at the episode steps (int64 [*]) at which some sequence stores its recurrent state."""
        after_burn_in = (step + self.burn_in_steps) % self.period_steps == 0
        at_first_loss = step % self.period_steps == 0
        return after_burn_in | (at_first_loss if self.unroll_state else at_first_loss & (step < self.burn_in_steps))


def compact_rollout(
    rollout: TensorDictBase,
    *,
    layout: SequenceLayout,
    observation_keys: Iterable[str] = OBSERVATION_KEYS,
    state_keys: Sequence[str] = STATE_KEYS,
) -> TensorDict:
    """Reduce a collector batch to what sequences are built from.

    Args:
        rollout: Batch [E, T] with the observations, ``action`` int64 [E, T], ``is_init`` bool [E, T(, 1)],
            ``step_count`` int64 [E, T(, 1)] (0 at an episode's first step), the recurrent state [E, T, H], and under
            ``next`` ``reward``, ``done``, ``terminated``, ``truncated`` [E, T(, 1)] and, at done steps, the
            observations. ``action_value`` float [E, T, A] is optional: without it the sequences have no priority of the
            policy's own.
        layout: Tells where sequences can start, hence which recurrent states are kept.
        observation_keys: Entries that are kept; names missing from the rollout are left out.
        state_keys: Recurrent state entries; may be empty.

    Returns:
        TensorDict of batch size [] with
        ``steps`` [E, T]: observations, ``action``, ``reward`` f32, ``terminated``, ``truncated``, ``is_init`` bool,
        and, when there are action values, ``taken_value`` and ``greedy_value`` f32;
        ``first_step`` int64 [E]: episode step of the batch's first step;
        ``final`` [F]: observations after each done step, ``final_index`` int64 [F] = e * T + t of that step;
        ``states`` [S]: recurrent states, ``state_index`` int64 [S] = e * T + t.

    Raises:
        ConfigError: An entry that sequences need is missing, or a step is done without its final observation.
    """
    if rollout.ndim != 2:
        raise ConfigError(f"a rollout must have batch size [E, T], got {tuple(rollout.batch_size)}")
    after = rollout.get("next")
    keys, next_keys = set(rollout.keys()), set(after.keys())
    missing = [key for key in ("action", "is_init", "step_count", *state_keys) if key not in keys]
    if missing:
        raise ConfigError(f"the rollout lacks {missing}; it has {sorted(keys)}")
    observation_keys = [key for key in observation_keys if key in keys]

    done = _flat(after.get("done"))
    terminated = _flat(after.get("terminated")) if "terminated" in next_keys else torch.zeros_like(done)
    action = rollout.get("action")
    entries = {
        "action": action,
        "reward": _flat(after.get("reward")).float(),
        "terminated": terminated,
        # Every end that is not a termination leaves a future behind: it bootstraps.
        "truncated": done & ~terminated,
        "is_init": _flat(rollout.get("is_init")),
    }
    if "action_value" in keys:
        value = rollout.get("action_value").float()
        mask = rollout.get("action_mask", None)
        allowed = value if mask is None else value.masked_fill(~allowed_actions(mask), -torch.inf)
        entries["taken_value"] = value.gather(-1, action.unsqueeze(-1)).squeeze(-1)
        entries["greedy_value"] = allowed.amax(-1)
    observations = {key: rollout.get(key) for key in observation_keys}

    final_index = done.flatten().nonzero().squeeze(-1)
    absent = [key for key in observation_keys if key not in next_keys]
    if absent and final_index.numel():
        raise ConfigError(f"the rollout ends an episode but next lacks the final observation: {absent}")
    final = {} if absent else {key: after.get(key).flatten(0, 1)[final_index] for key in observation_keys}

    step = _flat(rollout.get("step_count"))
    state_index = layout.is_state_step(step).flatten().nonzero().squeeze(-1) if state_keys else final_index[:0]
    states = {key: rollout.get(key).flatten(0, 1)[state_index] for key in state_keys}
    return TensorDict(
        {
            "steps": TensorDict(observations | entries, batch_size=rollout.batch_size),
            "first_step": step[:, 0].clone(),
            "final": TensorDict(final, batch_size=[final_index.numel()]),
            "final_index": final_index,
            "states": TensorDict(states, batch_size=[state_index.numel()]),
            "state_index": state_index,
        },
        batch_size=[],
    )


def _flat(value: Tensor) -> Tensor:
    """[E, T, 1] or [E, T] -> [E, T]."""
    return value.squeeze(-1) if value.ndim == 3 else value
