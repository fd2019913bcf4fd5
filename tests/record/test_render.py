from dataclasses import replace
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest

from pokered_rl.episodes import EpisodePlayer, ReplayDivergedError
from pokered_rl.errors import ConfigError
from pokered_rl.observations import unpack_shades
from pokered_rl.record.palettes import palette, rgb_to_yuv
from pokered_rl.record.render import RenderOptions, is_rendered, render_episode, render_episodes, shown_frames
from pokered_rl.record.video import CONSOLE_FRAME_RATE


@pytest.mark.parametrize("options", [{}, {"fps": 30}, {"fps": 8.6}, {"speed": 2, "fps": 20}])
def test_a_video_lasts_exactly_as_long_as_the_episode(recorded_logs, tmp_path, read_video, options):
    log = recorded_logs[0]
    options = RenderOptions(scale=1, panel=False, **options)
    result = render_episode(log, tmp_path / "a.mp4", options=options)
    assert result.frames == shown_frames(log, options) == log.frames
    assert read_video(tmp_path / "a.mp4").seconds == log.frames / CONSOLE_FRAME_RATE / Fraction(options.speed)
    assert (result.steps, result.hashes_checked) == (40, 5)  # hashes at 0, 10, 20, 30, 40


@pytest.mark.parametrize("every", [1, 3])
def test_pictures_that_do_not_change_are_not_stored(recorded_logs, tmp_path, read_video, every):
    log = recorded_logs[0]
    render_episode(log, tmp_path / "a.mp4", options=RenderOptions(scale=1, panel=False, fps=60 / every))
    with EpisodePlayer(log) as player:
        pixels = [frame.pixels.tobytes() for frame in player.frames(every=every)]
    changes = [number for number, (one, other) in enumerate(pairwise(pixels), start=1) if one != other]
    # 40 steps of at least 24 frames last more than 10 seconds: there is a second key frame.
    begins = sorted({0, *changes, -(-round(10 * CONSOLE_FRAME_RATE) // every)})
    assert len(changes) < len(pixels) / 2
    assert read_video(tmp_path / "a.mp4").begins == [number * every / CONSOLE_FRAME_RATE for number in begins]


@pytest.mark.parametrize(("scale", "panel"), [(1, True), (1, False), (2, True), (3, True), (2, False)])
@pytest.mark.parametrize("colours", ["grey", "green"])
def test_the_video_shows_the_screen_of_the_console_at_every_time(
    recorded_logs, tmp_path, read_video, scale, panel, colours
):
    log = recorded_logs[0]
    options = RenderOptions(scale=scale, panel=panel, palette=colours, qp=1, last_step=6)
    render_episode(log, tmp_path / "a.mp4", options=options)
    video = read_video(tmp_path / "a.mp4")
    width, height = options.size
    top = (height - 144 * scale) // 4 * 2
    table = rgb_to_yuv(palette(colours))
    with EpisodePlayer(log) as player:
        frames = list(player.frames(last_step=6))
    assert video.seconds == len(frames) / CONSOLE_FRAME_RATE == int(log.step_frames[:6].sum()) / CONSOLE_FRAME_RATE
    for frame in frames:
        planes = video.at_frame(frame.frame)
        assert planes.shape == (height * 3 // 2, width)
        expected = table[unpack_shades(frame.pixels)]  # [144, 160, 3]
        luma = planes[top : top + 144 * scale, : 160 * scale]
        assert np.abs(luma[::scale, ::scale].astype(int) - expected[:, :, 0]).max() <= 12  # H.264 rounds
        if scale == 2:
            for plane, offset in ((1, height), (2, height * 5 // 4)):
                flat = planes[offset : offset + height // 4].reshape(height // 2, width // 2)
                found = flat[top // 2 : top // 2 + 144, :160].astype(int)
                assert np.abs(found - expected[:, :, plane]).max() <= 12


def test_the_panel_changes_with_the_step_and_not_the_picture(recorded_logs, tmp_path, read_video):
    log = recorded_logs[0]
    render_episode(log, tmp_path / "a.mp4", options=RenderOptions(last_step=4, qp=1))
    video = read_video(tmp_path / "a.mp4")
    ends = np.cumsum(log.step_frames[:4]).tolist()
    panels = [video.at_frame(number)[:288, 322:].astype(int) for number in range(ends[-1])]
    begins = [0, *ends[:3]]
    for first, end in zip(begins, ends, strict=True):
        assert np.abs(panels[end - 1] - panels[first]).mean() < 1
    assert all(np.abs(panels[first] - panels[first - 1]).max() > 50 for first in begins[1:])


def test_the_last_picture_of_an_episode_has_the_panel_of_its_end(recorded_logs, tmp_path, read_video):
    log = recorded_logs[0]
    render_episode(log, tmp_path / "a.mp4", options=RenderOptions(first_step=log.steps - 2, qp=1))
    video = read_video(tmp_path / "a.mp4")
    panels = [video.at_frame(number)[:288, 322:].astype(int) for number in range(int(log.step_frames[-2:].sum()))]
    assert np.abs(panels[-2] - panels[int(log.step_frames[-2])]).mean() < 1
    assert np.abs(panels[-1] - panels[-2]).max() > 50


def test_the_map_of_the_panel_has_the_steps_visited_before_the_video_begins(recorded_logs, tmp_path, read_video):
    log = recorded_logs[0]
    render_episode(log, tmp_path / "part.mp4", options=RenderOptions(first_step=30, last_step=31, qp=1))
    render_episode(log, tmp_path / "whole.mp4", options=RenderOptions(last_step=31, qp=1))
    part, whole = (read_video(tmp_path / name) for name in ("part.mp4", "whole.mp4"))
    crop = np.s_[130:216, 320 + 8 : 320 + 94]
    assert np.abs(part.pictures[-1][crop].astype(int) - whole.pictures[-1][crop]).max() <= 12
    assert part.seconds == int(log.step_frames[30]) / CONSOLE_FRAME_RATE


def test_a_replay_that_diverges_leaves_no_video(recorded_logs, tmp_path):
    log = recorded_logs[0]
    wait_frames = log.wait_frames.copy()
    wait_frames[35] += 1
    with pytest.raises(ReplayDivergedError, match="at step 36 of 40"):
        render_episode(replace(log, wait_frames=wait_frames), tmp_path / "a.mp4", options=RenderOptions(scale=1))
    assert list(tmp_path.iterdir()) == []


def test_joined_episodes_follow_each_other(recorded_logs, tmp_path, read_video):
    options = RenderOptions(scale=1, panel=False, fps=30, qp=1)
    result = render_episodes(recorded_logs, tmp_path / "a.mp4", options=options)
    video = read_video(tmp_path / "a.mp4")
    assert result.frames == sum(log.frames for log in recorded_logs)
    assert video.seconds == result.frames / CONSOLE_FRAME_RATE
    # Both episodes begin in the same state.
    begin = recorded_logs[0].frames
    assert begin / CONSOLE_FRAME_RATE in video.begins
    assert np.abs(video.at_frame(0).astype(int) - video.at_frame(begin)).max() <= 12
    assert result.hashes_checked == 10


def test_a_finished_video_is_recognised_by_log_and_options(recorded_logs, tmp_path):
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


def test_a_first_step_behind_the_end_is_refused(recorded_logs, tmp_path):
    with pytest.raises(ConfigError, match=r"begins at step 40, .* has 40 steps"):
        render_episode(recorded_logs[0], tmp_path / "a.mp4", options=RenderOptions(first_step=40))
