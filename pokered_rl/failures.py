"""What ends a command early: one line for the user, and the exit status."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import ParamSpec

from pokered_rl.disk import disk_message
from pokered_rl.errors import CheckpointError, PokeredError

__all__ = ["check_source", "command", "os_failure"]

_Arguments = ParamSpec("_Arguments")


def command(
    *, remedy: str, interrupted: str = "interrupted"
) -> Callable[[Callable[_Arguments, int]], Callable[_Arguments, int]]:
    """Decorate the ``main`` of a command: an error of the user's or of the file system is one line and status 1.

    Args:
        remedy: What to do about a place that cannot be used.
        interrupted: Written after Ctrl-C, whose status is 130.
    """

    def decorate(main: Callable[_Arguments, int]) -> Callable[_Arguments, int]:
        @functools.wraps(main)
        def run(*args: _Arguments.args, **kwargs: _Arguments.kwargs) -> int:
            try:
                return main(*args, **kwargs)
            except PokeredError as error:
                sys.stderr.write(f"error: {error}\n")
                return 1
            except OSError as error:
                return os_failure(error, remedy=remedy)
            except KeyboardInterrupt:
                sys.stderr.write(f"{interrupted}\n")
                return 130

        return run

    return decorate


def check_source(source: Path) -> None:
    """Refuse a run that does not exist, before the imports that could read it.

    Raises:
        CheckpointError: There is no such folder or file.
    """
    if not source.exists():
        raise CheckpointError(f"there is no {source}; give a run folder, a checkpoint or an online_params.pt")


def os_failure(error: OSError, *, remedy: str) -> int:
    """Write one line about an error of the file system; return the exit status.

    Args:
        error: What was raised.
        remedy: What to do about a place that cannot be used.

    Raises:
        OSError: It is no error of the file system, so the program has a defect.
    """
    message = disk_message(error, remedy=remedy)
    if message is None:
        raise error
    sys.stderr.write(f"error: {message}\n")
    return 1
