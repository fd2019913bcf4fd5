"""Assemble the cartridge image: linked code, data banks, header.

The linker says nothing when two areas overlap. Here every byte of the image may be written once only.
"""

from __future__ import annotations

import sys
from pathlib import Path

BANK = 0x4000
BANKS = 8


def hex_records(text: str) -> list[tuple[int, bytes]]:
    """Parse Intel HEX into (address, bytes)."""
    base, out = 0, []
    for line in text.split():
        count, address, kind = int(line[1:3], 16), int(line[3:7], 16), int(line[7:9], 16)
        data = bytes.fromhex(line[9 : 9 + 2 * count])
        if kind == 0:
            out.append((base + address, data))
        elif kind == 4:
            base = int.from_bytes(data, "big") << 16
    return out


class Image:
    def __init__(self) -> None:
        self.data = bytearray([0xFF] * (BANK * BANKS))
        self.written = bytearray(BANK * BANKS)

    def put(self, offset: int, data: bytes, what: str) -> None:
        if offset + len(data) > len(self.data):
            raise SystemExit(f"image.py: {what} runs past the end of the cartridge")
        for i, byte in enumerate(data, offset):
            if self.written[i]:
                raise SystemExit(f"image.py: {what} overwrites 0x{i:05X}")
            self.written[i] = 1
            self.data[i] = byte

    def room(self, start: int, end: int) -> int:
        return sum(1 for i in range(start, end) if not self.written[i])


def header(data: bytearray) -> None:
    """Write title, MBC3+RAM+BATTERY, 32 KiB of RAM and both checksums. PyBoy needs no logo."""
    data[0x134:0x144] = b"SPROUT".ljust(16, b"\0")
    data[0x144:0x146] = b"00"
    data[0x147], data[0x149], data[0x14A], data[0x14B] = 0x13, 0x03, 0x01, 0x33
    data[0x148] = (BANKS // 2).bit_length() - 1
    total = 0
    for byte in data[0x134:0x14D]:
        total = (total - byte - 1) & 0xFF
    data[0x14D] = total
    data[0x14E:0x150] = b"\0\0"
    data[0x14E:0x150] = (sum(data) & 0xFFFF).to_bytes(2, "big")


def data_segment_end(map_text: str) -> int:
    """Return the end of the compiler's RAM, from the linker's map."""
    for line in map_text.split("\n"):
        words = line.split()
        if words[:1] == ["_DATA"] and len(words) > 2:
            return int(words[1], 16) + int(words[2], 16)
    raise SystemExit("image.py: no _DATA line in the linker's map")


def main() -> None:
    build, target = Path(sys.argv[1]), Path(sys.argv[2])
    image = Image()
    for address, data in hex_records((build / "game.ihx").read_text()):
        image.put(
            address, data, f"code at 0x{address:05X}"
        )  # the linker writes places in the file, not bank and address
    for bank in (2, 3, 4):
        image.put(bank * BANK, (build / f"bank{bank}.bin").read_bytes(), f"data bank {bank}")
    end = data_segment_end((build / "game.map").read_text())
    if end > 0xC0F0:
        raise SystemExit(f"image.py: variables end at 0x{end:04X}, must stay below 0xC0F0")
    image.put(0x104, bytes(0x4C), "header")
    header(image.data)
    target.write_bytes(image.data)
    free = [image.room(bank * BANK, bank * BANK + BANK) for bank in range(BANKS)]
    print(f"{target.name}: {len(image.data)} bytes, free in each bank {free}, variables end at 0x{end:04X}")


if __name__ == "__main__":
    main()
