"""Terms that pay for progress in the game. All of them pay for new maxima: nothing is paid twice in an episode."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from pokered_rl.envs.ram_frame import RamFrame
from pokered_rl.envs.rewards.base import Flags, ProgressTerm, RewardStep, RewardTerm
from pokered_rl.errors import ConfigError
from pokered_rl.game import CartridgeProfile

__all__ = [
    "Badges",
    "Champion",
    "Events",
    "Items",
    "KeyItems",
    "Levels",
    "Money",
    "PokedexOwned",
    "PokedexSeen",
]

_BITS_SET = np.array([bin(value).count("1") for value in range(256)])


class _Progress(ProgressTerm):
    """A :class:`ProgressTerm` over :attr:`RamFrame.progress`."""

    only_with = "progress"


class Badges(_Progress):
    """q = number of badges held (bits set in wObtainedBadges); pays max(0, q_t - max q)."""

    name = "badges"
    default_weight = 10.0

    def _quantity(self, frame: RamFrame) -> npt.NDArray[Any]:
        return _BITS_SET[frame.progress.badge_bits]


class PokedexOwned(_Progress):
    """q = species marked as owned in the Pokédex; pays max(0, q_t - max q)."""

    name = "pokedex_owned"
    default_weight = 0.5

    def _quantity(self, frame: RamFrame) -> npt.NDArray[Any]:
        return frame.progress.pokedex_owned


class PokedexSeen(_Progress):
    """q = species marked as seen in the Pokédex; pays max(0, q_t - max q)."""

    name = "pokedex_seen"
    default_weight = 0.1

    def _quantity(self, frame: RamFrame) -> npt.NDArray[Any]:
        return frame.progress.pokedex_seen


class Levels(_Progress):
    """q = s for s <= threshold, threshold + (s - threshold) / 4 above; s = sum of the party's levels.

    Pays max(0, q_t - max q). The slope changes (as in Whidden's agents) so that training levels does not pay more than
    the story. Storing a creature and taking it out again pays nothing.

    Args:
        weight: Factor.
        threshold: Sum of levels from which on a level pays a quarter.
    """

    name = "levels"
    default_weight = 0.2

    def __init__(self, *, weight: float | None = None, threshold: float = 22.0) -> None:
        super().__init__(weight=weight)
        self.threshold = threshold

    def _quantity(self, frame: RamFrame) -> npt.NDArray[Any]:
        total = frame.progress.party_level.sum(-1)
        result: npt.NDArray[Any] = total - 0.75 * np.maximum(total - self.threshold, 0)
        return result


class Money(_Progress):
    """q = log10(1 + money); pays max(0, q_t - max q). Off by default: selling is no progress."""

    name = "money"
    default_weight = 0.0

    def _quantity(self, frame: RamFrame) -> npt.NDArray[Any]:
        result: npt.NDArray[Any] = np.log10(1.0 + frame.progress.money)
        return result


class Champion(_Progress):
    """q = teams in the hall of fame (wNumHoFTeams); pays max(0, q_t - max q): 1 when the game is finished."""

    name = "champion"
    default_weight = 50.0

    def _quantity(self, frame: RamFrame) -> npt.NDArray[Any]:
        return frame.progress.hall_of_fame


class Events(RewardTerm):
    """Pays the sum of w_i over the event flags i that are set for the first time in the episode.

    value_t = sum_i w_i [flag i set at t, and at no s < t]. A flag that goes off and on again pays once.

    Args:
        weight: Factor on the whole sum.
        flags: Weight of single flags by name; the others keep ``default``, ``optional`` or ``trainers``.
        default: Weight of the flags that ``profile`` names. Flags without a name count 0: many of them are switches.
        trainers: Weight of those that are no part of the story (:attr:`CartridgeProfile.story_events`), the defeats of
            ordinary trainers; None takes ``optional``.
        optional: Weight of those without which the game can be finished (all but
            :attr:`CartridgeProfile.required_events`); None takes ``default``.
        profile: Whose names count; None takes Red's.

    Raises:
        ConfigError: A flag is not in the profile.
    """

    name = "events"
    default_weight = 1.0
    only_with = "progress"

    def __init__(
        self,
        *,
        weight: float | None = None,
        flags: Mapping[str, float] | None = None,
        default: float = 1.0,
        trainers: float | None = None,
        optional: float | None = None,
        profile: CartridgeProfile | None = None,
    ) -> None:
        super().__init__(weight=weight)
        profile = profile or CartridgeProfile.get("red")
        events, optional = profile.events, default if optional is None else optional
        self._weights = np.zeros(2560, np.float32)
        self._weights[list(events)] = optional if trainers is None else trainers
        self._weights[list(profile.story_events)] = optional
        self._weights[list(profile.required_events)] = default
        for name, value in (flags or {}).items():
            if name not in events:
                raise ConfigError(f"reward term events: no event flag is called {name!r}")
            self._weights[events.bit(name)] = value

    def _allocate(self, num_emulators: int) -> None:
        self._ever = np.zeros((num_emulators, 320), np.uint8)

    def _start(self, frame: RamFrame, emulators: Flags) -> None:
        self._ever[emulators] = frame.progress.event_bytes[emulators]

    def _value(self, step: RewardStep) -> npt.NDArray[Any]:
        fresh = step.now.progress.event_bytes & ~self._ever
        if not fresh.any():
            return np.zeros(step.now.num_emulators)
        self._ever |= fresh
        return np.unpackbits(fresh, axis=1, bitorder="little") @ self._weights


class Items(RewardTerm):
    """Pays the number of kinds of ordinary items that are in the bag for the first time in the episode."""

    name = "items"
    default_weight = 0.1
    only_with = "progress"
    _wants_key_items: ClassVar[bool] = False

    def __init__(self, *, weight: float | None = None, profile: CartridgeProfile | None = None) -> None:
        super().__init__(weight=weight)
        key_items = np.zeros(256, bool)
        key_items[list((profile or CartridgeProfile.get("red")).key_items)] = True
        self._counts = key_items if self._wants_key_items else ~key_items
        self._counts[0] = False  # an empty slot

    def _allocate(self, num_emulators: int) -> None:
        self._ever = np.zeros((num_emulators, 256), bool)

    def _held(self, frame: RamFrame) -> Flags:
        held = np.zeros((frame.num_emulators, 256), bool)
        np.put_along_axis(held, frame.progress.bag_items[:, :, 0] & 255, True, axis=1)
        return held & self._counts

    def _start(self, frame: RamFrame, emulators: Flags) -> None:
        self._ever[emulators] = self._held(frame)[emulators]

    def _value(self, step: RewardStep) -> npt.NDArray[Any]:
        held = self._held(step.now)
        fresh = (held & ~self._ever).sum(1)
        self._ever |= held
        result: npt.NDArray[Any] = fresh
        return result


class KeyItems(Items):
    """Pays the number of key items (HMs included) that are in the bag for the first time in the episode."""

    name = "key_items"
    default_weight = 1.0
    _wants_key_items: ClassVar[bool] = True
