"""Paired measurements: ours and the limit in turn, so that a slower machine affects both alike."""

import statistics
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Row:
    """Paired samples of one comparison.

    Attributes:
        ours: work per second (or bytes, seconds: whatever ``unit`` says) of each round.
        limit: the same of the limit.
        unit: what the samples count.
        lower_is_better: the samples are costs, so that the ratio is limit over ours.
        parts: finer comparisons of the same row, by label.
        notes: further figures of the row, shown in the table.
        extra: entries of the row's JSON.
    """

    ours: list[float]
    limit: list[float]
    unit: str
    lower_is_better: bool = False
    parts: dict[str, "Row"] = field(default_factory=dict)
    notes: dict[str, Any] = field(default_factory=dict)
    extra: dict[str, Any] = field(default_factory=dict)

    @property
    def ratios(self) -> list[float]:
        """Ours over the limit, pair by pair."""
        pairs = zip(self.ours, self.limit, strict=True)
        return [limit / ours if self.lower_is_better else ours / limit for ours, limit in pairs]

    @property
    def ratio(self) -> float:
        """Median of the ratios."""
        return statistics.median(self.ratios)

    @property
    def low(self) -> float:
        """Smallest ratio."""
        return min(self.ratios)

    @property
    def high(self) -> float:
        """Largest ratio."""
        return max(self.ratios)

    @property
    def text(self) -> str:
        """The absolute medians."""
        notes = "".join(f"; {key} {value}" for key, value in self.notes.items())
        return f"{statistics.median(self.ours):,.4g} / {statistics.median(self.limit):,.4g} {self.unit}{notes}"

    def as_json(self) -> dict[str, Any]:
        """The row's results."""
        return {
            "ratio": round(self.ratio, 4),
            "spread": [round(self.low, 4), round(self.high, 4)],
            "ours": statistics.median(self.ours),
            "limit": statistics.median(self.limit),
            "unit": self.unit,
            **self.extra,
            **({"notes": self.notes} if self.notes else {}),
            **({"parts": {label: part.as_json() for label, part in self.parts.items()}} if self.parts else {}),
        }

    def samples(self) -> dict[str, Any]:
        """The raw samples behind :meth:`as_json`."""
        own: dict[str, Any] = {"ours": self.ours, "limit": self.limit}
        if self.parts:
            own["parts"] = {label: part.samples() for label, part in self.parts.items()}
        return own
