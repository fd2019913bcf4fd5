"""Read the committed measurements under ``docs/benchmarks/results``; shared by the docs build and the tests."""

import json
import re
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parents[1] / "benchmarks" / "results"
REQUIRED = ("command", "commit", "machine", "date", "samples")


def lookup(reference: str) -> str:
    """Return the formatted value of ``file.json:dotted.key[:format]``; raises LookupError with the reason.

    A dot that belongs to a key is written ``\\.``.
    """
    file, _, rest = reference.partition(":")
    dotted, _, form = rest.partition(":")
    path = RESULTS / file
    if not path.is_file():
        raise LookupError(f"no measurement docs/benchmarks/results/{file}: make it, or drop the figure")
    value: Any = json.loads(path.read_text())
    for part in (each.replace("\\.", ".") for each in re.split(r"(?<!\\)\.", dotted)):
        try:
            value = value[int(part)] if isinstance(value, list) else value[part]
        except (KeyError, IndexError, ValueError) as error:
            raise LookupError(f"{file} has no value {dotted!r} (missing at {part!r})") from error
    return format(value, form)


def missing_provenance(path: Path) -> list[str]:
    """Return the keys of ``REQUIRED`` that a results file lacks."""
    content = json.loads(path.read_text())
    return [key for key in REQUIRED if key not in content]
