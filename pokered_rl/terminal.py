"""The console that commands write to."""

from __future__ import annotations

import os
import sys

from rich.console import Console

__all__ = ["make_console"]


def make_console(*, stderr: bool = False) -> Console:
    """Return a console that moves the cursor on a terminal only, and writes plain lines elsewhere.

    Rich takes a file for a terminal where ``FORCE_COLOR`` is set, and shows nothing that moves on a terminal that
    cannot do it (``TERM=dumb``).
    """
    stream = sys.stderr if stderr else sys.stdout
    can_move = os.environ.get("TERM", "").lower() not in ("dumb", "unknown")
    return Console(stderr=stderr, force_terminal=stream.isatty() and can_move)
