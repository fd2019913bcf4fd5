"""Measured figures, tables and pictures of the Markdown files, committed so that a code host shows them, too.

    python -m docs._ext.figures --write     # renew them after a measurement, a new option, a changed drawing

A figure is the text of ``<!-- measured FILE:KEY:FORMAT -->...<!-- /measured -->``, a value of
``docs/benchmarks/results/FILE``. A table stands between ``<!-- made NAME -->`` and ``<!-- /made -->``, see
:mod:`docs._ext.tables`. The docs build warns, and so fails, where something has no measurement or is out of date.
"""

import argparse
import functools
import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path

from docs._ext.drawings import DRAWINGS, PICTURES
from docs._ext.results import RESULTS, lookup, missing_provenance
from docs._ext.tables import TABLES
from docs.benchmarks.drawing import draw_bars, draw_long_run, draw_milestones, draw_sweep

ROOT = Path(__file__).parents[2]
CHARTS = ROOT / "docs" / "benchmarks" / "pictures"
_CHARTS: dict[str, Callable[[dict, Path], None]] = {
    "benchmark": draw_bars,
    "sweep": draw_sweep,
    "long_run": draw_long_run,
    "sprout_runs": draw_milestones,
}
_FIGURE = re.compile(r"<!-- measured (.+?) -->(.*?)<!-- /measured -->", re.DOTALL)
_TABLE = re.compile(r"<!-- made (\w+) -->\n(.*?)<!-- /made -->", re.DOTALL)


@functools.cache
def _table(name: str) -> str:
    if name not in TABLES:
        raise LookupError(f"no table {name!r}; there are {', '.join(TABLES)}")
    return TABLES[name]()


def pages() -> list[Path]:
    """Return the files that may hold figures."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def renewed(text: str) -> str:
    """Return a page with its figures and tables as the measurements have them.

    Raises:
        LookupError: for a figure without a measurement, a table that nobody makes, or a figure that begins a line.
    """
    if role := re.search(r"\{measured\}|\{include\} \S*generated/", text):
        raise LookupError(f"{role[0]} is no text for a reader of the file: see docs/_ext/figures.py")
    if re.search(r"(?m)^\s*<!-- measured", text):
        raise LookupError("a line begins with a figure, which makes it raw HTML: move a word in front of it")
    text = _FIGURE.sub(lambda match: f"<!-- measured {match[1]} -->{lookup(match[1])}<!-- /measured -->", text)
    return _TABLE.sub(lambda match: f"<!-- made {match[1]} -->\n\n{_table(match[1])}\n<!-- /made -->", text)


def _digest(name: str) -> str:
    return f"<!-- {name}.json {hashlib.sha256((RESULTS / f'{name}.json').read_bytes()).hexdigest()[:16]} -->\n"


def problems() -> list[str]:
    """Return what the committed pages and pictures lack, one line each."""
    found = []
    for page in pages():
        name, text = page.relative_to(ROOT), page.read_text()
        try:
            if renewed(text) != text:
                found.append(f"{name} is out of date: python -m docs._ext.figures --write")
        except LookupError as error:
            found.append(f"{name}: {error}")
    for name in _CHARTS:
        file = CHARTS / f"{name}.svg"
        if not (file.is_file() and file.read_text().endswith(_digest(name))):
            found.append(f"{file.relative_to(ROOT)} is not drawn from {name}.json: python -m docs._ext.figures --write")
    for name, draw in DRAWINGS.items():
        file = PICTURES / f"{name}.svg"
        if not (file.is_file() and file.read_text() == draw().file(draw.__doc__ or "")):
            found.append(f"{file.relative_to(ROOT)} is out of date: python -m docs._ext.figures --write")
    for path in sorted(RESULTS.glob("**/*.json")):
        if missing := missing_provenance(path):
            found.append(f"docs/benchmarks/results/{path.name} does not say its {', '.join(missing)}")
    return found


def write() -> None:
    """Renew pages and pictures."""
    import matplotlib

    matplotlib.rcParams["svg.hashsalt"] = "pokered_rl"
    CHARTS.mkdir(exist_ok=True)
    PICTURES.mkdir(exist_ok=True)
    for name, draw in _CHARTS.items():
        file = CHARTS / f"{name}.svg"
        if not (file.is_file() and file.read_text().endswith(_digest(name))):
            draw(json.loads((RESULTS / f"{name}.json").read_text()), file)
            file.write_text(file.read_text() + _digest(name))
    for name, drawing in DRAWINGS.items():
        (PICTURES / f"{name}.svg").write_text(drawing().file(drawing.__doc__ or ""))
    for page in pages():
        text = page.read_text()
        if (new := renewed(text)) != text:
            page.write_text(new)


def setup(app) -> dict[str, bool]:
    """Register the check with Sphinx, which tests of the figures do without."""
    from sphinx.util.logging import getLogger

    app.connect("builder-inited", lambda _: [getLogger(__name__).warning(problem) for problem in problems()])
    return {"parallel_read_safe": True}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Check the figures of README and docs, or renew them.")
    parser.add_argument("--write", action="store_true", help="renew them")
    if parser.parse_args().write:
        write()
    for line in (still := problems()):
        print(line)
    raise SystemExit(bool(still))
