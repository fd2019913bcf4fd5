"""Write the configuration reference from the config dataclasses before the sources are read."""

import dataclasses
import inspect
from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import Any, get_type_hints

from sphinx.application import Sphinx

from pokered_rl.training.config import Config


def field_comments(section: type) -> dict[str, str]:
    """Return the text of the ``#:`` comment above each field of a dataclass, by field name."""
    comments: dict[str, str] = {}
    pending: list[str] = []
    for line in inspect.getsource(section).splitlines():
        text = line.strip()
        if text.startswith("#:"):
            pending.append(text[2:].strip())
        else:
            name, colon, _ = text.partition(":")
            if colon and pending and name.isidentifier():
                comments[name] = " ".join(pending)
            pending = []
    return comments


def _shown(value: Any) -> str:
    if isinstance(value, Enum):
        return str(value.value)
    if isinstance(value, list | dict) and not value:
        return "empty"
    if isinstance(value, list):
        return ", ".join(str(item) for item in value)
    if isinstance(value, dict):
        return ", ".join(f"{key}: {item}" for key, item in value.items())
    if isinstance(value, bool):
        return str(value).lower()
    if value is None:
        return "null"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _type_name(hint: Any) -> str:
    if isinstance(hint, type) and issubclass(hint, Enum):
        return ", ".join(f"`{member.value}`" for member in hint)
    name = hint.__name__ if isinstance(hint, type) and not hasattr(hint, "__args__") else str(hint)
    return name.replace(" | None", " or null").replace(" | ", " or ")


def _bounds(metadata: Mapping[str, Any]) -> str:
    signs = (("ge", ">="), ("gt", ">"), ("le", "<="))
    limits = [f"{sign} {metadata[name]:g}" for name, sign in signs if metadata.get(name) is not None]
    text = f" Range: {', '.join(limits)}." if limits else ""
    fixed = metadata.get("fixed")
    return f"{text} Fixed for the life of a run: a change would invalidate {fixed}." if fixed else text


def markdown(root: type = Config) -> str:
    """Return the options of all sections as a Markdown page."""
    lines = [
        "# Configuration",
        "",
        "Every key can be given on the command line: `python examples/train_r2d2.py run.name=a env.hold_frames=6`.",
        "A key that does not exist, or a value out of range, ends the start with one message that names the remedy.",
        "",
    ]
    for section in dataclasses.fields(root):
        default = getattr(root(), section.name)
        hints = get_type_hints(type(default))
        comments = field_comments(type(default))
        lines += [f"## {section.name}", "", str(type(default).__doc__), ""]
        for option in dataclasses.fields(default):
            name = f"{section.name}.{option.name}"
            lines += [
                f"`{name}`",
                f": {comments[option.name]}",
                f"  Default: `{_shown(getattr(default, option.name))}`. Type: {_type_name(hints[option.name])}."
                f"{_bounds(option.metadata)}",
                "",
            ]
    return "\n".join(lines)


def _write(app: Sphinx) -> None:
    target = Path(app.srcdir) / "reference" / "generated" / "config.md"
    target.parent.mkdir(parents=True, exist_ok=True)
    text = markdown()
    if not target.is_file() or target.read_text() != text:
        target.write_text(text)


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the writer."""
    app.connect("builder-inited", _write)
    return {"parallel_read_safe": True}
