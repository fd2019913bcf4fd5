"""Watch a trained agent play: of a finished run, or of one that is still learning.

    pokered_rl watch runs/quickstart                       # a window; the terminal where there is no display
    pokered_rl watch runs/quickstart --terminal --speed 2
    pokered_rl watch runs/big/checkpoints/000001200000-000018400 --epsilon 0.05 --episodes 3
    pokered_rl watch runs/quickstart --log runs/shared/episode_logs    # keeps the episodes as logs

The agent plays in an environment of its own and does not disturb the run. When a training run replaces its
`online_params.pt`, the new weights are loaded within a step. T takes the buttons from the agent, with the keys of
`play`, and gives them back; logs note who acted in which steps. Q, Escape or Ctrl-C ends.

Exit status: 0 watched, 1 the run or its weights cannot be used, 2 wrong arguments, 130 interrupted.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from pokered_rl.cli.screens import Terminal, Window, has_display, raw_terminal
from pokered_rl.disk import check_writable
from pokered_rl.failures import check_source, command

if TYPE_CHECKING:
    from tensordict import TensorDictBase

    from pokered_rl.emulator import Emulator, SaveState
    from pokered_rl.envs import EpisodeRecorder, PokemonRedEnv
    from pokered_rl.episodes import EpisodeLog
    from pokered_rl.training import TrainedPolicy

__all__ = ["Viewer", "main", "watch"]


class Viewer(Protocol):
    """A screen for watching, such as :class:`~pokered_rl.cli.screens.Terminal`."""

    def show(self, shades: NDArray[np.uint8]) -> None:
        """Draw a picture, uint8 [144, 160], 0 black to 3 white."""

    def caption(self, text: str) -> None:
        """Show a line of text."""

    def pressed(self) -> str | None:
        """Return the action of a pressed key, "take", "quit", or None; does not wait."""


class _Mirror:
    """A second emulator that shows, frame by frame, a step that the environment has played at once.

    The game is deterministic: from the same state the same buttons give the same pictures.

    Args:
        env: Environment whose first emulator is mirrored.
        viewer: Where the pictures are shown.
        speed: 1 is the console's speed, 0 without waiting.
        every: Frames from picture to picture.
    """

    def __init__(self, env: PokemonRedEnv, viewer: Viewer, *, speed: float, every: int) -> None:
        from pokered_rl.emulator import Emulator
        from pokered_rl.observations import unpack_shades
        from pokered_rl.record.video import CONSOLE_FRAME_RATE

        self._env, self._viewer, self._every = env, viewer, every
        self.emulator, self._unpack = Emulator(env.cartridge, screen="full"), unpack_shades
        self._seconds_each = every / (float(CONSOLE_FRAME_RATE) * speed) if speed else 0.0
        self._frames = 0
        self._next_at = time.monotonic()

    def begin(self, state: SaveState) -> None:
        """Load the start of an episode."""
        self.emulator.load_state(state)

    def step(self, action: int, wait_frames: int) -> None:
        """Play and show one agent step."""
        timing, button = self._env.timing, self._env.actions.button_indices[action]
        if button >= 0:
            self.emulator.press(button)
        for frame in range(1, timing.frames_per_action + wait_frames + 1):
            self._frames += 1
            due = self._frames % self._every == 0
            self.emulator.tick(1, due)
            if button >= 0 and frame == timing.hold_frames:
                self.emulator.release(button)
            if due:
                self._viewer.show(self._unpack(self.emulator.pixels()))
                self._wait()

    def _wait(self) -> None:
        if not self._seconds_each:
            return
        now = time.monotonic()
        time.sleep(max(0.0, self._next_at - now))
        # After a delay of more than 0.1 s the game goes on at the wanted speed, without catching up.
        self._next_at = max(self._next_at, now - 0.1) + self._seconds_each


def _replay(
    log: EpisodeLog,
    steps: int,
    *,
    policy: TrainedPolicy,
    env: Any,
    recorders: Sequence[EpisodeRecorder],
    viewer: Viewer,
    tensordict: TensorDictBase,
) -> tuple[TensorDictBase, SaveState] | None:
    """Play the first steps of a log, so that the policy remembers them; None where the viewer ends it.

    Raises:
        EpisodeLogError: The environment of the run does not play them as they were played.
    """
    import torch

    from pokered_rl.episodes import EpisodePlayer
    from pokered_rl.errors import EpisodeLogError

    who, marks = "unknown", dict(log.acted)
    for each in recorders:
        each.follow(global_step=log.header.global_step, weights_version=log.header.weights_version)
        each.weights_sha256 = log.header.weights_sha256
    for step in range(steps):
        if viewer.pressed() == "quit":
            return None
        if step % 50 == 0:
            viewer.caption(f"replaying the episode, step {step:,} of {steps:,}")
        who = marks.get(step, who)
        for each in recorders:
            each.acting = who
        tensordict = policy.policy(tensordict)
        tensordict["action"] = torch.tensor([int(log.actions[step])])
        tensordict = env.step_and_maybe_reset(tensordict)[1]
    with EpisodePlayer(log, cartridge=policy.cartridge, screen="half") as player:
        player.play_to(steps)
        if player.emulator.ram_hash() != env.base_env.ram_hash(0):
            raise EpisodeLogError(
                f"after {steps:,} steps the game is not that of the log: check it with `pokered_rl verify`"
            )
        return tensordict, player.emulator.save_state()


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
    log: Path | None = None,
    continued: tuple[EpisodeLog, int] | None = None,
    on_step: Callable[[Emulator, EpisodeLog], None] | None = None,
) -> int:
    """Play and show an agent's game until the viewer wants to end; the viewer may take the buttons for a while.

    Args:
        policy: The agent; newer weights of its run are loaded at each step.
        viewer: Where the game is shown.
        epsilon: Rate of random actions; 0 is greedy.
        seed: Of the start states.
        speed: 1 is the console's speed, 0 without waiting.
        every: Frames from picture to picture.
        max_steps: Steps after which to end.
        max_episodes: Episodes after which to end.
        log: Folder for the logs of the episodes; None keeps none.
        continued: An episode that the viewer takes over after so many of its steps.
        on_step: Called after each step with an emulator in the state of the game, and with the log so far.

    Returns:
        The number of steps played, without those of the episode that was taken over.

    Raises:
        EpisodeLogError: The episode to continue is not played as it was, or with other actions than the policy's.
    """
    import torch
    from torchrl.envs import ExplorationType, set_exploration_type

    from pokered_rl.envs import EpisodeRecorder
    from pokered_rl.episodes import load_start_state
    from pokered_rl.errors import EpisodeLogError

    names = policy.config.env.actions
    recorder = {"folder": log, "run_name": policy.config.run.name, "acting": "policy"} if log is not None else None
    changes: dict[str, Any] = {}
    if continued is not None:
        header = continued[0].header
        if header.actions != tuple(names):
            raise EpisodeLogError(
                f"the episode was played with the actions {', '.join(header.actions)}, the policy has"
                f" {', '.join(names)}: take over an episode of the policy's own run"
            )
        timing = ("frames_per_action", "hold_frames", "wait_while_busy", "max_wait_frames")
        changes = {name: getattr(header, name) for name in timing} | {"max_episode_steps": None}
        changes |= {"start_states": load_start_state(continued[0]), "terminate_at_hall_of_fame": False}
    env = policy.make_env(epsilon=epsilon, seed=seed, recorder=recorder, **changes)
    recorders = [each for each in env.transform if isinstance(each, EpisodeRecorder)]
    taken = continued is not None
    mirror = _Mirror(env.base_env, viewer, speed=speed, every=every)
    mode = ExplorationType.RANDOM if epsilon else ExplorationType.DETERMINISTIC
    played, episode, total = 0, 0, 0.0
    try:
        with torch.no_grad(), set_exploration_type(mode):
            tensordict = env.reset()
            mirror.begin(env.base_env.start_state(0))
            if continued is not None:
                replayed = _replay(
                    *continued,
                    policy=policy,
                    env=env,
                    recorders=recorders,
                    viewer=viewer,
                    tensordict=tensordict,
                )
                if replayed is None:
                    return 0
                tensordict, state = replayed
                total = float(continued[0].rewards[: continued[1]].sum())
                mirror.begin(state)
            while (max_steps is None or played < max_steps) and (pressed := viewer.pressed()) != "quit":
                policy.reload()
                tensordict = policy.policy(tensordict)
                taken ^= pressed == "take"
                while taken and pressed not in names:
                    viewer.caption("you have the buttons; T gives them back to the agent")
                    time.sleep(0.01)
                    if (pressed := viewer.pressed()) == "take":
                        taken = False
                    elif pressed == "quit":
                        return played
                if taken:
                    tensordict["action"] = torch.tensor([names.index(str(pressed))])
                for each in recorders:
                    each.acting = "person" if taken else "policy"
                    each.weights_sha256 = policy.weights_sha256
                tensordict, following = env.step_and_maybe_reset(tensordict)
                after = tensordict["next"]
                mirror.step(int(tensordict["action"][0]), int(after["wait_frames"][0]))
                played, total = played + 1, total + float(after["reward"][0])
                who = "you" if taken else f"weights of step {policy.steps:,}"
                viewer.caption(
                    f"{who}  episode {episode + 1}, step {int(after['step_count'][0])}  "
                    f"{names[int(tensordict['action'][0])]:6s} return {total:.2f}"
                )
                so_far = recorders[0].log_so_far(0) if recorders and on_step is not None else None
                if on_step is not None and so_far is not None:
                    on_step(mirror.emulator, so_far)
                if bool(after["done"][0]):
                    episode, total = episode + 1, 0.0
                    if episode == max_episodes:
                        break
                    mirror.begin(env.base_env.start_state(0))
                elif mirror.emulator.ram_hash() != env.base_env.ram_hash(0):
                    raise RuntimeError("the pictures are not those of the agent's game: please report this as a fault")
                tensordict = following
    finally:
        mirror.emulator.close()
        env.close()
    return played


def _parse(argv: Sequence[str] | None, program: str | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog=program, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("source", type=Path, help="run folder, online_params.pt with config.yaml beside it, checkpoint")
    parser.add_argument("--epsilon", type=float, default=0.01, help="rate of random actions; 0 is greedy (%(default)s)")
    parser.add_argument("--seed", type=int, help="of start states; other games each time by default")
    parser.add_argument("--speed", type=float, default=1.0, help="1 is the console's speed, 0 without waiting")
    parser.add_argument("--steps", type=int, metavar="N", help="end after N agent steps")
    parser.add_argument("--episodes", type=int, metavar="N", help="end after N episodes")
    parser.add_argument("--log", type=Path, metavar="FOLDER", help="keep the episodes as logs")
    parser.add_argument("--rom", help="the ROM to play (as in the run)")
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--terminal", action="store_true", help="in the terminal (the default without a display)")
    where.add_argument("--window", action="store_true", help="in a window (the default with a display)")
    parser.add_argument("--scale", type=int, default=4, help="size of a console pixel in the window (%(default)s)")
    options = parser.parse_args(argv)
    if not 0 <= options.epsilon <= 1 or options.speed < 0 or options.scale < 1:
        parser.error("--epsilon must be in 0..1, --speed 0 or more, --scale 1 or more")
    return options


@command(remedy="give another run")
def main(argv: Sequence[str] | None = None, *, program: str | None = None) -> int:
    """Watch an agent; arguments and result as for :func:`pokered_rl.cli.main`."""
    options = _parse(argv, program)
    in_window = options.window or (has_display() and not options.terminal)
    limits: dict[str, Any] = {
        "epsilon": options.epsilon,
        "seed": options.seed,
        "speed": options.speed,
        "max_steps": options.steps,
        "max_episodes": options.episodes,
        "log": options.log,
    }
    check_source(options.source)
    if options.log is not None:
        check_writable(options.log, option="--log")

    from pokered_rl.training import load_policy

    policy = load_policy(options.source, cartridge=options.rom)
    if in_window:
        played = watch(policy, Window(options.scale), every=1, **limits)
    else:
        with raw_terminal():
            played = watch(policy, Terminal(), every=4, **limits)
    sys.stdout.write(f"{played} steps\n")
    return 0
