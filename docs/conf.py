"""Sphinx configuration. The build fails on a warning and on a figure that no measurement backs."""

import os
import re
from importlib import metadata
from pathlib import Path
from urllib.request import urlopen

from docs._ext.edit_links import edit_links

DOCS = Path(__file__).parent

project = "pokered_rl"
author = "The pokered_rl authors"
copyright = "2026, the pokered_rl authors"
release = metadata.version("pokered_rl")
version = release

# Our own extensions are found as `docs._ext` when the build starts in the root: `python -m sphinx docs site`.
extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "sphinx.ext.doctest",
    "sphinx.ext.intersphinx",
    "sphinx.ext.mathjax",
    "sphinx-mathjax-offline",  # MathJax is served from the built site
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
    "docs._ext.figures",
    "docs._ext.public_api",
    "docs._ext.pictures",
    "docs._ext.tutorial",
]
myst_enable_extensions = ["dollarmath", "amsmath", "colon_fence", "deflist", "fieldlist"]
myst_heading_anchors = 3
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}
exclude_patterns = ["_build"]

autodoc_default_options = {"show-inheritance": True}
autodoc_typehints = "description"
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True
autosummary_generate = False
suppress_warnings = ["myst.xref_missing"] if os.environ.get("POKERED_DOCS_DRAFT") else []
# Examples use a room's public names as a reader of its page would.
_ROOMS = ("data", "emulator", "envs", "envs.gymnasium", "game", "modules", "modules.augmentation", "objectives")
doctest_global_setup = "\n".join(["import torch", *(f"from pokered_rl.{room} import *" for room in _ROOMS)])


def _reachable(url: str) -> bool:
    try:
        with urlopen(url, timeout=3):
            return True
    except OSError:
        return False


# Links into the other projects' docs are a convenience: without a network the build goes on without them.
_INVENTORIES = {
    "python": "https://docs.python.org/3/",
    "torch": "https://docs.pytorch.org/docs/stable/",
    "torchrl": "https://docs.pytorch.org/rl/stable/",
    "tensordict": "https://docs.pytorch.org/tensordict/stable/",
    "gymnasium": "https://gymnasium.farama.org/",
}
_online = _reachable(_INVENTORIES["python"] + "objects.inv")
intersphinx_mapping = {
    name: (url, None) for name, url in _INVENTORIES.items() if _online and _reachable(url + "objects.inv")
}

html_theme = "pydata_sphinx_theme"
html_title = "pokered_rl"
html_static_path = ["_static"] if (DOCS / "_static").is_dir() else []
html_sidebars: dict[str, list[str]] = {page: [] for page in ("start", "tutorial", "gallery", "scaling", "changelog")}
_options, html_context = edit_links((DOCS.parent / "pyproject.toml").read_text())
html_theme_options = {
    "navigation_with_keys": False,
    "show_toc_level": 2,
    "header_links_before_dropdown": 7,
    **_options,
}
# A prompt is not copied.
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True


def _escape_shapes(app, what, name, obj, options, lines):
    """A shape such as [*, R] is no emphasis."""
    lines[:] = [re.sub(r"(?<![\w*`\\])\*(?=[\w,\]])(?!\w+\*)", r"\\*", line) for line in lines]


def _skip_tensorclass_methods(app, what, name, obj, skip, options):
    """A tensorclass carries all of TensorDict's methods; they are documented there."""
    module = getattr(obj, "__module__", None) or getattr(getattr(obj, "fget", None), "__module__", None) or ""
    return True if module.startswith(("tensordict", "torch.")) else None


def setup(app):
    """Hooks of the API pages."""
    app.connect("autodoc-process-docstring", _escape_shapes)
    app.connect("autodoc-skip-member", _skip_tensorclass_methods)
