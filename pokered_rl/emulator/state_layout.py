"""Layout of PyBoy's save states (DMG states; from PyBoy's ``save_state`` methods)."""

import math
import struct

__all__ = ["as_version_12", "halted_at", "is_colour", "with_running_sound", "with_stat_transition"]

_VIDEO_RAM = 8192
_OAM = 160
_SCANLINES = 144 * 5
_PICTURE = 144 * 160 * 5
_WORK_RAM = 8192 + 0x60 + 0x4C + 0x7F  # with the unused range below the I/O ports, the ports, and high RAM
_UNUSED_PORTS = 0x34
_CLOCK_RATE = 4_194_304
_SEQUENCER_CYCLES = 8192  # between two steps of the sound's frame sequencer


def _cpu_start(version: int) -> int:
    """Return the offset of the CPU registers, after version, boot ROM flag, [CGB key,] speed key, speed, CGB flag."""
    if version < 8:
        return 2
    return 5 if version < 16 else 6


def _cpu_size(version: int) -> int:
    size = 6 + 6 + 1 + 2 + 1  # A F B C D E; HL SP PC; interrupts enabled; halted, stopped; IE
    size += 2 if version >= 8 else 0  # interrupt queued, IF
    size += 8 if version >= 12 else 0  # cycles
    return size + (1 if version >= 19 else 0)  # interrupt enable delay


def is_colour(raw: bytes) -> bool:
    """Whether a PyBoy state was saved in Game Boy Color mode; states before version 8 do not know that mode."""
    flag = _cpu_start(raw[0]) - 1
    return raw[0] >= 8 and len(raw) > flag and bool(raw[flag])


def halted_at(raw: bytes) -> int | None:
    """Return the address of the HALT at which the CPU of a state waits; None when it runs or before version 5."""
    version = raw[0]
    start = _cpu_start(version)
    if version < 5 or len(raw) < start + _cpu_size(version):
        return None
    (counter,) = struct.unpack_from("<H", raw, start + 10)
    halted = raw[start + 13 + (1 if version >= 19 else 0)]
    return int(counter) if halted else None


def with_stat_transition(raw: bytes) -> bytes:
    """Insert the byte that PyBoy 2.8 reads and versions 8-12 did not write.

    PyBoy 2.8's LCD reads ``stat_transition`` (introduced about version 22) whatever the version says, so that all that
    follows is read one byte early and the state ends with "No data". A zero ("no transition") is inserted at its place.

    Args:
        raw: A PyBoy state of version 8-12.

    Raises:
        ValueError: Another version, or too short.
    """
    version = raw[0]
    if not 8 <= version <= 12:
        raise ValueError(f"version must be 8-12, got {version}")
    place = _cpu_start(version) + _cpu_size(version) + _VIDEO_RAM + _OAM
    place += 4 + 3 + 4  # LCDC BGP OBP0 OBP1; STAT LY LYC; SCY SCX WY WX
    place += _SCANLINES if version >= 11 else 0  # before that they are part of the renderer, further on
    place += 1 + 1  # CGB flag, speed
    place += 8 if version >= 12 else 0  # last cycles
    place += 8 + 8 + 1  # clock, its target, next STAT mode
    if len(raw) <= place:
        raise ValueError(f"a state of version {version} has more than {place} bytes, got {len(raw)}")
    return raw[:place] + b"\0" + raw[place:]


def as_version_12(raw: bytes, *, battery_bytes: int) -> bytes:
    """Convert a state of version 13-17 to version 12, without the parts that version 12 lacks.

    PyBoy 2.8 reads these versions wrongly in two places, ``stat_transition`` and the sound channels. Version 12 has no
    sound part, and none is needed to play without sound; the frame flags of the LCD, the timer's next event and the
    serial port, which version 12 does not have either, are those of a console that has just been switched on, and
    settle within a frame. All parts but the sound have known sizes; the sound's is the rest.

    Args:
        raw: A PyBoy state of version 13-17 (PyBoy 2.5.0 to 2.7.1).
        battery_bytes: Size of the cartridge's battery memory.

    Raises:
        ValueError: Another version, or the sizes do not add up.
    """
    version = raw[0]
    if not 13 <= version <= 17:
        raise ValueError(f"version must be 13-17, got {version}")
    start = _cpu_start(version)
    place = start + _cpu_size(version)
    head = bytes([12]) + raw[1:2] + raw[start - 3 : place]  # boot ROM flag; speed key, speed, CGB flag; CPU

    lcd = place
    place += _VIDEO_RAM + _OAM + 4 + 3 + 4
    head += raw[lcd:place]
    place += 1 if version >= 16 else 0  # object priority
    head += raw[place : place + _SCANLINES + 1]  # and the CGB flag
    place += _SCANLINES + 1
    place += 1 if version >= 17 else 0  # downgraded to DMG
    head += raw[place : place + 1]  # speed
    place += 1 + 3  # frame done, first frame, reset
    head += raw[place : place + 8 + 8 + 8 + 1]  # last cycles, clock, its target, next STAT mode
    sound = place + 8 + 8 + 8 + 1

    timer = 1 + 1 + 2 + 2 + 1 + 1 + 8  # without the 8 bytes of the next event
    cartridge = 4 + battery_bytes
    ports = _UNUSED_PORTS if version < 16 else 1
    serial = 4 + 4 * 8 if version >= 15 else 0
    picture = len(raw) - (_PICTURE + _WORK_RAM + ports + timer + 8 + cartridge + 2 + serial)
    if not 0 <= picture - sound <= 8192:
        raise ValueError(f"{len(raw)} bytes cannot be a state of version {version} of this cartridge")
    place = picture + _PICTURE + _WORK_RAM
    tail = raw[picture:place] + bytes(_UNUSED_PORTS)
    place += ports
    tail += raw[place : place + timer]
    place += timer + 8
    return head + tail + raw[place : place + cartridge + 2]  # with the two bytes of held buttons


def with_running_sound(raw: bytes, *, sample_rate: int) -> bytes:
    """Start the sound clocks of a state of version 29.

    A PyBoy without sound emulation stops them: in its states the next sample and the next step of the frame sequencer
    are due at the end of time. A PyBoy with sound emulation keeps that and never produces a sample.

    Args:
        raw: A PyBoy state of version 29 (PyBoy 2.8).
        sample_rate: Samples a second.

    Raises:
        ValueError: Another version, or its sound part has another sample rate.
    """
    version = raw[0]
    if version != 29:
        raise ValueError(f"sound can be switched on in states of version 29, not {version}")
    place = _cpu_start(version) + _cpu_size(version) + 4 + 8  # with the OAM DMA
    place += _VIDEO_RAM + _OAM + 4 + 3 + 4 + 1 + _SCANLINES  # 1: object priority
    place += 1 + 1 + 1 + 3 + 8 + 8 + 8 + 1 + 1  # CGB flag .. stat_transition
    if len(raw) < place + 24:
        raise ValueError(f"a state of version 29 has more than {place + 24} bytes, got {len(raw)}")
    _, samples_per_frame, cycles_per_sample = struct.unpack_from("<QQd", raw, place)
    if cycles_per_sample != _CLOCK_RATE / sample_rate:
        raise ValueError(f"its sound is not sampled at {sample_rate} Hz")
    place += 24 + (samples_per_frame + 1) * 2 + 1  # the samples, left and right; speed
    *_, cycles = struct.unpack_from("<ddQQ", raw, place)
    sample = cycles + cycles_per_sample
    running = struct.pack("<ddQ", sample, float(cycles + _SEQUENCER_CYCLES), math.ceil(sample))
    return raw[:place] + running + raw[place + len(running) :]
