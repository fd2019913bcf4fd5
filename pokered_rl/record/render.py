"""Render episode logs to full-length videos.

The picture at second t of a video (at speed 1) is what the console showed t seconds after the start state, and a video
of F emulator frames lasts exactly F / 59.7275 s, also when only every n-th frame is shown. No frame is left out,
doubled or blended. The file gets its name after every RAM hash of what it shows was found equal.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pokered_rl.emulator import Cartridge
from pokered_rl.episodes import EpisodeLog, EpisodePlayer
from pokered_rl.errors import ConfigError
from pokered_rl.record.palettes import ScreenPainter, palette
from pokered_rl.record.panel import PANEL_HEIGHT, PANEL_WIDTH, Panel
from pokered_rl.record.sound import SoundTrack
from pokered_rl.record.video import VideoWriter, pace, read_comment

__all__ = ["RenderOptions", "RenderedEpisode", "render_episode", "render_episodes"]

_WIDTH, _HEIGHT = 160, 144


@dataclass(frozen=True, kw_only=True)
class RenderOptions:
    """How a video looks.

    Raises:
        ConfigError: A value is out of range.
    """

    #: How often each pixel of the console is repeated across and down.
    scale: int = 2
    #: Name of the colours, see :data:`~pokered_rl.record.palettes.PALETTES`.
    palette: str = "grey"
    #: About how many pictures are shown a second; the console's 59.7275 by default.
    fps: float | None = None
    #: 2 plays twice as fast as the console.
    speed: float = 1.0
    #: Show buttons, map, return and milestones beside the picture.
    panel: bool = True
    #: First agent step shown.
    first_step: int = 0
    #: Agent step before which the video ends; the end of the episode by default.
    last_step: int | None = None
    #: Quantizer of H.264, 1 (best) to 51.
    qp: int = 18
    #: Preset of H.264, from ``ultrafast`` to ``veryslow`` (smaller files).
    preset: str = "ultrafast"
    #: Add the game's sound, at speed 1. The replay then emulates it, which the recording did not; the RAM hashes detect
    #: a game that depends on it. A start state holds no sound: it begins with the next notes of the game.
    sound: bool = False

    def __post_init__(self) -> None:
        if not 1 <= self.scale <= 16:
            raise ConfigError(f"scale must be between 1 and 16, got {self.scale}")
        if not 1 <= self.qp <= 51:
            raise ConfigError(f"qp must be between 1 and 51, got {self.qp}")
        if self.first_step < 0 or (self.last_step is not None and self.last_step <= self.first_step):
            raise ConfigError(f"steps must satisfy 0 <= first < last, got {self.first_step} to {self.last_step}")
        palette(self.palette)
        pace(fps=self.fps, speed=self.speed)
        if self.sound and self.speed != 1:
            raise ConfigError(f"sound keeps its pitch only at speed 1, got speed {self.speed}: leave one of them away")

    @property
    def every(self) -> int:
        """Distance of the pictures in emulator frames."""
        return pace(fps=self.fps, speed=self.speed)[0]

    @property
    def frame_rate(self) -> Fraction:
        """Exact number of emulator frames a second of the video."""
        return pace(fps=self.fps, speed=self.speed)[1]

    @property
    def panel_scale(self) -> int:
        """How often a pixel of the panel is repeated."""
        return max(1, self.scale // 2)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the video."""
        width, height = _WIDTH * self.scale, _HEIGHT * self.scale
        if self.panel:
            width += PANEL_WIDTH * self.panel_scale
            height = max(height, PANEL_HEIGHT * self.panel_scale)
        return width, height


@dataclass(frozen=True, kw_only=True)
class RenderedEpisode:
    """Result of rendering one video."""

    #: The video.
    path: Path
    #: Emulator frames that it shows; at speed 1 it lasts frames / 59.7275 s.
    frames: int
    #: Agent steps that it shows.
    steps: int
    #: RAM hashes that were found equal, the one after the last step included.
    hashes_checked: int
    #: Wall-clock seconds that rendering took.
    seconds: float


def shown_frames(log: EpisodeLog, options: RenderOptions) -> int:
    """Return how many emulator frames the video of a log shows."""
    return int(log.step_frames[options.first_step : options.last_step].sum())


def is_rendered(
    logs: Sequence[EpisodeLog],
    out: str | os.PathLike[str],
    options: RenderOptions,
    *,
    kind: str = "episodes",
    values_of: str = "",
) -> bool:
    """Return whether ``out`` is the finished video of these logs with these options and action values."""
    return Path(out).is_file() and read_comment(out) == logs_comment(logs, options, kind=kind, values_of=values_of)


def logs_comment(
    logs: Sequence[EpisodeLog], options: RenderOptions, *, kind: str = "episodes", values_of: str = ""
) -> str:
    """Return the comment of a video, a hash of its logs and options by which a finished one is recognised."""
    key = hashlib.sha256(repr(sorted(asdict(options).items())).encode() + values_of.encode())
    for log in logs:
        key.update(log.to_bytes())
    return f"pokered_rl {kind} {key.hexdigest()}"


def render_episode(
    log: EpisodeLog,
    out: str | os.PathLike[str],
    *,
    cartridge: Cartridge | None = None,
    options: RenderOptions | None = None,
    action_values: npt.NDArray[np.float32] | None = None,
    on_progress: Callable[[int], None] | None = None,
) -> RenderedEpisode:
    """Render one log to an MP4 file; see :func:`render_episodes`."""
    values = None if action_values is None else [action_values]
    return render_episodes(
        [log], out, cartridge=cartridge, options=options, action_values=values, on_progress=on_progress
    )


def render_episodes(
    logs: Sequence[EpisodeLog],
    out: str | os.PathLike[str],
    *,
    cartridge: Cartridge | None = None,
    options: RenderOptions | None = None,
    action_values: Sequence[npt.NDArray[np.float32]] | None = None,
    values_of: str = "",
    on_progress: Callable[[int], None] | None = None,
) -> RenderedEpisode:
    """Render logs, one after the other, to one MP4 file.

    Args:
        logs: The episodes.
        out: The file to write.
        cartridge: The cartridge they were played on; found by default.
        options: How the video looks; ``first_step`` and ``last_step`` count within each episode.
        action_values: Values float32 [T, A] of each log, from :func:`~pokered_rl.record.values.action_values`, to be
            shown in the panel.
        values_of: Name of the network of ``action_values``, by which the finished video is recognised.
        on_progress: Called from time to time with the number of frames written since the last call.

    Raises:
        EpisodeLogError: A log cannot be played, or its replay is not the recorded episode; no file is written.
        ConfigError: ``first_step`` lies behind the end of an episode.
    """
    options = options or RenderOptions()
    for log in logs:
        if options.first_step >= log.steps:
            raise ConfigError(f"the video begins at step {options.first_step}, {log.name} has {log.steps} steps")
    begin = time.perf_counter()
    width, height = options.size
    hashes_checked = 0
    with VideoWriter(
        out,
        width=width,
        height=height,
        frame_rate=options.frame_rate,
        qp=options.qp,
        preset=options.preset,
        comment=logs_comment(logs, options, values_of=values_of) if action_values is None or values_of else "",
        sound=options.sound,
        on_progress=on_progress,
    ) as video:
        for index, log in enumerate(logs):
            listener = None if video.sound is None else _Listener(video.sound)
            with EpisodePlayer(log, cartridge=cartridge, on_sound=listener) as player:
                values = None if action_values is None else action_values[index]
                _write_pictures(player, video, options, values, listener)
                hashes_checked += player.hashes_checked
    return RenderedEpisode(
        path=Path(out),
        frames=video.frames,
        steps=sum(len(log.actions[options.first_step : options.last_step]) for log in logs),
        hashes_checked=hashes_checked,
        seconds=time.perf_counter() - begin,
    )


def _write_pictures(
    player: EpisodePlayer,
    video: VideoWriter,
    options: RenderOptions,
    values: npt.NDArray[np.float32] | None,
    listener: _Listener | None,
) -> None:
    panel = _PanelPainter(player, video, options, values) if options.panel else None
    width, height = _WIDTH * options.scale, _HEIGHT * options.scale
    luma, chroma = video.part(top=(video.luma.shape[0] - height) // 4 * 2, left=0, height=height, width=width)
    painter = ScreenPainter(palette(options.palette), scale=options.scale, luma=luma, chroma=chroma)
    frames_left = shown_frames(player.log, options)
    is_first = True
    for frame in player.frames(every=options.every, first_step=options.first_step, last_step=options.last_step):
        if listener is not None and is_first:  # what was played before the first picture is not heard
            listener.frames_left = frames_left
        is_first = False
        changed = painter.paint(frame.pixels)
        # The last picture of an episode has the panel of its end, with what the last step brought.
        is_end = frames_left <= options.every and frame.step + 1 == player.log.steps
        if panel is not None and panel.update(frame.step + is_end):
            changed = True
        num_frames = min(options.every, frames_left)  # the last picture may stand for fewer
        video.write(num_frames=num_frames, unchanged=not changed)
        frames_left -= num_frames


class _Listener:
    """Pass the sound of the frames that are shown on to the sound track."""

    def __init__(self, track: SoundTrack) -> None:
        self._track = track
        self.frames_left = 0

    def __call__(self, samples: npt.NDArray[np.int8]) -> None:
        if self.frames_left:
            self.frames_left -= 1
            self._track.add_frame(samples)


class _PanelPainter:
    """Paint the panel's part of a video whenever a step begins."""

    def __init__(
        self,
        player: EpisodePlayer,
        video: VideoWriter,
        options: RenderOptions,
        values: npt.NDArray[np.float32] | None,
    ) -> None:
        self._panel = Panel(player.log, maps=player.emulator.cartridge.profile.maps, action_values=values)
        self._player = player
        for _ in range(options.first_step):  # the map shows what was visited before the video begins
            self._panel.visit(player.place)
            player.play_step()
        self._scale = scale = options.panel_scale
        self._luma, self._chroma = video.part(
            top=0, left=_WIDTH * options.scale, height=PANEL_HEIGHT * scale, width=PANEL_WIDTH * scale
        )
        self._step = -1
        background = self._panel.colours[0]
        for plane, value in zip((video.luma, *video.chroma), background, strict=True):
            plane[:] = value

    def update(self, step: int) -> bool:
        """Draw the panel if a step began; return whether it did."""
        if step == self._step:
            return False
        self._step = step
        self._panel.draw(step, self._player.place)
        canvas, colours, scale = self._panel.canvas, self._panel.colours, self._scale
        wide = canvas if scale == 1 else canvas.repeat(scale, axis=0).repeat(scale, axis=1)
        np.take(colours[:, 0], wide, out=self._luma, mode="clip")
        for plane, values in zip(self._chroma, colours.T[1:], strict=True):
            plane[:] = values[wide[::2, ::2]]
        return True
