"""The README's first screen and its figures, and the provenance of every measurement."""

import importlib.util
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


def _load(path: Path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


RESULTS = _load(ROOT / "docs" / "_ext" / "results.py")


def test_readme_has_exactly_the_two_setup_commands():
    commands = _load(Path(__file__).with_name("readme_commands.py")).commands()
    assert commands == [
        "python -m pip install -e . && python examples/train_r2d2.py --config-name quickstart",
        'python -m pip install -e ".[test]" && python -m pytest',
    ]


def test_readme_figures_are_those_of_the_committed_measurements():
    # A figure stands as `<!-- measured FILE:KEY:FORMAT -->VALUE<!-- /measured -->`.
    for reference, value in re.findall(r"<!-- measured (\S+) -->(.*?)<!-- /measured -->", README):
        assert value == RESULTS.lookup(reference), reference


def test_relative_links_of_the_readme_lead_somewhere():
    links = re.findall(r"\]\((?!https?:|#|mailto:)([^)#]+)", README)
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_every_measurement_says_command_commit_machine_date_and_samples():
    files = sorted(RESULTS.RESULTS.glob("**/*.json"))
    assert {str(file): RESULTS.missing_provenance(file) for file in files if RESULTS.missing_provenance(file)} == {}
