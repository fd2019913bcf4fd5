"""Show the drawings of the concept pages inline.

``![Caption](../pictures/NAME.svg)`` in a page shows the file on a code host, and on the built page the same drawing in
the colours of the page, light or dark, with the text as caption.
"""

from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform

from docs._ext.drawings import DRAWINGS, PICTURES


class Inline(SphinxTransform):
    """Replace images of ``pictures/NAME.svg`` by the drawing."""

    default_priority = 100

    def apply(self) -> None:
        """Replace them on pages of HTML builders."""
        if self.app.builder.format != "html":
            return
        for image in list(self.document.findall(nodes.image)):
            path = Path(image["uri"])
            draw = DRAWINGS.get(path.stem) if path.parent.name == PICTURES.name else None
            if draw is not None:
                figure = nodes.figure(align="center")
                figure += nodes.raw("", draw().svg(draw.__doc__ or ""), format="html")
                figure += nodes.caption("", image.get("alt", ""))
                image.parent.parent.replace(image.parent, figure)


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the transform."""
    app.add_transform(Inline)
    return {"parallel_read_safe": True}
