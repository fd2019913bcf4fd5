"""Declare an option of a config dataclass with its range, and check the values of a whole tree."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

from pokered_rl.errors import ConfigError

__all__ = ["check_ranges", "option", "options_of", "require"]


def option(
    default: Any = dataclasses.MISSING,
    *,
    factory: Callable[[], Any] | None = None,
    ge: float | None = None,
    gt: float | None = None,
    le: float | None = None,
    fixed: str | None = None,
) -> Any:
    """Declare an option of a config dataclass.

    Args:
        default: Its default.
        factory: Makes the default, for lists and mappings.
        ge: Smallest value.
        gt: Value that it must exceed.
        le: Largest value.
        fixed: What a change between two jobs of a run would invalidate; None allows the change.
    """
    metadata = {"ge": ge, "gt": gt, "le": le, "fixed": fixed}
    if factory is not None:
        return dataclasses.field(default_factory=factory, metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


def options_of(config: Any) -> Iterator[tuple[str, Any, dataclasses.Field[Any]]]:
    """Yield key (``section.option``), value and declaration of each option of a tree."""
    for section in dataclasses.fields(config):
        values = getattr(config, section.name)
        for declared in dataclasses.fields(values):
            yield f"{section.name}.{declared.name}", getattr(values, declared.name), declared


def check_ranges(config: Any) -> None:
    """Check each option against the range of its declaration.

    Raises:
        ConfigError: A value is out of range.
    """
    for key, value, declared in options_of(config):
        ge, gt, le = (declared.metadata.get(name) for name in ("ge", "gt", "le"))
        if value is None:
            continue  # an option that is off
        if ge is not None and le is not None:
            require(ge <= value <= le, key, value, f"between {ge:g} and {le:g}")
        elif ge is not None:
            require(value >= ge, key, value, f">= {ge:g}", f"set {key}={ge:g} or more")
        elif gt is not None:
            require(value > gt, key, value, f"> {gt:g}")


def require(condition: bool, key: str, value: Any, requirement: str, remedy: str = "") -> None:
    """Raise a :class:`ConfigError` that names key, value, requirement and remedy unless ``condition`` holds."""
    if not condition:
        remedy = remedy or f"leave {key} out to use its default"
        raise ConfigError(f"{key} must be {requirement}, got {getattr(value, 'value', value)!r}; {remedy}")
