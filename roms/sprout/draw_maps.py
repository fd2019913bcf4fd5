"""Draw all maps of Sprout as the emulator shows them: ``python roms/sprout/draw_maps.py [PICTURE.png]``.

Every map is loaded by the game itself, again and again with the player in other places, until each step was seen without
the player on it. The outdoor maps lie where their connections put them, the others where there is room.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import world
from export import places
from PIL import Image, ImageDraw
from PIL.PngImagePlugin import PngInfo
from pyboy import PyBoy

from pokered_rl.emulator import Cartridge, Emulator, boot

PICTURE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "sprout_maps.png"
STEP, WIDE, HIGH = 16, 10, 9  #: pixels of a step; steps that the screen shows
PLAYER = (4, 4)  #: the step of the screen on which the player stands
MARGIN, LABEL = 12, 14
ENTER_MAP = 0x03A6
SOLVED = world.EVENTS.index("SOLVED_PLATES")
LANTERN = world.ITEMS["LANTERN"][0]


def screen(pyboy: PyBoy, number: int, x: int, y: int) -> np.ndarray:
    """Shades 0..3 [144, 160] of a map, freshly loaded around a place."""
    memory = pyboy.memory
    memory[0xD35E], memory[0xD362], memory[0xD361] = number, x, y
    memory[0xD31D], memory[0xD31E], memory[0xD31F], memory[0xD320] = 1, LANTERN, 1, 0xFF
    memory[0xD747 + SOLVED // 8] |= 1 << SOLVED % 8  # no text at the plates in the cave
    memory[0xD736] = 0
    memory[0xCD38], memory[0xD730] = 0, 0
    memory[0xDFFD], memory[0xDFFE] = ENTER_MAP & 0xFF, ENTER_MAP >> 8  # where the wait for a frame goes on
    for _ in range(120):
        pyboy.tick(1, False)
        if (memory[0xDFFD], memory[0xDFFE]) == (0x05, 0x04):  # the main loop waits for its second frame
            break
    else:
        raise SystemExit(f"draw_maps.py: map {number} does not come to rest at {x}, {y}")
    pyboy.tick(1, False)
    pyboy.tick(1, True)
    return pyboy.screen.ndarray[..., 0] >> 6


def draw(pyboy: PyBoy, entry: dict) -> np.ndarray:
    """Shades [16 * height, 16 * width] of one map."""
    rows = [row for row in entry["cells"].split("\n") if row]
    height, width = len(rows), len(rows[0])
    out = np.full((height * STEP, width * STEP), 255, np.uint8)
    seen = np.zeros((height, width), bool)
    while not seen.all():
        y, x = (int(v) for v in np.argwhere(~seen)[0])
        # the step beside the middle of the screen; people do not move within half a second
        shown = screen(pyboy, entry["id"], max(x - 1, 0) if x else x + 1, y)
        here = (max(x - 1, 0) if x else x + 1, y)
        for j in range(HIGH):
            for i in range(WIDE):
                at = (here[1] + j - PLAYER[1], here[0] + i - PLAYER[0])
                near_player = i == PLAYER[0] and j in (PLAYER[1], PLAYER[1] - 1)
                if 0 <= at[0] < height and 0 <= at[1] < width and not near_player and not seen[at]:
                    seen[at] = True
                    out[at[0] * STEP : at[0] * STEP + STEP, at[1] * STEP : at[1] * STEP + STEP] = shown[
                        j * STEP : j * STEP + STEP, i * STEP : i * STEP + STEP
                    ]
    return out


def _size(shades: np.ndarray) -> tuple[int, int]:
    return shades.shape[1], shades.shape[0]


def sheet(maps: dict[str, np.ndarray]) -> Image.Image:
    place = places()
    left = min(x for x, _ in place.values())
    top = min(y for _, y in place.values())
    spots: dict[str, tuple[int, int]] = {
        name: (MARGIN + (x - left) * STEP, MARGIN + (y - top) * STEP) for name, (x, y) in place.items()
    }
    wide = max(spots[name][0] + maps[name].shape[1] for name in place) + MARGIN
    taken = [(*spots[name], *_size(maps[name])) for name in place]
    wide = max(x + w for x, _, w, _ in taken) + MARGIN
    for name in sorted((n for n in maps if n not in place), key=lambda n: -maps[n].shape[0]):
        w, h = _size(maps[name])
        x, y = next(
            (x, y)
            for y in range(MARGIN + LABEL, 10_000, 8)
            for x in range(MARGIN, wide - w - MARGIN, 8)
            if all(
                x + w + MARGIN <= ax or ax + aw + MARGIN <= x or y + h + MARGIN <= ay or ay + ah + MARGIN <= y - LABEL
                for ax, ay, aw, ah in taken
            )
        )
        spots[name] = x, y
        taken.append((x, y - LABEL, w, h + LABEL))
    picture = Image.new("L", (wide, max(y + h for _, y, _, h in taken) + MARGIN), 255)
    pen = ImageDraw.Draw(picture)
    for name, (at_x, at_y) in spots.items():
        picture.paste(Image.fromarray(maps[name] * 85), (at_x, at_y))
        if name in place:
            box = pen.textbbox((at_x + 4, at_y + 4), name)
            pen.rectangle((box[0] - 2, box[1] - 2, box[2] + 2, box[3] + 2), fill=255, outline=0)
            pen.text((at_x + 4, at_y + 4), name, fill=0)
        else:
            pen.text((at_x, at_y - LABEL), name, fill=0)
    return picture.quantize(4, dither=Image.Dither.NONE)


def main() -> None:
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else PICTURE
    cartridge = Cartridge.bundled()
    with Emulator(cartridge) as emulator:
        boot(emulator)
        maps = {entry["name"]: draw(emulator._pyboy, entry) for entry in world.MAPS}
    about = PngInfo()
    about.add_text("cartridge_sha1", cartridge.sha1)  # a test compares
    sheet(maps).save(target, optimize=True, bits=2, pnginfo=about)
    print(f"{target}: {len(maps)} maps, {target.stat().st_size} bytes")


if __name__ == "__main__":
    main()
