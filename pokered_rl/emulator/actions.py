"""Actions of a step, and its length."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from pokered_rl.errors import ConfigError
from pokered_rl.game.screen_rules import BUTTONS

__all__ = ["BUTTON_INDEX", "DEFAULT_ACTIONS", "NOOP", "ActionSet", "ActionTiming"]

#: Name of the action that presses nothing.
NOOP = "noop"

#: All buttons but SELECT, which only reorders lists.
DEFAULT_ACTIONS = ("noop", "a", "b", "start", "right", "left", "up", "down")

#: Index into :data:`pokered_rl.game.BUTTONS` of each button, by its name in lower case.
BUTTON_INDEX = {button.lower(): index for index, button in enumerate(BUTTONS)}


class ActionSet:
    """The buttons an agent may press, one at a time, in the order of its action indices.

    Args:
        names: Distinct names of ``noop, a, b, select, start, right, left, up, down``.

    Attributes:
        names: Name of each action.
        button_indices: Index into :data:`pokered_rl.game.BUTTONS` of each action, -1 for the no-op.
        noop: Index of the action that presses nothing, ``None`` without one.

    Raises:
        ConfigError: A name is unknown or repeated, or there is no button.

    Example:
        >>> actions = ActionSet(("noop", "a", "up"))
        >>> len(actions), actions.noop, actions.buttons.tolist()
        (3, 0, [-1, 0, 6])
    """

    def __init__(self, names: Sequence[str] = DEFAULT_ACTIONS) -> None:
        known = (NOOP, *BUTTON_INDEX)
        unknown = [name for name in names if name not in known]
        if unknown:
            raise ConfigError(f"actions must be out of {', '.join(known)}, got {', '.join(map(repr, unknown))}")
        if len(set(names)) != len(names):
            raise ConfigError(f"actions must be distinct, got {', '.join(names)}")
        if not set(names) - {NOOP}:
            raise ConfigError(f"actions must name at least one button, got {list(names)}")
        self.names = tuple(names)
        self.button_indices = tuple(BUTTON_INDEX.get(name, -1) for name in names)
        self.noop = self.names.index(NOOP) if NOOP in names else None

    @property
    def buttons(self) -> torch.Tensor:
        """:attr:`button_indices` as an int64 tensor [A]."""
        return torch.tensor(self.button_indices, dtype=torch.int64)

    def index(self, name: str) -> int:
        """Return the index of a named action.

        Raises:
            ConfigError: The action is not in this set.
        """
        if name not in self.names:
            raise ConfigError(f"action must be one of {', '.join(self.names)}, got {name!r}")
        return self.names.index(name)

    def __len__(self) -> int:
        return len(self.names)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ActionSet) and self.names == other.names

    def __hash__(self) -> int:
        return hash(self.names)

    def __repr__(self) -> str:
        return f"ActionSet({self.names!r})"


@dataclass(frozen=True, kw_only=True)
class ActionTiming:
    """Frames of one step: the button is pressed at its start and released before its last frame.

    Attributes:
        frames_per_action: Length of a step. A tile takes 16 or 17 frames on foot, so 24 is one tile and time to
            stop; published agents that got far into the game use 24.
        hold_frames: Frames the button is held. The overworld polls the pad every second frame and menus every
            third, so 2 can be missed; 8 is one tile and never two.

    Raises:
        ConfigError: Not ``1 <= hold_frames < frames_per_action``.
    """

    frames_per_action: int = 24
    hold_frames: int = 8

    def __post_init__(self) -> None:
        if not 1 <= self.hold_frames < self.frames_per_action:
            raise ConfigError(
                f"hold_frames must be >= 1 and < frames_per_action ({self.frames_per_action}), so that the button is "
                f"released when the step ends, got {self.hold_frames}"
            )
