"""The API pages, and the check that no public name is missing from them.

``.. room:: pokered_rl.game`` documents what the room exports, then what only its modules export. Public is what stands
in the ``__all__`` of a module whose path has no leading underscore. The build warns, and so fails, for every public
name that no page shows: one without a docstring, or a constant without a ``#:`` comment.
"""

import importlib
import inspect
import pkgutil
import re
from types import ModuleType

from docutils.nodes import Element, Node
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective

PACKAGE = "pokered_rl"
_logger = logging.getLogger(__name__)


def modules(package_name: str) -> list[ModuleType]:
    """A package and all public modules in it."""
    package = importlib.import_module(package_name)
    path = getattr(package, "__path__", [])
    inside = (module.name for module in pkgutil.walk_packages(path, f"{package_name}."))
    public = [name for name in inside if not any(part.startswith("_") for part in name.split("."))]
    return [package, *map(importlib.import_module, sorted(public))]


def exported() -> dict[str, set[str]]:
    """For each public name, under its shortest full name: all full names under which modules export it."""
    names: dict[tuple[str, int], set[str]] = {}
    for module in modules(PACKAGE):
        for name in module.__all__:
            # The same object under the same name; equal small numbers elsewhere have other names.
            names.setdefault((name, id(getattr(module, name))), set()).add(f"{module.__name__}.{name}")
    return {min(full, key=len): full for full in names.values()}


def undocumented(documented: set[str]) -> list[str]:
    """Public names of which no full name is among the documented ones."""
    return sorted(name for name, full in exported().items() if not full & documented)


def _pages(room: str) -> list[tuple[str, list[str]]]:
    """Modules of a room, each with the names to be shown there: every name once, constants where they are defined."""
    shown: set[tuple[str, int]] = set()
    pages = []
    for module in modules(room):
        names = []
        for name in module.__all__:
            value = getattr(module, name)
            is_code = inspect.isclass(value) or inspect.isroutine(value)
            defined_here = is_code or re.search(rf"(?m)^(\w+, )*{name}\b.*=", inspect.getsource(module)) is not None
            # What a module imports on first use is shown where it is defined.
            if (name, id(value)) not in shown and defined_here and name in dir(module):
                shown.add((name, id(value)))
                names.append(name)
        if names or module.__name__ == room:
            pages.append((module.__name__, names))
    return pages


class Room(SphinxDirective):
    """``.. room:: MODULE``."""

    required_arguments = 1

    def run(self) -> list[Node]:
        """Emit an automodule for the room and for each module in it that has more to show."""
        lines = []
        for module, names in _pages(self.arguments[0]):
            if module != self.arguments[0]:
                lines += [f".. rubric:: ``{module}``", "   :heading-level: 2", ""]
            lines += [f".. automodule:: {module}", f"   :members: {', '.join(names)}" if names else "", ""]
        source = self.get_source_info()[0]
        node = Element()
        self.state.nested_parse(StringList(lines, source), self.content_offset, node)
        return node.children


def _check(app: Sphinx, env: BuildEnvironment) -> None:
    documented = {name for name, *_ in env.get_domain("py").get_objects()}
    for name in undocumented(documented):
        _logger.warning("%s is public and on no API page (docs/api)", name)


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the directive and the check."""
    app.add_directive("room", Room)
    app.connect("env-check-consistency", _check)
    return {"parallel_read_safe": True}
