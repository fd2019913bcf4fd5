"""Make the README's picture: a rendered episode as a GIF, slowly where a milestone falls and fast between.

python docs/_ext/readme_picture.py EPISODE_LOG docs/_static/sprout.gif
"""

import sys
import tempfile
from pathlib import Path

import av
import numpy as np
from PIL import Image

from pokered_rl.emulator import Cartridge
from pokered_rl.episodes import EpisodeLog
from pokered_rl.record.render import RenderOptions, render_episode
from pokered_rl.record.video import CONSOLE_FRAME_RATE

#: Console frames between two pictures of the video.
EVERY_FRAMES = 24
#: How long a picture of the GIF stands, and the one of a milestone, in milliseconds.
STANDS, MILESTONE_STANDS = 90, 900
#: Pictures of the GIF beside those of milestones; pictures before each milestone; colours.
PICTURES, BEFORE, COLOURS = 380, 5, 16


def shown_pictures(log: EpisodeLog, count: int) -> dict[int, int]:
    """Return the numbers of the video's pictures that the GIF shows, with how long each stands."""
    ends = np.cumsum(log.step_frames) // EVERY_FRAMES  # [T], the picture at the end of each step
    stands = dict.fromkeys(np.linspace(0, count, PICTURES).astype(int).tolist(), STANDS)
    for milestone in log.milestones:
        if ":" not in milestone.name:
            at = min(int(ends[milestone.step - 1]) + 1, count)
            stands.update(dict.fromkeys(range(max(0, at - BEFORE), at), STANDS))
            stands[at] = MILESTONE_STANDS
    return dict(sorted(stands.items()))


def main(path: str, target: str) -> None:
    """Render the episode and keep the pictures that are shown."""
    log = EpisodeLog.load(path)
    options = RenderOptions(scale=2, palette="pocket", qp=1, fps=CONSOLE_FRAME_RATE / EVERY_FRAMES)
    count = int(log.step_frames.sum()) // EVERY_FRAMES
    stands = shown_pictures(log, count)
    frames: list[Image.Image] = []
    with tempfile.TemporaryDirectory() as folder:
        video = Path(folder) / "episode.mp4"
        render_episode(log, video, options=options, cartridge=Cartridge.bundled())
        with av.open(str(video)) as container:
            # The video stores a picture when it changes: what is shown at a time is the last one before it.
            due, last = list(stands), None
            for frame in container.decode(video=0):
                while last is not None and due and due[0] * EVERY_FRAMES / CONSOLE_FRAME_RATE < frame.time - 1e-3:
                    frames.append(last.to_image())
                    due.pop(0)
                last = frame
            frames += [last.to_image()] * len(due)
    # One palette for all, so that only what moves is stored.
    palette = Image.fromarray(np.concatenate(frames[:: len(frames) // 8])).quantize(COLOURS)
    pictures = [frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames]
    durations = list(stands.values())
    pictures[0].save(target, save_all=True, append_images=pictures[1:], duration=durations, loop=0, optimize=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
