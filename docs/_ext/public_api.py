"""The API pages, and the check that no public name is missing from them.

``.. room:: pokered_rl.game`` shows tables of what the room exports and of what only its modules export. A class that
the room exports has a page of its own, the rest of a module shares one; they are written to ``docs/api/generated``
before the sources are read. Public is what stands in the ``__all__`` of a module whose path has no leading underscore.
The build warns, and so fails, for every public name that no page shows: one without a docstring, or a constant without
a ``#:`` comment.
"""

import functools
import importlib
import inspect
import pkgutil
import re
from pathlib import Path
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


@functools.cache
def _room(room: str) -> tuple[list[tuple[str, list[str]]], dict[str, str]]:
    """Modules of a room with their names, and the pages to generate: file name without suffix, and text."""
    found, written = _pages(room), {}
    if len(found) == 1 and not hasattr(importlib.import_module(room), "__path__"):
        return found, written  # one small module: all on the room's page
    for module, names in found:
        shared = []
        for name in names:
            if module == room and inspect.isclass(getattr(importlib.import_module(module), name)):
                written[f"{module}.{name}"] = _page(name, f".. autoclass:: {module}.{name}\n   :members:\n")
            else:
                shared.append(name)
        if shared:
            members = f"   :members: {', '.join(shared)}\n"
            title = f"Functions of {module}" if module == room else module
            body = f".. automodule:: {module}\n{members}"
            written[module] = _page(title, _table(module, shared) + "\n" + body if len(shared) > 1 else body)
    return found, written


def _page(title: str, body: str) -> str:
    return f"{title}\n{'=' * len(title)}\n\n{body}"


def _table(module: str, names: list[str]) -> str:
    entries = "".join(f"   ~{module}.{name}\n" for name in names)
    # Without a current module: autosummary warns of full names of the module that an automodule before it has set.
    return f".. py:currentmodule:: None\n\n.. autosummary::\n   :nosignatures:\n\n{entries}"


class Room(SphinxDirective):
    """``.. room:: MODULE``."""

    required_arguments = 1

    def run(self) -> list[Node]:
        """Emit the docstring and the table of the room and of each module in it that has more to show."""
        room = self.arguments[0]
        found, written = _room(room)
        lines = []
        for module, names in found:
            if module != room:
                lines += [f".. rubric:: ``{module}``", "   :heading-level: 2", ""]
            if not written:
                lines += [*_table(module, names).splitlines(), "", f".. automodule:: {module}"]
                lines += [f"   :members: {', '.join(names)}", ""]
            else:
                if module not in written:
                    lines += [f".. automodule:: {module}", ""]
                lines += [*_table(module, names).splitlines(), ""]
        lines += [".. toctree::", "   :hidden:", "", *(f"   generated/{name}" for name in sorted(written))]
        source = self.get_source_info()[0]
        node = Element()
        self.state.nested_parse(StringList(lines, source), self.content_offset, node)
        return node.children


def _write(app: Sphinx) -> None:
    folder = Path(app.srcdir) / "api" / "generated"
    folder.mkdir(exist_ok=True)
    rooms = (room for page in folder.parent.glob("*.md") for room in re.findall(r"\.\. room:: (\S+)", page.read_text()))
    pages = {f"{name}.rst": text for room in rooms for name, text in _room(room)[1].items()}
    for old in folder.iterdir():
        if old.name not in pages:
            old.unlink()
    for name, text in pages.items():
        if not (folder / name).is_file() or (folder / name).read_text() != text:
            (folder / name).write_text(text)


def _check(app: Sphinx, env: BuildEnvironment) -> None:
    documented = {name for name, *_ in env.get_domain("py").get_objects()}
    for name in undocumented(documented):
        _logger.warning("%s is public and on no API page (docs/api)", name)


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the directive, the pages and the check."""
    app.add_directive("room", Room)
    app.connect("builder-inited", _write)
    app.connect("env-check-consistency", _check)
    return {"parallel_read_safe": True}
