"""Chain the logs of a run from power-on to a milestone in one file that anybody can verify.

    pokered_rl prove runs/quickstart --milestone starter
    pokered_rl prove runs/second --with runs/first --milestone leave_home --out leave_home.proof

Logs are chained where one begins in a state that another one captured, or in which it ended; of all chains the one with
the fewest steps is taken.

Exit status: 0 the proof is written, 1 no chain leads there or a log is bad, 2 wrong arguments, 130 interrupted.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pokered_rl.disk import check_writable
from pokered_rl.errors import PokeredError
from pokered_rl.failures import command
from pokered_rl.plain_text import printable

if TYPE_CHECKING:
    from pokered_rl.episodes import EpisodeLog

__all__ = ["main"]


@command(remedy="give another file with --out")
def main(argv: Sequence[str] | None = None, *, program: str | None = None) -> int:
    """Write a proof; arguments and result as for :func:`pokered_rl.cli.main`."""
    parser = argparse.ArgumentParser(
        prog=program, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", help="run folder")
    parser.add_argument("--milestone", required=True, help="name of the milestone, such as starter or map:PALLET_TOWN")
    parser.add_argument(
        "--with", dest="more", nargs="+", default=[], metavar="RUN", help="runs that captured its starts"
    )
    parser.add_argument("--out", type=Path, metavar="FILE", help="the file (default: MILESTONE.proof)")
    parser.add_argument("--rom", help="the ROM that was played; by default the one with the logged SHA-1 is looked for")
    options = parser.parse_args(argv)
    name = "".join(letter if letter.isalnum() or letter in "_-" else "_" for letter in options.milestone)
    out = options.out or Path(f"{name}.proof")
    check_writable(out, option="--out", is_file=True)

    from pokered_rl.cli.verify import describe
    from pokered_rl.data.proofs import make_proof, verify_proof
    from pokered_rl.episodes import cartridge_for, find_logs
    from pokered_rl.episodes.proof import Proof
    from pokered_rl.record.batch import load_logs

    logs, errors = load_logs(find_logs([options.run, *options.more]))
    for error in errors:
        sys.stderr.write(f"left out: {error}\n")
    if not logs:
        raise PokeredError(f"{options.run}: none of its {len(errors)} logs can be read")
    cartridge = cartridge_for(logs[0], options.rom)
    make_proof(logs, options.milestone, cartridge=cartridge, claims=_claims).save(out)
    sys.stdout.write(printable(describe(verify_proof(Proof.load(out), cartridge=cartridge))))
    return 0


def _claims(log: EpisodeLog) -> Mapping[str, Any]:
    """Return what the config of a run says about helpers."""
    from pokered_rl.training.load_config import read_config

    if log.path is None:
        return {}
    try:
        config = read_config(log.path.resolve().parent.parent / "config.yaml")
    except PokeredError:
        return {}
    return {"helpers": "action mask"} if config.env.action_mask else {}
