"""Say in one line why a file cannot be read or written, before work is spent on it where that is possible."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

from pokered_rl.errors import ConfigError

__all__ = ["NewFolders", "check_writable", "disk_message", "existing_parent", "is_full"]

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_REFUSED = (
    *(errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG),
    *(errno.ELOOP, errno.EIO, errno.ENXIO, errno.EINVAL, errno.EEXIST, errno.EMFILE, errno.ENFILE, errno.ESTALE),
)


def existing_parent(path: Path) -> Path:
    """Return the path itself or the nearest folder above it that exists."""
    path = path.absolute()
    while not os.path.lexists(path):
        path = path.parent
    return path


def check_writable(path: Path, *, option: str, is_file: bool = False) -> None:
    """Refuse a path that nothing can be written to; nothing is left behind.

    Args:
        path: A folder, or a file; neither it nor the folders above it need exist.
        option: What the user sets to choose another one.
        is_file: The path is that of a file.

    Raises:
        ConfigError: It, or the folder in which it would be made, cannot be written.
    """
    try:
        place = existing_parent(path)
        if place.is_dir() and is_file and place == path.absolute():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if is_file and place == path.absolute():
            if not os.access(place, os.W_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
            place = place.parent
        names = path.absolute().relative_to(place.absolute()).parts
        if any(len(os.fsencode(name)) > os.pathconf(place, "PC_NAME_MAX") for name in names):
            raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG))
        tempfile.TemporaryFile(dir=place).close()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise ConfigError(f"{path} cannot be written ({reason}); choose another place with {option}") from error


def disk_message(error: OSError, *, remedy: str = "") -> str | None:
    """Return one line about an error of the file system; None for any other error, which is a defect.

    Args:
        error: What was raised.
        remedy: What to do about a place that cannot be used.
    """
    where = f" at {error.filename}" if error.filename else ""
    if error.errno in _FULL:
        return f"{_fullness(error)}{where} ({error.strerror}); make room and start again"
    if error.errno in _REFUSED:
        return f"{error.filename or 'a file'} cannot be used ({error.strerror})" + (f"; {remedy}" if remedy else "")
    return None


def is_full(error: BaseException | None) -> bool:
    """Return whether an error, or what caused it, says that a disk, a quota or a limit is used up."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in _FULL:
            return True
        error = error.__cause__
    return False


def _fullness(error: OSError) -> str:
    if error.errno == errno.EDQUOT:
        return "your quota of bytes or of files is used up"
    if error.errno == errno.EFBIG:
        return "a file would become larger than this system or its limit allows (ulimit -f)"
    try:
        disk = os.statvfs(existing_parent(Path(os.fsdecode(error.filename))))
    except (OSError, TypeError):  # no name
        return "the disk is full, or its number of files is used up"
    # Whichever is scarcer: by now, what was being written has been removed, and a few files are free again.
    if disk.f_favail * disk.f_blocks < disk.f_bavail * disk.f_files:
        return "the disk has no room for another file: its number of files (inodes) is limited and used up"
    return "the disk is full"


class NewFolders:
    """The folders of a job that did not exist before it, to be removed again if it is refused before it has begun.

    Args:
        folders: Folders that the job is going to make.
    """

    def __init__(self, *folders: Path) -> None:
        self._new: list[Path] = []
        for folder in folders:
            path = folder.absolute()
            while not os.path.lexists(path):
                self._new.append(path)
                path = path.parent
        self._folders = [folder.absolute() for folder in folders if folder.absolute() in self._new]

    def forget(self) -> None:
        """Keep everything: the job has begun."""
        self._new, self._folders = [], []

    @contextlib.contextmanager
    def emptied_if_refused(self, *, keep: str) -> Iterator[None]:
        """Remove what the new folders hold, except the file ``keep``, if the body raises before :meth:`forget`."""
        try:
            yield
        except BaseException:
            for entry in (entry for folder in self._folders if folder.is_dir() for entry in folder.iterdir()):
                if entry.is_dir() and not entry.is_symlink():
                    shutil.rmtree(entry, ignore_errors=True)
                elif entry.name != keep:
                    entry.unlink(missing_ok=True)
            raise

    def __enter__(self) -> NewFolders:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Remove the new folders, and those above them that were new, as far as they are empty."""
        for folder in sorted(set(self._new), key=lambda path: -len(path.parts)):
            with contextlib.suppress(OSError):
                folder.rmdir()
