from dataclasses import replace

import av
import numpy as np
import pytest

from pokered_rl.episodes import EpisodePlayer, ReplayDivergedError
from pokered_rl.errors import ConfigError
from pokered_rl.observations import unpack_shades
from pokered_rl.record.palettes import palette, rgb_to_yuv
from pokered_rl.record.render import RenderOptions, is_rendered, picture_count, render_episode, render_episodes
from pokered_rl.record.video import CONSOLE_FRAME_RATE


def _pictures(path):
    """The decoded planes of every picture, and the stream's exact duration."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        pictures = [frame.to_ndarray(format="yuv420p") for frame in container.decode(stream)]
        assert len(pictures) == stream.frames
        return pictures, stream.duration * stream.time_base


@pytest.mark.parametrize(("fps", "every"), [(None, 1), (30, 2), (20, 3)])
def test_a_video_has_exactly_the_frames_of_the_episode(recorded_logs, tmp_path, fps, every):
    log = recorded_logs[0]
    options = RenderOptions(fps=fps, scale=1, panel=False)
    result = render_episode(log, tmp_path / "a.mp4", options=options)
    pictures, duration = _pictures(tmp_path / "a.mp4")
    assert result.pictures == len(pictures) == picture_count(log, options) == -(-log.frames // every)
    assert duration == len(pictures) * every / CONSOLE_FRAME_RATE
    assert (result.steps, result.hashes_checked) == (40, 5)  # hashes at 0, 10, 20, 30, 40


@pytest.mark.parametrize(("scale", "panel"), [(1, True), (1, False), (2, True), (3, True), (2, False)])
@pytest.mark.parametrize("colours", ["grey", "green"])
def test_every_picture_is_the_consoles(recorded_logs, tmp_path, scale, panel, colours):
    log = recorded_logs[0]
    options = RenderOptions(scale=scale, panel=panel, palette=colours, qp=1, last_step=6)
    render_episode(log, tmp_path / "a.mp4", options=options)
    pictures, _ = _pictures(tmp_path / "a.mp4")
    width, height = options.size
    top = (height - 144 * scale) // 4 * 2
    table = rgb_to_yuv(palette(colours))
    with EpisodePlayer(log) as player:
        frames = list(player.frames(last_step=6))
    assert len(frames) == len(pictures) == log.step_frames[:6].sum()
    for frame, planes in zip(frames, pictures, strict=True):
        assert planes.shape == (height * 3 // 2, width)
        expected = table[unpack_shades(frame.pixels)]  # [144, 160, 3]
        luma = planes[top : top + 144 * scale, : 160 * scale]
        assert np.abs(luma[::scale, ::scale].astype(int) - expected[:, :, 0]).max() <= 12  # H.264 rounds
        if scale == 2:
            for plane, offset in ((1, height), (2, height * 5 // 4)):
                flat = planes[offset : offset + height // 4].reshape(height // 2, width // 2)
                found = flat[top // 2 : top // 2 + 144, :160].astype(int)
                assert np.abs(found - expected[:, :, plane]).max() <= 12


def test_the_panel_changes_with_the_step_and_not_the_picture(recorded_logs, tmp_path):
    log = recorded_logs[0]
    render_episode(log, tmp_path / "a.mp4", options=RenderOptions(last_step=4, qp=1))
    pictures, _ = _pictures(tmp_path / "a.mp4")
    panels = [planes[:288, 322:].astype(int) for planes in pictures]
    begin = np.r_[0, np.cumsum(log.step_frames[:3])]
    for first, last in zip(begin, [*begin[1:], len(pictures)], strict=True):
        assert np.abs(panels[last - 1] - panels[first]).mean() < 1
    assert all(np.abs(panels[first] - panels[first - 1]).max() > 50 for first in begin[1:])


def test_the_map_of_the_panel_knows_what_was_visited_before_the_video_begins(recorded_logs, tmp_path):
    log = recorded_logs[0]
    render_episode(log, tmp_path / "part.mp4", options=RenderOptions(first_step=30, last_step=31, qp=1))
    render_episode(log, tmp_path / "whole.mp4", options=RenderOptions(last_step=31, qp=1))
    part, whole = (_pictures(tmp_path / name)[0] for name in ("part.mp4", "whole.mp4"))
    crop = np.s_[130:216, 320 + 8 : 320 + 94]
    assert np.abs(part[-1][crop].astype(int) - whole[-1][crop]).max() <= 12
    assert len(part) == log.step_frames[30]


def test_a_replay_that_diverges_leaves_no_video(recorded_logs, tmp_path):
    log = recorded_logs[0]
    wait_frames = log.wait_frames.copy()
    wait_frames[35] += 1
    with pytest.raises(ReplayDivergedError, match="at step 40 of 40"):
        render_episode(replace(log, wait_frames=wait_frames), tmp_path / "a.mp4", options=RenderOptions(scale=1))
    assert list(tmp_path.iterdir()) == []


def test_joined_episodes_follow_each_other(recorded_logs, tmp_path):
    options = RenderOptions(scale=1, panel=False, fps=30, qp=1)
    result = render_episodes(recorded_logs, tmp_path / "a.mp4", options=options)
    pictures, _ = _pictures(tmp_path / "a.mp4")
    counts = [-(-log.frames // 2) for log in recorded_logs]
    assert result.pictures == len(pictures) == sum(counts)
    # Both episodes begin in the same state.
    assert np.abs(pictures[0].astype(int) - pictures[counts[0]]).max() <= 12
    assert result.hashes_checked == 10


def test_a_finished_video_is_known_by_log_and_options(recorded_logs, tmp_path):
    out, options = tmp_path / "a.mp4", RenderOptions(scale=1, last_step=2)
    assert not is_rendered(recorded_logs[:1], out, options)
    render_episode(recorded_logs[0], out, options=options)
    assert is_rendered(recorded_logs[:1], out, options)
    assert not is_rendered(recorded_logs[1:], out, options)
    assert not is_rendered(recorded_logs[:1], out, replace(options, palette="green"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"scale": 0}, "scale must be between 1 and 16, got 0"),
        ({"qp": 52}, "qp must be between"),
        ({"first_step": 5, "last_step": 5}, "0 <= first < last"),
        ({"palette": "x"}, "palette must be one of"),
        ({"fps": 0}, "fps must be"),
    ],
)
def test_options_out_of_range_are_refused_when_made(changes, message):
    with pytest.raises(ConfigError, match=message):
        RenderOptions(**changes)


def test_a_part_behind_the_end_is_refused(recorded_logs, tmp_path):
    with pytest.raises(ConfigError, match=r"begins at step 40, .* has 40 steps"):
        render_episode(recorded_logs[0], tmp_path / "a.mp4", options=RenderOptions(first_step=40))
