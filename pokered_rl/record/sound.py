"""The sound track of a video: the console's samples, kept in step with the pictures."""

from __future__ import annotations

from fractions import Fraction

import av
import numpy as np
import numpy.typing as npt
from av.container import OutputContainer

from pokered_rl.emulator import SOUND_RATE

__all__ = ["SoundTrack"]

_BIT_RATE = 128_000
#: So many samples may the console be ahead or behind: its frames begin between two samples, and between instructions.
_TOLERANCE = 2


class SoundTrack:
    """An AAC stream, fed with one emulator frame after the other.

    A frame that the console cut short (the game switched the screen off or on) is a whole picture in the video; its
    last sample is held meanwhile, so that sound and picture stay together however long the episode is.

    Args:
        container: the file; nothing has been written to it yet.
        frame_rate: emulator frames a second.

    Attributes:
        frames: emulator frames written so far.
    """

    def __init__(self, container: OutputContainer, *, frame_rate: Fraction) -> None:
        self._container = container
        self._frame_rate = frame_rate
        self._stream = container.add_stream("aac", rate=SOUND_RATE, layout="stereo")
        self._stream.bit_rate = _BIT_RATE
        self._last = np.zeros((1, 2), np.int8)
        self._written = 0  # samples
        self.frames = 0

    def add_frame(self, samples: npt.NDArray[np.int8]) -> None:
        """Adds a frame of the console.

        Args:
            samples: int8 [n, 2], as `Emulator` gives them to its listener; none holds the last one for a frame.
        """
        self.frames += 1
        due = round(self.frames * SOUND_RATE / self._frame_rate) - self._written
        if abs(len(samples) - due) > _TOLERANCE:
            last = samples[-1:] if len(samples) else self._last
            samples = np.concatenate([samples, last.repeat(max(0, due - len(samples)), axis=0)])[:due]
        self._last = samples[-1:]
        planes = np.ascontiguousarray(samples.T, np.float32) / 128
        frame = av.AudioFrame.from_ndarray(planes, format="fltp", layout="stereo")
        frame.sample_rate, frame.pts, frame.time_base = SOUND_RATE, self._written, Fraction(1, SOUND_RATE)
        self._written += len(samples)
        self._container.mux(self._stream.encode(frame))

    def finish(self) -> None:
        """Writes what the encoder still holds."""
        self._container.mux(self._stream.encode(None))
