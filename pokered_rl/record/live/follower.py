"""Follow a run for the live page: read its files, and tell pages what is new."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pokered_rl.emulator import Cartridge
from pokered_rl.episodes import EpisodeLog
from pokered_rl.errors import PokeredError
from pokered_rl.plain_files import read_plain_file
from pokered_rl.record.charts import metrics_charts
from pokered_rl.record.live.feed import FeedReader, WatchFile
from pokered_rl.record.live.take_over import Continue, TakeOver
from pokered_rl.record.live.tracks import Track, TrackPlayer, summary_of
from pokered_rl.record.live.world import WorldPictures, world_layout

__all__ = ["RunFollower"]

_TICK_SECONDS = 0.1
_STATUS_SECONDS, _CHARTS_SECONDS, _WATCH_SECONDS = 1.0, 2.0, 2.0
#: A run that has written nothing for so long is taken for dead.
_SILENT_SECONDS = 90.0
_RECENT_EVENTS = 40
_MOST_LOGS = 400
_MOST_TRACKS = 64
_STATUS_KEYS = (
    *("run", "complete", "jobs", "steps", "target_total_steps", "updates", "episodes", "steps_per_second"),
    *("updates_per_second", "wall_seconds", "replay_sequences", "worker_restarts", "steps_lost", "last_stop"),
)
_NOBODY: dict[str, Any] = {"track": -1, "text": ""}
#: Values of a log's actions, float32 [T, A].
Values = Callable[[EpisodeLog], npt.NDArray[np.float32]]


class RunFollower:
    """What pages show of one run, and the events that they are sent.

    Args:
        run: The run folder.
        cartridge: What the run plays.
        tracks: Logs of a run that is not running that are replayed at once.
        action_values: Values of the actions of a log, by the run's weights; None shows none.
        play_on: Plays a log on for a person who takes it over; None lets nobody.
    """

    def __init__(
        self,
        run: Path,
        cartridge: Cartridge,
        *,
        tracks: int = 12,
        action_values: Values | None = None,
        play_on: Continue | None = None,
    ) -> None:
        self._run, self._cartridge, self._num_tracks, self._values = run, cartridge, tracks, action_values
        self._play_on, self._sent_taken = play_on, _NOBODY
        self._taken: TakeOver | None = None
        self.maps = cartridge.profile.maps
        self.layout = world_layout(self.maps)
        self.pictures = WorldPictures(self.maps)
        self._sent_versions: dict[int, int] = {}
        self._feed, self._watch = FeedReader(run), WatchFile(run)
        self._asked, self._log_request = -1, 0
        self._subscribers: set[asyncio.Queue[str]] = set()
        self._recent: deque[str] = deque(maxlen=_RECENT_EVENTS)
        self._facts: dict[str, Any] = {}
        self._status: dict[str, Any] = {}
        self._charts: list[dict[str, Any]] = []
        self._charts_stamp: tuple[float, ...] = ()
        self._logs: list[EpisodeLog] = []
        self._tracks: dict[int, Track] = {}
        self._sent: dict[int, int] = {}
        self._changed: set[int] = set()
        self._lock, self._values_lock = threading.Lock(), threading.Lock()
        self._next_track = 0
        self._player: TrackPlayer | None = None
        self._due = {"status": 0.0, "charts": 0.0, "watch": 0.0}
        self._loaded = False

    # ---- pages -------------------------------------------------------------------------------------------------

    def subscribe(self) -> asyncio.Queue[str]:
        """Return the queue of a new page; everything that it has to know is in it."""
        events: asyncio.Queue[str] = asyncio.Queue(maxsize=256)
        events.put_nowait(self._hello())
        for text in self._recent:
            events.put_nowait(text)
        for track in list(self._tracks.values()):
            events.put_nowait(_event("track", track.message(0)))
        self._subscribers.add(events)
        return events

    def unsubscribe(self, events: asyncio.Queue[str]) -> None:
        """Forget a page; without one the run sends nothing."""
        self._subscribers.discard(events)

    @property
    def num_pages(self) -> int:
        """Pages that are open."""
        return len(self._subscribers)

    def look_at(self, emulator: int, *, log: bool) -> None:
        """Ask the run for more of one emulator, and, with ``log``, for the log of its open episode."""
        self._asked = emulator
        if log:
            self._log_request = (self._log_request + 1) % 2**20 or 1
        self._due["watch"] = 0.0

    def list_logs(self) -> None:
        """List the logs that are there by now."""
        if time.monotonic() >= self._due.get("logs", 0.0):
            self._due["logs"] = time.monotonic() + 5.0
            self._load_logs(tracks=0)

    def open_log(self, index: int) -> bool:
        """Replay a log of the list; return False where there is none of this number."""
        if not 0 <= index < len(self._logs):
            return False
        if all(track.log is not self._logs[index] for track in self._tracks.values()):
            self._add_track(self._logs[index], soon=True)
        return True

    def screen(self, track: int, step: int) -> bytes | None:
        """Return a packed screen of a track, or None."""
        found = self._tracks.get(track)
        return None if found is None else found.screen(step)

    def take_over(self, track: int, step: int) -> str:
        """Let a person play a track on after ``step`` steps; return why not, or nothing."""
        found = self._tracks.get(track)
        if self._play_on is None or found is None or not 0 <= step < len(found.places):
            return "there is no such step, or nothing that could play on"
        if self._taken is not None and not self._taken.over:
            return "another episode is being played: end that one first"
        copy = self._new_track(lambda number: found.copy_to(step, number))
        self._sent_taken = _NOBODY
        self._taken = TakeOver(copy, self._track_player(), self._play_on, self._note_change)
        self._note_change(copy)
        return ""

    def press(self, key: str) -> bool:
        """Press a key of the episode that was taken over; return False where there is none such."""
        return self._taken is not None and not self._taken.over and self._taken.press(key)

    def _hello(self) -> str:
        return _event(
            "hello",
            {
                "facts": self._facts,
                "layout": self.layout,
                "story": list(self._cartridge.profile.milestones.names),
                "pictures": dict(self.pictures.versions),
                "status": self._status,
                "charts": self._charts,
                "logs": [summary_of(log) for log in self._logs],
                "taken": self._sent_taken,
            },
        )

    def _send(self, name: str, content: Any, *, keep: bool = False) -> None:
        text = _event(name, content)
        if keep:
            self._recent.append(text)
        for events in list(self._subscribers):
            try:
                events.put_nowait(text)
            except asyncio.QueueFull:  # a page that does not read: it connects again and gets the state anew
                self._subscribers.discard(events)
                while not events.empty():
                    events.get_nowait()
                events.put_nowait("")

    # ---- the run -----------------------------------------------------------------------------------------------

    async def follow(self) -> None:
        """Look at the run's files until cancelled."""
        try:
            while True:
                self._tick()
                await asyncio.sleep(_TICK_SECONDS)
        finally:
            if self._taken is not None:
                self._taken.close()
            if self._player is not None:
                self._player.close()

    @property
    def running(self) -> bool:
        """Whether a job works on the run."""
        return bool(self._status.get("running"))

    def _tick(self) -> None:
        now = time.monotonic()
        if self._is_due("status", _STATUS_SECONDS, now):
            self._read_status()
        if self._is_due("charts", _CHARTS_SECONDS, now):
            self._read_charts()
        if self._subscribers and self.running and self._is_due("watch", _WATCH_SECONDS, now):
            self._watch.write(emulator=self._asked, log_request=self._log_request)
        if not self._loaded and self._subscribers and not self.running:
            self._load_logs(tracks=self._num_tracks)
        for record in self._feed.read():
            self._take(record)
        self._send_tracks()
        if self._taken is not None and (taken := self._taken.message()) != self._sent_taken:
            self._sent_taken = taken
            self._send("taken", taken)
        changed = {
            id: number for id, number in list(self.pictures.versions.items()) if self._sent_versions.get(id) != number
        }
        if changed and self._is_due("pictures", 1.0, now):
            self._sent_versions |= changed
            self._send("pictures", changed)

    def _is_due(self, what: str, seconds: float, now: float) -> bool:
        if now < self._due.get(what, 0.0):
            return False
        self._due[what] = now + seconds
        return True

    def _read_status(self) -> None:
        try:
            content = json.loads(read_plain_file(self._run / "progress.json", max_bytes=2**20))
            status = {key: content[key] for key in _STATUS_KEYS if isinstance(content.get(key), str | int | float)}
            # The lock is renewed every few seconds, whatever the run's display and metrics do.
            written = max(float(content.get("written_at", 0.0)), _modified(self._run / "run.lock"))
            status["best"] = {str(k): v for k, v in dict(content.get("best", {})).items()}
        except (OSError, ValueError, TypeError):
            status, written = {"run": self._run.name, "last_stop": ""}, 0.0
        status["running"] = status.get("last_stop") == "running" and time.time() - written < _SILENT_SECONDS
        status["silent"] = status.get("last_stop") == "running" and not status["running"]
        if status != self._status:
            ended = self.running and not status["running"]
            self._status = status
            self._send("status", status)
            if ended:
                self._loaded = False  # its last logs are there now

    def _read_charts(self) -> None:
        files = [self._run / "metrics" / name for name in ("train.csv", "evaluation.csv")]
        stamp = tuple(map(_modified, files))
        if stamp != self._charts_stamp:
            self._charts_stamp = stamp
            self._charts = metrics_charts(self._run, milestones=self._cartridge.profile.milestones.names)
            self._send("charts", self._charts)

    def _take(self, record: Mapping[str, Any]) -> None:
        """Turn a record of the feed into an event."""
        if "facts" in record:
            self._facts = dict(record["facts"])
            self._recent.clear()
            self._send("facts", self._facts)
            return
        try:
            event, seen = _steps_event(record, self._facts)
        except (KeyError, ValueError, TypeError, IndexError, AttributeError):
            return  # of another version: left out
        self._send("steps", event, keep=True)
        places, flags = record["places"], record["flags"]
        if "pictures" in record and places.shape[0] > 1:
            for emulator in np.flatnonzero(flags[-2] == 4).tolist():  # on a map, without text or battle
                self.pictures.look(_cell(int(places[-2, emulator])), record["pictures"][emulator])
        if seen is not None:
            self._send("look", seen)
        if "log" in record:
            self._take_log(record["log"].tobytes(), int(event["first"]) + int(record["emulator"]))

    def _take_log(self, data: bytes, emulator: int) -> None:
        try:
            log = EpisodeLog.from_bytes(data)
        except PokeredError:
            return
        log = replace(log, path=self._run / "episode_logs" / "open.episode")  # its start state lies there
        self._add_track(log, emulator=emulator, soon=True)

    # ---- logs --------------------------------------------------------------------------------------------------

    def _load_logs(self, *, tracks: int) -> None:
        self._loaded = self._loaded or tracks > 0
        paths = sorted((self._run / "episode_logs").glob("*.episode"))
        if len(paths) > _MOST_LOGS:
            paths = [paths[round(index * (len(paths) - 1) / (_MOST_LOGS - 1))] for index in range(_MOST_LOGS)]
        logs = []
        for path in dict.fromkeys(paths):
            try:
                log = EpisodeLog.load(path)
            except PokeredError:
                continue
            if log.header.cartridge_sha1 == self._cartridge.sha1:
                logs.append(log)
        self._logs = logs
        self._send("logs", [summary_of(log) for log in logs])
        for log in _chosen(logs, tracks):
            if all(track.log.path != log.path for track in self._tracks.values()):
                self._add_track(log)

    def _add_track(self, log: EpisodeLog, *, emulator: int = -1, soon: bool = False) -> None:
        track = self._new_track(lambda number: Track(number, log, emulator=emulator))
        self._track_player().play(track, soon=soon)

    def _new_track(self, make: Callable[[int], Track]) -> Track:
        with self._lock:
            track = self._tracks[self._next_track] = make(self._next_track)
            self._next_track += 1
            for old in list(self._tracks)[:-_MOST_TRACKS]:
                del self._tracks[old]
        return track

    def _track_player(self) -> TrackPlayer:
        if self._player is None:
            self._player = TrackPlayer(self._cartridge, self.pictures, self._note_change)
        return self._player

    def _note_change(self, track: Track) -> None:
        """Note, in the thread of the replays, that there is more of a track."""
        with self._lock:
            self._changed.add(track.number)

    def _send_tracks(self) -> None:
        with self._lock:
            changed, self._changed = self._changed, set()
        for number in sorted(changed):
            if (track := self._tracks.get(number)) is not None:
                first = self._sent.get(number, 0)
                message = track.message(first)
                self._sent[number] = first + len(message["places"])
                self._send("track", message)

    def values(self, track: int, step: int) -> list[float] | None:
        """Return the values of the actions before a step of a track, by the run's weights; None without.

        All of a track are computed at the first call, in a second or more.
        """
        found = self._tracks.get(track)
        if found is None or not found.done or found.error or self._values is None:
            return None
        with self._values_lock:
            if found.values is None:
                try:
                    found.values = self._values(found.log)
                except PokeredError:
                    self._values = None  # no weights yet, or a network of one's own
        if found.values is None or not 0 <= step < len(found.values):
            return None
        return [round(float(value), 4) for value in found.values[step]]


def _modified(file: Path) -> float:
    """Return when a file was written last, 0 where there is none."""
    try:
        return file.stat().st_mtime
    except OSError:
        return 0.0


def _event(name: str, content: Any) -> str:
    return f"event: {name}\ndata: {json.dumps(content, separators=(',', ':'), allow_nan=False)}\n\n"


def _cell(code: int) -> tuple[int, int, int]:
    return code >> 16 & 0xFF, code >> 8 & 0xFF, code & 0xFF


def _steps_event(record: Mapping[str, Any], facts: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """Return the events ``steps`` and ``look`` of a record of the feed."""
    places = record["places"]
    steps, emulators = places.shape
    if not 0 < steps * emulators <= 2**20:
        raise ValueError(places.shape)
    first = int(record["worker"]) * int(facts.get("emulators_per_worker", emulators))

    def listed(key: str) -> list[int]:
        values: list[int] = record[key].reshape(steps, emulators).T.reshape(-1).tolist()  # emulator by emulator
        return values

    rewards = np.nan_to_num(record["rewards"]).reshape(steps, emulators).T.reshape(-1)
    event = {
        "worker": int(record["worker"]),
        "time": float(record["time"]),
        "first": first,
        "emulators": emulators,
        "steps": steps,
        "at": record["first_step"].reshape(emulators).tolist(),
        "places": listed("places"),
        "actions": listed("actions"),
        "flags": listed("flags"),
        "levels": listed("levels"),
        "done": listed("done"),
        "rewards": [round(value, 3) for value in rewards.tolist()],
        "milestones": [[int(step), int(emulator), str(name)] for step, emulator, name in record["milestones"]],
        "cells": [str(cell) for cell in record["cells"]],
    }
    if "emulator" not in record:
        return event, None
    seen: dict[str, Any] = {"emulator": first + int(record["emulator"]), "steps": steps}
    if "screens" in record:
        screens = record["screens"]
        seen |= {"height": int(screens.shape[1]), "screens": base64.b64encode(screens.tobytes()).decode()}
    for key in ("values", "quantiles", "terms"):
        if key in record:
            seen[key] = np.nan_to_num(record[key].astype(np.float32)).round(4).tolist()
    if "masks" in record:
        seen["masks"] = record["masks"].tolist()
    seen["term_names"] = [str(name) for name in record["term_names"]]
    return event, seen


def _chosen(logs: Sequence[EpisodeLog], count: int) -> Iterator[EpisodeLog]:
    """Yield the best log, the last ones, and others from the whole run."""
    if len(logs) <= count:
        yield from logs
        return
    best = max(range(len(logs)), key=lambda index: logs[index].episode_return)
    far = max(range(len(logs)), key=lambda index: len(logs[index].milestones))
    even = [round(index * (len(logs) - 1) / max(1, count - 1)) for index in range(count)]
    for index in list(dict.fromkeys([best, far, len(logs) - 1, *even]))[:count]:
        yield logs[index]


def lower_priority() -> None:
    """Leave the cores to the run where both want them."""
    if hasattr(os, "nice"):
        os.nice(5)
