"""Run this first with your own cartridge: does the library read your game right?

    python examples/check_retail.py                                   # the cartridge that is found first, else Sprout
    python examples/check_retail.py --rom roms/pokemon_red.gb --json check_retail.json
    python examples/check_retail.py --battle-state my_grass.state     # in a battle, or standing in tall grass
    python examples/check_retail.py --state shop=my_shop.state --state safari=my_safari.state
    python examples/check_retail.py --list-states                     # what the states have to show

Boots to the playable start, walks by trying directions, opens every entry of the START menu, compares what the decoder,
the classifier and the mask say with what every button really does, goes through a battle and looks at the screens for
which states are given, renders 20 seconds and measures the environment. It writes the video (and the JSON file) and
nothing else. The table that it prints is Markdown: please paste it into an issue, also where everything passes, because
the authors do not have the retail game. Exit status: 0 nothing failed, 1 something did.
"""

import argparse
import os
import platform
import subprocess
import sys
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch
from retail_check import (
    ASKED,
    Check,
    Claim,
    MaskTrial,
    Report,
    check_asked,
    check_battle,
    check_boot,
    check_decoder,
    check_repeats,
    check_rom,
    check_speed,
    check_start_menu,
    check_video,
    check_walk,
)
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from pokered_rl.cli.measurement import write_json
from pokered_rl.disk import check_writable
from pokered_rl.emulator import Cartridge, Emulator, SaveState
from pokered_rl.failures import command

_PACKAGES = ("pyboy", "torch", "torchrl", "tensordict", "numpy", "av")
_STYLES = {"pass": "green", "FAIL": "bold red", "not run": "yellow"}
_NEEDS_START = "no playable start"

#: What is checked without a state of its own; the battle takes one in tall grass, too.
_CLAIMS = {
    "cartridge": Claim(expected="a file with a known SHA-1, or a build of Sprout", source="roms.sha1"),
    "boot": Claim(
        expected="the bedroom, nobody in the party; of the retail game map 38 at (3, 6) with 3,000 money",
        source="engine/overworld/special_warps.asm, engine/movie/oak_speech/oak_speech.asm",
    ),
    "decoder": Claim(expected="possible numbers; the clock counts every frame", source="ram/wram.asm"),
    "walking": Claim(
        expected="one tile a press, the facing follows, WALKING for 16 or 17 frames, no button acts meanwhile",
        source="home/overworld.asm",
    ),
    "same again": Claim(expected="the same buttons give the same memory", source="PyBoy"),
    "START menu": Claim(
        expected="each entry opens its kind of screen, B leads back",
        source="engine/menus/start_sub_menus.asm, home/start_menu.asm",
    ),
    "battle": Claim(
        expected="its menus are told apart; outermost return 062F or 0578",
        source="engine/battle/core.asm; 39 public states",
    ),
    "masks": Claim(
        expected="no masked button acts; of the presses without effect 80% are masked",
        source="home/window.asm (HandleMenuInput)",
    ),
    "video": Claim(expected="the log plays again with every RAM hash equal", source="this library"),
    "speed": Claim(expected="a figure, no claim", source="this library"),
}


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command line; ``--help`` prints it."""
    parser = argparse.ArgumentParser(
        description=__doc__.partition("\n")[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--rom", help="cartridge; by default the one that is found first (see roms/README.md)")
    parser.add_argument("--battle-state", type=Path, metavar="FILE", help="a state in a battle or in tall grass")
    parser.add_argument(
        "--state",
        action="append",
        default=[],
        type=_named_state,
        metavar="NAME=FILE",
        help=f"a state for one of: {', '.join(ASKED)} (see --list-states); may be repeated",
    )
    parser.add_argument("--list-states", action="store_true", help="print what each state has to show, and end")
    parser.add_argument("--video", type=Path, default=Path("check_retail.mp4"), metavar="FILE", help="where it goes")
    parser.add_argument("--seconds", type=float, default=20.0, help="length of the video")
    parser.add_argument("--walk-presses", type=int, default=400, help="the most presses in search of another map")
    parser.add_argument("--speed-steps", type=int, default=200, help="steps of the speed measurement, 8 emulators")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the table there too")
    return parser.parse_args(arguments)


def _named_state(text: str) -> tuple[str, Path]:
    name, equals, path = text.partition("=")
    if name not in ASKED or not equals:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=FILE with a name of {', '.join(ASKED)}")
    return name, Path(path)


def versions() -> dict[str, str]:
    """What the table was made with."""
    return {
        "pokered_rl": _own_version(),
        **{name: version(name) for name in _PACKAGES},
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
    }


def _own_version() -> str:
    """Release and, in a checkout, commit."""
    try:
        release = version("pokered_rl")
    except PackageNotFoundError:
        release = "not installed"
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"]
    try:
        commit = subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    except OSError:
        commit = ""
    return f"{release} ({commit})" if commit else release


def _check_from_start(report: Report, cartridge: Cartridge, options: argparse.Namespace, masks: MaskTrial) -> None:
    """Everything that needs the console switched on."""
    with Emulator(cartridge) as emulator:
        start: SaveState | None = report.run("boot", partial(check_boot, emulator))
        if start is None:
            for name in ("decoder", "walking", "same again", "START menu", "video", "speed"):
                report.skip(name, _NEEDS_START)
        else:
            report.run("decoder", partial(check_decoder, emulator, start))
            report.run("walking", partial(check_walk, emulator, start, presses=options.walk_presses))
            report.run("same again", partial(check_repeats, emulator, start))
            report.run("START menu", partial(check_start_menu, emulator, start, masks))
        if options.battle_state is None:
            report.skip("battle", "no --battle-state was given")
        else:
            report.run("battle", partial(check_battle, emulator, options.battle_state, masks))
        states = dict(options.state)
        for name, asked in ASKED.items():
            if name in states:
                report.run(name, partial(check_asked, name, emulator, states[name], masks))
            else:
                report.skip(name, f"needs --state {name}=FILE: {asked.state}")
    if masks.screens:
        report.run("masks", lambda: (masks.verdict(), None))
    else:
        report.skip("masks", "no menu was reached")
    if start is not None:
        report.run("video", partial(check_video, cartridge, start, options.video, seconds=options.seconds))
        report.run("speed", partial(check_speed, cartridge, start, emulators=8, steps=options.speed_steps))


def _table(report: Report) -> Table:
    """Build a Markdown table, coloured where the terminal can."""
    table = Table(box=box.MARKDOWN)
    for column in ("check", "outcome", "expected", "source", "seen"):
        table.add_column(column, no_wrap=True)
    for line in report.lines:
        # A bar would begin another cell.
        expected, source, seen = (escape(text.replace("|", "/")) for text in (line.expected, line.source, line.seen))
        table.add_row(line.name, f"[{_STYLES[line.outcome]}]{line.outcome}[/]", expected, source, seen)
    return table


def _texts(line: Check) -> tuple[str, ...]:
    return line.name, line.outcome, line.expected, line.source, line.seen


@command(remedy="choose another place with --video or --json")
def main(arguments: list[str] | None = None) -> int:
    """The command line; exit status 0, or 1 if a check failed."""
    options = parse_arguments(arguments)
    for option, path in (("--video", options.video), ("--json", options.json)):
        if path is not None and not options.list_states:
            check_writable(path, option=option, is_file=True)
    if options.list_states:
        for name, asked in ASKED.items():
            print(f"{name:14}{asked.state}")
        return 0
    torch.set_num_threads(1)
    report, masks = Report({**_CLAIMS, **ASKED}), MaskTrial()
    cartridge: Cartridge | None = report.run("cartridge", partial(check_rom, options.rom))
    if cartridge is not None:
        _check_from_start(report, cartridge, options, masks)
    for trace in report.tracebacks:
        print(trace, file=sys.stderr)
    made_with = versions()
    # Wide enough that no line is broken: a broken one is no row in Markdown.
    widths = (max(len(text) for text in column) for column in zip(*map(_texts, report.lines), strict=True))
    console = Console(width=max(120, sum(widths) + 40))
    console.print(f"\npokered_rl check_retail: {'PASS' if report.passed else 'FAIL'}\n")
    console.print(_table(report))
    console.print("\n" + ", ".join(f"{name} {number}" for name, number in made_with.items()), markup=False)
    if options.json is not None:
        lines = [vars(line) for line in report.lines]
        write_json(options.json, {"passed": report.passed, "versions": made_with, "checks": lines})
    return 0 if report.passed else 1


if __name__ == "__main__":
    sys.exit(main())
