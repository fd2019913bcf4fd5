"""How often each inserted sequence is drawn: the learner neither starves nor overfits."""

from __future__ import annotations

__all__ = ["SamplesPerInsert"]


class SamplesPerInsert:
    """Keeps drawn sequences close to ``ratio`` times the inserted ones (Cassirer et al. 2021, Reverb's rate limiter).

    The learner waits when it is ahead of the ratio; the actors are held back when it is more than
    ``slack_batches`` behind.

    Args:
        ratio: Draws of a sequence, on average.
        min_fill_sequences: Sequences in the replay before the first update.
        batch_size: Sequences drawn by one update.
        slack_batches: Batches that the learner may be behind.
    """

    def __init__(self, *, ratio: float, min_fill_sequences: int, batch_size: int, slack_batches: float) -> None:
        self.drawn = 0
        self._ratio = ratio
        self._min_fill = min_fill_sequences
        self._batch_size = batch_size
        self._slack = slack_batches * batch_size

    def allows_update(self, *, inserted: int, stored: int) -> bool:
        """Whether the learner may draw a batch.

        Args:
            inserted: Sequences that ever entered the replay.
            stored: Sequences in it now; fewer than ``min_fill_sequences`` after a loss of the replay.
        """
        return stored >= self._min_fill and self.drawn + self._batch_size <= self._ratio * inserted

    def holds_actors(self, *, inserted: int, stored: int) -> bool:
        """Whether the learner is so far behind that acting should wait."""
        return stored >= self._min_fill and self._ratio * inserted - self.drawn > self._slack

    def count_update(self) -> None:
        """A batch was drawn."""
        self.drawn += self._batch_size

    def observed(self, inserted: int) -> float:
        """Draws of each sequence so far."""
        return self.drawn / max(1, inserted)
