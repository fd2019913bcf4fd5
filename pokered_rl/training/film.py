"""Film an episode of a trained policy, and make an animated picture of a video."""

from __future__ import annotations

import io
import tempfile
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import av
from PIL import Image

from pokered_rl.episodes import EpisodeLog
from pokered_rl.record.render import RenderOptions, render_episode
from pokered_rl.record.video import CONSOLE_FRAME_RATE
from pokered_rl.training.evaluation import evaluate

if TYPE_CHECKING:
    from pokered_rl.training.policy import TrainedPolicy

__all__ = ["as_gif", "film_episode"]

#: Most seconds of a film, and its pictures a second.
_SECONDS, _FPS = 20.0, 6.0
_COLOURS = 24


def film_episode(trained: TrainedPolicy, video: Path, *, max_steps: int, epsilon: float, seed: int) -> None:
    """Play one episode, exploring as workers do, and render it to an MP4 of at most 20 s.

    Args:
        trained: The policy.
        video: The file; its folder is made.
        max_steps: Agent steps after which the episode is cut off.
        epsilon: Rate of random actions.
        seed: Of the start state and of the noise.

    Raises:
        PokeredError: The video cannot be made.
    """
    with tempfile.TemporaryDirectory() as folder:
        recorder = {"folder": folder, "acting": "policy", "weights_sha256": trained.weights_sha256}
        places = ("map_id", "x", "y")
        env = trained.make_env(
            epsilon=epsilon, seed=seed, max_episode_steps=max_steps, game_fields=places, recorder=recorder
        )
        try:
            evaluate(env, trained.policy, max_steps=max_steps, seed=seed)
        finally:
            env.close()
        log = EpisodeLog.load(min(Path(folder).glob("*.episode")))
        speed = max(1.0, int(log.step_frames.sum()) / float(CONSOLE_FRAME_RATE) / _SECONDS)
        video.parent.mkdir(parents=True, exist_ok=True)
        options = RenderOptions(fps=_FPS, speed=speed)
        render_episode(log, video, cartridge=trained.cartridge, options=options)


def as_gif(video: Path) -> tuple[bytes, tuple[int, int]]:
    """Return a video as an animated GIF, and its width and height.

    A video stores a picture when it changes, so each stands as long as it is shown.
    """
    with av.open(str(video)) as container:
        shown = [(float(frame.time or 0.0), frame.to_image()) for frame in container.decode(video=0)]
        end = float(container.duration or 0) / av.time_base
    palette = shown[len(shown) // 2][1].quantize(_COLOURS)  # one for all, so that only what moves is stored
    pictures = [picture.quantize(palette=palette, dither=Image.Dither.NONE) for _, picture in shown]
    times = [*(time for time, _ in shown), end]
    durations = [max(20, round(1000 * (after - time))) for time, after in pairwise(times)]
    target = io.BytesIO()
    pictures[0].save(
        target, "GIF", save_all=True, append_images=pictures[1:], duration=durations, loop=0, optimize=True
    )
    return target.getvalue(), pictures[0].size
