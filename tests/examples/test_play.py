"""Keys of `examples/play.py` in a terminal."""

import importlib.util
import os
import sys
from pathlib import Path

import pytest

PLAY = Path(__file__).parents[2] / "examples" / "play.py"


@pytest.fixture
def type_keys(monkeypatch):
    """Types characters into a terminal of which play.py reads; returns what they mean, key by key."""
    spec = importlib.util.spec_from_file_location("play_example", PLAY)
    play = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(play)
    reader, writer = os.pipe()
    with os.fdopen(reader) as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)

        def run(characters: bytes, keys: int) -> list[str | None]:
            os.write(writer, characters)
            return [play.Terminal().key() for _ in range(keys)]

        yield run
        os.close(writer)


def test_an_arrow_is_one_key_and_escape_alone_ends(type_keys):
    assert type_keys(b"\x1b[A\x1b[Dx\x1b[Bw", 5) == ["up", "left", "a", "down", "up"]
    assert type_keys(b"\x1b", 1) == ["quit"]
    assert type_keys(b"?", 1) == [None]
