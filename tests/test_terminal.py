import io

import pytest
from rich.progress import track

from pokered_rl.terminal import make_console


class _Stream(io.StringIO):
    def __init__(self, *, terminal: bool) -> None:
        super().__init__()
        self._terminal = terminal

    def isatty(self) -> bool:
        return self._terminal


@pytest.mark.parametrize(
    ("terminal", "environment", "moves"),
    [
        (True, {"TERM": "xterm"}, True),
        (True, {"TERM": "dumb"}, False),
        (True, {"TERM": "dumb", "FORCE_COLOR": "1"}, False),
        (False, {"TERM": "xterm"}, False),
        (False, {"TERM": "xterm", "FORCE_COLOR": "1"}, False),
        (False, {"TERM": "xterm", "TTY_COMPATIBLE": "1"}, False),
    ],
)
def test_cursor_is_moved_only_on_a_terminal_that_can(monkeypatch, terminal: bool, environment, moves: bool):
    for name in ("FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    stream = _Stream(terminal=terminal)
    monkeypatch.setattr("sys.stderr", stream)
    console = make_console(stderr=True)
    assert console.is_terminal is moves
    for _ in track(range(3), "replaying", console=console):
        console.print("a line")
    assert ("\x1b[" in stream.getvalue()) is moves
    assert stream.getvalue().count("a line") == 3
