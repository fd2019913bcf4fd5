"""The one map of the live page: where each map of the game lies on it, and its picture."""

from __future__ import annotations

import struct
import threading
import zlib
from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from pokered_rl.game import GameMaps
from pokered_rl.record.pictures import Cell, MapPictures

__all__ = ["WorldPictures", "palette_png", "world_layout"]

_GREYS = ((70, 70, 70), (130, 130, 130), (190, 190, 190), (245, 245, 245), (225, 225, 225))


def world_layout(maps: GameMaps) -> list[dict[str, Any]]:
    """Return number, name, place and size, in map steps, of each map with a known size.

    Outdoor maps have a place, in the world; the page puts the others beside those of them that were seen.
    """
    layout = []
    for each in maps:
        if each.width_steps and each.height_steps:
            entry = {"id": each.id, "name": each.name.replace("_", " ").title()}
            entry |= {"w": each.width_steps, "h": each.height_steps}
            if each.outdoor and each.global_origin is not None:
                entry |= dict(zip("xy", each.global_origin, strict=True))
            layout.append(entry)
    return layout


class WorldPictures:
    """Pictures of the maps, from screens of full and of half size.

    Args:
        maps: The maps of the cartridge.
    """

    def __init__(self, maps: GameMaps) -> None:
        self._full, self._half = MapPictures(maps=maps), MapPictures(maps=maps, cell_pixels=8)
        self._seen: dict[Cell, int] = {}
        self._lock = threading.Lock()  # replays add screens in a thread of their own
        #: Map to a number that grows with each change of its picture.
        self.versions: dict[int, int] = {}

    def look(self, place: Cell, screen: npt.NDArray[np.uint8]) -> None:
        """Add a packed screen, uint8 [144, 40] or [72, 20], of somebody who stands at ``place``."""
        full = screen.shape == (144, 40)
        if not full and screen.shape != (72, 20):
            return
        key = (place[0], place[1] + 256 * full, place[2])
        with self._lock:
            if self._seen.get(key, 0) >= 3:  # three looks from each place tell moving people from the floor
                return
            self._seen[key] = self._seen.get(key, 0) + 1
            (self._full if full else self._half).look(place, screen)
            self.versions[place[0]] = self.versions.get(place[0], 0) + 1

    def enlarge(self, sizes: dict[int, tuple[int, int]]) -> None:
        """Note sizes of maps that the tables do not have."""
        self._full.enlarge(sizes)
        self._half.enlarge(sizes)

    def png(self, map_id: int) -> bytes | None:
        """Return the picture of a map, what was not seen transparent; None of a map without a known size."""
        with self._lock:
            full, half = self._full.background(map_id), self._half.background(map_id)
        if not full.size:
            return None
        shades = np.where(full >= 0, full, half.repeat(2, 0).repeat(2, 1))
        return palette_png(np.where(shades < 0, 4, shades).astype(np.uint8), _GREYS, transparent=4)


def palette_png(pixels: npt.NDArray[np.uint8], palette: Iterable[tuple[int, int, int]], *, transparent: int) -> bytes:
    """Return a PNG of ``pixels``, uint8 [height, width], indices into ``palette``."""
    height, width = pixels.shape
    rows = np.concatenate([np.zeros((height, 1), np.uint8), pixels], 1)  # each line begins with its filter, none
    colours = bytes(value for colour in palette for value in colour)
    chunks = (
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)),
        (b"PLTE", colours),
        (b"tRNS", bytes([255] * transparent + [0])),
        (b"IDAT", zlib.compress(rows.tobytes(), 4)),
        (b"IEND", b""),
    )
    parts = (
        struct.pack(">I", len(data)) + tag + data + struct.pack(">I", zlib.crc32(tag + data)) for tag, data in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)
