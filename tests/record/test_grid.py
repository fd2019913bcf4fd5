from dataclasses import replace

import numpy as np
import pytest

from pokered_rl.episodes import EpisodePlayer, ReplayDivergedError
from pokered_rl.errors import ConfigError
from pokered_rl.observations import unpack_shades
from pokered_rl.record.batch import grid_job, render_jobs
from pokered_rl.record.grid import grid_frames, render_grid
from pokered_rl.record.palettes import palette, rgb_to_yuv
from pokered_rl.record.render import RenderOptions
from pokered_rl.record.video import CONSOLE_FRAME_RATE

_OPTIONS = RenderOptions(scale=1, qp=1, fps=30, last_step=8)


def test_every_tile_shows_its_own_episode(recorded_logs, tmp_path, read_video):
    logs = [recorded_logs[0], recorded_logs[1], replace(recorded_logs[0])]
    result = render_grid(logs, tmp_path / "a.mp4", options=_OPTIONS)
    video = read_video(tmp_path / "a.mp4")
    # Three episodes make two columns and two rows, with 4 pixels to the right of and below each.
    assert video.pictures[0].shape == (2 * 148 * 3 // 2, 2 * 164)
    assert result.frames == grid_frames(logs, _OPTIONS) == max(log.step_frames[:8].sum() for log in logs)
    assert video.seconds == result.frames / CONSOLE_FRAME_RATE
    table = rgb_to_yuv(palette("grey"))[:, 0].astype(int)
    for index, log in enumerate(logs):
        line, column = divmod(index, 2)
        with EpisodePlayer(log) as player:
            shown = list(player.frames(every=2, last_step=8))
        for frame in shown:
            planes = video.at_frame(frame.frame)
            tile = planes[line * 148 : line * 148 + 144, column * 164 : column * 164 + 160]
            assert np.abs(tile - table[unpack_shades(frame.pixels)]).max() <= 12
    assert result.hashes_checked == 3  # the starts; the chains prove the 8 steps shown


def test_an_episode_that_has_ended_is_dimmed(recorded_logs, tmp_path, read_video):
    short, long = recorded_logs[0], recorded_logs[1]
    hashes = {step: value for step, value in short.ram_hashes.items() if step <= 10}
    short = replace(
        short,
        actions=short.actions[:10],
        wait_frames=short.wait_frames[:10],
        rewards=short.rewards[:10],
        term_rewards=short.term_rewards[:10],
        ram_hashes=hashes,
        chain=None,
    )
    options = replace(_OPTIONS, last_step=None)
    render_grid([short, long], tmp_path / "a.mp4", options=options)
    video = read_video(tmp_path / "a.mp4")
    assert video.seconds == long.frames / CONSOLE_FRAME_RATE
    assert video.at_frame(short.frames + 2)[:144, :160].max() <= 235 // 2 + 8 + 4
    assert video.at_frame(long.frames - 1)[:144, :160].max() <= 235 // 2 + 8 + 4
    assert video.at_frame(short.frames - 2)[:144, :160].max() > 220


def test_a_diverging_episode_leaves_no_grid(recorded_logs, tmp_path):
    wait_frames = recorded_logs[0].wait_frames.copy()
    wait_frames[3] += 1
    with pytest.raises(ReplayDivergedError):
        render_grid(
            [recorded_logs[1], replace(recorded_logs[0], wait_frames=wait_frames)],
            tmp_path / "a.mp4",
            options=_OPTIONS,
        )
    assert list(tmp_path.iterdir()) == []


def test_a_grid_needs_logs_and_columns(recorded_logs, tmp_path):
    with pytest.raises(ConfigError, match="at least one episode"):
        render_grid([], tmp_path / "a.mp4")
    with pytest.raises(ConfigError, match="columns must be >= 1, got 0"):
        render_grid(recorded_logs, tmp_path / "a.mp4", columns=0)
    assert grid_job([], tmp_path) == []


def test_a_finished_grid_is_skipped(recorded_logs, tmp_path):
    jobs = grid_job(recorded_logs, tmp_path)
    first, second = (render_jobs(jobs, options=_OPTIONS, workers=1)[0] for _ in range(2))
    assert first.result.frames == jobs[0].frames(_OPTIONS)
    assert second.skipped
