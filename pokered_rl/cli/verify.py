"""Replay episode logs and proofs and compare what they claim.

    pokered_rl verify runs/quickstart
    pokered_rl verify "runs/*/episode_logs/*.episode" --workers 8 --json verified.json
    pokered_rl verify starter.proof

Actions and RAM of every step, waiting frames, milestones, outcome and rewards are computed again. A log of which all
were equal is "verified"; one of which something could not be compared is "RAM equal", and what is said. Rewards are
computed by the config.yaml of the run folder that the log lies in.

A proof is played from power-on on your own ROM, without any setting or state of its author.

Exit status: 0 all are equal, 1 at least one log is bad (it is named, with the likely cause), 2 wrong arguments,
130 interrupted.
"""

from __future__ import annotations

import argparse
import hashlib
import multiprocessing
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.progress import track

from pokered_rl.cli.measurement import command_line, provenance, write_json
from pokered_rl.disk import check_writable
from pokered_rl.errors import PokeredError
from pokered_rl.failures import command
from pokered_rl.plain_files import read_plain_file
from pokered_rl.plain_text import printable
from pokered_rl.resources import available_cpus
from pokered_rl.terminal import make_console

if TYPE_CHECKING:
    from torchrl.envs import Transform

    from pokered_rl.data.proofs import VerifiedProof
    from pokered_rl.emulator import Cartridge

__all__ = ["main"]


def _check(path: Path, *, cartridge: Cartridge | None) -> dict[str, Any]:
    """Replay one log; return its size, what was compared, and the error if there is one."""
    from pokered_rl.data import verify_log
    from pokered_rl.episodes import EpisodeLog

    result: dict[str, Any] = {"log": path.name, "bytes": path.stat().st_size}
    try:
        log = EpisodeLog.load(path)
        result |= {"steps": log.steps, "frames": log.frames, "outcome": log.outcome.value}
        result |= {"weights_version": log.header.weights_version, "cartridge_sha1": log.header.cartridge_sha1}
        start = time.perf_counter()
        found = verify_log(log, cartridge=cartridge, transforms=_transforms_of(path, log.header.config_sha256))
        result |= {"hashes_equal": found.hashes_equal, "word": found.word, "not_compared": dict(found.not_compared)}
        result["seconds"] = round(time.perf_counter() - start, 3)
    except PokeredError as error:
        result["error"] = str(error)
    return result


def _transforms_of(path: Path, config_sha256: str) -> Callable[..., Sequence[Transform]] | None:
    """Return what builds the transforms of the run that a log lies in, None without its config."""
    from pokered_rl.episodes import EPISODE_FOLDER
    from pokered_rl.training.builders import transform_factory
    from pokered_rl.training.load_config import read_config

    config = path.resolve().parent.parent / "config.yaml"
    if path.resolve().parent.name != EPISODE_FOLDER or not config_sha256:
        return None
    try:
        if hashlib.sha256(read_plain_file(config, max_bytes=2**20)).hexdigest() != config_sha256:
            return None
        return transform_factory(read_config(config))
    except (OSError, PokeredError):
        return None  # the rewards are not compared, and the result says so


def _summary(results: list[dict[str, Any]]) -> dict[str, Any]:
    good = [result for result in results if "error" not in result]
    return {
        "logs": len(results),
        "replayed_equal": len(good),
        "verified": sum(result["word"] == "verified" for result in good),
        "bad": len(results) - len(good),
        "hashes_equal": sum(result["hashes_equal"] for result in good),
        "steps": sum(result["steps"] for result in good),
        "frames": sum(result["frames"] for result in good),
        "largest_bytes": max(result["bytes"] for result in results),
        "bytes_a_step": sum(result["bytes"] for result in good) / max(1, sum(result["steps"] for result in good)),
    }


def _verify_proofs(paths: Sequence[Path], *, rom: str | None) -> int:
    """Verify proofs and print what they prove; return the exit status."""
    from pokered_rl.data.proofs import verify_proof
    from pokered_rl.episodes.player import cartridge_with
    from pokered_rl.episodes.proof import Proof

    status = 0
    for path in paths:
        try:
            proof = Proof.load(path)
            cartridge = cartridge_with(proof.cartridge_sha1, proof.cartridge_title, name=proof.name, rom=rom)
            sys.stdout.write(printable(describe(verify_proof(proof, cartridge=cartridge))))
        except PokeredError as error:
            sys.stderr.write(f"NOT VERIFIED: {error}\n")
            status = 1
    return status


def describe(found: VerifiedProof) -> str:
    """Return a table of what a proof proves."""
    proof = found.proof
    lines = [
        f"{proof.name}: verified: {proof.milestone} on {proof.cartridge_title} {proof.steps:,} steps and "
        f"{game_time(proof.frames)} of game time after power-on"
    ]
    lines += [
        f"  {game_time(frame):>10}  step {milestone.step:>9,}  {milestone.name}"
        for milestone, frame in found.milestones
    ]
    lines.append(f"  furthest: {found.furthest or 'no milestone of the story'}")
    acted = ", ".join(f"{who} {steps:,}" for who, steps in sorted(found.acted.items()))
    lines.append(f"  steps by the author's word: {acted} (policy {found.policy_share:.1%})")
    lines.append(f"  helpers: {'; '.join(found.helpers) or 'none'}")
    return "\n".join(lines) + "\n"


def game_time(frames: int) -> str:
    """Return emulator frames as hours, minutes and seconds of the console."""
    seconds = round(frames / 59.7275)
    return f"{seconds // 3600}:{seconds // 60 % 60:02}:{seconds % 60:02}"


def _write_words(results: list[dict[str, Any]]) -> None:
    """Say of how many logs everything was compared, and why not of the others."""
    good = [result for result in results if "error" not in result]
    words = Counter(result["word"] for result in good)
    sys.stdout.write("".join(f"{count} {word}\n" for word, count in sorted(words.items(), reverse=True)))
    reasons = Counter((what, why) for result in good for what, why in result["not_compared"].items())
    for (what, why), count in reasons.most_common():
        sys.stdout.write(printable(f"  not compared in {count}: {what}: {why}\n"))


@command(remedy="give another folder or file")
def main(argv: Sequence[str] | None = None, *, program: str | None = None) -> int:
    """Verify episode logs; arguments and result as for :func:`pokered_rl.cli.main`."""
    parser = argparse.ArgumentParser(
        prog=program, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("sources", nargs="+", metavar="SOURCE", help="run folders, log files, glob patterns, proofs")
    parser.add_argument("--rom", help="the ROM that was played; by default the one with the logged SHA-1 is looked for")
    parser.add_argument("--workers", type=int, help="processes (default: one per core)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the result of every log there")
    options = parser.parse_args(argv)

    console, status = make_console(stderr=True), 0
    if options.json is not None:
        check_writable(options.json, option="--json", is_file=True)

    from pokered_rl.emulator import Cartridge
    from pokered_rl.episodes import find_logs
    from pokered_rl.episodes.proof import PROOF_SUFFIX

    proofs = [Path(source) for source in options.sources if source.endswith(PROOF_SUFFIX)]
    logs = [source for source in options.sources if not source.endswith(PROOF_SUFFIX)]
    if proofs:
        status = _verify_proofs(proofs, rom=options.rom)
        if not logs:
            return status
    paths = find_logs(logs)
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
    _write_words(results)
    if options.json is not None:
        write_json(options.json, provenance(command_line(program, argv)) | {"results": found, "samples": results})
    return 1 if found["bad"] or status else 0
