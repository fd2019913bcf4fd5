"""Reads the ``#:`` comments of the config dataclasses: for the reference page and for hints in error messages."""

from __future__ import annotations

import dataclasses
import inspect
from enum import Enum
from typing import Any, get_type_hints

__all__ = ["field_comments", "markdown"]


def field_comments(section: type) -> dict[str, str]:
    """The text of the ``#:`` comment above each field of a dataclass, by field name."""
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


def markdown(root: type) -> str:
    """The options of all sections, with default, type and meaning, as a Markdown page."""
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
                f"  Default: `{_shown(getattr(default, option.name))}`. Type: {_type_name(hints[option.name])}.",
                "",
            ]
    return "\n".join(lines)
