"""Writing MP4 files (H.264, ``yuv420p``; AAC if there is sound) with PyAV."""

from __future__ import annotations

import contextlib
import os
from fractions import Fraction
from pathlib import Path
from types import TracebackType

import av
import numpy as np
import numpy.typing as npt
from av.video.frame import PictureType

from pokered_rl.errors import ConfigError
from pokered_rl.record.h264 import PictureRepeater, StreamParameters
from pokered_rl.record.sound import SoundTrack

__all__ = ["CONSOLE_FRAME_RATE", "KEY_DISTANCE", "VideoWriter", "pace", "read_comment"]

#: Frames a second of the console: its clock over the cycles of a frame, 59.7275.
CONSOLE_FRAME_RATE = Fraction(4_194_304, 70_224)

#: Pictures between two key frames: what a player has to decode when somebody seeks.
KEY_DISTANCE = 600


def pace(*, fps: float | None = None, speed: float = 1.0) -> tuple[int, Fraction]:
    """Returns which emulator frames a video shows, and at which rate.

    Args:
        fps: about how many pictures a second the file shall have; the console's 59.7275 by default. The console's
            frames are never blended, so the rate becomes the console's (times ``speed``) over a whole number: 30
            means every second frame, 29.86 a second.
        speed: 2 plays twice as fast as the console.

    Returns:
        Distance of the shown frames in emulator frames, and the exact rate of the file.

    Raises:
        ConfigError: a value is not positive.
    """
    if fps is not None and not 0 < fps < 1000:
        raise ConfigError(f"fps must be between 0 and 1000, got {fps}")
    if not 0 < speed < 1000:
        raise ConfigError(f"speed must be between 0 and 1000, got {speed}")
    played = CONSOLE_FRAME_RATE * Fraction(speed).limit_denominator(1000)  # emulator frames a second of the video
    wanted = CONSOLE_FRAME_RATE if fps is None else Fraction(fps)
    every = max(1, round(played / wanted))
    return every, played / every


class VideoWriter:
    """One H.264 file. It gets its name when it is finished: an interrupted run leaves no half video behind.

    Args:
        path: the file, ``.mp4``.
        width: even number of pixels.
        height: even number of pixels.
        rate: pictures a second, exact.
        qp: quantizer, 1 (best) .. 51; at 18 the flat shades of the console look untouched.
        preset: of x264, from ``ultrafast`` to ``veryslow``; slower ones make smaller files.
        comment: stored in the file, see `read_comment`.
        sound: the file has a sound track beside the pictures.

    Attributes:
        luma: uint8 [height, width]: paint the next picture here ...
        chroma: ... and here, two planes of uint8 [height / 2, width / 2], then call `write`. They keep their content.
        pictures: pictures written so far.
        sound: the sound track, to be fed a frame at a time; None without one.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        width: int,
        height: int,
        rate: Fraction,
        qp: int = 18,
        preset: str = "ultrafast",
        comment: str = "",
        sound: bool = False,
    ) -> None:
        if width % 2 or height % 2:
            raise ConfigError(f"width and height must be even, got {width} x {height}")
        self.path = Path(path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._unfinished = self.path.with_name(f".{self.path.name}.{os.getpid()}.part")
        self._planes = np.zeros((height * 3 // 2, width), np.uint8)
        self.luma = self._planes[:height]
        quarter = height // 2 * (width // 2)
        flat = self._planes[height:].reshape(-1)
        self.chroma: tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]] = (
            flat[:quarter].reshape(height // 2, width // 2),
            flat[quarter:].reshape(height // 2, width // 2),
        )
        self.chroma[0][:] = self.chroma[1][:] = 128
        self.luma[:] = 16
        self.pictures = 0
        self._time_base = 1 / rate
        self._container = av.open(os.fspath(self._unfinished), "w", format="mp4", options={"movflags": "+faststart"})
        self._container.metadata["comment"] = comment
        self._stream = stream = self._container.add_stream("libx264", rate=rate)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        codec = stream.codec_context
        codec.time_base = self._time_base
        codec.thread_count = 1  # episodes are rendered in parallel, pictures are not
        codec.gop_size = 1_000_000  # key frames are asked for by `write`, by the pictures shown
        codec.color_range, codec.colorspace = 1, 5  # limited range, BT.601: as `rgb_to_yuv` computes
        # A constant quantizer and no looking ahead: flat shades, still or scrolling as a whole, leave nothing to weigh.
        # The rest is what the repeater needs: every picture at once, referring only to the one before.
        codec.options = {
            "qp": str(qp),
            "preset": preset,
            "tune": "zerolatency",
            "forced-idr": "1",
            "x264-params": "aq-mode=0:scenecut=0:ref=1:weightp=0:cabac=0",
        }
        codec.open()
        self.sound = SoundTrack(self._container, frame_rate=CONSOLE_FRAME_RATE) if sound else None
        parameters = StreamParameters.parse(codec.extradata or b"")
        macroblocks = -(-width // 16) * -(-height // 16)
        self._repeater = PictureRepeater(parameters, macroblocks=macroblocks) if parameters is not None else None

    def write(self, *, unchanged: bool = False) -> None:
        """Adds what `luma` and `chroma` hold as the next picture.

        Args:
            unchanged: they hold the same as at the last call. Spares the encoder the work of finding out.
        """
        key = self.pictures % KEY_DISTANCE == 0
        if unchanged and not key and self._repeater is not None:
            self._mux(self._repeater.repeat(), is_keyframe=False)
            return
        # The encoder copies what it is given, so the planes may be painted over afterwards.
        frame = av.VideoFrame.from_numpy_buffer(self._planes, format="yuv420p")
        frame.pts = self.pictures
        frame.time_base = self._time_base
        if key:
            frame.pict_type = PictureType.I
        packets = self._stream.encode(frame)
        if self._repeater is None:
            self._container.mux(packets)
            self.pictures += 1
            return
        (packet,) = packets
        self._mux(self._repeater.number(bytes(packet)), is_keyframe=packet.is_keyframe)

    def _mux(self, data: bytes, *, is_keyframe: bool) -> None:
        packet = av.Packet(data)
        packet.stream = self._stream
        packet.pts = packet.dts = self.pictures
        packet.duration = 1
        packet.time_base = self._time_base
        packet.is_keyframe = is_keyframe
        self._container.mux(packet)
        self.pictures += 1

    def close(self) -> None:
        """Finishes the file and gives it its name.

        Raises:
            OSError: it could not be written (disk full, for one); nothing is left behind.
        """
        try:
            if self._repeater is None:
                self._container.mux(self._stream.encode(None))
            if self.sound is not None:
                self.sound.finish()
            self._container.close()
            self._unfinished.replace(self.path)
        except BaseException:
            self._unfinished.unlink(missing_ok=True)
            raise

    def discard(self) -> None:
        """Gives up: nothing is left behind."""
        with contextlib.suppress(OSError):  # the end of a file that a full disk has cut cannot be written, either
            self._container.close()
        self._unfinished.unlink(missing_ok=True)

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.discard()


def read_comment(path: str | os.PathLike[str]) -> str | None:
    """Returns the comment with which `VideoWriter` wrote a file, None if it is no such file."""
    try:
        with av.open(os.fspath(path)) as container:
            return container.metadata.get("comment")
    except (OSError, av.FFmpegError):
        return None
