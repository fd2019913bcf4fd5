"""The ``measured`` role: every figure in the docs comes from a committed measurement.

``{measured}`emulator.json:rows.emulator.ratio:.2f``` prints that value of ``docs/benchmarks/results/emulator.json``,
formatted. A file or key that does not exist is a warning, and the build runs with warnings as errors. Every results
file has to say how it came about: the keys of ``results.REQUIRED``.
"""

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util import logging

from docs._ext.results import RESULTS, lookup, missing_provenance

_logger = logging.getLogger(__name__)


def _role(name, rawtext, text, lineno, inliner, options=None, content=None):
    try:
        return [nodes.inline(rawtext, lookup(text), classes=["measured"])], []
    except LookupError as error:
        return [], [inliner.reporter.warning(str(error), line=lineno)]


def _check_results(app: Sphinx) -> None:
    for path in sorted(RESULTS.glob("**/*.json")):
        missing = missing_provenance(path)
        if missing:
            _logger.warning("docs/benchmarks/results/%s does not say its %s", path.name, ", ".join(missing))


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the role and the check of the results folder."""
    app.add_role("measured", _role)
    app.connect("builder-inited", _check_results)
    return {"parallel_read_safe": True}
