"""What commands say when something outside of the program is wrong."""

from __future__ import annotations

import sys
from pathlib import Path

from pokered_rl.disk import disk_message
from pokered_rl.errors import CheckpointError

__all__ = ["check_source", "os_failure"]


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
