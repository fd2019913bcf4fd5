"""The pictures of the concept pages, drawn by functions into ``docs/pictures``.

``python -m docs._ext.figures --write`` renews the files.
"""

import functools
import html
from collections.abc import Callable
from pathlib import Path

from matplotlib.font_manager import FontProperties, findfont
from PIL import ImageFont

PICTURES = Path(__file__).parents[1] / "pictures"

#: Colours of the theme that follow the reader's choice of light or dark; the second is for other builders.
INK, FAINT, BLUE, ORANGE, SURFACE = (
    "var(--pst-color-text-base, #323232)",
    "var(--pst-color-text-muted, #6c757d)",
    "var(--pst-color-primary, #0a7d91)",
    "var(--pst-color-warning, #b45309)",
    "var(--pst-color-surface, #f3f4f5)",
)
DARK = ("#ced6dd", "#9ca4af", "#3fb1c5", "#e89217", "#29313d")


@functools.cache
def _font(bold: bool) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(findfont(FontProperties(family="DejaVu Sans", weight="bold" if bold else "normal")), 100)


def text_width(text: str, size: float, bold: bool) -> float:
    """Return the width in DejaVu Sans, which is wider than the fonts that browsers take for ``sans-serif``."""
    return _font(bold).getlength(text) * size / 100


class Drawing:
    """Boxes, arrows, cells and words on a canvas of ``width`` x ``height`` units."""

    def __init__(self, width: int, height: int) -> None:
        self.width, self.height = width, height
        self.parts: list[str] = []
        #: (text, left, right, top, bottom, limits), limits being the box or the canvas, left, right, top, bottom.
        self.placed: list[tuple[str, float, float, float, float, tuple[float, float, float, float]]] = []

    def words(self, x, y, text, *, colour=INK, size=13, anchor="middle", bold=False, box=None):
        """Lines of text, the first one's baseline at y; in a box (left, right, top, bottom) if there is one."""
        weight = ' font-weight="600"' if bold else ""
        for line in text.split("\n"):
            wide = text_width(line, size, bold)
            left = x - wide * {"start": 0, "middle": 0.5, "end": 1}[anchor]
            limits = box or (0, self.width, 0, self.height)
            self.placed.append((line, left, left + wide, y - 0.75 * size, y + 0.2 * size, limits))
            self.parts.append(
                f'<text x="{x}" y="{y}" font-size="{size}" text-anchor="{anchor}" style="fill:{colour}"{weight}>'
                f"{html.escape(line)}</text>"
            )
            y += size * 1.3

    def rect(self, x, y, width, height, *, fill=SURFACE, stroke=FAINT, opacity=1.0, dash="", radius=4, line=1.2):
        """A rectangle."""
        self.parts.append(
            f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="{radius}" '
            f'style="fill:{fill};fill-opacity:{opacity};stroke:{stroke};stroke-width:{line};stroke-dasharray:{dash}"/>'
        )

    def box(self, x, y, width, height, title, text="", *, colour=FAINT):
        """A rectangle with a bold title and smaller lines below it."""
        self.rect(x, y, width, height, stroke=colour)
        lines = text.count("\n") + 1 if text else 0
        top = y + (height - 15 * bool(title) - 15 * lines) / 2 + 12
        limits = (x + 3, x + width - 3, y + 1, y + height - 1)
        self.words(x + width / 2, top, title, bold=True, box=limits)
        if text:
            self.words(x + width / 2, top + 16, text, colour=FAINT, size=11.5, box=limits)

    def arrow(self, *points, colour=INK, text="", dash="", shift=(0, -6)):
        """A line through points with a head at the last one; the text stands at the middle of the first piece."""
        (x0, y0), (x1, y1) = points[-2:]
        length = max(1e-9, ((x1 - x0) ** 2 + (y1 - y0) ** 2) ** 0.5)
        ux, uy = (x1 - x0) / length, (y1 - y0) / length
        head = [(x1, y1), (x1 - 8 * ux - 4 * uy, y1 - 8 * uy + 4 * ux), (x1 - 8 * ux + 4 * uy, y1 - 8 * uy - 4 * ux)]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in (*points[:-1], (x1 - 6 * ux, y1 - 6 * uy)))
        self.parts.append(
            f'<polyline points="{path}" style="fill:none;stroke:{colour};stroke-width:1.5;stroke-dasharray:{dash}"/>'
            f'<polygon points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in head)}" style="fill:{colour}"/>'
        )
        if text:
            (xa, ya), (xb, yb) = points[:2]
            self.words((xa + xb) / 2 + shift[0], (ya + yb) / 2 + shift[1], text, colour=FAINT, size=11.5)

    def overflows(self) -> list[str]:
        """Texts that leave their box or the canvas in a wide font."""
        return [
            text
            for text, left, right, top, bottom, limits in self.placed
            if left < limits[0] or right > limits[1] or top < limits[2] or bottom > limits[3]
        ]

    def svg(self, title: str) -> str:
        """The drawing as an SVG element."""
        return (
            f'<svg viewBox="0 0 {self.width} {self.height}" role="img" aria-label="{html.escape(title, quote=True)}" '
            f'style="width:100%;max-width:{self.width}px;height:auto;font-family:inherit">'
            f"<title>{html.escape(title)}</title>{''.join(self.parts)}</svg>"
        )

    def file(self, title: str) -> str:
        """The drawing as a file: with a font, a background, and the colours that the reader's system prefers."""
        names = ("--pst-color-text-base", "--pst-color-text-muted", "--pst-color-primary", "--pst-color-warning",
                 "--pst-color-surface")  # fmt: skip
        dark = ";".join(f"{name}:{colour}" for name, colour in zip(names, DARK, strict=True))
        dark = f"@media (prefers-color-scheme:dark){{svg{{background:#14181e;{dark}}}}}"
        head = f'xmlns="http://www.w3.org/2000/svg" width="{self.width}" height="{self.height}" '
        text = self.svg(title).replace("<svg ", f"<svg {head}", 1).replace("family:inherit", "family:sans-serif")
        text = text.replace("<title>", f"<style>svg{{background:#fff}}{dark}</style><title>", 1)
        return text.replace("><", ">\n<") + "\n"


def data_flow() -> Drawing:
    """From the console to the optimizer and back."""
    d = Drawing(820, 345)
    d.rect(8, 30, 664, 200, fill="none", dash="5 4")
    d.words(20, 24, "in every worker process", colour=FAINT, size=12, anchor="start")
    d.box(24, 60, 110, 70, "E x PyBoy", "one thread pool")
    d.box(174, 60, 130, 70, "PokemonRedEnv", "pixels, ram [E, …]")
    d.box(344, 60, 120, 70, "transforms", "mask, map,\ncontext, reward,\nlog")
    d.box(174, 165, 130, 50, "R2D2Policy", "ε-greedy, masked")
    d.arrow((134, 95), (174, 95))
    d.arrow((304, 95), (344, 95))
    d.arrow((404, 130), (404, 190), (304, 190), text="")
    d.arrow((174, 190), (79, 190), (79, 130))
    d.words(122, 184, "action", colour=FAINT, size=11.5)
    d.box(530, 60, 130, 70, "SequenceBuilder", "cuts, pads, keeps\nLSTM states; packs")
    d.box(686, 60, 130, 70, "SequenceReplay", "on disk, one\npriority each", colour=BLUE)
    d.box(686, 240, 130, 60, "R2D2Loss", "burn-in, double Q,\nquantiles", colour=BLUE)
    d.box(530, 240, 130, 60, "optimizer", "and target\nnetwork", colour=BLUE)
    d.arrow((464, 95), (530, 95), text="[E, T]", shift=(0, -8))
    d.arrow((660, 95), (686, 95))
    d.arrow((724, 130), (724, 240), text="batch", shift=(-22, 4))
    d.arrow((756, 240), (756, 130), text="priorities", shift=(34, 4))
    d.arrow((686, 270), (660, 270))
    d.arrow((595, 300), (595, 328), (239, 328), (239, 215), colour=ORANGE, dash="5 3")
    d.words(417, 342, "weights, every few updates", colour=ORANGE, size=12)
    d.arrow((434, 130), (434, 262))
    d.box(374, 262, 120, 40, "episode logs", "")
    return d


def sequence_layout() -> Drawing:
    """Burn-in, unroll and successors of two neighbouring sequences of one episode."""
    d = Drawing(820, 300)
    left, unit = 70, 2.45
    step = lambda value: left + unit * value  # noqa: E731
    d.words(left, 20, "one episode, steps →", colour=FAINT, size=12, anchor="start")
    d.rect(left, 30, unit * 260, 16)
    for tick in (0, 80, 160, 240):
        d.words(step(tick), 62, str(tick), colour=FAINT, size=11)
    for row, start in enumerate((80, 160)):
        y = 80 + 72 * row
        parts = ((start - 40, 40, "burn-in 40", SURFACE, 1.0), (start, 80, "unroll 80: loss, priority", BLUE, 0.28))
        for first, length, text, fill, opacity in parts:
            d.rect(step(first), y, unit * length, 34, fill=fill, opacity=opacity, stroke=INK, radius=0)
            d.words(step(first) + unit * length / 2, y + 21, text, size=12)
        d.rect(step(start + 80), y, unit * 5, 34, fill=ORANGE, opacity=0.4, stroke=INK, radius=0)
        if row == 0:
            text = "n = 5 successors: rewards and bootstrap"
            d.words(step(start + 85) + 6, y + 21, text, colour=ORANGE, size=11.5, anchor="start")
        d.arrow((step(start - 40), y + 52), (step(start - 40), y + 36), colour=BLUE)
        d.words(step(start - 40) + 8, y + 52, "stored LSTM state", colour=BLUE, size=11.5, anchor="start")
        d.words(step(start) + unit * 40, y + 50, "⟵ gradient", colour=FAINT, size=11.5)
    y = 226
    d.rect(step(0) - 62, y, 62, 34, fill="none", dash="4 3", radius=0)
    d.words(step(0) - 31, y + 21, "padding", colour=FAINT, size=11)
    d.rect(step(0), y, unit * 80, 34, fill=BLUE, opacity=0.28, stroke=INK, radius=0)
    d.words(step(40), y + 21, "unroll from the zero state", size=12)
    d.rect(step(80), y, unit * 5, 34, fill=ORANGE, opacity=0.4, stroke=INK, radius=0)
    d.words(step(85) + 8, y + 21, "the first sequence of an episode: nothing to burn in", colour=FAINT, size=12,
            anchor="start")  # fmt: skip
    d.words(left, 288, "Every step is in exactly one unroll; burn-in and successors overlap with the neighbours.",
            colour=FAINT, size=12, anchor="start")  # fmt: skip
    return d


def action_mask() -> Drawing:
    """Which buttons three kinds of screens listen to."""
    d = Drawing(820, 250)
    buttons = ("noop", "A", "B", "START", "→", "←", "↑", "↓")
    screens = (
        ("walking", (1, 1, 1, 1, 1, 1, 1, 1)),
        ("START menu", (1, 1, 1, 1, 0, 0, 1, 1)),
        ("a text waits", (1, 1, 1, 0, 0, 0, 0, 0)),
    )
    for index, (name, allowed) in enumerate(screens):
        x = 20 + 272 * index
        d.rect(x, 34, 236, 120, stroke=INK)
        d.words(x + 118, 22, name, bold=True)
        if index == 0:
            for row in range(3):
                for column in range(6):
                    d.rect(x + 14 + 36 * column, 46 + 36 * row, 30, 28, fill=FAINT, opacity=0.15, stroke="none")
            d.parts.append(f'<circle cx="{x + 137}" cy="96" r="11" style="fill:{BLUE}"/>')
        elif index == 1:
            d.rect(x + 130, 42, 98, 104, fill="none", stroke=INK)
            for row, entry in enumerate(("CREATURES", "BAG", "SAVE", "EXIT")):
                d.words(x + 150, 64 + 24 * row, entry, size=12, anchor="start")
            d.words(x + 140, 64, "▸", size=12)
        else:
            d.rect(x + 8, 100, 220, 46, fill="none", stroke=INK)
            d.words(x + 18, 120, "The sea is calm today.", size=12, anchor="start")
            d.words(x + 216, 138, "▾", size=12)
        for number, (button, on) in enumerate(zip(buttons, allowed, strict=True)):
            bx, by = x + 59 * (number % 4), 168 + 36 * (number // 4)
            d.rect(bx, by, 55, 28, fill=BLUE if on else "none", opacity=0.28, stroke=BLUE if on else FAINT,
                   dash="" if on else "3 3")  # fmt: skip
            d.words(bx + 27, by + 19, button, size=12, colour=INK if on else FAINT)
    return d


def map_memory() -> Drawing:
    """A crop of 21 x 21 tiles around the player: visits, and what was found."""
    d = Drawing(820, 330)
    walk = [(10, 10), (10, 11), (10, 12), (9, 12), (8, 12), (7, 12), (7, 11), (7, 10), (7, 9), (8, 9), (9, 9), (10, 9)]
    walk += [(10, 12), (11, 12), (12, 12), (13, 12), (14, 12), (14, 11), (14, 10), (14, 9), (14, 8), (14, 7), (13, 7)]
    walk += [(10, 10), (10, 9), (10, 10), (10, 11), (10, 10), (7, 12), (6, 12), (5, 12), (4, 12), (4, 13), (4, 14)]
    visits: dict[tuple[int, int], int] = {}
    for tile in walk:
        visits[tile] = visits.get(tile, 0) + 1
    blocked = [(6, 9), (6, 10), (6, 11), (8, 8), (9, 8), (15, 9), (15, 8), (14, 6), (11, 11), (12, 11), (3, 12)]
    found = [(tile, 1) for tile in blocked] + [((13, 11), 2), ((12, 7), 3), ((4, 15), 3)]
    side = 13
    for plane, (title, x0) in enumerate((("plane 0: visits", 30), ("plane 1: what was found", 350))):
        d.words(x0 + side * 10.5, 18, title, bold=True)
        d.rect(x0, 28, side * 21, side * 21, stroke=FAINT, radius=0)
        cells = [(tile, 1 if n < 2 else 2 if n < 5 else 3) for tile, n in visits.items()] if plane == 0 else found
        for (x, y), level in cells:
            colour = BLUE if plane == 0 else (FAINT, ORANGE, BLUE)[level - 1]
            opacity = (0.3, 0.6, 0.95)[level - 1] if plane == 0 else (0.45, 0.9, 0.9)[level - 1]
            d.rect(x0 + side * x, 28 + side * y, side, side, fill=colour, opacity=opacity, stroke="none", radius=0)
        d.parts.append(
            f'<circle cx="{x0 + side * 10.5}" cy="{28 + side * 10.5}" r="4.5" '
            f'style="fill:none;stroke:{INK};stroke-width:2"/>'
        )
    keys = ((BLUE, 0.3, "visited once"), (BLUE, 0.6, "two to four times"), (BLUE, 0.95, "five and more"),
            (FAINT, 0.45, "blocked"), (ORANGE, 0.9, "text"), (BLUE, 0.9, "door"))  # fmt: skip
    for number, (colour, opacity, text) in enumerate(keys):
        y = 60 + 26 * number + (20 if number > 2 else 0)
        d.rect(652, y, side, side, fill=colour, opacity=opacity, stroke="none", radius=0)
        d.words(674, y + 11, text, size=12, anchor="start")
    d.parts.append(f'<circle cx="658" cy="250" r="4.5" style="fill:none;stroke:{INK};stroke-width:2"/>')
    d.words(674, 254, "the player", size=12, anchor="start")
    return d


def priorities() -> Drawing:
    """TD errors of the steps of a sequence, and what becomes its priority."""
    d = Drawing(820, 240)
    errors = [
        0.1,
        0.15,
        0.1,
        0.2,
        0.12,
        0.3,
        0.2,
        0.15,
        0.9,
        0.7,
        0.35,
        0.2,
        0.15,
        0.1,
        0.2,
        0.12,
        0.1,
        0.25,
        0.15,
        0.1,
    ]
    base, top, wide = 190, 150, 20
    for index, error in enumerate(errors):
        largest = error == max(errors)
        d.rect(40 + wide * index, base - top * error, wide - 5, top * error, fill=ORANGE if largest else BLUE,
               opacity=0.8 if largest else 0.4, stroke="none", radius=1)  # fmt: skip
    mean, largest = sum(errors) / len(errors), max(errors)
    right = 40 + wide * len(errors)
    for value, text, colour in ((largest, "maximum", ORANGE), (mean, "mean", BLUE)):
        y = base - top * value
        d.parts.append(
            f'<line x1="36" y1="{y}" x2="{right + 6}" y2="{y}" '
            f'style="stroke:{colour};stroke-width:1.4;stroke-dasharray:5 3"/>'
        )
        d.words(right + 10, y + 4, text, colour=colour, size=12, anchor="start")
    d.words(240, 212, "steps of the unroll", colour=FAINT, size=12)
    d.words(40, 24, "|δ|", size=13, anchor="start")
    priority = 0.9 * largest + 0.1 * mean
    d.arrow((515, 100), (560, 100))
    d.box(566, 60, 240, 80, "priority of the sequence", f"0.9 · maximum + 0.1 · mean = {priority:.2f}\n"
          "drawn in proportion to its power of 0.9", colour=ORANGE)  # fmt: skip
    d.words(566, 168, "One large error is enough to be drawn\nagain; the mean keeps long errors alive.",
            colour=FAINT, size=12, anchor="start")  # fmt: skip
    return d


def process_layout() -> Drawing:
    """Processes, threads and files of a run."""
    d = Drawing(820, 330)
    d.rect(300, 24, 250, 296, fill="none", stroke=BLUE)
    d.words(425, 16, "learner process", bold=True, size=13)
    for number, y in enumerate((40, 130, 220)):
        d.box(14, y, 190, 70, f"worker {number}" if number < 2 else "worker W-1",
              "E emulators, transforms,\na copy of the policy,\nopen episodes")  # fmt: skip
        d.box(316, y, 100, 70, "thread", "takes, stores,\ncounts")
        d.arrow((204, y + 26), (316, y + 26), text="sequences" if number == 0 else "")
        d.arrow((316, y + 52), (204, y + 52), colour=ORANGE, dash="5 3", text="weights" if number == 0 else "",
                shift=(0, 14))  # fmt: skip
    d.box(440, 40, 96, 110, "main thread", "draws, learns,\nwrites\npriorities")
    d.box(440, 180, 96, 110, "watch", "replaces\nworkers that\ndie or hang")
    d.words(109, 312, "⋮", size=16)
    d.box(610, 40, 196, 60, "replay/", "memory-mapped rows")
    d.box(610, 120, 196, 60, "checkpoints/", "weights, optimizer, priorities")
    d.box(610, 200, 196, 60, "episode_logs/", "start state + actions + hashes")
    d.box(610, 280, 196, 40, "metrics/", "")
    d.arrow((550, 70), (610, 70))
    d.arrow((610, 84), (550, 84))
    d.arrow((550, 150), (610, 150))
    d.arrow((550, 300), (610, 300))
    d.arrow((109, 290), (109, 326), (580, 326), (580, 230), (610, 230))
    return d


#: File name without suffix, and the drawing.
DRAWINGS: dict[str, Callable[[], Drawing]] = {
    draw.__name__: draw for draw in (data_flow, sequence_layout, action_mask, map_memory, priorities, process_layout)
}
