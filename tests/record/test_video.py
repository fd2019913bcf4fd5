import resource
from fractions import Fraction

import av
import numpy as np
import pytest

from pokered_rl.errors import ConfigError
from pokered_rl.record.video import CONSOLE_FRAME_RATE, KEY_SECONDS, VideoWriter, pace, read_comment

# 4,194,304 Hz / 70,224 cycles a frame = 59.7275 a second.
_RATE = Fraction(262144, 4389)


@pytest.mark.parametrize(
    ("asked", "every", "frame_rate"),
    [
        ({}, 1, _RATE),
        ({"fps": 60}, 1, _RATE),
        # 59.7275 / 30 is about 2: every second frame.
        ({"fps": 30}, 2, _RATE),
        ({"fps": 15}, 4, _RATE),
        # Four times as fast: 238.91 frames a second, of which every fourth is shown.
        ({"speed": 4}, 4, 4 * _RATE),
        ({"speed": 4, "fps": 30}, 8, 4 * _RATE),
        # Slow motion cannot show frames that do not exist: each one, longer.
        ({"speed": 0.5}, 1, _RATE / 2),
    ],
)
def test_pace_shows_whole_frames_and_keeps_time_exactly(asked, every, frame_rate):
    assert pace(**asked) == (every, frame_rate)


@pytest.mark.parametrize("asked", [{"fps": 0}, {"fps": -1}, {"speed": 0}, {"speed": float("nan")}])
def test_a_pace_out_of_range_is_refused(asked):
    with pytest.raises(ConfigError, match="must be between"):
        pace(**asked)


def _write(path, pictures, **options):
    with VideoWriter(path, width=64, height=48, frame_rate=CONSOLE_FRAME_RATE, qp=1, **options) as video:
        for picture in range(pictures):
            video.luma[:] = 16 + picture % 200
            video.chroma[0][:] = 100 + picture % 50
            video.write()
    return video


def test_the_file_shows_every_picture_at_its_exact_time(tmp_path, read_video):
    assert _write(tmp_path / "a.mp4", 500).frames == 500
    video = read_video(tmp_path / "a.mp4")
    assert video.seconds == 500 / CONSOLE_FRAME_RATE
    assert video.begins == [number / CONSOLE_FRAME_RATE for number in range(500)]
    for number, planes in enumerate(video.pictures):
        assert planes.shape == (48 * 3 // 2, 64)
        assert (planes[:48] == 16 + number % 200).all()  # painted over while the encoder had it: still right
        assert (planes[48:60] == 100 + number % 50).all()
    with av.open(str(tmp_path / "a.mp4")) as container:
        assert container.streams.video[0].codec.name == "h264"


@pytest.mark.parametrize("preset", ["ultrafast", "veryfast", "slow"])
def test_an_unchanged_picture_lasts_and_is_not_stored_again(tmp_path, read_video, preset):
    with VideoWriter(
        tmp_path / "a.mp4", width=64, height=48, frame_rate=CONSOLE_FRAME_RATE, qp=1, preset=preset
    ) as video:
        for number in range(20):
            if number % 4 == 0:
                video.luma[:] = 50 + number
            video.write(num_frames=3 if number < 19 else 2, unchanged=number % 4 != 0)
    assert video.frames == 59
    shown = read_video(tmp_path / "a.mp4")
    # 20 pictures, 19 of 3 frames and one of 2; each fourth is another one: after 4 * 3 = 12 frames.
    assert shown.seconds == 59 / CONSOLE_FRAME_RATE
    assert shown.begins == [number / CONSOLE_FRAME_RATE for number in (0, 12, 24, 36, 48)]
    for number in range(59):
        assert np.abs(shown.at_frame(number)[:48].astype(int) - (50 + number // 12 * 4)).max() <= 1


def test_a_key_frame_begins_every_ten_seconds_also_in_a_still(tmp_path, read_video):
    with VideoWriter(tmp_path / "a.mp4", width=64, height=48, frame_rate=Fraction(30), qp=1) as video:
        for number in range(700):
            video.write(unchanged=number > 0)
    shown = read_video(tmp_path / "a.mp4")
    assert shown.seconds == Fraction(700, 30)
    assert KEY_SECONDS == 10
    assert shown.begins == shown.key_begins == [0, 10, 20]


def test_a_video_appears_only_when_it_is_finished(tmp_path):
    def interrupted():
        with VideoWriter(tmp_path / "a.mp4", width=64, height=48, frame_rate=CONSOLE_FRAME_RATE) as video:
            video.write()
            assert not (tmp_path / "a.mp4").exists()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert list(tmp_path.iterdir()) == []


def test_a_video_on_a_full_disk_is_an_error_and_leaves_nothing(tmp_path):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)

    def too_large():
        with VideoWriter(tmp_path / "a.mp4", width=64, height=48, frame_rate=CONSOLE_FRAME_RATE, qp=1) as video:
            noise = np.random.default_rng(0)
            for _ in range(60):
                video.luma[:] = noise.integers(16, 235, video.luma.shape)
                video.write()

    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))
        with pytest.raises(OSError, match="File too large"):
            too_large()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list(tmp_path.iterdir()) == []


def test_the_comment_can_be_read_back(tmp_path):
    _write(tmp_path / "a.mp4", 3, comment="made by a test")
    assert read_comment(tmp_path / "a.mp4") == "made by a test"
    (tmp_path / "b.mp4").write_bytes(b"no video")
    assert read_comment(tmp_path / "b.mp4") is None


def test_odd_sizes_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="even, got 63 x 48"):
        VideoWriter(tmp_path / "a.mp4", width=63, height=48, frame_rate=Fraction(60))


@pytest.mark.parametrize(("unchanged", "most_bytes"), [(True, 0), (False, 298 * 200)])
def test_still_pictures_take_almost_no_space(tmp_path, unchanged, most_bytes):
    noise = np.random.default_rng(0).integers(16, 235, (288, 320))
    for frames in (1, 299):  # less than KEY_SECONDS: a single key frame
        with VideoWriter(tmp_path / f"{frames}.mp4", width=320, height=288, frame_rate=CONSOLE_FRAME_RATE) as video:
            video.luma[:] = noise
            for number in range(frames):
                video.write(unchanged=unchanged and number > 0)
    one, many = ((tmp_path / f"{frames}.mp4").stat().st_size for frames in (1, 299))
    assert many - one <= most_bytes  # a picture of noise has 138 KB
