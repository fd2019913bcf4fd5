"""Replay episode logs without pictures and say whether each is the episode that was played.

    python examples/verify_episodes.py runs/quickstart
    python examples/verify_episodes.py "runs/*/episode_logs/*.episode" --workers 8 --json verified.json

Every RAM hash in a log is compared with the replay's, the one after the last step included. Exit status: 0 all are
equal, 1 at least one log is bad (it is named, with what is likely to have caused it), 2 wrong arguments, 130
interrupted.
"""

import argparse
import multiprocessing
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import track

sys.path.insert(0, str(Path(__file__).parent))

from benchmarks.pairs import provenance, write_json

from pokered_rl.emulator import Cartridge
from pokered_rl.episodes import EpisodeLog, find_logs, verify
from pokered_rl.errors import PokeredError
from pokered_rl.resources import available_cpus


def check(path: Path, *, cartridge: Cartridge | None) -> dict[str, Any]:
    """What came of one log: its size, what was compared, and the error if there is one."""
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


def summary(results: list[dict[str, Any]]) -> dict[str, Any]:
    """All logs together."""
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


def main(arguments: list[str] | None = None) -> int:
    """Checks what the command line names and returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sources", nargs="+", metavar="SOURCE", help="run folders, log files or glob patterns")
    parser.add_argument("--rom", help="the ROM that was played; by default the one with the logged SHA-1 is looked for")
    parser.add_argument("--workers", type=int, help="processes (default: one a core)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the result of every log there")
    options = parser.parse_args(arguments)
    console = Console(stderr=True)
    try:
        paths = find_logs(options.sources)
        cartridge = Cartridge.find(options.rom, allow_unknown=True) if options.rom else None
        play = partial(check, cartridge=cartridge)
        workers = min(len(paths), options.workers or available_cpus())
        if workers <= 1:
            results = [play(path) for path in track(paths, "replaying", console=console)]
        else:
            with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
                results = list(track(pool.map(play, paths), "replaying", total=len(paths), console=console))
    except PokeredError as error:
        console.print(str(error), style="red", markup=False, soft_wrap=True)
        return 1
    except KeyboardInterrupt:
        return 130
    for result in results:
        if "error" in result:
            console.print(result["error"], style="red", markup=False, soft_wrap=True)
    found = summary(results)
    print(
        f"{found['replayed_equal']} of {found['logs']} logs replay as they were played: {found['hashes_equal']:,} RAM "
        f"hashes equal over {found['steps']:,} steps"
    )
    if options.json is not None:
        content = {**provenance(), "results": found, "samples": results}
        write_json(options.json, content)
    return 1 if found["bad"] else 0


if __name__ == "__main__":
    sys.exit(main())
