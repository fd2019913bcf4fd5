"""Samples per insert: how often the learner may look at what the workers have brought."""

import threading
import time
from collections.abc import Mapping
from typing import Any

from pokered_rl.errors import ConfigError

__all__ = ["RateLimiter"]


class RateLimiter:
    """Keeps the number of sequences drawn in proportion to the number inserted.

    After the first `min_fill_sequences` every inserted sequence pays for `samples_per_insert` draws. The learner waits
    while it has no credit, so it cannot overfit to a small or slowly growing buffer; with a `slack_sequences` the
    workers wait while the credit exceeds it, so a slow learner does not let experience pass unseen.

    Args:
        samples_per_insert: draws that one inserted sequence pays for, > 0.
        min_fill_sequences: sequences in the buffer before the first draw, >= 1.
        slack_sequences: credit (in draws) above which inserting waits; None never holds the workers back.

    Raises:
        ConfigError: a value is out of range.
    """

    def __init__(
        self, *, samples_per_insert: float, min_fill_sequences: int, slack_sequences: float | None = None
    ) -> None:
        if not samples_per_insert > 0:
            raise ConfigError(f"samples_per_insert must be > 0, got {samples_per_insert}")
        if min_fill_sequences < 1:
            raise ConfigError(f"min_fill_sequences must be >= 1, got {min_fill_sequences}")
        if slack_sequences is not None and slack_sequences < samples_per_insert:
            raise ConfigError(
                f"slack_sequences must be at least samples_per_insert ({samples_per_insert}), or a single insert "
                f"would block; got {slack_sequences}"
            )
        self.samples_per_insert = samples_per_insert
        self.min_fill_sequences = min_fill_sequences
        self.slack_sequences = slack_sequences
        self._inserted = 0
        self._sampled = 0
        #: Sequences still missing from the buffer before draws may go on (after a lost replay).
        self._refill = min_fill_sequences
        self._changed = threading.Condition()

    @property
    def credit(self) -> float:
        """Draws that are paid for and not yet taken."""
        return self._paid * self.samples_per_insert - self._sampled

    @property
    def ratio(self) -> float:
        """Draws per paying insert so far; 0 before the first."""
        return self._sampled / self._paid if self._paid else 0.0

    @property
    def _paid(self) -> int:
        return max(0, self._inserted - self.min_fill_sequences)

    def can_sample(self, num_sequences: int) -> bool:
        """Whether a batch of this size may be drawn now."""
        return self._refill <= 0 and self.credit >= num_sequences

    def can_insert(self) -> bool:
        """Whether inserting may go on now."""
        if self.slack_sequences is None or self._refill > 0:
            return True
        return self.credit <= self.slack_sequences

    def inserted(self, num_sequences: int) -> None:
        """Notes sequences that went into the buffer."""
        with self._changed:
            self._inserted += num_sequences
            self._refill -= num_sequences
            self._changed.notify_all()

    def sampled(self, num_sequences: int) -> None:
        """Notes sequences that were drawn."""
        with self._changed:
            self._sampled += num_sequences
            self._changed.notify_all()

    def wait_until_can_sample(self, num_sequences: int, timeout_seconds: float) -> bool:
        """Waits for credit; returns whether there is some now."""
        return self._wait(lambda: self.can_sample(num_sequences), timeout_seconds)

    def wait_until_can_insert(self, timeout_seconds: float) -> bool:
        """Waits for the learner to catch up; returns whether inserting may go on."""
        return self._wait(self.can_insert, timeout_seconds)

    def require_refill(self, sequences_present: int = 0) -> None:
        """Makes draws wait until the buffer holds `min_fill_sequences` again, after its content was lost."""
        with self._changed:
            self._refill = self.min_fill_sequences - sequences_present
            self._sampled = max(self._sampled, int(self._paid * self.samples_per_insert))

    def state_dict(self) -> dict[str, Any]:
        """Counters, and what is left of the credit."""
        return {
            "inserted": self._inserted,
            "sampled": self._sampled,
            "refill": self._refill,
            "samples_per_insert": self.samples_per_insert,
            "min_fill_sequences": self.min_fill_sequences,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continues from `state_dict`.

        If the ratio or the minimum was another one then, the credit is kept: what was inserted before does not have to
        be drawn more often now, nor be made up for.
        """
        self._inserted, self._sampled = int(state["inserted"]), int(state["sampled"])
        self._refill = int(state["refill"])
        rate = float(state.get("samples_per_insert", self.samples_per_insert))
        min_fill = int(state.get("min_fill_sequences", self.min_fill_sequences))
        if (rate, min_fill) != (self.samples_per_insert, self.min_fill_sequences):
            credit = max(0, self._inserted - min_fill) * rate - self._sampled
            self._sampled = max(0, round(self._paid * self.samples_per_insert - credit))

    def _wait(self, condition: Any, timeout_seconds: float) -> bool:
        deadline = time.monotonic() + timeout_seconds
        with self._changed:
            while not condition():
                remaining = deadline - time.monotonic()
                if remaining <= 0:
                    return False
                self._changed.wait(remaining)
        return True
