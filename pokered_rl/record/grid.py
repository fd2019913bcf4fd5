"""Many episodes playing at once in one video."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pokered_rl.emulator import Cartridge
from pokered_rl.episodes import EpisodeLog, EpisodePlayer, ReplayFrame
from pokered_rl.errors import ConfigError
from pokered_rl.record.palettes import ScreenPainter, palette
from pokered_rl.record.render import RenderedEpisode, RenderOptions, logs_comment, picture_count
from pokered_rl.record.video import VideoWriter

__all__ = ["grid_pictures", "render_grid"]

_WIDTH, _HEIGHT = 160, 144
#: Pixels between two screens, and luma of what has ended: its last picture at half the contrast.
_GAP = 4
_REPORT_EVERY = 64


def grid_pictures(logs: Sequence[EpisodeLog], options: RenderOptions) -> int:
    """Returns how many pictures the grid of these logs has: as many as that of the longest episode."""
    return max(picture_count(log, options) for log in logs)


def render_grid(
    logs: Sequence[EpisodeLog],
    out: str | os.PathLike[str],
    *,
    cartridge: Cartridge | None = None,
    options: RenderOptions | None = None,
    columns: int | None = None,
    on_progress: Callable[[int], None] | None = None,
) -> RenderedEpisode:
    """Renders logs side by side to one MP4 file; all begin at once, and one that has ended stays as a dim picture.

    Args:
        logs: the episodes, row by row.
        out: the file to write.
        cartridge: the cartridge they were played on; found for each by default.
        options: how it looks; there is no side panel.
        columns: how many in a row; about as many as there are rows by default.
        on_progress: called now and then with the number of pictures written since the last call.

    Raises:
        EpisodeLogError: a log cannot be played, or its replay is not the recorded episode; no file is written.
        ConfigError: there is no log, ``columns`` is below 1, or sound is asked for.
    """
    options = options or RenderOptions(scale=1)
    if not logs:
        raise ConfigError("logs must hold at least one episode, got none")
    if options.sound:
        raise ConfigError("a grid has no sound: its episodes would be heard all at once; leave sound away")
    columns = columns if columns is not None else math.ceil(math.sqrt(len(logs)))
    if columns < 1:
        raise ConfigError(f"columns must be >= 1, got {columns}")
    begin = time.perf_counter()
    cell_width, cell_height = _WIDTH * options.scale + _GAP, _HEIGHT * options.scale + _GAP
    rows = -(-len(logs) // columns)
    with ExitStack() as stack:
        video = stack.enter_context(
            VideoWriter(
                out,
                width=columns * cell_width,
                height=rows * cell_height,
                rate=options.rate,
                qp=options.qp,
                preset=options.preset,
                comment=logs_comment(logs, options, kind="grid"),
            )
        )
        tiles = []
        for index, log in enumerate(logs):
            player = stack.enter_context(EpisodePlayer(log, cartridge=cartridge))
            row, column = divmod(index, columns)
            tiles.append(_Tile(player, video, options, row * cell_height, column * cell_width))
        reported = 0
        for _ in range(grid_pictures(logs, options)):
            changed = [tile.advance() for tile in tiles]
            video.write(unchanged=not any(changed))
            if on_progress is not None and video.pictures - reported == _REPORT_EVERY:
                on_progress(_REPORT_EVERY)
                reported = video.pictures
        for tile in tiles:
            tile.finish()
        hashes_checked = sum(tile.player.hashes_checked for tile in tiles)
    if on_progress is not None:
        on_progress(video.pictures - reported)
    return RenderedEpisode(
        path=Path(out),
        pictures=video.pictures,
        steps=sum(len(log.actions[options.first_step : options.last_step]) for log in logs),
        hashes_checked=hashes_checked,
        seconds=time.perf_counter() - begin,
    )


class _Tile:
    """One episode in its place of the grid."""

    def __init__(self, player: EpisodePlayer, video: VideoWriter, options: RenderOptions, top: int, left: int) -> None:
        self.player = player
        self._frames: Iterator[ReplayFrame] = player.frames(
            every=options.every, first_step=options.first_step, last_step=options.last_step
        )
        self._painter = ScreenPainter(palette(options.palette), scale=options.scale)
        bottom, right = top + _HEIGHT * options.scale, left + _WIDTH * options.scale
        self._luma = video.luma[top:bottom, left:right]
        self._chroma = [plane[top // 2 : bottom // 2, left // 2 : right // 2] for plane in video.chroma]
        self._shown = b""
        self._over = False

    def advance(self) -> bool:
        """Shows the next picture; True if anything changed."""
        if self._over:
            return False
        frame = next(self._frames, None)
        if frame is None:
            self._over = True
            self._dim()
            return True
        pixels: npt.NDArray[np.uint8] = frame.pixels
        data = pixels.tobytes()
        if data == self._shown:
            return False
        self._shown = data
        self._painter.paint(pixels, self._luma, self._chroma)
        return True

    def finish(self) -> None:
        """Plays on to the hash that proves the last picture."""
        for _ in self._frames:
            pass

    def _dim(self) -> None:
        self._luma[:] = self._luma // 2 + 8
        for plane in self._chroma:
            plane[:] = plane // 2 + 64
