"""Means, milestone rates and coverage of the latest episodes."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pokered_rl.training.callbacks import Callback

if TYPE_CHECKING:
    from pokered_rl.collectors import EpisodeResult
    from pokered_rl.training.trainer import Trainer

__all__ = ["EpisodeStatistics", "episode_columns"]

#: Figures of an episode whose means are kept, beside its return and length.
_MEANS = ("tiles", "maps", "badges", "events", "party_level", "battles_won", "battles_lost")


def episode_columns(episode: EpisodeResult) -> dict[str, float | int | str]:
    """Return an episode as columns of a table.

    ``milestones`` counts those of the story; ``milestone_steps`` lists each with its step (``starter:812``), in the
    order in which they were reached; ``furthest`` and ``furthest_step`` are the last one by the story's order;
    ``term_NAME`` are the sums of the reward terms.
    """
    columns: dict[str, float | int | str] = {"return": episode.total_reward, "length": episode.steps}
    figures = episode.figures
    if figures is None:
        return columns
    return columns | {
        "start": figures.cell or "power-on",
        "tiles": figures.tiles,
        "maps": figures.maps,
        "milestones": len(figures.milestones),
        "furthest": figures.furthest,
        "furthest_step": figures.milestones.get(figures.furthest, ""),
        "milestone_steps": " ".join(f"{name}:{step}" for name, step in figures.milestones.items()),
        "badges": figures.badges,
        "events": figures.events,
        "party_level": figures.party_level,
        "battles_won": figures.battles_won,
        "battles_lost": figures.battles_lost,
        "wait_frames": figures.wait_frames,
        "masked_share": figures.masked_share,
        **{f"term_{name}": value for name, value in figures.terms.items()},
    }


@dataclass
class _Kept:
    """What is kept of an episode."""

    values: dict[str, float]
    milestones: tuple[str, ...] = ()


class EpisodeStatistics(Callback):
    """Keep the latest episodes that began at power-on, or in a given start state; those from the archive do not count.

    Args:
        story: Milestones in the order of the story.
        window: Number of episodes.
    """

    def __init__(self, story: Sequence[str] = (), *, window: int = 100) -> None:
        self._story = tuple(story)
        self._kept: deque[_Kept] = deque(maxlen=window)
        #: How many episodes visited each ``map_id << 16 | x << 8 | y`` in this job.
        self.visits: Counter[int] = Counter()

    def on_episode(self, trainer: Trainer, episode: EpisodeResult) -> None:
        """Keep the episode."""
        if episode.from_archive:
            return
        values = {"return": episode.total_reward, "length": float(episode.steps)}
        figures = episode.figures
        if figures is None:
            self._kept.append(_Kept(values))
            return
        values |= {name: float(getattr(figures, name)) for name in _MEANS}
        values["milestones"] = float(len(figures.milestones))
        self._kept.append(_Kept(values, tuple(figures.milestones)))
        self.visits.update(figures.places)

    def __len__(self) -> int:
        return len(self._kept)

    def means(self) -> dict[str, float]:
        """Return the mean of each figure over the episodes that have it; empty without episodes."""
        names = dict.fromkeys(name for each in self._kept for name in each.values)
        columns = {name: [each.values[name] for each in self._kept if name in each.values] for name in names}
        return {name: sum(values) / len(values) for name, values in columns.items()}

    def rates(self) -> dict[str, float]:
        """Return the share of the episodes that reached each milestone, of those that any did, in the story's order."""
        counts = Counter(name for each in self._kept for name in each.milestones)
        return {name: counts[name] / len(self._kept) for name in self._story if counts[name]}

    def furthest(self) -> tuple[str, float] | None:
        """Return the milestone furthest in the story that any of the episodes reached, and its rate."""
        rates = self.rates()
        return list(rates.items())[-1] if rates else None

    def state_dict(self) -> dict[str, Any]:
        """Return the episodes; the coverage begins anew with each job."""
        return {"kept": [[dict(each.values), list(each.milestones)] for each in self._kept]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from :meth:`state_dict`."""
        self._kept.extend(_Kept(dict(values), tuple(names)) for values, names in state["kept"])
