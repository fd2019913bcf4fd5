"""The README's first screen and its figures, and the provenance of every measurement."""

import re
from pathlib import Path

from docs._ext.results import RESULTS, lookup, missing_provenance
from readme_commands import commands

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


def test_readme_has_exactly_the_two_setup_commands():
    assert commands() == [
        "python -m pip install -e . && python examples/train_r2d2.py --config-name quickstart",
        'python -m pip install -e ".[test]" && python -m pytest',
    ]


def test_readme_figures_are_those_of_the_committed_measurements():
    # A figure stands as `<!-- measured FILE:KEY:FORMAT -->VALUE<!-- /measured -->`.
    for reference, value in re.findall(r"<!-- measured (\S+) -->(.*?)<!-- /measured -->", README):
        assert value == lookup(reference), reference


def test_relative_links_of_the_readme_lead_somewhere():
    links = re.findall(r"\]\((?!https?:|#|mailto:)([^)#]+)", README)
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_every_measurement_says_command_commit_machine_date_and_samples():
    files = sorted(RESULTS.glob("**/*.json"))
    assert {str(file): missing_provenance(file) for file in files if missing_provenance(file)} == {}
