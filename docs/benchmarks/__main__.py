"""Measure speed as ratios to a limit: every row runs ours and its limit in turn, in one process tree.

    python examples/benchmark.py                      # all rows, under 12 minutes on 2 cores
    python examples/benchmark.py --quick --only env emulator
    python examples/benchmark.py --json docs/benchmarks/results/benchmark.json
    python examples/benchmark.py --sweep --json docs/benchmarks/results/sweep.json
    python examples/benchmark.py --device cuda        # learner, sampler and both with arriving sequences, on a GPU
    python examples/benchmark.py --python other/bin/python    # bare PyBoy of another environment against ours

A ratio of 1.0 means as fast as the limit (for `peer`: as fast as the peer; larger is faster). Absolute figures depend
on the machine; the ratio is the result. Rounds alternate, so that drift of the machine affects both alike.
"""

import argparse
import importlib
import logging
import sys
from collections.abc import Iterator
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from pairs import Row
from pokered_rl.cli.measurement import provenance, write_json

#: Module of each row, imported when it is measured: a machine for another row may lack what it needs.
ROWS = {
    "emulator": "emulation",
    "env": "emulation",
    "collector_tiny": "acting",
    "collector_base": "acting",
    "peer": "peers",
    "replay": "learning",
    "learner": "learning",
    "render": "rendering",
}


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="benchmark.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="+", choices=list(ROWS), metavar="ROW", help=f"of {', '.join(ROWS)}")
    parser.add_argument("--quick", action="store_true", help="fewer rounds and smaller sizes: about 4 minutes")
    parser.add_argument("--sweep", action="store_true", help="instead: workers x emulators, and which are best here")
    parser.add_argument(
        "--device", type=torch.device, help="instead: learner and sampler there (cpu tries the program)"
    )
    parser.add_argument(
        "--rate", type=float, default=40_000.0, metavar="STEPS", help="agent steps a second that arrive with --device"
    )
    parser.add_argument("--python", type=Path, metavar="FILE", help="instead: bare PyBoy under that interpreter")
    parser.add_argument("--picture", type=Path, metavar="FILE", help="draw the sweep there (.png, .svg)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write machine, ratios and raw samples there")
    return parser.parse_args()


def _print(rows: dict[str, Row]) -> None:
    table = Table(title="ratio to the limit (median of rounds)")
    for column, align in (("row", "left"), ("ratio", "right"), ("spread", "right"), ("ours / limit", "left")):
        table.add_column(column, justify=align)
    for name, row in rows.items():
        table.add_row(name, f"{row.ratio:.3f}", f"{row.low:.3f} to {row.high:.3f}", row.text)
        for label, part in row.parts.items():
            table.add_row(
                f"  {label}", f"{part.ratio:.3f}", f"{part.low:.3f} to {part.high:.3f}", part.text, style="dim"
            )
    Console().print(table)


def _sweep(arguments: argparse.Namespace) -> int:
    from drawing import draw_sweep
    from sweep import EMULATORS, sweep

    emulators_of_cells = (8, 32) if arguments.quick else EMULATORS
    result = sweep(seconds=3.0 if arguments.quick else 6.0, emulators=emulators_of_cells)
    table = Table(title="agent steps a second (share of its speed that the learner keeps)")
    table.add_column("workers")
    for emulators in emulators_of_cells:
        table.add_column(f"E={emulators}", justify="right")
    for workers in sorted({cell["workers"] for cell in result["cells"]}):
        line = [cell for cell in result["cells"] if cell["workers"] == workers]
        table.add_row(str(workers), *(f"{c['steps_per_second']:,.0f} ({c['learner_share']:.2f})" for c in line))
    Console().print(table)
    best = result["recommended"]
    Console().print(
        f"best: collector.num_workers={best['workers']} collector.emulators_per_worker={best['emulators']}; "
        f"collector.num_workers=auto takes {result['auto']} here"
    )
    if arguments.picture is not None:
        draw_sweep(result, arguments.picture)
    if arguments.json is not None:
        write_json(arguments.json, provenance() | result | {"samples": result["cells"]})
    return 0


def _measured(arguments: argparse.Namespace) -> Iterator[tuple[str, Row]]:
    """Measure one row after the other."""
    if arguments.device is not None:
        from device import device_rows

        yield from device_rows(arguments.device, quick=arguments.quick, steps_per_second=arguments.rate).items()
    elif arguments.python is not None:
        from versions import pyboy_versions

        yield "pyboy", pyboy_versions(arguments.python, quick=arguments.quick)
    else:
        for name in arguments.only or ROWS:
            Console(stderr=True).print(f"{name} ...")
            yield name, getattr(importlib.import_module(ROWS[name]), name)(quick=arguments.quick)


def main() -> int:
    """Run the chosen rows."""
    arguments = _parse()
    torch.set_num_threads(1)
    logging.getLogger("torchrl").setLevel(logging.WARNING)
    if arguments.sweep:
        return _sweep(arguments)
    rows: dict[str, Row] = {}
    started = provenance()
    for name, measured in _measured(arguments):
        rows[name] = measured
        if arguments.json is not None:  # after every row, so that an interrupted run keeps what was measured
            report = started | {"rows": {name: row.as_json() for name, row in rows.items()}}
            write_json(arguments.json, report | {"samples": {name: row.samples() for name, row in rows.items()}})
    _print(rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
