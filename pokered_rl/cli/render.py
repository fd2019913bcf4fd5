"""Render episode logs to full-length videos.

    pokered_rl render runs/quickstart
    pokered_rl render runs/quickstart --best 3 --last 1 --palette green --scale 3
    pokered_rl render runs/quickstart --last 1 --values runs/quickstart
    pokered_rl render runs/quickstart --grid --last 16 --scale 1 --speed 4
    pokered_rl render "runs/*/episode_logs/0000001*.episode" --out videos --fps 30 --speed 4

Every episode is replayed from its logged start state and its actions; its RAM is compared with the hashes in the log on
the way and after the last step. A finished video is skipped, a bad log is reported and the others go on.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from pokered_rl.disk import check_writable
from pokered_rl.failures import command
from pokered_rl.terminal import make_console

if TYPE_CHECKING:
    from rich.console import Console

    from pokered_rl.emulator import Cartridge
    from pokered_rl.record.batch import RenderJob, RenderOutcome, ShownValues
    from pokered_rl.record.render import RenderOptions

__all__ = ["add_palette_argument", "check_palette", "main"]

_DEFAULT_PALETTE = "grey"


def add_palette_argument(parser: argparse._ActionsContainer) -> None:
    """Add ``--palette``; checked after parsing, since the module that has its values takes seconds to import."""
    parser.add_argument(
        "--palette", default=_DEFAULT_PALETTE, metavar="NAME", help="grey, green, pocket, amber or night"
    )


def check_palette(parser: argparse.ArgumentParser, name: str) -> None:
    """End the parser with exit status 2 and a message unless a palette has this name."""
    if name == _DEFAULT_PALETTE:
        return
    from pokered_rl.record.palettes import PALETTES

    if name not in PALETTES:
        parser.error(f"--palette must be one of {', '.join(PALETTES)}, got {name!r}")


def _parse(argv: Sequence[str] | None, program: str | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog=program,
        description=(__doc__ or "").partition("\n")[0],
        epilog="exit status: 0 all videos are there, 1 at least one is not, 2 wrong arguments, 130 interrupted",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("sources", nargs="*", metavar="SOURCE", help="run folders, log files or glob patterns")
    parser.add_argument("--logs", nargs="+", default=[], metavar="SOURCE", help="the same, as an option")
    parser.add_argument("--rom", help="the ROM that was played; by default the one with the logged SHA-1 is looked for")
    parser.add_argument("--out", type=Path, help="folder for the videos (default: videos/ in the run folder)")
    which = parser.add_argument_group("which episodes")
    which.add_argument("--best", type=int, metavar="N", help="the N with the highest return")
    which.add_argument("--last", type=int, metavar="N", help="the N most recent")
    which.add_argument("--every", type=int, metavar="N", help="each N-th")
    which.add_argument("--from", dest="first_step", type=int, default=0, metavar="STEP", help="first agent step shown")
    which.add_argument("--to", dest="last_step", type=int, metavar="STEP", help="agent step before which to stop")
    layout = which.add_mutually_exclusive_group()
    layout.add_argument("--joined", action="store_true", help="one video for each emulator, its episodes in order")
    layout.add_argument("--grid", action="store_true", help="one video in which all of them play at once")
    look = parser.add_argument_group("how they look")
    look.add_argument("--fps", type=float, help="frames per second; the console's 59.7275 by default, 30 halves them")
    look.add_argument("--speed", type=float, default=1.0, help="2 plays twice as fast")
    look.add_argument("--scale", type=int, default=2, help="size of a console pixel")
    add_palette_argument(look)
    look.add_argument("--no-panel", dest="panel", action="store_false", help="leave the side panel out")
    look.add_argument("--values", metavar="RUN", help="show the action values of the network of this run or checkpoint")
    look.add_argument("--sound", action="store_true", help="with the game's sound, at speed 1; not with --grid")
    look.add_argument("--qp", type=int, default=18, help="H.264 quantizer, 1 (best) to 51")
    look.add_argument("--preset", default="ultrafast", help="H.264 preset; slower ones make smaller files")
    parser.add_argument("--workers", type=int, help="processes (default: one per core)")
    options = parser.parse_args(argv)
    check_palette(parser, options.palette)
    options.sources += options.logs
    if not options.sources:
        parser.error("no logs named: give a run folder, log files or a glob pattern")
    if options.values and (options.grid or not options.panel):
        parser.error("--values are shown in the panel, which --grid and --no-panel leave out")
    if options.sound and options.grid:
        parser.error("--sound: the episodes of a --grid would be heard all at once; leave one of them out")
    return options


def _values(source: str, cartridge: Cartridge | None) -> ShownValues:
    from pokered_rl.record.batch import ShownValues
    from pokered_rl.training import load_policy

    policy = load_policy(source, cartridge=cartridge)
    return ShownValues(of=policy.action_values, name=policy.weights_sha256)


def _output_folder(source: str) -> Path:
    """Return ``videos/`` in the run folder to which a source belongs, else in the working directory."""
    from pokered_rl.episodes import EPISODE_FOLDER

    path = Path(source)
    for folder in (path, *path.parents):
        if folder.name == EPISODE_FOLDER:
            return folder.parent / "videos"
        if (folder / EPISODE_FOLDER).is_dir():
            return folder / "videos"
    return Path("videos")


class _Reporter:
    """Show progress and outcomes on the console; keep the errors."""

    def __init__(self, console: Console, errors: list[str], *, whole: bool) -> None:
        self._console, self._errors = console, errors
        self._end = ", the one at the end included" if whole else ""

    def error(self, text: str) -> None:
        """Print an error."""
        self._console.print(text, style="red", markup=False, soft_wrap=True)

    def outcome(self, outcome: RenderOutcome) -> None:
        """Print what became of a video."""
        result = outcome.result
        if outcome.error is not None:
            self._errors.append(outcome.error)
            self.error(outcome.error)
        elif result is None:
            self._console.print(f"{outcome.out}: finished earlier, skipped", style="dim", markup=False, soft_wrap=True)
        else:
            self._console.print(
                f"{outcome.out}: {result.frames} frames, all {result.hashes_checked} RAM hashes equal{self._end}"
                f" ({result.frames / result.seconds:,.0f} frames/s)",
                markup=False,
                soft_wrap=True,
            )

    def render(
        self,
        jobs: list[RenderJob],
        options: RenderOptions,
        *,
        cartridge: Cartridge | None,
        workers: int | None,
        values: ShownValues | None,
    ) -> None:
        """Render all jobs."""
        from pokered_rl.record.batch import render_jobs

        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("frames"))
        with Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=self._console) as progress:
            task = progress.add_task("rendering", total=sum(job.frames(options) for job in jobs))

            def on_progress(frames: int, outcome: RenderOutcome | None) -> None:
                progress.advance(task, frames)
                if outcome is not None:
                    self.outcome(outcome)

            render_jobs(
                jobs, options=options, cartridge=cartridge, workers=workers, values=values, on_progress=on_progress
            )


@command(
    remedy="choose another place with --out",
    interrupted="interrupted; finished videos stay, the rest can be rendered later",
)
def main(argv: Sequence[str] | None = None, *, program: str | None = None) -> int:
    """Render episodes; arguments and result as for :func:`pokered_rl.cli.main`."""
    arguments = _parse(argv, program)

    console = make_console(stderr=True)
    errors: list[str] = []
    report = _Reporter(console, errors, whole=arguments.last_step is None)
    out = arguments.out or _output_folder(arguments.sources[0])
    check_writable(out, option="--out")

    from pokered_rl.emulator import Cartridge
    from pokered_rl.episodes import find_logs
    from pokered_rl.record.batch import grid_job, joined_jobs, load_logs, select_logs, single_jobs
    from pokered_rl.record.render import RenderOptions
    from pokered_rl.record.video import check_encoder

    check_encoder()
    options = RenderOptions(
        scale=arguments.scale,
        palette=arguments.palette,
        fps=arguments.fps,
        speed=arguments.speed,
        panel=arguments.panel,
        first_step=arguments.first_step,
        last_step=arguments.last_step,
        qp=arguments.qp,
        preset=arguments.preset,
        sound=arguments.sound,
    )
    cartridge = Cartridge.find(arguments.rom, allow_unknown=True) if arguments.rom else None
    logs, unreadable = load_logs(find_logs(arguments.sources))
    logs = select_logs(logs, best=arguments.best, last=arguments.last, every=arguments.every)
    make_jobs = joined_jobs if arguments.joined else grid_job if arguments.grid else single_jobs
    jobs = make_jobs(logs, out)
    values = _values(arguments.values, cartridge) if arguments.values else None
    for text in unreadable:
        errors.append(text)
        report.error(text)
    report.render(jobs, options, cartridge=cartridge, workers=arguments.workers, values=values)
    if errors:
        console.print(f"{len(errors)} of the logs gave no video", style="red")
        return 1
    return 0
