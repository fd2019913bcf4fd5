"""Playing by hand, with keys that the test presses."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import pytest

from pokered_rl.cli import main, play
from pokered_rl.episodes import EpisodeLog, find_logs, verify


class _Keys:
    """A terminal on which these keys are pressed."""

    def __init__(self, *keys: str) -> None:
        self._keys = iter((*keys, "quit"))

    def key(self) -> str:
        return next(self._keys)

    def show(self, picture: Any) -> None:
        pass

    def caption(self, text: str) -> None:
        pass


def test_a_second_sitting_goes_on_where_the_first_one_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("POKERED_ROM", raising=False)
    monkeypatch.setattr(play, "raw_terminal", contextlib.nullcontext)
    monkeypatch.setattr(play, "Terminal", lambda: _Keys("right", "down", "left"))
    assert main(["play", "--terminal", "--log", str(tmp_path / "1")]) == 0
    [first] = map(EpisodeLog.load, find_logs([tmp_path / "1"]))
    assert main(["play", "--terminal", "--log", str(tmp_path / "2"), "--continue", first.name]) == 0
    [second] = map(EpisodeLog.load, find_logs([tmp_path / "2"]))
    assert second.ram_hashes[0] == first.ram_hashes[3]
    assert second.ram_hashes[0] != first.ram_hashes[0]
    assert verify(second) == 2
