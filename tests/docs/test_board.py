"""The proofs of Sprout's board are what its page says."""

import json
from pathlib import Path

import pytest

from docs._ext.results import RESULTS
from pokered_rl.cli.leaderboard import leaderboard_rows
from pokered_rl.data.proofs import verify_proof
from pokered_rl.emulator import Cartridge
from pokered_rl.episodes.proof import Proof

PROOFS = Path(__file__).parents[2] / "docs" / "reference" / "proofs"
ROWS = json.loads((RESULTS / "board.json").read_text())["proofs"]


def test_every_proof_of_the_folder_stands_on_the_board():
    assert sorted(row["file"] for row in ROWS) == sorted(path.name for path in PROOFS.glob("*.proof"))
    assert [int(row["place"]) for row in ROWS] == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["file"])
def test_proof_verifies_and_has_the_figures_of_its_row(row):
    cartridge = Cartridge.bundled()
    found = verify_proof(Proof.load(PROOFS / row["file"]), cartridge=cartridge)
    (computed,) = leaderboard_rows([(found, cartridge)])
    assert computed | {"place": row["place"]} == row
