"""Render many episodes side by side into one video."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

from pokered_rl.emulator import Cartridge
from pokered_rl.episodes import EpisodeLog, EpisodePlayer, ReplayFrame
from pokered_rl.errors import ConfigError
from pokered_rl.record.palettes import ScreenPainter, palette
from pokered_rl.record.render import RenderedEpisode, RenderOptions, logs_comment, shown_frames
from pokered_rl.record.video import VideoWriter

__all__ = ["render_grid"]

_WIDTH, _HEIGHT = 160, 144
#: Pixels between two screens.
_GAP = 4


def grid_frames(logs: Sequence[EpisodeLog], options: RenderOptions) -> int:
    """Return how many emulator frames the grid of these logs shows: as many as the longest episode."""
    return max(shown_frames(log, options) for log in logs)


def render_grid(
    logs: Sequence[EpisodeLog],
    out: str | os.PathLike[str],
    *,
    cartridge: Cartridge | None = None,
    options: RenderOptions | None = None,
    columns: int | None = None,
    on_progress: Callable[[int], None] | None = None,
) -> RenderedEpisode:
    """Render logs side by side to one MP4 file. All begin at once; the last picture of a shorter one stays, dimmed.

    Args:
        logs: The episodes, from left to right and from top to bottom.
        out: The file to write.
        cartridge: The cartridge they were played on; found for each by default.
        options: How the video looks; a grid has no side panel.
        columns: Episodes side by side; by default the square root of their number, rounded up.
        on_progress: Called from time to time with the number of frames written since the last call.

    Raises:
        EpisodeLogError: A log cannot be played, or its replay is not the recorded episode; no file is written.
        ConfigError: There is no log, ``columns`` is below 1, or sound is asked for.
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
    with ExitStack() as stack:
        video = stack.enter_context(
            VideoWriter(
                out,
                width=columns * cell_width,
                height=-(-len(logs) // columns) * cell_height,
                frame_rate=options.frame_rate,
                qp=options.qp,
                preset=options.preset,
                comment=logs_comment(logs, options, kind="grid"),
                on_progress=on_progress,
            )
        )
        tiles = []
        for index, log in enumerate(logs):
            player = stack.enter_context(EpisodePlayer(log, cartridge=cartridge))
            line, column = divmod(index, columns)
            tiles.append(_Tile(player, video, options, line * cell_height, column * cell_width))
        total = grid_frames(logs, options)
        while video.frames < total:
            changed = [tile.advance() for tile in tiles]
            video.write(num_frames=min(options.every, total - video.frames), unchanged=not any(changed))
        for tile in tiles:
            tile.finish()
        hashes_checked = sum(tile.player.hashes_checked for tile in tiles)
    return RenderedEpisode(
        path=Path(out),
        frames=video.frames,
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
        height, width = _HEIGHT * options.scale, _WIDTH * options.scale
        self._luma, self._chroma = video.part(top=top, left=left, height=height, width=width)
        self._painter = ScreenPainter(
            palette(options.palette), scale=options.scale, luma=self._luma, chroma=self._chroma
        )
        self._is_over = False

    def advance(self) -> bool:
        """Paint the next picture; return whether it differs from the one before."""
        if self._is_over:
            return False
        frame = next(self._frames, None)
        if frame is not None:
            return self._painter.paint(frame.pixels)
        self._is_over = True
        self._luma[:] = self._luma // 2 + 8  # half the contrast
        for plane in self._chroma:
            plane[:] = plane // 2 + 64
        return True

    def finish(self) -> None:
        """Play on to the RAM hash that proves the last picture."""
        for _ in self._frames:
            pass
