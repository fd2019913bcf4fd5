"""The configuration reference, made from the config dataclasses."""

import dataclasses
import inspect
from collections.abc import Mapping
from enum import Enum
from typing import Any, get_type_hints

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


def config_reference(root: type = Config) -> str:
    """Return the options of all sections as Markdown."""
    lines: list[str] = []
    for section in dataclasses.fields(root):
        default = getattr(root(), section.name)
        hints = get_type_hints(type(default))
        comments = field_comments(type(default))
        lines += [f"## {section.name}", "", str(type(default).__doc__), ""]
        for option in dataclasses.fields(default):
            name = f"{section.name}.{option.name}"
            lines += [
                f"- **`{name}`**: {comments[option.name]}",
                f"  Default: `{_shown(getattr(default, option.name))}`. Type: {_type_name(hints[option.name])}."
                f"{_bounds(option.metadata)}",
                "",
            ]
    return "\n".join(lines).rstrip() + "\n"
