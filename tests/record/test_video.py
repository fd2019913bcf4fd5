import resource
from fractions import Fraction

import av
import numpy as np
import pytest

from pokered_rl.errors import ConfigError
from pokered_rl.record.video import CONSOLE_FRAME_RATE, VideoWriter, pace, read_comment


@pytest.mark.parametrize(
    ("asked", "every", "rate"),
    [
        # 4,194,304 Hz / 70,224 cycles a frame = 59.7275 a second.
        ({}, 1, Fraction(262144, 4389)),
        ({"fps": 60}, 1, Fraction(262144, 4389)),
        # Every second frame at half the rate keeps real time.
        ({"fps": 30}, 2, Fraction(262144, 4389) / 2),
        ({"fps": 15}, 4, Fraction(262144, 4389) / 4),
        # Four times as fast: every fourth frame at the full rate.
        ({"speed": 4}, 4, Fraction(262144, 4389)),
        ({"speed": 4, "fps": 30}, 8, Fraction(262144, 4389) / 2),
        # Slow motion cannot show frames that do not exist: each one, longer.
        ({"speed": 0.5}, 1, Fraction(262144, 4389) / 2),
    ],
)
def test_pace_shows_whole_frames_and_keeps_time_exactly(asked, every, rate):
    assert pace(**asked) == (every, rate)


@pytest.mark.parametrize("asked", [{"fps": 0}, {"fps": -1}, {"speed": 0}, {"speed": float("nan")}])
def test_a_pace_that_cannot_be_is_refused(asked):
    with pytest.raises(ConfigError, match="must be between"):
        pace(**asked)


def _write(path, pictures, **options):
    with VideoWriter(path, width=64, height=48, rate=CONSOLE_FRAME_RATE, qp=1, **options) as video:
        for picture in range(pictures):
            video.luma[:] = 16 + picture % 200
            video.chroma[0][:] = 100 + picture % 50
            video.write()
    return video


def test_the_file_holds_every_picture_at_its_exact_time(tmp_path):
    video = _write(tmp_path / "a.mp4", 500)
    assert video.pictures == 500
    with av.open(str(tmp_path / "a.mp4")) as container:
        stream = container.streams.video[0]
        assert (stream.codec.name, stream.width, stream.height, stream.frames) == ("h264", 64, 48, 500)
        assert stream.average_rate == CONSOLE_FRAME_RATE
        assert stream.duration * stream.time_base == 500 / CONSOLE_FRAME_RATE
        for number, frame in enumerate(container.decode(stream)):
            assert frame.pts * frame.time_base == number / CONSOLE_FRAME_RATE
            planes = frame.reformat(format="yuv420p").to_ndarray()
            assert (planes[:48] == 16 + number % 200).all()  # painted over while the encoder had it: still right
            assert (planes[48:60] == 100 + number % 50).all()
    assert number == 499


def test_a_video_appears_only_when_it_is_finished(tmp_path):
    def interrupted():
        with VideoWriter(tmp_path / "a.mp4", width=64, height=48, rate=CONSOLE_FRAME_RATE) as video:
            video.write()
            assert not (tmp_path / "a.mp4").exists()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert list(tmp_path.iterdir()) == []


def test_a_video_on_a_full_disk_is_an_error_and_leaves_nothing(tmp_path):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)

    def too_large():
        with VideoWriter(tmp_path / "a.mp4", width=64, height=48, rate=CONSOLE_FRAME_RATE, qp=1) as video:
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


def test_the_comment_comes_back(tmp_path):
    _write(tmp_path / "a.mp4", 3, comment="made by a test")
    assert read_comment(tmp_path / "a.mp4") == "made by a test"
    (tmp_path / "b.mp4").write_bytes(b"no video")
    assert read_comment(tmp_path / "b.mp4") is None


def test_odd_sizes_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="even, got 63 x 48"):
        VideoWriter(tmp_path / "a.mp4", width=63, height=48, rate=Fraction(60))


def test_still_pictures_cost_next_to_nothing(tmp_path):
    noise = np.random.default_rng(0).integers(16, 235, (288, 320))
    for pictures in (1, 299):  # within one group of pictures: a single key frame
        with VideoWriter(tmp_path / f"{pictures}.mp4", width=320, height=288, rate=CONSOLE_FRAME_RATE) as video:
            video.luma[:] = noise
            for _ in range(pictures):
                video.write()
    one, many = ((tmp_path / f"{pictures}.mp4").stat().st_size for pictures in (1, 299))
    assert many - one < 298 * 200  # a picture of noise has 138 KB
