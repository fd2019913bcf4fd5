"""Read files that a stranger may have prepared: only regular ones, none through a symbolic link, none too large."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

__all__ = ["read_plain_file"]


def read_plain_file(path: str | os.PathLike[str], *, max_bytes: int, follow: bool = False) -> bytes:
    """Return the content of a regular file.

    Args:
        path: The file. Folders on the way may be symbolic links.
        max_bytes: Largest size.
        follow: Whether the file itself may be a symbolic link.

    Raises:
        OSError: It is missing or unreadable, a symbolic link, a folder, a pipe or a device, or too large; ``strerror``
            says which.
    """
    # Without O_NONBLOCK, opening a pipe that nobody writes to would wait for ever.
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)
    if not follow:
        flags |= getattr(os, "O_NOFOLLOW", 0)
    try:
        descriptor = os.open(path, flags)
    except OSError:
        if not follow and Path(path).is_symlink():
            raise OSError(errno.ELOOP, "is a symbolic link; name the file itself", str(path)) from None
        raise
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "is not a regular file", str(path))
        if status.st_size > max_bytes:
            raise OSError(errno.EFBIG, f"has {status.st_size} bytes, at most {max_bytes} are read", str(path))
        content = file.read(max_bytes + 1)
    if len(content) > max_bytes:
        raise OSError(errno.EFBIG, f"has more than {max_bytes} bytes", str(path))
    return content
