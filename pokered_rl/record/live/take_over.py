"""An episode of the live page that a person takes over: a copy is played on, the run itself is left alone."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from pokered_rl.emulator import Emulator
from pokered_rl.episodes import EpisodeLog
from pokered_rl.errors import PokeredError
from pokered_rl.record.live.tracks import Track, TrackPlayer

__all__ = ["Continue", "TakeOver"]

#: Plays a log on after so many steps, with the keys of a :class:`TakeOver`; returns what to tell at the end.
Continue = Callable[[EpisodeLog, int, "TakeOver"], str]


class TakeOver:
    """Play an episode on in a thread, by the keys of the page or by the policy; a viewer for ``play_on``.

    Args:
        track: Shows the episode; it has the steps that are replayed, further ones are added.
        player: Its :meth:`~TrackPlayer.note` adds them.
        play_on: Plays the episode.
        on_change: Called in the thread when there is more of the track.
    """

    #: It ends when no key was pressed for so long.
    IDLE_SECONDS = 300.0

    def __init__(
        self, track: Track, player: TrackPlayer, play_on: Continue, on_change: Callable[[Track], None]
    ) -> None:
        self.track, self.text, self.over = track, "preparing", False
        self._player, self._play_on, self._on_change = player, play_on, on_change
        self._keys = {*track.log.header.actions, "take", "quit"}
        self._key: str | None = None
        self._pressed_at = time.monotonic()
        self._stepped, self._closed = False, False
        self._thread = threading.Thread(target=self._work, name="take-over", daemon=True)
        self._thread.start()

    def press(self, key: str) -> bool:
        """Press a key: an action, ``take`` to take or give back, ``quit``; return False where there is none such."""
        if key not in self._keys:
            return False
        self._key, self._pressed_at = key, time.monotonic()
        return True

    def close(self) -> None:
        """End it; the episode is kept."""
        self._closed = True
        self._thread.join(timeout=5)

    def _work(self) -> None:
        track = self.track
        try:
            self.text = self._play_on(track.log, len(track.places) - 1, self)
        except OSError as error:
            self.text = track.error = f"it cannot be kept: {error.strerror}"  # the page is told no path
        except (PokeredError, RuntimeError) as error:
            self.text = track.error = str(error)
        finally:
            track.done = self.over = True
            self._on_change(track)

    # ---- what is played -----------------------------------------------------------------------------------------

    def pressed(self) -> str | None:
        """Return the last key that was pressed, once."""
        if self._closed or time.monotonic() - self._pressed_at > self.IDLE_SECONDS:
            return "quit"
        key, self._key = self._key, None
        return key

    def show(self, shades: npt.NDArray[np.uint8]) -> None:
        """Draw nothing: the page asks for the picture of each step."""

    def caption(self, text: str) -> None:
        """Keep a line of text for the page."""
        if text != self.text and not self._stepped:  # a long replay is no idle time
            self._pressed_at = max(self._pressed_at, time.monotonic())
        self.text = text

    def stepped(self, emulator: Emulator, log: EpisodeLog) -> None:
        """Add a step to the track."""
        self._stepped = True
        self.track.log = replace(log, path=self.track.log.path)  # its start state lies there
        self._player.note(self.track, emulator)
        self._on_change(self.track)

    def message(self) -> dict[str, Any]:
        """Return what pages are told of it."""
        return {"track": -1 if self.over else self.track.number, "text": self.text}
