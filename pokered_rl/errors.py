"""The errors that a caller can act on.

Every message says which file or value was wrong, what was expected and what to do about it. The examples print
the message alone, without a traceback, and exit with a non-zero status.
"""

from pokered_rl.plain_text import printable

__all__ = [
    "CartridgeError",
    "CheckpointError",
    "ConfigError",
    "EpisodeLogError",
    "PokeredError",
    "RunLostError",
    "SaveStateError",
]


class PokeredError(Exception):
    """Base of all errors of this library.

    A message may quote what a file holds: characters that would control a terminal are replaced.
    """

    def __str__(self) -> str:
        """Return the message."""
        return printable(super().__str__())


class CartridgeError(PokeredError):
    """A ROM file is missing, truncated or not the one that was expected."""


class SaveStateError(PokeredError):
    """A save state cannot be read, or belongs to another cartridge or PyBoy version."""


class EpisodeLogError(PokeredError):
    """An episode log is damaged, or its replay is not the episode that was recorded."""


class CheckpointError(PokeredError):
    """A checkpoint is missing, damaged or does not fit the run that wants to resume from it."""


class RunLostError(PokeredError):
    """Another job has taken over the run that this one works on."""


class ConfigError(PokeredError, ValueError):
    """A configuration value is out of range, or two values contradict each other."""
