"""Playing by hand, with keys that the test presses."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from pokered_rl.cli import main, play
from pokered_rl.data.verification import verify_log
from pokered_rl.episodes import EpisodeLog, ReachedMilestone, find_logs, verify


class _Keys:
    """A screen at which these keys are pressed."""

    def __init__(self, *keys: str) -> None:
        self._keys = iter((*keys, "quit"))
        self.captions: list[str] = []

    def key(self) -> str:
        return next(self._keys)

    def show(self, picture: Any) -> None:
        pass

    def caption(self, text: str) -> None:
        self.captions.append(text)


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


#: From the start in a room to its stairs, which the tenth step takes, and one step on the map below.
_DOWNSTAIRS = (*["left"] * 8, "up", "up", "down")


def test_milestones_are_shown_as_they_are_reached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("POKERED_ROM", raising=False)
    window = _Keys(*_DOWNSTAIRS)
    monkeypatch.setattr(play, "Window", lambda scale: window)
    assert main(["play", "--log", str(tmp_path)]) == 0
    assert window.captions == [f"step {step}; milestone 1: map:HOME_1F (step 10)" for step in (10, 11)]
    [log] = map(EpisodeLog.load, find_logs([tmp_path]))
    assert log.milestones == (ReachedMilestone(10, "map:HOME_1F"),)
    assert verify_log(log).milestones == log.milestones


def test_a_terminal_shows_them_below_the_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("POKERED_ROM", raising=False)
    arrows = {"left": b"\x1b[D", "up": b"\x1b[A", "down": b"\x1b[B"}
    reader, writer = os.pipe()
    os.write(writer, b"".join(arrows[key] for key in _DOWNSTAIRS) + b"q")
    with os.fdopen(reader) as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        assert main(["play", "--terminal", "--log", str(tmp_path)]) == 0
    os.close(writer)
    pictures = capsys.readouterr().out.split("\x1b[H")[1:]
    assert len(pictures) == 12  # the start, and each step
    assert ["milestone 1: map:HOME_1F (step 10)" in each for each in pictures] == [False] * 10 + [True] * 2
