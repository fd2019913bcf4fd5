"""The tables of the documentation say what the code does."""

import re
from pathlib import Path

from pokered_rl.game import RAM_MAP, ScreenKind
from pokered_rl.game.ram_map import RAM_SOURCES
from pokered_rl.game.screen_rules import CONDITIONS, MENU_BUTTONS, RULES

_DOCS = Path(__file__).parents[2] / "docs" / "reference"


def _rows(page: str, heading: str) -> list[list[str]]:
    """The cells of the table below ``heading``, without its head."""
    text = (_DOCS / page).read_text(encoding="utf-8").split(f"# {heading}\n", 1)[1]
    lines = re.split(r"\n#+ ", text, maxsplit=1)[0].splitlines()
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines if line.startswith("|")][2:]


def test_ram_map_page_shows_every_entry_at_its_address() -> None:
    text = (_DOCS / "ram_map.md").read_text(encoding="utf-8")
    shown = re.findall(r"^\| `(\w+)` \| ([0-9A-F]{4}) \| (.*?) \| (.*) \| (.*?) \|$", text, re.MULTILINE)
    assert {label: (at, format, meaning, sources) for label, at, format, meaning, sources in shown} == {
        entry.label: (f"{entry.address:04X}", entry.format, entry.meaning, entry.sources) for entry in RAM_MAP.values()
    }
    assert {row[0] for row in _rows("ram_map.md", "Sources")} == set(RAM_SOURCES)


def test_screens_page_shows_every_kind_by_number() -> None:
    assert [(int(row[0]), row[1]) for row in _rows("screens.md", "Kinds")] == [
        (kind.value, kind.name) for kind in ScreenKind
    ]


def test_screens_page_shows_every_rule_in_order() -> None:
    shown = [(row[0], row[1]) for row in _rows("screens.md", "Rules")]
    assert shown == [
        (rule.kind.name, ", ".join(name.replace("!", "not ") for name in rule.when) or "anything else")
        for rule in RULES
    ]


def test_screens_page_shows_the_conditions_and_the_buttons_of_menus() -> None:
    shown = {row[0] for row in _rows("screens.md", "Conditions")}
    numbered = {f"{name} {number}" for name in ("item", "no PP") for number in (1, 2, 3, 4)}  # one line for four
    assert {name for name in CONDITIONS if not name.startswith("watches ")} - numbered <= shown
    assert {"item 1 .. item 4", "no PP 1 .. no PP 4", "watches A .. watches DOWN"} <= shown
    assert [tuple(row) for row in _rows("screens.md", "Buttons of a menu")] == [
        (button, ", ".join(name.replace("!", "not ") for name in when)) for button, when in MENU_BUTTONS
    ]
