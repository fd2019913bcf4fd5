"""The panel beside the picture: button, place, visited map steps, return, reward terms and milestones."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import numpy.typing as npt

from pokered_rl.episodes import EpisodeLog
from pokered_rl.errors import ConfigError
from pokered_rl.game import GameMaps
from pokered_rl.record.font import LINE_HEIGHT, draw_text
from pokered_rl.record.palettes import rgb_to_yuv

__all__: list[str] = []

#: Width of the panel in its own pixels, before it is enlarged together with the picture.
PANEL_WIDTH = 176
#: Height of the panel in its own pixels.
PANEL_HEIGHT = 288

#: Map id, x and y of the player in map steps.
Place = tuple[int, int, int]

# Colour numbers of the canvas.
_BACK, _FRAME, _DIM, _TEXT, _LIT, _GOOD, _BAD, _SEEN, _HERE = range(9)
_COLOURS = (
    (22, 25, 32),
    (50, 56, 70),
    (128, 138, 156),
    (232, 236, 242),
    (255, 196, 61),
    (94, 200, 130),
    (240, 104, 96),
    (64, 104, 160),
    (255, 255, 255),
)

_MARGIN = 8
_RIGHT = PANEL_WIDTH - _MARGIN
_CROP_RADIUS = 10
_CELL = 4
_CROP_Y = 130
_BARS_X, _BARS_Y, _BARS_HEIGHT = 100, 206, 28
_TERMS = 3
_MILESTONES = 2

# Button name: (x, y, width, height) on the panel.
_PAD = {
    "up": (28, 66, 14, 14),
    "down": (28, 94, 14, 14),
    "left": (14, 80, 14, 14),
    "right": (42, 80, 14, 14),
    "b": (114, 86, 18, 18),
    "a": (142, 74, 18, 18),
    "select": (64, 112, 22, 7),
    "start": (92, 112, 22, 7),
}


class Panel:
    """Draw the panel of one episode, step after step.

    Args:
        log: The episode.
        maps: The maps of the cartridge, for their names.
        action_values: Action values of a network, float [T, A]; shown as bars.
    """

    #: Colour numbers that :meth:`draw` drew last, uint8 [PANEL_HEIGHT, PANEL_WIDTH].
    canvas: npt.NDArray[np.uint8]
    #: Luma and chroma of each colour number, uint8 [n, 3].
    colours: npt.NDArray[np.uint8]

    def __init__(
        self, log: EpisodeLog, *, maps: GameMaps, action_values: npt.NDArray[np.float32] | None = None
    ) -> None:
        if action_values is not None and action_values.shape != (log.steps, len(log.header.actions)):
            raise ConfigError(
                f"action_values must have shape {[log.steps, len(log.header.actions)]}, got {list(action_values.shape)}"
            )
        self._log = log
        self._values = action_values
        self._maps = maps
        self._returns = np.concatenate([[0.0], np.cumsum(log.rewards, dtype=np.float64)])  # [T + 1]
        terms = np.cumsum(log.term_rewards, axis=0, dtype=np.float64)
        self._terms = np.concatenate([np.zeros((1, terms.shape[1])), terms])  # [T + 1, K]
        order = np.argsort(-np.abs(log.term_rewards).sum(axis=0), kind="stable")
        self._shown_terms = [int(column) for column in order[:_TERMS]]
        self._seen: dict[int, set[tuple[int, int]]] = defaultdict(set)
        self._cells = 0
        self.colours = rgb_to_yuv(_COLOURS)
        self._background = self._draw_background()
        self.canvas = self._background.copy()

    def _draw_background(self) -> npt.NDArray[np.uint8]:
        canvas = np.full((PANEL_HEIGHT, PANEL_WIDTH), _BACK, np.uint8)
        header = self._log.header
        canvas[:, 0] = _FRAME
        draw_text(canvas, _MARGIN, 8, header.run_name[:26], _TEXT)
        draw_text(canvas, _MARGIN, 20, f"w{header.worker} e{header.emulator}  at {header.global_step:,}"[:26], _DIM)
        for button, (x, y, width, height) in _PAD.items():
            if button in header.actions:
                _box(canvas, x, y, width, height, _FRAME)
        _box(canvas, 28, 80, 14, 14, _FRAME)
        return canvas

    def visit(self, place: Place) -> None:
        """Add the place of the player in a step that is not shown to the visited ones."""
        map_id, x, y = place
        if (x, y) not in self._seen[map_id]:
            self._seen[map_id].add((x, y))
            self._cells += 1

    def draw(self, step: int, place: Place) -> None:
        """Draw the panel for the agent step that begins.

        Args:
            step: Number of steps played so far, 0 to T; at T no button is lit.
            place: Where the player is.
        """
        map_id, x, y = place
        self.visit(place)
        log, canvas = self._log, self.canvas
        canvas[:] = self._background
        self._draw_progress(step)
        if step < log.steps:
            self._draw_pad(log.header.actions[log.actions[step]])
        self._draw_map(map_id, x, y)
        if self._values is not None and step < log.steps:
            self._draw_values(self._values[step], int(log.actions[step]))
        bottom = self._draw_returns(step)
        reached = [milestone for milestone in log.milestones if milestone.step <= step][-_MILESTONES:]
        for line, milestone in enumerate(reversed(reached)):
            draw_text(canvas, _MARGIN, bottom + line * LINE_HEIGHT, f"* {milestone.name} ({milestone.step})"[:26], _LIT)

    def _draw_progress(self, step: int) -> None:
        canvas, steps = self.canvas, self._log.steps
        draw_text(canvas, _MARGIN, 36, f"step {step} of {steps}", _TEXT)
        width = _RIGHT - _MARGIN
        canvas[48:52, _MARGIN:_RIGHT] = _FRAME
        canvas[48:52, _MARGIN : _MARGIN + width * step // max(1, steps)] = _SEEN

    def _draw_pad(self, action: str) -> None:
        if action in _PAD:
            _box(self.canvas, *_PAD[action], _LIT)
        for label in ("a", "b"):
            if label in self._log.header.actions:
                x, y, width, height = _PAD[label]
                colour = _BACK if action == label else _DIM
                draw_text(self.canvas, x + width // 2 - 2, y + height // 2 - 3, label.upper(), colour)
        draw_text(self.canvas, 64, 100, "-" if action not in _PAD else action, _LIT if action in _PAD else _DIM)

    def _draw_map(self, map_id: int, x: int, y: int) -> None:
        """Draw the visited map steps of this map, around the player."""
        size = 2 * _CROP_RADIUS + 1
        crop = np.full((size, size), _BACK, np.uint8)
        for seen_x, seen_y in self._seen[map_id]:
            crop_x, crop_y = seen_x - x + _CROP_RADIUS, seen_y - y + _CROP_RADIUS
            if 0 <= crop_x < size and 0 <= crop_y < size:
                crop[crop_y, crop_x] = _SEEN
        crop[_CROP_RADIUS, _CROP_RADIUS] = _HERE
        large = crop.repeat(_CELL, axis=0).repeat(_CELL, axis=1)
        edge = large.shape[0] + 2
        _box(self.canvas, _MARGIN, _CROP_Y, edge, edge, _FRAME)
        self.canvas[_CROP_Y + 1 : _CROP_Y + edge - 1, _MARGIN + 1 : _MARGIN + edge - 1] = large
        left = _MARGIN + edge + 6
        name = self._maps.name(map_id)
        name = f"map {name}" if name.isdigit() else name.replace("_", " ").lower()
        words = name.split()
        lines = [word[:11] for word in words[: 2 if self._values is not None else 3]]
        below = (
            [f"x {x} y {y}"] if self._values is not None else [f"x {x} y {y}", "", "visited", f"{self._cells} cells"]
        )
        for line, text in enumerate([*lines, *below]):
            draw_text(self.canvas, left, _CROP_Y + 2 + line * LINE_HEIGHT, text, _TEXT if line < len(lines) else _DIM)

    def _draw_values(self, values: npt.NDArray[np.float32], chosen: int) -> None:
        """Draw a bar for each action, from the lowest value of the step to the highest; the action taken is lit."""
        low, high = float(values.min()), float(values.max())
        width = min(9, (_RIGHT - _BARS_X) // len(values))
        for action, value in enumerate(values.tolist()):
            height = 1 + round(_BARS_HEIGHT * (value - low) / (high - low)) if high > low else 1
            x = _BARS_X + action * width
            colour = _LIT if action == chosen else _SEEN
            self.canvas[_BARS_Y - height : _BARS_Y, x : x + width - 1] = colour
            initial = self._log.header.actions[action][0].upper()
            draw_text(self.canvas, x + (width - 6) // 2, _BARS_Y + 2, initial, colour)

    def _draw_returns(self, step: int) -> int:
        """Draw return and terms; return the y below the last line."""
        canvas, top = self.canvas, _CROP_Y + 2 * _CELL * _CROP_RADIUS + _CELL + 8
        draw_text(canvas, _MARGIN, top, "return", _TEXT)
        _draw_right(canvas, top, f"{self._returns[step]:.2f}", _TEXT)
        for column in self._shown_terms:
            top += LINE_HEIGHT
            draw_text(canvas, _MARGIN, top, self._log.header.reward_terms[column][:17], _DIM)
            value = self._terms[step, column]
            given = step > 0 and self._log.term_rewards[step - 1, column] != 0
            colour = (_GOOD if value >= 0 else _BAD) if given else _DIM
            _draw_right(canvas, top, f"{value:.2f}", colour)
        return top + LINE_HEIGHT


def _box(canvas: npt.NDArray[np.uint8], x: int, y: int, width: int, height: int, colour: int) -> None:
    canvas[y : y + height, x : x + width] = colour


def _draw_right(canvas: npt.NDArray[np.uint8], y: int, text: str, colour: int) -> None:
    draw_text(canvas, _RIGHT - 6 * len(text) + 1, y, text, colour)
