"""Write the sound track of a video: the console's samples, synchronous with the pictures."""

from __future__ import annotations

from fractions import Fraction

import av
import numpy as np
import numpy.typing as npt
from av.container import OutputContainer

from pokered_rl.emulator import SOUND_RATE

__all__: list[str] = []

_BIT_RATE = 128_000
#: Samples by which a frame may be longer or shorter than its share: it begins between two samples and two instructions.
_TOLERANCE = 2


class SoundTrack:
    """An AAC stream that is given one emulator frame after the other.

    A frame that the console cut short (the game switched the screen off or on) lasts a whole frame in the video; its
    last sample is held for the rest, so that sound and pictures stay synchronous.

    Args:
        container: The file; nothing has been written to it yet.
        frame_rate: Emulator frames a second.
    """

    #: Emulator frames written so far.
    frames: int

    def __init__(self, container: OutputContainer, *, frame_rate: Fraction) -> None:
        self._container = container
        self._frame_rate = frame_rate
        self._stream = container.add_stream("aac", rate=SOUND_RATE, layout="stereo")
        self._stream.bit_rate = _BIT_RATE
        self._last = np.zeros((1, 2), np.int8)
        self._written = 0  # samples
        self.frames = 0

    def add_frame(self, samples: npt.NDArray[np.int8]) -> None:
        """Add a frame of the console.

        Args:
            samples: int8 [n, 2], as :class:`~pokered_rl.emulator.Emulator` passes them to its listener; without any,
                the last sample is held for a frame.
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
        """Write what the encoder still holds."""
        self._container.mux(self._stream.encode(None))
