"""Write MP4 files (H.264, ``yuv420p``; AAC if there is sound) with PyAV."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Final

import av
import numpy as np
import numpy.typing as npt
from av.video.frame import PictureType

from pokered_rl.errors import ConfigError
from pokered_rl.record.sound import SoundTrack

__all__ = ["CONSOLE_FRAME_RATE", "VideoWriter", "check_encoder"]

_ENCODER: Final = "libx264"

#: Frames a second of the console, 59.7275 (its clock over the cycles of a frame).
CONSOLE_FRAME_RATE = Fraction(4_194_304, 70_224)

#: Most seconds between two key frames; a player that seeks decodes from the key frame before.
KEY_SECONDS = 10

#: Frames between two reports of progress.
_REPORT_EVERY = 256


def pace(*, fps: float | None = None, speed: float = 1.0) -> tuple[int, Fraction]:
    """Return which emulator frames a video shows, and how many of them pass in a second.

    Args:
        fps: About how many pictures a second are shown; the console's 59.7275 by default. Frames are never blended,
            so every k-th one is shown, k being a whole number: 30 shows every second frame, 29.86 a second.
        speed: 2 plays twice as fast as the console.

    Returns:
        Distance of the shown frames in emulator frames, and the exact number of emulator frames a second.

    Raises:
        ConfigError: A value is not positive.
    """
    if fps is not None and not 0 < fps < 1000:
        raise ConfigError(f"fps must be between 0 and 1000, got {fps}")
    if not 0 < speed < 1000:
        raise ConfigError(f"speed must be between 0 and 1000, got {speed}")
    frame_rate = CONSOLE_FRAME_RATE * Fraction(speed).limit_denominator(1000)
    return max(1, round(frame_rate / (CONSOLE_FRAME_RATE if fps is None else Fraction(fps)))), frame_rate


def check_encoder() -> None:
    """Refuse a PyAV whose FFmpeg was built without the video encoder.

    Raises:
        ConfigError: It was.
    """
    try:
        av.codec.Codec(_ENCODER, "w")
    except av.codec.codec.UnknownCodecError as error:
        raise ConfigError(
            f"this PyAV has no encoder {_ENCODER}, without which no video can be written; install the wheel of PyPI "
            "(python -m pip install --force-reinstall av), or conda-forge's ffmpeg of the GPL variant"
        ) from error


class VideoWriter:
    """One H.264 file of variable frame rate: a picture lasts until the next one that differs.

    The file gets its name when it is finished: an interrupted run leaves no incomplete video.

    Args:
        path: The file, ``.mp4``.
        width: Even number of pixels.
        height: Even number of pixels.
        frame_rate: Emulator frames a second, exact: the time base of the file.
        qp: Quantizer, 1 (best) to 51; at 18 no difference to the console's flat shades is visible.
        preset: Of x264, from ``ultrafast`` to ``veryslow``; slower ones make smaller files.
        comment: Stored in the file, see ``read_comment``.
        sound: Add a sound track.
        on_progress: Called from time to time with the number of frames written since the last call.
    """

    #: uint8 [height, width]; paint the next picture here and into `chroma`, then call `write`.
    luma: npt.NDArray[np.uint8]
    #: Two planes of uint8 [height / 2, width / 2]. All planes keep their content after `write`.
    chroma: tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]
    #: Emulator frames written so far.
    frames: int
    #: The sound track, to be fed one frame at a time; None without sound.
    sound: SoundTrack | None

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        width: int,
        height: int,
        frame_rate: Fraction,
        qp: int = 18,
        preset: str = "ultrafast",
        comment: str = "",
        sound: bool = False,
        on_progress: Callable[[int], None] | None = None,
    ) -> None:
        if width % 2 or height % 2:
            raise ConfigError(f"width and height must be even, got {width} x {height}")
        check_encoder()
        self.path = Path(path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._unfinished = self.path.with_name(f".{self.path.name}.{os.getpid()}.part")
        self._planes = np.zeros((height * 3 // 2, width), np.uint8)
        self.luma = self._planes[:height]
        u, v = self._planes[height:].reshape(2, height // 2, width // 2)
        self.chroma = u, v
        self.luma[:], u[:], v[:] = 16, 128, 128
        self.frames = 0
        self._key_distance = round(KEY_SECONDS * frame_rate)
        self._key_due = 0
        self._on_progress = on_progress
        self._reported = 0
        self._pending: av.Packet[av.VideoStream] | None = None  # its duration is known when the next packet comes
        self._container = av.open(os.fspath(self._unfinished), "w", format="mp4", options={"movflags": "+faststart"})
        self._container.metadata["comment"] = comment
        self._stream = stream = self._container.add_stream(_ENCODER, rate=frame_rate)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        codec = stream.codec_context
        codec.time_base = 1 / frame_rate
        codec.thread_count = 1  # episodes are rendered in parallel, pictures are not
        codec.gop_size = 1_000_000  # `write` asks for the key frames
        codec.color_range, codec.colorspace = 1, 5  # limited range, BT.601: as `rgb_to_yuv` computes
        # Flat shades, still or scrolling as a whole, gain nothing from adaptive quantizers or looking ahead.
        codec.options = {
            "qp": str(qp),
            "preset": preset,
            "tune": "zerolatency",
            "forced-idr": "1",
            "x264-params": "aq-mode=0:scenecut=0",
        }
        codec.open()
        self.sound = SoundTrack(self._container, frame_rate=CONSOLE_FRAME_RATE) if sound else None

    def part(
        self, *, top: int, left: int, height: int, width: int
    ) -> tuple[npt.NDArray[np.uint8], tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]]:
        """Return views of a rectangle of the planes, in even numbers of pixels: luma, and both chroma planes."""
        bottom, right = top + height, left + width
        u, v = (plane[top // 2 : bottom // 2, left // 2 : right // 2] for plane in self.chroma)
        return self.luma[top:bottom, left:right], (u, v)

    def write(self, *, num_frames: int = 1, unchanged: bool = False) -> None:
        """Show what `luma` and `chroma` hold during the next frames.

        Args:
            num_frames: Emulator frames that the picture lasts.
            unchanged: The planes hold the same as at the last call: nothing is encoded, the last picture lasts longer.
        """
        is_key = self.frames >= self._key_due
        if is_key or not unchanged:
            # The encoder copies what it is given, so the planes may be painted over afterwards.
            frame = av.VideoFrame.from_numpy_buffer(self._planes, format="yuv420p")
            frame.pts, frame.time_base = self.frames, self._stream.codec_context.time_base
            if is_key:
                frame.pict_type = PictureType.I
                self._key_due = self.frames + self._key_distance
            self._mux(self._stream.encode(frame))
        self.frames += num_frames
        if self.frames - self._reported >= _REPORT_EVERY:
            self._report()

    def _mux(self, packets: Sequence[av.Packet[av.VideoStream]]) -> None:
        for packet in packets:
            self._mux_pending(end=packet.pts)
            self._pending = packet

    def _mux_pending(self, *, end: int | None) -> None:
        if self._pending is not None and self._pending.pts is not None and end is not None:
            self._pending.duration = end - self._pending.pts
            self._container.mux(self._pending)

    def _report(self) -> None:
        if self._on_progress is not None:
            self._on_progress(self.frames - self._reported)
        self._reported = self.frames

    def close(self) -> None:
        """Finish the file and give it its name.

        Raises:
            OSError: It could not be written, for example to a full disk; nothing is left behind.
        """
        try:
            self._mux(self._stream.encode(None))
            self._mux_pending(end=self.frames)
            if self.sound is not None:
                self.sound.finish()
            self._container.close()
            self._unfinished.replace(self.path)
        except BaseException:
            self._unfinished.unlink(missing_ok=True)
            raise
        self._report()

    def discard(self) -> None:
        """Remove the unfinished file."""
        with contextlib.suppress(OSError):  # on a full disk the end of the file cannot be written either
            self._container.close()
        self._unfinished.unlink(missing_ok=True)

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(self, kind: object, *exception: object) -> None:
        if kind is None:
            self.close()
        else:
            self.discard()


def read_comment(path: str | os.PathLike[str]) -> str | None:
    """Return the comment that :class:`VideoWriter` stored in a file, None if there is no such file."""
    try:
        with av.open(os.fspath(path)) as container:
            return container.metadata.get("comment")
    except (OSError, av.FFmpegError):
        return None
