"""Watch an agent play, live: one from a finished run, or one that is still learning.

    python examples/watch.py runs/quickstart                       # a window; the terminal where there is no display
    python examples/watch.py runs/quickstart --terminal --speed 2
    python examples/watch.py runs/big/checkpoints/000001200000-000018400 --epsilon 0.05 --episodes 3

The agent plays an environment of its own and disturbs no run. When a run that learns replaces its `online_params.pt`,
the new weights are taken up within a step. Q or Escape ends, and so does Ctrl-C.

Exit status: 0 watched, 1 the run or its weights cannot be used, 2 wrong arguments, 130 interrupted.
"""

import argparse
import os
import shutil
import sys
import time
from pathlib import Path
from typing import Protocol

import torch
from torchrl.envs import ExplorationType, set_exploration_type

sys.path.insert(0, str(Path(__file__).parent))

from play import Screen, Terminal, Window, raw_terminal

from pokered_rl.emulator import Emulator, SaveState
from pokered_rl.envs import PokemonRedEnv
from pokered_rl.errors import PokeredError
from pokered_rl.observations import unpack_shades
from pokered_rl.record.video import CONSOLE_FRAME_RATE
from pokered_rl.training import TrainedPolicy, load_policy


class Viewer(Screen, Protocol):
    """A screen with a line of text, that does not wait for keys."""

    def caption(self, text: str) -> None:
        """Shows a line."""

    def wants_end(self) -> bool:
        """Whether Q or Escape was pressed."""


class TerminalViewer(Terminal):
    """The terminal of `play.py`; the line is beneath the picture."""

    def caption(self, text: str) -> None:
        """The last line, cut to the terminal's width."""
        sys.stdout.write(f"\x1b[K{text[: shutil.get_terminal_size().columns - 1]}\r\n")
        sys.stdout.flush()

    def wants_end(self) -> bool:
        """Looks only where somebody can press a key."""
        import select

        waiting = sys.stdin.isatty() and bool(select.select([sys.stdin], [], [], 0)[0])
        return waiting and self.key() == "quit"


class WindowViewer(Window):
    """The window of `play.py`; the line is its title."""

    def caption(self, text: str) -> None:
        """The title."""
        self._window.title = text

    def wants_end(self) -> bool:
        """Looks at everything that was pressed."""
        quit_keys = (self._sdl2.SDLK_q, self._sdl2.SDLK_ESCAPE)
        return any(
            event.type == self._sdl2.SDL_QUIT
            or (event.type == self._sdl2.SDL_KEYDOWN and event.key.keysym.sym in quit_keys)
            for event in self._ext.get_events()
        )


class Mirror:
    """A second console that shows, frame by frame, the step that the environment has played in one go.

    The game is deterministic: from the same state the same buttons give the same pictures.

    Args:
        env: whose first emulator is mirrored.
        viewer: where the pictures go.
        speed: 1 is the console's speed, 0 as fast as it goes.
        every: frames from picture to picture.
    """

    def __init__(self, env: PokemonRedEnv, viewer: Viewer, *, speed: float, every: int) -> None:
        self._env, self._viewer, self._speed, self._every = env, viewer, speed, every
        self._emulator = Emulator(env.cartridge, screen="full")
        self._frames = 0
        self._next_at = time.monotonic()

    def begin(self, state: SaveState) -> None:
        """Goes to the start of an episode."""
        self._emulator.load_state(state)

    def step(self, action: int, wait_frames: int) -> None:
        """Plays one step of the agent."""
        timing, button = self._env.timing, self._env.actions.button_indices[action]
        if button >= 0:
            self._emulator.press(button)
        for frame in range(1, timing.frames_per_action + wait_frames + 1):
            self._frames += 1
            due = self._frames % self._every == 0
            self._emulator.tick(1, due)
            if button >= 0 and frame == timing.hold_frames:
                self._emulator.release(button)
            if due:
                self._viewer.show(unpack_shades(self._emulator.pixels()))
                self._wait()

    def _wait(self) -> None:
        if not self._speed:
            return
        now = time.monotonic()
        time.sleep(max(0.0, self._next_at - now))
        # Time that was lost is lost: nobody wants to see it made up for in a rush.
        self._next_at = max(self._next_at, now - 0.1) + self._every / (float(CONSOLE_FRAME_RATE) * self._speed)

    def ram_hash(self) -> str:
        """SHA-256 (hex) of the memory now: that of the environment's emulator."""
        return self._emulator.ram_hash()

    def close(self) -> None:
        """Ends the second console."""
        self._emulator.close()


def watch(
    policy: TrainedPolicy,
    viewer: Viewer,
    *,
    epsilon: float,
    seed: int | None = None,
    speed: float = 1.0,
    every: int = 2,
    max_steps: int | None = None,
    max_episodes: int | None = None,
) -> int:
    """Plays and shows until the viewer wants to end; returns the number of steps played."""
    env = policy.make_env(epsilon=epsilon, seed=seed)
    mirror = Mirror(env.base_env, viewer, speed=speed, every=every)
    mode = ExplorationType.RANDOM if epsilon else ExplorationType.DETERMINISTIC
    played, episode, total = 0, 0, 0.0
    try:
        with torch.no_grad(), set_exploration_type(mode):
            tensordict = env.reset()
            mirror.begin(env.base_env.start_state(0))
            while (max_steps is None or played < max_steps) and not viewer.wants_end():
                policy.reload()
                tensordict, following = env.step_and_maybe_reset(policy.policy(tensordict))
                after = tensordict["next"]
                mirror.step(int(tensordict["action"][0]), int(after["wait_frames"][0]))
                played, total = played + 1, total + float(after["reward"][0])
                viewer.caption(
                    f"weights of step {policy.steps:,}  episode {episode + 1}, step {int(after['step_count'][0])}  "
                    f"{env.base_env.actions.names[int(tensordict['action'][0])]:6s} return {total:.2f}"
                )
                if bool(after["done"][0]):
                    episode, total = episode + 1, 0.0
                    if episode == max_episodes:
                        break
                    mirror.begin(env.base_env.start_state(0))
                elif mirror.ram_hash() != env.base_env.ram_hash(0):
                    raise RuntimeError("what is shown is not what is played: please report this as a fault")
                tensordict = following
    finally:
        mirror.close()
        env.close()
    return played


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command line; ``--help`` prints it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, help="run folder, online_params.pt with config.yaml beside it, checkpoint")
    parser.add_argument("--epsilon", type=float, default=0.01, help="rate of random actions; 0 is greedy (%(default)s)")
    parser.add_argument("--seed", type=int, help="of start states; another game each time by default")
    parser.add_argument("--speed", type=float, default=1.0, help="1 is the console's speed, 0 as fast as it goes")
    parser.add_argument("--steps", type=int, metavar="N", help="end after so many decisions")
    parser.add_argument("--episodes", type=int, metavar="N", help="end after so many episodes")
    parser.add_argument("--rom", help="the ROM to play (as in the run)")
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--terminal", action="store_true", help="in the terminal (the default without a display)")
    where.add_argument("--window", action="store_true", help="in a window (the default with a display)")
    parser.add_argument("--scale", type=int, default=4, help="size of a console pixel in the window (%(default)s)")
    options = parser.parse_args(arguments)
    if not 0 <= options.epsilon <= 1 or options.speed < 0 or options.scale < 1:
        parser.error("--epsilon must be in 0..1, --speed 0 or more, --scale 1 or more")
    return options


def has_display() -> bool:
    """Whether a window can be expected to open."""
    return sys.platform in ("win32", "darwin") or any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY"))


def main(arguments: list[str] | None = None) -> int:
    """Shows what the command line asks for and returns the exit status."""
    options = parse_arguments(arguments)
    in_window = options.window or (has_display() and not options.terminal)
    try:
        policy = load_policy(options.source, cartridge=options.rom)
        limits = {
            "epsilon": options.epsilon,
            "seed": options.seed,
            "speed": options.speed,
            "max_steps": options.steps,
            "max_episodes": options.episodes,
        }
        if in_window:
            played = watch(policy, WindowViewer(options.scale), every=1, **limits)
        else:
            with raw_terminal():
                played = watch(policy, TerminalViewer(), every=4, **limits)
    except PokeredError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    print(f"{played} steps")
    return 0


if __name__ == "__main__":
    sys.exit(main())
