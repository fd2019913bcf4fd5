"""Write a page of the proofs in a folder that verify, the furthest and fastest first.

    pokered_rl leaderboard proofs --out leaderboard.html
    pokered_rl leaderboard proofs --json board.json          # the same as data

Every file is played from power-on on your own ROM; those that do not verify are listed with the reason.

Exit status: 0 the page is written, 1 there is no proof or the page cannot be written, 2 wrong arguments,
130 interrupted.
"""

from __future__ import annotations

import argparse
import html
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pokered_rl.atomic import write_atomically
from pokered_rl.cli.measurement import command_line, provenance, write_json
from pokered_rl.cli.verify import game_time
from pokered_rl.disk import check_writable
from pokered_rl.errors import PokeredError
from pokered_rl.failures import command
from pokered_rl.plain_text import printable

if TYPE_CHECKING:
    from pokered_rl.data.proofs import VerifiedProof
    from pokered_rl.emulator import Cartridge

__all__ = ["main"]

_STYLE = """body{font:15px/1.5 system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem}
table{border-collapse:collapse;width:100%}th,td{text-align:left;padding:.4rem .6rem;border-bottom:1px solid #8884}
.n{text-align:right;font-variant-numeric:tabular-nums}.dim{opacity:.7}"""
_HEAD = ("place", "cartridge", "furthest", "proved", "steps", "game time", "milestones", "played by", "run", "helpers")
_NUMBERS = (0, 4, 5, 6)


@command(remedy="give another file with --out")
def main(argv: Sequence[str] | None = None, *, program: str | None = None) -> int:
    """Write the page; arguments and result as for :func:`pokered_rl.cli.main`."""
    parser = argparse.ArgumentParser(
        prog=program, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="folder of *.proof files")
    parser.add_argument("--out", type=Path, default=Path("leaderboard.html"), metavar="FILE", help="the page")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the table as data")
    parser.add_argument("--rom", help="the ROM that was played; by default the one with the SHA-1 is looked for")
    options = parser.parse_args(argv)
    check_writable(options.out, option="--out", is_file=True)
    if options.json is not None:
        check_writable(options.json, option="--json", is_file=True)
    paths = sorted(options.folder.glob("**/*.proof"))
    if not paths:
        raise PokeredError(f"there is no *.proof file in {options.folder}")
    entries, refused = _verify(paths, options.rom)
    rows = leaderboard_rows(entries)
    write_atomically(options.out, printable(leaderboard_page(rows, refused)).encode())
    if options.json is not None:
        known = command_line(program or "pokered_rl leaderboard", argv)
        write_json(options.json, {**provenance(known), "samples": len(rows), "refused": refused, "proofs": rows})
    sys.stdout.write(f"{options.out}: {len(entries)} of {len(paths)} proofs verified\n")
    return 0


def _verify(paths: Sequence[Path], rom: str | None) -> tuple[list[tuple[VerifiedProof, Cartridge]], list[str]]:
    """Return what verifies, and one message for each that does not."""
    from pokered_rl.data.proofs import verify_proof
    from pokered_rl.episodes.player import cartridge_with
    from pokered_rl.episodes.proof import Proof

    entries, refused = [], []
    for path in paths:
        try:
            proof = Proof.load(path)
            cartridge = cartridge_with(proof.cartridge_sha1, proof.cartridge_title, name=proof.name, rom=rom)
            entries.append((verify_proof(proof, cartridge=cartridge), cartridge))
        except PokeredError as error:
            refused.append(str(error))
    return entries, refused


def leaderboard_rows(entries: Sequence[tuple[VerifiedProof, Cartridge]]) -> list[dict[str, str]]:
    """Return a row of each proof by the names of the columns, the furthest and fastest of each cartridge first.

    Args:
        entries: What was verified, and on which cartridge.
    """

    def order(entry: tuple[VerifiedProof, Cartridge]) -> tuple[str, int, int]:
        found, cartridge = entry
        story = cartridge.profile.milestones.names
        return cartridge.title, -(story.index(found.furthest) + 1 if found.furthest in story else 0), found.proof.steps

    rows = []
    for place, (found, cartridge) in enumerate(sorted(entries, key=order), 1):
        proof = found.proof
        authors = sorted({str(leg.claims["run"]) for leg in proof.legs if leg.claims.get("run")})
        total = max(1, sum(found.acted.values()))
        cells = (
            str(place),
            cartridge.title,
            found.furthest or "none of the story",
            proof.milestone,
            f"{proof.steps:,}",
            game_time(proof.frames),
            str(len(found.milestones)),
            ", ".join(f"{who} {steps / total:.0%}" for who, steps in sorted(found.acted.items(), key=lambda x: -x[1])),
            ", ".join(authors),
            "; ".join(found.helpers),
        )
        rows.append(dict(zip(_HEAD, cells, strict=True)) | {"file": proof.path.name if proof.path else ""})
    return rows


def leaderboard_page(rows: Sequence[dict[str, str]], refused: Sequence[str]) -> str:
    """Return the HTML page.

    Args:
        rows: What :func:`leaderboard_rows` returns.
        refused: Messages about what was not verified.
    """
    body = "".join(_row("td", [row[name] for name in _HEAD]) for row in rows)
    bad = "".join(f"<li>{html.escape(message)}</li>" for message in refused)
    refusals = f"<h2>Not verified</h2><ul class='dim'>{bad}</ul>" if bad else ""
    return (
        f"<!doctype html><html lang='en'><meta charset='utf-8'><meta name='viewport' content='width=device-width'>"
        f"<title>Verified proofs</title><style>{_STYLE}</style><h1>Verified proofs</h1>"
        f"<p class='dim'>Each was played again from power-on. Steps, game time and milestones are computed; who played "
        f"and what is in quotes are the author's word.</p>"
        f"<table><thead>{_row('th', _HEAD)}</thead><tbody>{body}</tbody></table>{refusals}</html>\n"
    )


def _row(tag: str, cells: Sequence[str]) -> str:
    texts = (
        f"<{tag}{' class=n' if column in _NUMBERS else ''}>{html.escape(cell)}</{tag}>"
        for column, cell in enumerate(cells)
    )
    return f"<tr>{''.join(texts)}</tr>"
