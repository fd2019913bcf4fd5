"""Files that are either there whole or not at all."""

from __future__ import annotations

import os
import threading
from pathlib import Path

__all__ = ["write_atomically"]


def write_atomically(path: Path, content: bytes | memoryview, *, shared: bool = False) -> Path:
    """Writes ``content`` to ``path``: a reader finds the old bytes or the new ones, never a part.

    The content goes to ``.NAME.writing`` in the same folder, onto the disk, and is then renamed. That name is the same
    at every try, so what ``kill -9`` left behind is written over by the next one and nothing piles up over the jobs of
    a run. Two writers at once would write into one another's file: where that can happen, ``shared`` gives each its
    own name, and a killed one leaves its file behind.

    Args:
        path: The file; missing folders are made.
        content: Its new content.
        shared: Several processes or threads may write this very path at the same time.

    Returns:
        ``path``.

    Raises:
        OSError: The content could not be written; the old file is as it was, and nothing else is left behind.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = f".{os.getpid()}-{threading.get_ident()}" if shared else ""
    staging = path.with_name(f".{path.name}{writer}.writing")
    try:
        with staging.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        staging.replace(path)
    except BaseException:
        staging.unlink(missing_ok=True)
        raise
    return path
