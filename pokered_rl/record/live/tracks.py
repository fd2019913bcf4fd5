"""Episodes of the live page that are replayed from their logs: places, screens and what happened, step by step."""

from __future__ import annotations

import queue
import threading
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from pokered_rl.emulator import Cartridge, Emulator
from pokered_rl.episodes import EpisodeLog, EpisodePlayer
from pokered_rl.errors import PokeredError
from pokered_rl.game import FULL_LAYOUT, RAM_MAP, GameState, ScreenKind, screen_kind
from pokered_rl.record.live.world import WorldPictures

__all__ = ["Track", "TrackPlayer", "summary_of"]

_PLACE = [
    RAM_MAP[name].address for name in ("wCurMap", "wXCoord", "wYCoord", "wCurrentMapWidth2", "wCurrentMapHeight2")
]
_BATTLE, _TEXT = RAM_MAP["wIsInBattle"].address, RAM_MAP["wFontLoaded"].address
_CHUNK_STEPS = 64
#: Longest part of a log that is replayed for the page.
_MOST_STEPS = 20_000


@dataclass
class Track:
    """A log that is being replayed; what was played so far can be read from other threads."""

    #: Its number on the page.
    number: int
    log: EpisodeLog
    #: Of an emulator that is still playing, counted over all workers; -1 for a log on the disk.
    emulator: int = -1
    #: One entry for the start and each step that was played: place as in the feed, and the sum of the party's levels,
    #: and the flags of :class:`~pokered_rl.envs.transforms.episode_figures.WatchedSteps`.
    places: list[int] = field(default_factory=list)
    levels: list[int] = field(default_factory=list)
    flags: list[int] = field(default_factory=list)
    #: Why it was not played to its end.
    error: str = ""
    done: bool = False
    #: float32 [T, A], values that weights give to the actions; None without.
    values: npt.NDArray[np.float32] | None = None
    _chunks: list[bytes] = field(default_factory=list)
    _open: list[bytes] = field(default_factory=list)

    def add(self, place: int, level: int, flags: int, screen: npt.NDArray[np.uint8]) -> None:
        """Add a step."""
        self._open.append(screen.tobytes())
        if len(self._open) == _CHUNK_STEPS:
            self._chunks.append(zlib.compress(b"".join(self._open), 1))
            self._open = []
        self.levels.append(level)
        self.flags.append(flags)
        self.places.append(place)

    def screen(self, step: int) -> bytes | None:
        """Return the packed screen, 144 lines of 40 bytes, after ``step`` steps; None where it was not played."""
        chunks, rest = self._chunks, self._open
        index, offset = divmod(step, _CHUNK_STEPS)
        if index < len(chunks):
            return zlib.decompress(chunks[index])[offset * 5760 : (offset + 1) * 5760]
        return rest[offset] if index == len(chunks) and offset < len(rest) else None

    def copy_to(self, step: int, number: int) -> Track:
        """Return a track of its own with what was played up to ``step``."""
        upto, whole = step + 1, (step + 1) // _CHUNK_STEPS
        copy = Track(number, self.log, places=self.places[:upto], levels=self.levels[:upto], flags=self.flags[:upto])
        copy._chunks = self._chunks[:whole]
        copy._open = [self.screen(each) or b"" for each in range(whole * _CHUNK_STEPS, upto)]
        return copy

    def message(self, first: int) -> dict[str, Any]:
        """Return what a page is told of the steps from ``first`` on."""
        log, upto = self.log, len(self.places)
        played = slice(max(0, first - 1), max(0, upto - 1))
        message: dict[str, Any] = {
            "track": self.number,
            "first": first,
            "places": self.places[first:upto],
            "levels": self.levels[first:upto],
            "flags": self.flags[first:upto],
            "actions": log.actions[played].tolist(),
            "rewards": np.nan_to_num(log.rewards[played]).round(4).tolist(),
            "milestones": [[each.step, each.name] for each in log.milestones],
            "acted": [list(each) for each in log.acted],
            "done": self.done,
            "error": self.error,
        }
        if not first:
            message |= summary_of(log) | {"emulator": self.emulator, "names": list(log.header.actions)}
        return message


def summary_of(log: EpisodeLog) -> dict[str, Any]:
    """Return a line about a log for the page's list."""
    story = [each.name for each in log.milestones if not each.name.startswith("map:")]
    return {
        "at": log.header.global_step,
        "steps": log.steps,
        "return": round(float(np.nan_to_num(log.episode_return)), 3),
        "outcome": log.outcome.value,
        "story": story,
        "epsilon": log.header.epsilon,
        "worker": log.header.worker,
        "of": log.header.emulator,
    }


class TrackPlayer:
    """Replay logs one after the other in a thread.

    Args:
        cartridge: What was played.
        pictures: Get the screens of the replays.
        on_change: Called in the thread when a part of a track was played.
    """

    def __init__(self, cartridge: Cartridge, pictures: WorldPictures, on_change: Callable[[Track], None]) -> None:
        self._cartridge, self._pictures, self._on_change = cartridge, pictures, on_change
        self._waiting: queue.PriorityQueue[tuple[int, int, Track | None]] = queue.PriorityQueue()
        self._number = 0
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._work, name="track-player", daemon=True)
        self._thread.start()

    def play(self, track: Track, *, soon: bool = False) -> None:
        """Replay a track, before those that wait with ``soon``."""
        self._number += 1
        self._waiting.put((0 if soon else 1, self._number, track))

    def close(self) -> None:
        """End the thread at the next step."""
        self._stopped.set()
        self._waiting.put((-1, 0, None))
        self._thread.join(timeout=5)

    def _work(self) -> None:
        while (track := self._waiting.get()[2]) is not None and not self._stopped.is_set():
            try:
                self._replay(track)
            except PokeredError as error:
                track.error = str(error)
            track.done = True
            self._on_change(track)

    def _replay(self, track: Track) -> None:
        with EpisodePlayer(track.log, cartridge=self._cartridge, screen="full") as player:
            for step in range(min(track.log.steps, _MOST_STEPS) + 1):
                if self._stopped.is_set():
                    return
                if step:
                    player.play_step(render=True)
                self.note(track, player.emulator)
                if step % 128 == 127:
                    self._on_change(track)
        if track.log.steps > _MOST_STEPS:
            track.error = f"only the first {_MOST_STEPS:,} steps are shown"

    def note(self, track: Track, emulator: Emulator) -> None:
        """Add the state of an emulator to a track, and its screen to the pictures of the maps."""
        memory = emulator.memory
        map_id, x, y, width, height = (int(memory[address]) for address in _PLACE)
        ram = torch.from_numpy(emulator.ram(FULL_LAYOUT))[None]
        level = GameState.from_ram(ram, FULL_LAYOUT, fields=("party_level",)).party_level
        assert level is not None
        on_map = width > 0 and height > 0
        screen = emulator.pixels()
        place = map_id << 16 | x << 8 | y
        flags = bool(memory[_BATTLE]) | (memory[_TEXT] & 1) << 1 | on_map << 2
        track.add(place if on_map or not track.places else track.places[-1], int(level.sum()), flags, screen)
        if on_map:
            self._pictures.enlarge({map_id: (width, height)})
            kind = screen_kind(ram, FULL_LAYOUT, stack=self._cartridge.profile.stack_words)
            if int(kind[0]) == ScreenKind.OVERWORLD:
                self._pictures.look((map_id, x, y), screen)
