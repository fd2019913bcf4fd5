"""The README's commands and links."""

import re
from pathlib import Path

from readme_commands import commands

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


def test_readme_has_exactly_the_two_setup_commands():
    assert commands() == [
        "python -m pip install -e . && python examples/train_r2d2.py --config-name quickstart",
        'python -m pip install -e ".[test]" && python -m pytest',
    ]


def test_relative_links_of_the_readme_lead_somewhere():
    links = re.findall(r"\]\((?!https?:|#|mailto:)([^)#]+)", README)
    assert [link for link in links if not (ROOT / link).exists()] == []
