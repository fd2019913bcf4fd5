"""Show the archive of states of a run: its levels, where its cells are, what was reached from them.

pokered_rl curriculum runs/quickstart
pokered_rl curriculum runs/quickstart --map cells.png
pokered_rl curriculum runs/quickstart --export states --best 20
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pokered_rl.disk import check_writable
from pokered_rl.errors import PokeredError
from pokered_rl.failures import command
from pokered_rl.terminal import make_console

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from rich.table import Table

    from pokered_rl.envs.curriculum import Cell, StateArchive
    from pokered_rl.game import CartridgeProfile

__all__ = ["main"]


def _parse(argv: Sequence[str] | None, program: str | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog=program,
        description=(__doc__ or "").partition("\n")[0],
        epilog="exit status: 0 shown, 1 there is no archive or a file cannot be written, 2 wrong arguments",
    )
    parser.add_argument("run", type=Path, help="run folder")
    parser.add_argument("--map", type=Path, metavar="PNG", help="draw the cells on their maps")
    parser.add_argument("--export", type=Path, metavar="FOLDER", help="write save states for env.start_states")
    parser.add_argument("--best", type=int, default=20, metavar="N", help="how many to export (default: %(default)s)")
    return parser.parse_args(argv)


@command(remedy="choose another place")
def main(argv: Sequence[str] | None = None, *, program: str | None = None) -> int:
    """Show an archive; arguments and result as for :func:`pokered_rl.cli.main`."""
    arguments = _parse(argv, program)
    if not arguments.run.is_dir():
        raise PokeredError(f"there is no run folder {arguments.run}")
    if arguments.map is not None:
        check_writable(arguments.map, option="--map", is_file=True)
    if arguments.export is not None:
        check_writable(arguments.export, option="--export")

    from pokered_rl.envs import StateArchive
    from pokered_rl.training.run_folder import RunFolder

    folder = RunFolder(arguments.run).curriculum
    if not folder.is_dir():
        raise PokeredError(f"there is no archive of states in {folder}; a run with curriculum=on has one")
    archive = StateArchive(folder=folder, writer="reader")
    archive.load()
    profile = _profile(arguments.run)
    console = make_console()
    console.print(_table(archive, profile))
    if arguments.map is not None:
        _draw(archive, profile).savefig(arguments.map, dpi=120)
        console.print(f"the cells are drawn in {arguments.map}", markup=False)
    if arguments.export is not None:
        console.print(
            f"{_export(archive, arguments.export, arguments.best)} states are in {arguments.export}", markup=False
        )
    return 0


def _profile(run: Path) -> CartridgeProfile:
    """Return the tables of the cartridge that the run played, Red's where that is not known."""
    from pokered_rl.emulator import Cartridge
    from pokered_rl.errors import CartridgeError
    from pokered_rl.game import CartridgeProfile
    from pokered_rl.training.load_config import read_config
    from pokered_rl.training.run_folder import RunFolder

    config = read_config(RunFolder(run).config)
    try:
        return Cartridge.find(config.env.cartridge, allow_unknown=True).profile
    except CartridgeError:
        return CartridgeProfile.get("red")


def _table(archive: StateArchive, profile: CartridgeProfile) -> Table:
    from rich.table import Table

    levels: dict[str, list[Cell]] = {}
    for cell in archive.cells.values():
        levels.setdefault(cell.level, []).append(cell)
    table = Table(
        title=f"{len(archive):,} cells, {archive.num_states:,} states ({archive.num_bytes / 1e6:.1f} MB), "
        f"{len(levels)} levels"
    )
    for name, side in (("events", "right"), ("newest", "left"), ("cells", "right"), ("states", "right")):
        table.add_column(name, justify=side)  # type: ignore[arg-type]
    for name in ("starts", "got further", "least steps", "power-on ends here"):
        table.add_column(name, justify="right")
    stops = sum(archive.level_stops.values())
    for level, cells in sorted(levels.items(), key=lambda item: (item[1][0].story, item[0])):
        starts, ends, successes = (sum(getattr(cell, name) for cell in cells) for name in _COUNTS)
        first = min(cells, key=lambda cell: cell.depth_steps)
        table.add_row(
            str(first.story),
            ", ".join(_newest(archive, level, first, profile)) or "-",
            f"{len(cells):,}",
            f"{sum(len(cell.states) for cell in cells):,}",
            f"{starts:,}",
            f"{successes / ends:.0%}" if ends else "-",
            f"{first.depth_steps:,}",
            f"{archive.level_stops[level] / stops:.0%}" if level in archive.level_stops else "-",
        )
    return table


_COUNTS = ("starts", "ends", "successes")


def _newest(archive: StateArchive, level: str, first: Cell, profile: CartridgeProfile) -> list[str]:
    """Return the names of the events that the level has beyond the one it was first reached from."""
    parent = archive.cells.get(first.parent)
    while parent is not None and parent.level == level:
        parent = archive.cells.get(parent.parent)
    before = archive.level_events.get(parent.level, ()) if parent is not None else ()
    fresh = sorted(set(archive.level_events.get(level, ())) - set(before))
    return [profile.events.name(bit).removeprefix("EVENT_") for bit in fresh]


def _draw(archive: StateArchive, profile: CartridgeProfile) -> Figure:
    """Draw each cell on its map: colour is the share of starts that got further, size the starts."""
    import numpy as np
    from matplotlib.figure import Figure

    by_map: dict[int, list[Cell]] = {}
    for cell in archive.cells.values():
        by_map.setdefault(cell.map_id, []).append(cell)
    columns = min(4, max(1, len(by_map)))
    lines = max(1, -(-len(by_map) // columns))
    figure = Figure(figsize=(3.4 * columns, 3.2 * lines), layout="constrained")
    grid = np.atleast_1d(figure.subplots(lines, columns, squeeze=False)).reshape(-1)
    points = None
    for axes, (map_id, cells) in zip(grid, sorted(by_map.items()), strict=False):
        rates = [(cell.successes + 1) / (cell.ends + 2) for cell in cells]
        sizes = [12 + 6 * np.sqrt(cell.starts) for cell in cells]
        points = axes.scatter(
            [cell.x for cell in cells], [cell.y for cell in cells], c=rates, s=sizes, cmap="viridis", vmin=0, vmax=1
        )
        axes.set_title(f"{profile.maps.name(map_id)}: {len(cells)} cells", fontsize=9)
        axes.invert_yaxis()
        axes.set_aspect("equal", adjustable="datalim")
        axes.tick_params(labelsize=7)
    for axes in grid[len(by_map) :]:
        axes.set_axis_off()
    if points is not None:
        figure.colorbar(points, ax=list(grid), label="share of starts that got further", shrink=0.6)
    return figure


def _export(archive: StateArchive, folder: Path, most: int) -> int:
    """Write the cheapest state of the cells with the most events; return how many were written."""
    cells = sorted(
        (cell for cell in archive.cells.values() if cell.states), key=lambda cell: (-cell.story, cell.depth_steps)
    )
    folder.mkdir(parents=True, exist_ok=True)
    written = 0
    for cell in cells[:most]:
        start = archive.start_in(cell)
        if start is not None:
            start.state.save(folder / f"{cell.story:02d}-map{cell.map_id:03d}-{cell.key}.state")
            written += 1
    return written
