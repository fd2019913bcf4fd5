"""Where things lie inside PyBoy's save states (DMG states; read off PyBoy's ``save_state`` methods)."""

import struct

__all__ = ["halted_at", "with_stat_transition"]

_VIDEO_RAM = 8192
_OAM = 160
_SCANLINES = 144 * 5


def _cpu_start(version: int) -> int:
    """Offset of the CPU registers: after version, boot ROM flag, [CGB key,] double speed key, speed and CGB flag."""
    if version < 8:
        return 2
    return 5 if version < 16 else 6


def _cpu_size(version: int) -> int:
    size = 6 + 6 + 1 + 2 + 1  # A F B C D E; HL SP PC; interrupts enabled; halted, stopped; IE
    size += 2 if version >= 8 else 0  # interrupt queued, IF
    size += 8 if version >= 12 else 0  # cycles
    return size + (1 if version >= 19 else 0)  # interrupt enable delay


def halted_at(raw: bytes) -> int | None:
    """Address of the HALT instruction in which the CPU sleeps, None when it is running or that cannot be told.

    Args:
        raw: A PyBoy state of version 5 or later.
    """
    version = raw[0]
    start = _cpu_start(version)
    if version < 5 or len(raw) < start + _cpu_size(version):
        return None
    (counter,) = struct.unpack_from("<H", raw, start + 10)
    halted = raw[start + 13 + (1 if version >= 19 else 0)]
    return int(counter) if halted else None


def with_stat_transition(raw: bytes) -> bytes:
    """A state of version 8-12 with the byte that PyBoy 2.8 reads and those versions did not write.

    PyBoy 2.8's LCD reads ``stat_transition`` (introduced about version 22) whatever the version says, so that all that
    follows is read one byte early and the state ends with "No data". A zero ("no transition") at its place mends it.

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
