"""Replay episode logs without video and compare their RAM hashes.

    pokered_rl verify runs/quickstart
    pokered_rl verify "runs/*/episode_logs/*.episode" --workers 8 --json verified.json

Every RAM hash in a log is compared with the replay's, the one after the last step included.

Exit status: 0 all are equal, 1 at least one log is bad (it is named, with the likely cause), 2 wrong arguments,
130 interrupted.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.progress import track

from pokered_rl.cli.failures import command
from pokered_rl.cli.measurement import command_line, provenance, write_json
from pokered_rl.disk import check_writable
from pokered_rl.errors import PokeredError
from pokered_rl.resources import available_cpus
from pokered_rl.terminal import make_console

if TYPE_CHECKING:
    from pokered_rl.emulator import Cartridge

__all__ = ["main"]


def _check(path: Path, *, cartridge: Cartridge | None) -> dict[str, Any]:
    """Replay one log; return its size, what was compared, and the error if there is one."""
    from pokered_rl.episodes import EpisodeLog, verify

    result: dict[str, Any] = {"log": path.name, "bytes": path.stat().st_size}
    try:
        log = EpisodeLog.load(path)
        result |= {"steps": log.steps, "frames": log.frames, "outcome": log.outcome.value}
        result |= {"weights_version": log.header.weights_version, "cartridge_sha1": log.header.cartridge_sha1}
        start = time.perf_counter()
        result["hashes_equal"] = verify(log, cartridge=cartridge)
        result["seconds"] = round(time.perf_counter() - start, 3)
    except PokeredError as error:
        result["error"] = str(error)
    return result


def _summary(results: list[dict[str, Any]]) -> dict[str, Any]:
    good = [result for result in results if "error" not in result]
    return {
        "logs": len(results),
        "replayed_equal": len(good),
        "bad": len(results) - len(good),
        "hashes_equal": sum(result["hashes_equal"] for result in good),
        "steps": sum(result["steps"] for result in good),
        "frames": sum(result["frames"] for result in good),
        "largest_bytes": max(result["bytes"] for result in results),
        "bytes_a_step": sum(result["bytes"] for result in good) / max(1, sum(result["steps"] for result in good)),
    }


@command(remedy="give another folder or file")
def main(argv: Sequence[str] | None = None, *, program: str | None = None) -> int:
    """Verify episode logs; arguments and result as for :func:`pokered_rl.cli.main`."""
    parser = argparse.ArgumentParser(
        prog=program, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("sources", nargs="+", metavar="SOURCE", help="run folders, log files or glob patterns")
    parser.add_argument("--rom", help="the ROM that was played; by default the one with the logged SHA-1 is looked for")
    parser.add_argument("--workers", type=int, help="processes (default: one per core)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the result of every log there")
    options = parser.parse_args(argv)

    console = make_console(stderr=True)
    if options.json is not None:
        check_writable(options.json, option="--json", is_file=True)

    from pokered_rl.emulator import Cartridge
    from pokered_rl.episodes import find_logs

    paths = find_logs(options.sources)
    cartridge = Cartridge.find(options.rom, allow_unknown=True) if options.rom else None
    check = partial(_check, cartridge=cartridge)
    workers = min(len(paths), options.workers or available_cpus())
    if workers <= 1:
        results = [check(path) for path in track(paths, "replaying", console=console)]
    else:
        with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
            results = list(track(pool.map(check, paths), "replaying", total=len(paths), console=console))
    for result in results:
        if "error" in result:
            console.print(result["error"], style="red", markup=False, soft_wrap=True)
    found = _summary(results)
    sys.stdout.write(
        f"{found['replayed_equal']} of {found['logs']} logs replay as they were played: {found['hashes_equal']:,} RAM "
        f"hashes equal over {found['steps']:,} steps\n"
    )
    if options.json is not None:
        write_json(options.json, provenance(command_line(program, argv)) | {"results": found, "samples": results})
    return 1 if found["bad"] else 0
