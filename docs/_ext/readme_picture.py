"""Make the README's picture: a rendered episode as a GIF.

python docs/_ext/readme_picture.py EPISODE_LOG docs/_static/sprout.gif
"""

import sys
import tempfile
from pathlib import Path

import av
from PIL import Image

from pokered_rl.emulator import Cartridge
from pokered_rl.episodes import EpisodeLog
from pokered_rl.record.render import RenderOptions, render_episode
from pokered_rl.record.video import CONSOLE_FRAME_RATE

#: Console frames between two pictures, and how long each stands.
EVERY_FRAMES, MILLISECONDS, COLOURS = 24, 110, 12


def main(log: str, target: str, first_step: int = 8, last_step: int = 78) -> None:
    """Render the steps and keep a picture of each action."""
    options = RenderOptions(scale=2, palette="pocket", qp=1, first_step=first_step, last_step=last_step)
    with tempfile.TemporaryDirectory() as folder:
        video = Path(folder) / "episode.mp4"
        render_episode(EpisodeLog.load(log), video, options=options, cartridge=Cartridge.bundled())
        with av.open(str(video)) as container:
            # The video stores a picture when it changes: take what is shown at equal distances in time.
            frames, due = [], 0.0
            shown = None
            for frame in container.decode(video=0):
                while shown is not None and due < frame.time:
                    frames.append(shown)
                    due += EVERY_FRAMES / CONSOLE_FRAME_RATE
                shown = frame.to_image()
            frames.append(shown)
    # One palette for all, so that only what moves is stored.
    palette = frames[len(frames) // 2].quantize(COLOURS)
    pictures = [frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames]
    pictures[0].save(target, save_all=True, append_images=pictures[1:], duration=MILLISECONDS, loop=0, optimize=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], *map(int, sys.argv[3:]))
