"""Play by hand and record an episode log.

    pokered_rl play                              # in a window; arrows, X = A, Z = B, Enter = START
    pokered_rl play --terminal                   # in the terminal; the same keys, and W A S D to walk
    pokered_rl play --rom roms/pokemon_red.gb --log runs/by_hand/episode_logs
    pokered_rl play --continue runs/by_hand/episode_logs/LOG.episode

One key is one agent step: the button is held for a while, and the step ends when the game reads its buttons again, as
for an agent. Milestones are shown as they are reached. The log can be rendered and proved. Q or Escape ends.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pokered_rl.cli.screens import Terminal, Window, raw_terminal
from pokered_rl.disk import check_writable
from pokered_rl.failures import command

if TYPE_CHECKING:
    from pokered_rl.emulator import ActionTiming, Cartridge, SaveState

__all__ = ["main"]

_ACTIONS = ("noop", "a", "b", "start", "select", "right", "left", "up", "down")


def _start(cartridge: Cartridge, before: Path | None) -> SaveState:
    """Return the playable start of the game, or the state in which a log ends."""
    from pokered_rl.emulator import Emulator, boot
    from pokered_rl.episodes import EpisodeLog, EpisodePlayer

    if before is None:
        with Emulator(cartridge) as emulator:
            return boot(emulator)
    log = EpisodeLog.load(before)
    with EpisodePlayer(log, cartridge=cartridge) as player:
        player.play_to(log.steps)
        return player.emulator.save_state()


def _play(
    screen: Terminal | Window, *, cartridge: Cartridge, start: SaveState, folder: Path, timing: ActionTiming
) -> Path | None:
    """Play until the player ends it; return the path of the log, None if nothing was pressed."""
    from pokered_rl.data.verification import MilestoneFinder
    from pokered_rl.emulator import PYBOY_VERSION, ActionSet, EmulatorPool
    from pokered_rl.envs.transforms.episode_recorder import MILESTONE_RULE
    from pokered_rl.episodes import EpisodeFolder, EpisodeHeader, EpisodeLogWriter, Outcome
    from pokered_rl.game import FULL_LAYOUT
    from pokered_rl.observations import unpack_shades

    actions = ActionSet(_ACTIONS)
    logs = EpisodeFolder(folder)
    header = EpisodeHeader(
        run_name="by_hand",
        worker=0,
        emulator=0,
        global_step=int(time.time()),
        cartridge_sha1=cartridge.sha1,
        cartridge_title=cartridge.title,
        pyboy_version=PYBOY_VERSION,
        state_version=start.state_version,
        start_state_sha256=logs.add_start_state(start),
        actions=actions.names,
        frames_per_action=timing.frames_per_action,
        hold_frames=timing.hold_frames,
        start_unix_seconds=time.time(),
        milestone_rule=MILESTONE_RULE,
        chain_ranges=tuple(address for span in FULL_LAYOUT.ranges for address in span),
    )
    with EmulatorPool(cartridge, num_emulators=1, actions=actions, timing=timing, screen="full") as pool:
        first = pool.reset([0], [start])
        writer = EpisodeLogWriter(folder=logs.path, header=header, start_ram_hash=pool.ram_hash(0))
        writer.set_acting("person")
        finder = MilestoneFinder(cartridge.profile)
        places = [address for span in finder.LAYOUT.ranges for address in range(*span)]
        columns = [FULL_LAYOUT.column(address) for address in places]
        finder.show(np.asarray(first.ram[0])[columns])
        screen.show(unpack_shades(np.asarray(first.pixels[0])))
        while (name := screen.key()) != "quit":
            if name is None or name == "take":
                continue
            action = actions.index(name)
            step = pool.step([action])
            writer.step(action, wait_frames=int(step.wait_frames[0]), reward=0.0, ram=step.ram[0])
            if writer.ram_hash_due:
                writer.add_ram_hash(pool.ram_hash(0))
            screen.show(unpack_shades(np.asarray(step.pixels[0])))
            known = len(finder.found)
            finder.show(np.asarray(step.ram[0])[columns])
            for milestone in finder.found[known:]:
                writer.add_milestone(milestone.name)
            if finder.found:
                last = finder.found[-1]
                screen.caption(
                    f"step {writer.steps:,}; milestone {len(finder.found)}: {last.name} (step {last.step:,})"
                )
        return writer.finish(Outcome.SHUTDOWN, ram_hash=pool.ram_hash(0), end_unix_seconds=time.time())


@command(remedy="choose another place with --log")
def main(argv: Sequence[str] | None = None, *, program: str | None = None) -> int:
    """Play by hand; arguments and result as for :func:`pokered_rl.cli.main`."""
    parser = argparse.ArgumentParser(
        prog=program,
        description=(__doc__ or "").partition("\n")[0],
        epilog="exit status: 0 played, 1 the game cannot be played, 2 wrong arguments, 130 interrupted",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--rom", help="cartridge; by default the one that is found first (see roms/README.md)")
    parser.add_argument("--log", type=Path, default=Path("runs/by_hand/episode_logs"), help="folder of the log")
    parser.add_argument("--continue", dest="before", type=Path, metavar="LOG", help="begin where this log ends")
    parser.add_argument("--terminal", action="store_true", help="play in the terminal instead of a window")
    parser.add_argument("--scale", type=int, default=4, help="size of a console pixel in the window")
    parser.add_argument("--frames-per-action", type=int, default=24, help="frames of one step")
    options = parser.parse_args(argv)

    check_writable(options.log, option="--log")

    from pokered_rl.emulator import ActionTiming, Cartridge

    timing = ActionTiming(
        frames_per_action=options.frames_per_action, hold_frames=min(8, options.frames_per_action - 1)
    )
    cartridge = Cartridge.find(options.rom)
    start = _start(cartridge, options.before)
    if options.terminal:
        with raw_terminal():
            path = _play(Terminal(), cartridge=cartridge, start=start, folder=options.log, timing=timing)
    else:
        path = _play(Window(options.scale), cartridge=cartridge, start=start, folder=options.log, timing=timing)
    sys.stdout.write(f"{path}\nrender it: pokered_rl render {path}\n" if path else "nothing was pressed, no log\n")
    return 0
