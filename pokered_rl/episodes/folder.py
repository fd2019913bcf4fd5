"""The ``episode_logs/`` folder of a run: the logs, and each start state once."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from pokered_rl.atomic import write_atomically
from pokered_rl.emulator import SaveState
from pokered_rl.episodes.log import LOG_SUFFIX, EpisodeLog
from pokered_rl.errors import EpisodeLogError, SaveStateError

__all__ = ["EPISODE_FOLDER", "EpisodeFolder", "find_logs", "load_start_state"]

#: Name of the folder inside a run folder.
EPISODE_FOLDER = "episode_logs"
_STATES = "start_states"


class EpisodeFolder:
    """The logs and start states of one run.

    Several workers may use the folder at once: every file is complete when it appears, and no two have the same name
    and different content.

    Args:
        path: The folder; created when something is written to it.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._known: set[str] = set()

    def add_start_state(self, state: SaveState) -> str:
        """Store a start state unless it is stored already; return its SHA-256 (hex) for the header."""
        digest = state.sha256
        if digest not in self._known:
            file = self.start_state_path(digest)
            if not file.exists():
                write_atomically(file, state.to_bytes(), shared=True)
            self._known.add(digest)
        return digest

    def start_state_path(self, sha256: str) -> Path:
        """Return the path of the start state with this SHA-256."""
        return self.path / _STATES / f"{sha256}.state"

    def logs(self) -> list[Path]:
        """Return the paths of all logs, ordered by global step, worker and emulator."""
        return sorted(self.path.glob(f"*{LOG_SUFFIX}"))

    def __iter__(self) -> Iterator[EpisodeLog]:
        """Read the logs in order.

        Raises:
            EpisodeLogError: One of them is damaged.
        """
        return (EpisodeLog.load(path) for path in self.logs())


def load_start_state(log: EpisodeLog) -> SaveState:
    """Return the start state of a log: the embedded one, or the one in ``start_states/`` beside the log.

    Raises:
        EpisodeLogError: It is missing, or is not the one that the log names.
    """
    if log.start_state is not None:
        return log.start_state
    digest = log.header.start_state_sha256
    if log.path is None:
        raise EpisodeLogError(f"the log has neither an embedded start state nor a path; start state {digest} unknown")
    file = EpisodeFolder(log.path.parent).start_state_path(digest)
    if not file.is_file():
        raise EpisodeLogError(
            f"{log.path}: its start state is missing: expected {file}; copy the folder {_STATES}/ along with the logs"
        )
    try:
        state = SaveState.load(file)
    except SaveStateError as error:
        raise EpisodeLogError(f"{log.path}: its start state cannot be used: {error}") from error
    if state.sha256 != digest:
        raise EpisodeLogError(
            f"{log.path}: its start state {file} has SHA-256 {state.sha256}; the file is damaged: copy it again"
        )
    return state


def find_logs(sources: Iterable[str | os.PathLike[str]]) -> list[Path]:
    """Return the log files of run folders, ``episode_logs`` folders, files and glob patterns.

    The order is that of the arguments, by global step within each; a file named twice appears once.

    Raises:
        EpisodeLogError: A source does not exist or holds no log.
    """
    found: dict[Path, None] = {}
    for source in sources:
        path = Path(source)
        if path.is_dir():
            folder = path / EPISODE_FOLDER if (path / EPISODE_FOLDER).is_dir() else path
            logs = EpisodeFolder(folder).logs()
            if not logs:
                raise EpisodeLogError(
                    f"{folder}: no episode logs (*{LOG_SUFFIX}); give a run folder whose run has finished at least one "
                    "episode"
                )
        else:
            named = [path] if path.is_file() else Path(path.anchor).glob(str(path.relative_to(path.anchor)))
            logs = sorted(log for log in named if log.is_file())
            if not logs:
                raise EpisodeLogError(f"{path}: no such run folder or episode log")
        found.update(dict.fromkeys(logs))
    return list(found)
