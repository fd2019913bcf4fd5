"""The tables of the docs say what the code says."""

import re
from pathlib import Path

import pytest

from pokered_rl.envs.rewards import REWARD_TERMS

_PAGE = Path(__file__).parents[2] / "docs" / "howto" / "rewards.md"


@pytest.fixture
def rows() -> dict[str, list[str]]:
    """The table of terms: name -> the other cells."""
    text = _PAGE.read_text(encoding="utf-8")
    table = text.split("terms:begin", 1)[1].split("<!-- terms:end", 1)[0]
    cells = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines() if line.startswith("|")
    ]
    return {re.sub("`", "", row[0]): row[1:] for row in cells[2:]}


def test_every_term_is_in_the_table_with_its_default_weight(rows):
    assert list(rows) == list(REWARD_TERMS)
    for name, term in REWARD_TERMS.items():
        assert float(rows[name][0]) == term.default_weight, name


def test_every_formula_is_the_first_sentence_of_a_docstring(rows):
    for name, term in REWARD_TERMS.items():
        first = " ".join(term.__doc__.split("\n\n")[0].split())
        assert rows[name][1] == first.replace("|", r"\|"), name
