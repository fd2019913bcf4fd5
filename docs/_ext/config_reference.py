"""Writes the configuration reference from the config dataclasses before the sources are read."""

from pathlib import Path

from sphinx.application import Sphinx


def _write(app: Sphinx) -> None:
    from pokered_rl.training.config import reference_markdown

    target = Path(app.srcdir) / "reference" / "generated" / "config.md"
    target.parent.mkdir(parents=True, exist_ok=True)
    text = reference_markdown()
    if not target.is_file() or target.read_text() != text:
        target.write_text(text)


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the writer."""
    app.connect("builder-inited", _write)
    return {"parallel_read_safe": True}
