"""Named milestones of the story, in order."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

from pokered_rl.game._data import load_json
from pokered_rl.game.events import EventTable
from pokered_rl.game.maps import GameMaps
from pokered_rl.game.state import GameState

__all__ = ["Milestone", "Milestones"]


@dataclass(frozen=True)
class Milestone:
    """A point of the story; reached when any of its conditions holds.

    Attributes:
        name: Short name, unique in its list.
        events: Event flags, one of which has to be set.
        maps: Maps, on one of which the player has to stand.
        badges: Badges (0..7), one of which has to be owned.
        hall_of_fame: Whether a team in the Hall of Fame does it.
    """

    name: str
    events: tuple[int, ...] = ()
    maps: tuple[int, ...] = ()
    badges: tuple[int, ...] = ()
    hall_of_fame: bool = False


class Milestones:
    """The milestones of a cartridge in the order of its story.

    A milestone of a map holds only while the player is there: keep the maximum over an episode.

    Args:
        milestones: The milestones; names must be unique.

    Example:
        >>> from pokered_rl.game import CartridgeProfile
        >>> CartridgeProfile.get("red").milestones.names[:3]
        ('leave_home', 'follow_oak', 'starter')
    """

    #: The fields of ``GameState`` that ``reached`` reads.
    FIELDS = ("map_id", "badge_bits", "hall_of_fame", "event_flags")

    def __init__(self, milestones: tuple[Milestone, ...]) -> None:
        self._milestones = milestones
        self.names: tuple[str, ...] = tuple(milestone.name for milestone in milestones)
        self._events = torch.tensor(sorted({bit for m in milestones for bit in m.events}), dtype=torch.int64)
        position = {int(bit): i for i, bit in enumerate(self._events)}
        # One row for each event, then for each map id, each badge, and the Hall of Fame.
        maps, badges, fame = len(position), len(position) + 256, len(position) + 264
        self._causes = torch.zeros(fame + 1, len(milestones))
        for k, milestone in enumerate(milestones):
            rows = [position[bit] for bit in milestone.events]
            rows += [maps + id for id in milestone.maps] + [badges + badge for badge in milestone.badges]
            self._causes[rows + ([fame] if milestone.hall_of_fame else []), k] = 1.0

    @classmethod
    def load(cls, file: str, maps: GameMaps, events: EventTable) -> Milestones:
        """The list of the package's ``data/<file>``.

        Raises:
            KeyError: If the list names an event or map that the tables do not have.
        """

        def names(value: str | list[str]) -> list[str]:
            return [value] if isinstance(value, str) else value

        return cls(
            tuple(
                Milestone(
                    row["name"],
                    events=tuple(events.bit(name) for name in names(row.get("event", []))),
                    maps=tuple(maps.id(name) for name in names(row.get("map", []))),
                    badges=(row["badge"],) if "badge" in row else (),
                    hall_of_fame="hall_of_fame" in row,
                )
                for row in load_json(file)["milestones"]
            )
        )

    def __len__(self) -> int:
        return len(self._milestones)

    def __iter__(self) -> Iterator[Milestone]:
        return iter(self._milestones)

    def reached(self, state: GameState) -> Tensor:
        """Return which milestones hold now, bool ``[*, M]``, in a state with ``FIELDS`` decoded, batch ``[*]``."""
        map_id, badge_bits = cast(Tensor, state.map_id), cast(Tensor, state.badge_bits)
        hall_of_fame, event_flags = cast(Tensor, state.hall_of_fame), cast(Tensor, state.event_flags)
        device = map_id.device
        here = torch.nn.functional.one_hot(map_id, 256)
        badges = (badge_bits.unsqueeze(-1) >> torch.arange(8, device=device)) & 1
        events = event_flags.index_select(-1, self._events.to(device))
        causes = torch.cat((events, here, badges, (hall_of_fame > 0).unsqueeze(-1)), -1).to(torch.float32)
        return causes @ self._causes.to(device) > 0
