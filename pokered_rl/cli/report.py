"""Write one self-contained HTML page about a run: curves, maps with a time slider, milestones, videos, config.

    pokered_rl report runs/quickstart
    pokered_rl report runs/seed0 --seeds runs/seed1 runs/seed2
    pokered_rl report runs/quickstart --out report.html --episodes 100 --speed 8

The episodes on the page are replayed and their RAM hashes checked.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from rich.progress import Progress

from pokered_rl.cli.render import add_palette_argument, check_palette
from pokered_rl.disk import check_writable
from pokered_rl.errors import PokeredError
from pokered_rl.failures import check_source, command
from pokered_rl.terminal import make_console

__all__ = ["main"]


def _parse(argv: Sequence[str] | None, program: str | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog=program,
        description=(__doc__ or "").partition("\n")[0],
        epilog="exit status: 0 the page is written, 1 a log is bad (the page says which) or there is no page, "
        "2 wrong arguments, 130 interrupted",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("run", type=Path, help="run folder")
    parser.add_argument("--out", type=Path, help="the page (default: report.html in the run folder)")
    parser.add_argument("--rom", help="the ROM that was played; by default the one with the logged SHA-1 is looked for")
    parser.add_argument(
        "--seeds", nargs="+", default=[], type=Path, metavar="RUN", help="runs with other seeds, for curves with a band"
    )
    parser.add_argument("--workers", type=int, help="processes (default: one per core)")
    parser.add_argument("--episodes", type=int, default=40, help="replay at most this many episodes")
    parser.add_argument("--speed", type=float, default=4.0, help="of the embedded videos")
    parser.add_argument("--fps", type=float, default=30.0, help="of the embedded videos")
    parser.add_argument("--scale", type=int, default=2, help="of the embedded videos")
    add_palette_argument(parser)
    options = parser.parse_args(argv)
    check_palette(parser, options.palette)
    return options


@command(remedy="choose another place with --out")
def main(argv: Sequence[str] | None = None, *, program: str | None = None) -> int:
    """Write a report; arguments and result as for :func:`pokered_rl.cli.main`."""
    arguments = _parse(argv, program)
    console = make_console(stderr=True)
    out = arguments.out or arguments.run / "report.html"
    if not arguments.run.is_dir():
        raise PokeredError(f"there is no run folder {arguments.run}")
    for run in arguments.seeds:
        check_source(run)
    check_writable(out, option="--out", is_file=True)

    from pokered_rl.emulator import Cartridge
    from pokered_rl.record.render import RenderOptions
    from pokered_rl.record.report import write_report

    cartridge = Cartridge.find(arguments.rom, allow_unknown=True) if arguments.rom else None
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task("reading", total=None)

        def on_progress(what: str, done: int, total: int) -> None:
            progress.update(task, description=what, completed=done, total=total)

        result = write_report(
            arguments.run,
            out,
            cartridge=cartridge,
            seeds=arguments.seeds,
            most_replays=arguments.episodes,
            workers=arguments.workers,
            videos=RenderOptions(
                fps=arguments.fps, speed=arguments.speed, scale=arguments.scale, palette=arguments.palette
            ),
            on_progress=on_progress,
        )
    for text in result.errors:
        console.print(text, style="red", markup=False, soft_wrap=True)
    size = result.path.stat().st_size / 2**20
    console.print(f"{result.path}: {result.replayed} episodes replayed, {size:.1f} MiB", markup=False, soft_wrap=True)
    return 1 if result.errors else 0
