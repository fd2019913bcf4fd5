"""The README's commands and links, and the links of the docs."""

import re
from pathlib import Path

from docs._ext.edit_links import edit_links
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


def test_edit_links_follow_from_the_repository_in_pyproject():
    assert edit_links('[project]\nname = "a"') == ({}, {})
    options, context = edit_links('[project.urls]\nRepository = "https://example.org/me/pokered_rl"')
    assert options["use_edit_page_button"]
    assert context["edit_page_url_template"] == "https://example.org/me/pokered_rl/edit/main/docs/{{ file_name }}"


def test_relative_links_of_the_docs_lead_somewhere():
    broken = []
    for page in (ROOT / "docs").rglob("*.md"):
        for link in re.findall(r"\]\((?!https?:|#|mailto:)([^)#\s]+)", page.read_text()):
            if not (page.parent / link).exists():
                broken.append(f"{page.relative_to(ROOT)}: {link}")
    assert broken == []
