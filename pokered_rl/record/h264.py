"""Repeating a picture in an H.264 stream without encoding it again.

A Game Boy screen stands still in most frames, but an encoder takes as long to find that out as to encode a new
picture. In the stream such a repetition is a P picture of which every macroblock is skipped: a dozen bytes, the same
each time but for ``frame_num``, the number of the picture modulo a power of two. `PictureRepeater` writes these bytes
itself, and renumbers the pictures that the encoder makes afterwards.

This holds for streams whose pictures refer to the one before only (x264: ``ref=1``, no B pictures, no weighted
prediction): in between lies nothing but copies of it.

ITU-T H.264: 7.3.1 (NAL units, emulation prevention), 7.3.2.1.1 and 7.3.2.2 (parameter sets), 7.3.3 (slice header),
7.3.4 (skip run), 7.4.3 (``frame_num``: one more than in the preceding reference picture, 0 in an IDR picture).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

__all__ = ["PictureRepeater", "StreamParameters"]

_SLICE, _IDR, _SEQUENCE_PARAMETERS, _PICTURE_PARAMETERS = 1, 5, 7, 8  # nal_unit_type
_REFERENCE_SLICE = 0x41  # nal_ref_idc 2, nal_unit_type 1
_START = re.compile(b"\0\0\0?\1")
_MUST_ESCAPE = re.compile(b"\0\0(?=[\0-\3])")
_HIGH_PROFILES = (100, 110, 122, 244)
_START_CODE = b"\0\0\0\1"


class _Bits:
    """Reads the bits of a NAL unit from behind its first byte."""

    def __init__(self, unit: bytes) -> None:
        payload = _unescape(unit)[1:65]
        self._value = int.from_bytes(payload, "big")
        self._left = 8 * len(payload)
        self.position = 0

    def read(self, count: int) -> int:
        self.position += count
        self._left -= count
        if self._left < 0:
            raise ValueError("the parameter set ends too early")
        return self._value >> self._left & (1 << count) - 1

    def read_ue(self) -> int:
        """Exp-Golomb code (9.1); a signed one has the same length."""
        zeros = 0
        while not self.read(1):
            zeros += 1
        return (1 << zeros) - 1 + self.read(zeros)


@dataclass(frozen=True, kw_only=True)
class StreamParameters:
    """What has to be known of a stream to repeat pictures in it.

    Attributes:
        frame_num_bits: width of ``frame_num``.
        default_references: reference pictures of a P slice that does not say otherwise.
        deblocking_control: whether a slice header says how to deblock.
    """

    frame_num_bits: int
    default_references: int
    deblocking_control: bool

    @classmethod
    def parse(cls, extradata: bytes) -> StreamParameters | None:
        """Reads the parameter sets of an encoder, an Annex B stream; None if pictures must not be repeated in it."""
        units = {unit[0] & 31: unit for unit in _nal_units(extradata)}
        if _SEQUENCE_PARAMETERS not in units or _PICTURE_PARAMETERS not in units:
            return None
        width = _frame_num_bits(_Bits(units[_SEQUENCE_PARAMETERS]))
        bits = _Bits(units[_PICTURE_PARAMETERS])
        bits.read_ue(), bits.read_ue()  # the numbers of both sets
        is_cabac, _, slice_groups = bits.read(1), bits.read(1), bits.read_ue()
        references = bits.read_ue() + 1
        bits.read_ue()
        weighted, _ = bits.read(1), bits.read(2)
        for _ in range(3):  # quantizers
            bits.read_ue()
        deblocking = bits.read(1)
        if width is None or is_cabac or slice_groups or weighted:
            return None
        return cls(frame_num_bits=width, default_references=references, deblocking_control=bool(deblocking))


def _frame_num_bits(bits: _Bits) -> int | None:
    profile = bits.read(8)
    bits.read(16)  # constraint flags, level
    bits.read_ue()  # seq_parameter_set_id
    # 4:2:0, 8 bit luma, 8 bit chroma, no transform bypass, no scaling matrices: what x264 writes for such pictures.
    expected = [1, 0, 0, 0, 0]
    if profile in _HIGH_PROFILES and expected != [*(bits.read_ue() for _ in range(3)), bits.read(1), bits.read(1)]:
        return None
    width = bits.read_ue() + 4
    # Picture order type 2: the output order is the decoding order and no further number counts the pictures.
    return width if bits.read_ue() == 2 else None


class PictureRepeater:
    """Numbers the pictures of a stream anew, and makes repetitions.

    Every picture of the stream must be one slice, in output order, and pass through `number`.

    Args:
        parameters: of the stream.
        macroblocks: in a picture.
    """

    def __init__(self, parameters: StreamParameters, *, macroblocks: int) -> None:
        self._width = parameters.frame_num_bits
        self._frame_num = -1
        self._head = "1" + _ue(5) + "1"  # first macroblock 0, P slice, parameter set 0
        self._tail = "".join(
            (
                "0" if parameters.default_references == 1 else "1" + _ue(0),  # one reference picture
                "0",  # in the usual order
                "0",  # which becomes one as usual
                _ue(0),  # quantizer unchanged
                _ue(1) if parameters.deblocking_control else "",  # no deblocking
                _ue(macroblocks),  # all skipped
                "1",  # end
            )
        )

    def number(self, packet: bytes) -> bytes:
        """Returns a picture of the encoder (Annex B) with its number in this stream."""
        units = []
        for unit in _nal_units(packet):
            kind = unit[0] & 31
            if kind == _IDR:
                self._frame_num = 0
            elif kind == _SLICE:
                self._advance()
                unit = _with_frame_num(unit, self._frame_num, self._width)
            units.append(_START_CODE + unit)
        return b"".join(units)

    def repeat(self) -> bytes:
        """Returns the picture before once more."""
        self._advance()
        bits = f"{self._head}{self._frame_num:0{self._width}b}{self._tail}"
        bits += "0" * (-len(bits) % 8)
        unit = bytes([_REFERENCE_SLICE]) + int(bits, 2).to_bytes(len(bits) // 8, "big")
        return _START_CODE + _MUST_ESCAPE.sub(b"\0\0\3", unit)

    def _advance(self) -> None:
        self._frame_num = (self._frame_num + 1) % (1 << self._width)


def _ue(value: int) -> str:
    """Exp-Golomb code (9.1)."""
    code = f"{value + 1:b}"
    return "0" * (len(code) - 1) + code


def _nal_units(stream: bytes) -> list[bytes]:
    """The NAL units of an Annex B stream, without start codes."""
    return [unit for unit in _START.split(stream) if unit]


def _unescape(unit: bytes) -> bytes:
    return unit.replace(b"\0\0\3", b"\0\0")


def _with_frame_num(unit: bytes, frame_num: int, width: int) -> bytes:
    """A slice with another ``frame_num``."""
    bits = _Bits(unit)
    for _ in range(3):  # first_mb_in_slice, slice_type, pic_parameter_set_id
        bits.read_ue()
    shift = 24 - bits.position - width  # within the three bytes behind the first one
    raw = _unescape(unit)
    window = int.from_bytes(raw[1:4], "big")
    window = window & ~((1 << width) - 1 << shift) | frame_num << shift
    return _MUST_ESCAPE.sub(b"\0\0\3", raw[:1] + window.to_bytes(3, "big") + raw[4:])
