"""Text of a stranger's file, made fit to be shown."""

from __future__ import annotations

import re

__all__ = ["printable"]

#: Control characters but the line feed and the tab, marks that change the direction of text, halves of characters.
_UNFIT = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]"
)


def printable(text: str) -> str:
    """Return the text with every character replaced that would control a terminal or cannot be encoded."""
    return _UNFIT.sub("\N{REPLACEMENT CHARACTER}", text)
