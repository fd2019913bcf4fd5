"""Render episode logs to full-length videos.

    python examples/render_episodes.py runs/quickstart
    python examples/render_episodes.py runs/quickstart --best 3 --last 1 --palette green --scale 3
    python examples/render_episodes.py runs/quickstart --last 1 --values runs/quickstart
    python examples/render_episodes.py runs/quickstart --grid --last 16 --scale 1 --speed 4
    python examples/render_episodes.py "runs/*/episode_logs/0000001*.episode" --out videos --fps 30 --speed 4

Every episode is played again from its logged start state and its actions; its RAM is compared with the hashes in the
log on the way and after the last step. A video that is finished already is skipped, a bad log is reported and the
others go on. Exit status: 0 all videos are there, 1 at least one is not, 130 interrupted.
"""

import argparse
import sys
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from pokered_rl.emulator import Cartridge
from pokered_rl.episodes import EPISODE_FOLDER, find_logs
from pokered_rl.errors import PokeredError
from pokered_rl.record.batch import ShownValues, grid_job, joined_jobs, load_logs, render_jobs, select_logs, single_jobs
from pokered_rl.record.palettes import PALETTES
from pokered_rl.record.render import RenderOptions


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command line; ``--help`` prints it."""
    parser = argparse.ArgumentParser(
        description=__doc__.partition("\n")[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("sources", nargs="*", metavar="SOURCE", help="run folders, log files or glob patterns")
    parser.add_argument("--logs", nargs="+", default=[], metavar="SOURCE", help="the same, as an option")
    parser.add_argument("--rom", help="the ROM that was played; by default the one with the logged SHA-1 is looked for")
    parser.add_argument("--out", type=Path, help="folder for the videos (default: videos/ in the run folder)")
    which = parser.add_argument_group("which episodes")
    which.add_argument("--best", type=int, metavar="N", help="the N with the highest return")
    which.add_argument("--last", type=int, metavar="N", help="the N last ones")
    which.add_argument("--every", type=int, metavar="N", help="each N-th")
    which.add_argument("--from", dest="first_step", type=int, default=0, metavar="STEP", help="first agent step shown")
    which.add_argument("--to", dest="last_step", type=int, metavar="STEP", help="agent step before which to stop")
    layout = which.add_mutually_exclusive_group()
    layout.add_argument("--joined", action="store_true", help="one video for each emulator, its episodes in order")
    layout.add_argument("--grid", action="store_true", help="one video in which all of them play at once")
    look = parser.add_argument_group("how they look")
    look.add_argument("--fps", type=float, help="pictures a second; the console's 59.7275 by default, 30 halves them")
    look.add_argument("--speed", type=float, default=1.0, help="2 plays twice as fast")
    look.add_argument("--scale", type=int, default=2, help="size of a console pixel")
    look.add_argument("--palette", choices=list(PALETTES), default="grey", help="colours of the four shades")
    look.add_argument("--no-panel", dest="panel", action="store_false", help="leave the side panel away")
    look.add_argument(
        "--values",
        metavar="RUN",
        help="what the network of this run or checkpoint thinks of each action",
    )
    look.add_argument("--sound", action="store_true", help="with the game's sound, at speed 1; not with --grid")
    look.add_argument("--qp", type=int, default=18, help="H.264 quantizer, 1 (best) to 51")
    look.add_argument("--preset", default="ultrafast", help="H.264 preset; slower ones make smaller files")
    parser.add_argument("--workers", type=int, help="processes (default: one a core)")
    parsed = parser.parse_args(arguments)
    if parsed.values and (parsed.grid or not parsed.panel):
        parser.error("--values are shown in the panel, which --grid and --no-panel leave away")
    if parsed.sound and parsed.grid:
        parser.error("--sound: the episodes of a --grid would be heard all at once; leave one of them away")
    return parsed


def shown_values(source: str, cartridge: Cartridge | None) -> ShownValues:
    """The opinion of a trained network, for the panel."""
    from pokered_rl.training import load_policy

    policy = load_policy(source, cartridge=cartridge)
    return ShownValues(of=policy.action_values, name=policy.weights_sha256)


def output_folder(source: str) -> Path:
    """``videos/`` in the run folder to which a source belongs, else in the working directory."""
    path = Path(source)
    for folder in (path, *path.parents):
        if folder.name == EPISODE_FOLDER:
            return folder.parent / "videos"
        if (folder / EPISODE_FOLDER).is_dir():
            return folder / "videos"
    return Path("videos")


def main() -> int:
    """Renders what the command line asks for and returns the exit status."""
    arguments = parse_arguments()
    sources = [*arguments.sources, *arguments.logs]
    console = Console(stderr=True)
    if not sources:
        console.print("[red]no logs named:[/] give a run folder, log files or a glob pattern", soft_wrap=True)
        return 2
    out = arguments.out or output_folder(sources[0])
    try:
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
        logs, errors = load_logs(find_logs(sources))
        logs = select_logs(logs, best=arguments.best, last=arguments.last, every=arguments.every)
        make_jobs = joined_jobs if arguments.joined else grid_job if arguments.grid else single_jobs
        jobs = make_jobs(logs, out)
        values = shown_values(arguments.values, cartridge) if arguments.values else None
    except PokeredError as error:
        console.print(str(error), style="red", markup=False, soft_wrap=True)
        return 1
    for error in errors:
        console.print(error, style="red", markup=False, soft_wrap=True)

    progress = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("pictures"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
    )
    with progress:
        task = progress.add_task("rendering", total=sum(job.pictures(options) for job in jobs))

        def on_progress(pictures, outcome):
            progress.advance(task, pictures)
            if outcome is None:
                return
            if outcome.error is not None:
                errors.append(outcome.error)
                console.print(outcome.error, style="red", markup=False, soft_wrap=True)
            elif outcome.skipped:
                console.print(f"{outcome.out}: finished earlier, skipped", style="dim", markup=False, soft_wrap=True)
            else:
                result = outcome.result
                rate = result.pictures / result.seconds
                console.print(
                    f"{outcome.out}: {result.pictures} pictures, all {result.hashes_checked} RAM hashes equal"
                    f"{', the one at the end included' if options.last_step is None else ''} ({rate:,.0f} pictures/s)",
                    markup=False,
                    soft_wrap=True,
                )

        try:
            render_jobs(
                jobs,
                options=options,
                cartridge=cartridge,
                workers=arguments.workers,
                values=values,
                on_progress=on_progress,
            )
        except KeyboardInterrupt:
            console.print("interrupted; finished videos stay, the rest can be rendered later", style="yellow")
            return 130
    if errors:
        console.print(f"{len(errors)} of the logs gave no video", style="red")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
