"""Record and render a short video, and measure the speed of the environment."""

import tempfile
import time
from pathlib import Path

import torch

from pokered_rl.emulator import Cartridge, Emulator, SaveState
from pokered_rl.envs import make_env
from pokered_rl.episodes import EpisodeFolder
from pokered_rl.record.render import RenderOptions, render_episode

from .checks import CheckFailed

#: Frames of the console a second.
FRAME_RATE = 59.7275


def check_video(cartridge: Cartridge, start: SaveState, out: Path, *, seconds: float) -> tuple[str, Path]:
    """Play at random under the mask, and render the log into a video; its RAM hashes have to agree."""
    with tempfile.TemporaryDirectory() as folder:
        env = make_env(
            cartridge,
            start_states=start,
            max_episode_steps=None,
            recorder={"folder": folder, "run_name": "check_retail"},
            seed=0,
        )
        torch.manual_seed(0)
        tensordict, frames = env.reset(), 0.0
        try:
            while frames < seconds * FRAME_RATE:
                tensordict = env.step(env.rand_action(tensordict))["next"]
                frames += 24 + int(tensordict["wait_frames"])
        finally:
            env.close()
        [log] = EpisodeFolder(folder)
        done = render_episode(log, out, cartridge=cartridge, options=RenderOptions())
    if done.frames != frames:
        raise CheckFailed(f"{frames:.0f} frames were played, the video has {done.frames}")
    return (
        f"{done.path}: {done.steps} steps, {done.frames} frames ({done.frames / FRAME_RATE:.1f} s), "
        f"all {done.hashes_checked} RAM hashes equal, {done.frames / done.seconds:,.0f} frames/s",
        out,
    )


def check_speed(cartridge: Cartridge, start: SaveState, *, emulators: int, steps: int) -> tuple[str, dict[str, float]]:
    """Measure steps a second of the environment in one thread, and frames a second of the bare emulator."""
    env = make_env(cartridge, num_emulators=emulators, start_states=start, max_episode_steps=None, seed=0)
    torch.manual_seed(0)
    try:
        tensordict = env.reset()
        for _ in range(3):
            tensordict = env.step(env.rand_action(tensordict))["next"]
        frames, begin = 0, time.perf_counter()
        for _ in range(steps):
            tensordict = env.step(env.rand_action(tensordict))["next"]
            frames += 24 * emulators + int(tensordict["wait_frames"].sum())
        seconds = time.perf_counter() - begin
    finally:
        env.close()
    with Emulator(cartridge) as emulator:
        emulator.load_state(start)
        begin = time.perf_counter()
        for _ in range(steps):
            emulator.tick(24, render=True)
        bare = 24 * steps / (time.perf_counter() - begin)
    rates = {"steps_per_second": steps * emulators / seconds, "frames_per_second": frames / seconds, "bare": bare}
    return (
        f"{rates['steps_per_second']:,.0f} steps/s, {rates['frames_per_second']:,.0f} frames/s with {emulators} "
        f"emulators in one thread; the bare emulator standing still {bare:,.0f} frames/s",
        rates,
    )
