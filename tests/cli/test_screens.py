"""Keys of the terminal in which a person plays."""

import os
import sys

import pytest

from pokered_rl.cli.screens import Terminal


@pytest.fixture
def type_keys(monkeypatch):
    """Types characters into a terminal; returns what they mean, key by key."""
    reader, writer = os.pipe()
    with os.fdopen(reader) as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)

        def run(characters: bytes, keys: int) -> list[str | None]:
            os.write(writer, characters)
            return [Terminal().key() for _ in range(keys)]

        yield run
        os.close(writer)


def test_an_arrow_is_one_key_and_escape_alone_ends(type_keys):
    assert type_keys(b"\x1b[A\x1b[Dx\x1b[Bw", 5) == ["up", "left", "a", "down", "up"]
    assert type_keys(b"\x1b", 1) == ["quit"]
    assert type_keys(b"?", 1) == [None]
