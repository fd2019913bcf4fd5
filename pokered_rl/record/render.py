"""From an episode log to a full-length video.

The picture at second t of a video (at speed 1) is what the console showed t seconds after the start state: the first
picture is the start state, and an episode of F emulator frames has exactly F pictures at the console's own rate
(ceil(F / n) when every n-th is shown). No frame is left out, doubled or blended. A video is only given its name after
every RAM hash of what it shows was found equal.
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
from pokered_rl.episodes import EpisodeLog
from pokered_rl.episodes.player import EpisodePlayer
from pokered_rl.errors import ConfigError
from pokered_rl.record.palettes import ScreenPainter, palette
from pokered_rl.record.panel import PANEL_HEIGHT, PANEL_WIDTH, Panel
from pokered_rl.record.sound import SoundTrack
from pokered_rl.record.video import VideoWriter, pace, read_comment

__all__ = [
    "RenderOptions",
    "RenderedEpisode",
    "is_rendered",
    "logs_comment",
    "picture_count",
    "render_episode",
    "render_episodes",
]

_WIDTH, _HEIGHT = 160, 144
#: Pictures between two reports of progress.
_REPORT_EVERY = 256


@dataclass(frozen=True, kw_only=True)
class RenderOptions:
    """How a video looks.

    Attributes:
        scale: how often each pixel of the console is repeated across and down.
        palette: name of the colours, see `PALETTES`.
        fps: about how many pictures a second; the console's 59.7275 by default.
        speed: 2 plays twice as fast as the console.
        panel: show buttons, map, return and milestones beside the picture.
        first_step: the first agent step shown.
        last_step: the agent step before which the video ends; the end of the episode by default.
        qp: quantizer of H.264, 1 (best) .. 51.
        preset: speed of H.264: ``ultrafast`` .. ``veryslow`` (smaller files).
        sound: with the game's sound, at speed 1. The replay then emulates it, which the recording did not; the RAM
            hashes find a game that plays otherwise. Start states hold no sound: it begins with the game's next notes.

    Raises:
        ConfigError: a value is out of range.
    """

    scale: int = 2
    palette: str = "grey"
    fps: float | None = None
    speed: float = 1.0
    panel: bool = True
    first_step: int = 0
    last_step: int | None = None
    qp: int = 18
    preset: str = "ultrafast"
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
    def rate(self) -> Fraction:
        """Exact number of pictures a second."""
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
    """What `render_episode` did.

    Attributes:
        path: the video.
        pictures: pictures in it.
        steps: agent steps that it shows.
        hashes_checked: RAM hashes that were found equal, the one after the last step included.
        seconds: time it took.
    """

    path: Path
    pictures: int
    steps: int
    hashes_checked: int
    seconds: float


def picture_count(log: EpisodeLog, options: RenderOptions) -> int:
    """Returns how many pictures the video of a log has."""
    frames = int(log.step_frames[options.first_step : options.last_step].sum())
    return -(-frames // options.every)


def is_rendered(
    logs: Sequence[EpisodeLog],
    out: str | os.PathLike[str],
    options: RenderOptions,
    *,
    kind: str = "episodes",
    values_of: str = "",
) -> bool:
    """True if ``out`` is the finished video of these logs with these options, action values included."""
    return Path(out).is_file() and read_comment(out) == logs_comment(logs, options, kind=kind, values_of=values_of)


def logs_comment(
    logs: Sequence[EpisodeLog], options: RenderOptions, *, kind: str = "episodes", values_of: str = ""
) -> str:
    """Returns the comment of a video: what it was made from and how, so that a finished one is known again."""
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
    """Renders one log to an MP4 file; see `render_episodes`.

    ``action_values`` [T, A], from `pokered_rl.record.values.action_values`, are shown in the panel.
    """
    return render_episodes(
        [log],
        out,
        cartridge=cartridge,
        options=options,
        action_values=None if action_values is None else [action_values],
        on_progress=on_progress,
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
    """Renders logs, one after the other, to one MP4 file.

    Args:
        logs: the episodes.
        out: the file to write.
        cartridge: the cartridge they were played on; found by default.
        options: how the video looks; ``first_step`` and ``last_step`` count within each episode.
        action_values: float32 [T, A] of each log, to be shown in the panel.
        values_of: says whose action values they are, so that the finished video is known again.
        on_progress: called now and then with the number of pictures written since the last call.

    Raises:
        EpisodeLogError: a log cannot be played, or its replay is not the recorded episode; no file is written.
        ConfigError: the steps asked for lie behind the end of an episode.
    """
    options = options or RenderOptions()
    for log in logs:
        if options.first_step >= log.steps:
            name = log.path or "the episode"
            raise ConfigError(f"the video begins at step {options.first_step}, {name} has {log.steps} steps")
    begin = time.perf_counter()
    width, height = options.size
    hashes_checked = 0
    with VideoWriter(
        out,
        width=width,
        height=height,
        rate=options.rate,
        qp=options.qp,
        preset=options.preset,
        comment=logs_comment(logs, options, values_of=values_of) if action_values is None or values_of else "",
        sound=options.sound,
    ) as video:
        for index, log in enumerate(logs):
            listener = None if video.sound is None else _Listener(video.sound)
            with EpisodePlayer(log, cartridge=cartridge, on_sound=listener) as player:
                values = None if action_values is None else action_values[index]
                _write_pictures(player, video, options, values, listener, on_progress)
                hashes_checked += player.hashes_checked
    return RenderedEpisode(
        path=Path(out),
        pictures=video.pictures,
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
    on_progress: Callable[[int], None] | None,
) -> None:
    painter = ScreenPainter(palette(options.palette), scale=options.scale)
    width, height = _WIDTH * options.scale, _HEIGHT * options.scale
    top = (video.luma.shape[0] - height) // 4 * 2
    luma = video.luma[top : top + height, :width]
    chroma = [plane[top // 2 : (top + height) // 2, : width // 2] for plane in video.chroma]
    panel = _PanelPainter(player, video, options, values) if options.panel else None
    for plane in chroma:
        plane[:] = 128  # a grey palette never paints them
    shown, reported = None, video.pictures
    for frame in player.frames(every=options.every, first_step=options.first_step, last_step=options.last_step):
        if listener is not None and shown is None:  # what was played before the first picture is not heard
            listener.frames_left = int(player.log.step_frames[options.first_step : options.last_step].sum())
        pixels = frame.pixels.tobytes()
        unchanged = pixels == shown
        if not unchanged:
            painter.paint(frame.pixels, luma, chroma)
            shown = pixels
        if panel is not None and panel.update(frame.step):
            unchanged = False
        video.write(unchanged=unchanged)
        if on_progress is not None and video.pictures - reported == _REPORT_EVERY:
            on_progress(_REPORT_EVERY)
            reported = video.pictures
    if listener is not None:
        listener.fill(video.pictures * options.every)
    if on_progress is not None:
        on_progress(video.pictures - reported)


class _Listener:
    """Passes the sound of the frames that are shown on to the sound track."""

    def __init__(self, track: SoundTrack) -> None:
        self._track = track
        self.frames_left = 0

    def __call__(self, samples: npt.NDArray[np.int8]) -> None:
        if self.frames_left:
            self.frames_left -= 1
            self._track.add_frame(samples)

    def fill(self, frames: int) -> None:
        """Lets the track last as long as the pictures, the last of which may stand for frames that were not played."""
        while self._track.frames < frames:
            self._track.add_frame(np.empty((0, 2), np.int8))


class _PanelPainter:
    """Keeps the panel's part of a video up to date; draws only when a step begins."""

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
        left, bottom = _WIDTH * options.scale, PANEL_HEIGHT * scale
        self._luma = video.luma[:bottom, left:]
        self._chroma = [plane[: bottom // 2, left // 2 :] for plane in video.chroma]
        self._step = -1
        background = self._panel.colours[0]
        for plane, value in zip((video.luma, *video.chroma), background, strict=True):
            plane[:] = value

    def update(self, step: int) -> bool:
        """Draws the panel if a step began; True if it did."""
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
