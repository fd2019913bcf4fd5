"""Curriculum goals: conditions named in a YAML file that pay once in an episode."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from pokered_rl.envs.ram_frame import RamFrame
from pokered_rl.envs.rewards.base import Flags, RewardStep, RewardTerm
from pokered_rl.errors import ConfigError
from pokered_rl.game import CartridgeProfile

__all__ = ["Goal", "Goals"]


@dataclass(frozen=True, kw_only=True)
class Goal:
    """One goal: exactly one of map, region, event, badges and level."""

    #: Name in logs, and for ``after``.
    name: str
    #: Reward.
    value: float = 1.0
    #: Name of the map to stand on.
    map: str | None = None
    #: [map, left, top, right, bottom]: the rectangle of a map to stand in, in steps, borders included.
    region: tuple[str, int, int, int, int] | None = None
    #: Name of an event flag.
    event: str | None = None
    #: Number of badges.
    badges: int | None = None
    #: Sum of the party's levels.
    level: int | None = None
    #: Name of a goal that must have been reached before in the episode.
    after: str | None = None

    @classmethod
    def from_mapping(cls, entry: Mapping[str, Any]) -> Goal:
        """Make a goal from a YAML mapping.

        Raises:
            ConfigError: A key is unknown, the name is missing, or there is not exactly one condition.
        """
        known = [field.name for field in fields(cls)]
        unknown = [str(key) for key in entry if key not in known]
        if unknown:
            raise ConfigError(f"a goal has the keys {', '.join(known)}; got {', '.join(unknown)}")
        if "name" not in entry:
            raise ConfigError(f"a goal needs a name, got {dict(entry)!r}")
        values = {key: value for key, value in entry.items() if value is not None}
        if "region" in values:
            values["region"] = tuple(values["region"])
            if len(values["region"]) != 5:
                raise ConfigError(
                    f"region of goal {entry['name']!r} must be [map, left, top, right, bottom], got {entry['region']}"
                )
        conditions = [key for key in ("map", "region", "event", "badges", "level") if key in values]
        if len(conditions) != 1:
            raise ConfigError(
                f"goal {entry['name']!r} must have exactly one of map, region, event, badges, level; "
                f"got {', '.join(conditions) or 'none'}"
            )
        return cls(**values)


def _check_name(goal: Goal, kind: str, name: str, table: Any) -> None:
    """Refuse the name of a map or event that the game does not have."""
    if name not in table:
        near = difflib.get_close_matches(name.removeprefix("EVENT_"), table.names, n=3, cutoff=0.5)
        hint = f"; did you mean {', or '.join(near)}?" if near else ""
        raise ConfigError(f"goal {goal.name!r}: there is no {kind} {name!r}{hint}")


class Goals(RewardTerm):
    """Pays the value of each goal in the first step of the episode in which it holds, unless it held at the start.

    value_t = sum over goals g of value_g [g holds at t, held at no s < t, and ``after`` was reached at some s <= t].

    Args:
        weight: Factor on all values.
        goals: :class:`Goal` objects, or mappings as in YAML.
        profile: Names of maps and events; None takes Red's.

    Raises:
        ConfigError: A goal is malformed, two share a name, or a map, event or ``after`` is unknown.
    """

    name = "goals"
    default_weight = 1.0

    def __init__(
        self,
        *,
        weight: float | None = None,
        goals: Iterable[Goal | Mapping[str, Any]] = (),
        profile: CartridgeProfile | None = None,
    ) -> None:
        super().__init__(weight=weight)
        profile = profile or CartridgeProfile.get("red")
        self.goals = tuple(goal if isinstance(goal, Goal) else Goal.from_mapping(goal) for goal in goals)
        names = [goal.name for goal in self.goals]
        if len(set(names)) != len(names):
            raise ConfigError(f"goals must have distinct names, got {', '.join(names)}")
        self._values = np.array([goal.value for goal in self.goals])
        self._after = [names.index(goal.after) if goal.after in names else -1 for goal in self.goals]
        for goal in self.goals:
            if goal.after is not None and goal.after not in names:
                raise ConfigError(f"goal {goal.name!r} comes after {goal.after!r}, which is no goal")
        self._tests = [self._test(goal, profile) for goal in self.goals]

    @staticmethod
    def _test(goal: Goal, profile: CartridgeProfile) -> Any:
        """Return a function from a frame to bool [E]."""
        if goal.badges is not None:
            badges = goal.badges
            return lambda frame: np.array([bin(bits).count("1") for bits in frame.progress.badge_bits]) >= badges
        if goal.level is not None:
            level = goal.level
            return lambda frame: frame.progress.party_level.sum(-1) >= level
        if goal.event is not None:
            _check_name(goal, "event", goal.event, profile.events)
            bit = profile.events.bit(goal.event)
            return lambda frame: (frame.progress.event_bytes[:, bit // 8] >> (bit % 8)) & 1 == 1
        where = goal.region or (goal.map, 0, 0, 255, 255)
        _check_name(goal, "map", str(where[0]), profile.maps)
        map_id = profile.maps.id(str(where[0]))
        _, left, top, right, bottom = where
        return lambda frame: (
            (frame.map_id == map_id) & (frame.x >= left) & (frame.x <= right) & (frame.y >= top) & (frame.y <= bottom)
        )

    def _allocate(self, num_emulators: int) -> None:
        self._reached = np.zeros((num_emulators, len(self.goals)), bool)

    def _holds(self, frame: RamFrame) -> Flags:
        return np.stack([test(frame) for test in self._tests], 1)

    def _start(self, frame: RamFrame, emulators: Flags) -> None:
        if self.goals:
            self._reached[emulators] = self._holds(frame)[emulators]

    def _value(self, step: RewardStep) -> npt.NDArray[Any]:
        if not self.goals:
            return np.zeros(step.now.num_emulators)
        holds = self._holds(step.now)
        value = np.zeros(step.now.num_emulators)
        for column, after in enumerate(self._after):  # in order: a goal may open the next one in the same step
            fresh = holds[:, column] & ~self._reached[:, column]
            if after >= 0:
                fresh &= self._reached[:, after]
            self._reached[:, column] |= fresh
            value += self._values[column] * fresh
        return value
