"""Pictures of maps, composed of the screens that were shown while somebody stood there.

They need no graphics of the game and show only what was seen.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from pokered_rl.game import GameMaps
from pokered_rl.observations import unpack_shades

__all__ = ["Cell", "MapPictures"]

#: The player's place on screen, and the size of the screen, in map steps.
_PLAYER_COLUMN, _PLAYER_LINE = 4, 4
_COLUMNS, _LINES = 10, 9

#: Map id, x, y.
Cell = tuple[int, int, int]


@dataclass(kw_only=True)
class MapPictures:
    """Pictures of maps, composed of screens that were shown."""

    #: The maps of the cartridge.
    maps: GameMaps
    #: Pixels of a map step on the screens: 16, or 8 at half size.
    cell_pixels: int = 16
    _sizes: dict[int, tuple[int, int]] = field(default_factory=dict, repr=False)
    _looks: dict[Cell, Counter[bytes]] = field(default_factory=lambda: defaultdict(Counter), repr=False)

    def look(self, place: Cell, screen: npt.NDArray[np.uint8]) -> None:
        """Add a packed screen, uint8 [9 * cell, 10 * cell / 4], that was shown while the player stood at ``place``."""
        map_id, x, y = place
        width, height = self.size(map_id)
        cell = self.cell_pixels
        tiles = screen.reshape(_LINES, cell, _COLUMNS, cell // 4).swapaxes(1, 2)  # [9, 10, cell, cell / 4]
        for line, column in np.ndindex(_LINES, _COLUMNS):
            cell_x, cell_y = x + column - _PLAYER_COLUMN, y + line - _PLAYER_LINE
            hidden = column == _PLAYER_COLUMN and line in (_PLAYER_LINE, _PLAYER_LINE - 1)  # by the player
            if not hidden and 0 <= cell_x < width and 0 <= cell_y < height:
                self._looks[map_id, cell_x, cell_y][tiles[line, column].tobytes()] += 1

    def enlarge(self, sizes: Mapping[int, tuple[int, int]]) -> None:
        """Note sizes of maps as in the RAM, for maps that the tables do not have."""
        for map_id, (width, height) in sizes.items():
            old_width, old_height = self._sizes.get(map_id, (0, 0))
            self._sizes[map_id] = max(width, old_width), max(height, old_height)

    def add_looks(self, other: MapPictures) -> None:
        """Add the pictures of another object for the same cartridge."""
        self.enlarge(other._sizes)
        for cell, looks in other._looks.items():
            self._looks[cell].update(looks)

    def size(self, map_id: int) -> tuple[int, int]:
        """Return width and height of a map in map steps: from the tables, else from the RAM, else (0, 0)."""
        if map_id in self.maps and self.maps[map_id].width_steps:
            return self.maps[map_id].width_steps, self.maps[map_id].height_steps
        return self._sizes.get(map_id, (0, 0))

    def background(self, map_id: int) -> npt.NDArray[np.int8]:
        """Return the picture of a map, int8 [cell * height, cell * width]: shades 0 (black) to 3, -1 where not seen.

        Each step of the map shows what was seen there most often.
        """
        (width, height), pixels = self.size(map_id), self.cell_pixels
        picture = np.full((height, pixels, width, pixels), -1, np.int8)
        for (cell_map, x, y), looks in self._looks.items():
            if cell_map == map_id and x < width and y < height:
                packed = np.frombuffer(looks.most_common(1)[0][0], np.uint8).reshape(pixels, pixels // 4)
                picture[y, :, x] = unpack_shades(packed)
        return picture.reshape(height * pixels, width * pixels)
