"""A canvas of four shades that becomes Game Boy tiles."""

from __future__ import annotations

from collections.abc import Callable, Iterable

WHITE, LIGHT, DARK, BLACK = range(4)
CLEAR = 0  #: sprites: colour 0 is transparent


class Canvas:
    """Pixels of one drawing; every shape is clipped to the board."""

    def __init__(self, width: int, height: int, fill: int = WHITE) -> None:
        self.width, self.height = width, height
        self.rows = [[fill] * width for _ in range(height)]

    def dot(self, x: int, y: int, shade: int) -> None:
        if 0 <= x < self.width and 0 <= y < self.height:
            self.rows[y][x] = shade

    def where(self, inside: Callable[[float, float], bool], shade: int) -> Canvas:
        for y in range(self.height):
            for x in range(self.width):
                if inside(x + 0.5, y + 0.5):
                    self.rows[y][x] = shade
        return self

    def rect(self, x: int, y: int, w: int, h: int, shade: int, edge: int | None = None) -> Canvas:
        for j in range(y, y + h):
            for i in range(x, x + w):
                border = edge is not None and (i in (x, x + w - 1) or j in (y, y + h - 1))
                self.dot(i, j, edge if border and edge is not None else shade)
        return self

    def disc(self, cx: float, cy: float, rx: float, ry: float, shade: int, edge: int | None = None) -> Canvas:
        if edge is not None:
            self.where(lambda x, y: ((x - cx) / (rx + 1)) ** 2 + ((y - cy) / (ry + 1)) ** 2 <= 1, edge)
        return self.where(lambda x, y: ((x - cx) / rx) ** 2 + ((y - cy) / ry) ** 2 <= 1, shade)

    def poly(self, points: list[tuple[int, int]], shade: int, edge: int) -> Canvas:
        def inside(x: float, y: float) -> bool:
            odd = False
            for (x0, y0), (x1, y1) in zip(points, points[1:] + points[:1], strict=True):
                if (y0 > y) != (y1 > y) and x < (x1 - x0) * (y - y0) / (y1 - y0) + x0:
                    odd = not odd
            return odd

        self.where(inside, shade)
        for (x0, y0), (x1, y1) in zip(points, points[1:] + points[:1], strict=True):
            self.line(x0, y0, x1, y1, edge)
        return self

    def line(self, x0: int, y0: int, x1: int, y1: int, shade: int) -> Canvas:
        steps = max(abs(x1 - x0), abs(y1 - y0), 1)
        for i in range(steps + 1):
            self.dot(x0 + round(i * (x1 - x0) / steps), y0 + round(i * (y1 - y0) / steps), shade)
        return self

    def dots(self, points: Iterable[tuple[int, int]], shade: int) -> Canvas:
        for x, y in points:
            self.dot(x, y, shade)
        return self

    def art(self, x: int, y: int, rows: str, key: str = ".,o#") -> Canvas:
        """Draw lines of characters; a blank leaves the pixel as it is."""
        for j, row in enumerate(rows.strip("\n").split("\n")):
            for i, char in enumerate(row):
                if char in key:
                    self.dot(x + i, y + j, key.index(char))
        return self

    def flipped(self) -> Canvas:
        other = Canvas(self.width, self.height)
        other.rows = [row[::-1] for row in self.rows]
        return other

    def tiles(self) -> list[bytes]:
        """Return 8x8 tiles, left to right and top to bottom, two bit planes a line."""
        out = []
        for y in range(0, self.height, 8):
            for x in range(0, self.width, 8):
                tile = bytearray()
                for row in self.rows[y : y + 8]:
                    low = high = 0
                    for shade in row[x : x + 8]:
                        low = low << 1 | shade & 1
                        high = high << 1 | shade >> 1
                    tile += bytes((low, high))
                out.append(bytes(tile))
        return out
