"""Row of another PyBoy: bare emulators of this environment and of another interpreter's, in turn.

The other environment needs PyBoy and NumPy, nothing of this library: this file is also the program that runs there.
"""

import io
import json
import subprocess
import sys
import time
from pathlib import Path

_NAMES = ("A", "B", "UP", "DOWN", "LEFT", "RIGHT")
_STEPS = 100


def serve(rom: bytes) -> None:
    """Play 100 steps of a fixed stream for each line of the input, and print the seconds that they took."""
    from importlib.metadata import version

    from pyboy import PyBoy
    from pyboy.utils import WindowEvent

    boy = PyBoy(io.BytesIO(rom), window="null", sound_emulated=False, cgb=False, log_level="CRITICAL")
    boy.set_emulation_speed(0)
    names = [f"ARROW_{name}" if len(name) > 1 else f"BUTTON_{name}" for name in _NAMES]
    press = [getattr(WindowEvent, f"PRESS_{name}") for name in names]
    release = [getattr(WindowEvent, f"RELEASE_{name}") for name in names]
    chosen = 1
    print(version("pyboy"), flush=True)
    for _ in sys.stdin:
        start = time.perf_counter()
        for _ in range(_STEPS):
            chosen = (chosen * 1103515245 + 12345) % 2**31  # the same buttons in every version of Python
            button = (chosen >> 16) % len(names)
            boy.send_input(press[button])
            boy.tick(8, False)
            boy.send_input(release[button])
            boy.tick(15, False)
            boy.tick(1, True)
        print(time.perf_counter() - start, flush=True)
    boy.stop(save=False)


def pyboy_versions(python: Path, *, quick: bool):
    """Return steps per second of the other interpreter's PyBoy, against ours: same ROM, buttons and frames."""
    from pairs import Row
    from pokered_rl.emulator import Cartridge

    row = Row([], [], "steps/s")
    programs = {
        name: subprocess.Popen(
            [str(interpreter), __file__, str(Cartridge.find().path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for name, interpreter in (("theirs", python), ("ours", Path(sys.executable)))
    }

    def answer(name: str) -> str:
        output = programs[name].stdout
        assert output is not None
        if not (line := output.readline().strip()):
            raise SystemExit(f"{python} cannot play: does its environment have PyBoy?")
        return line

    try:
        row.notes = {f"pyboy_{name}": answer(name) for name in programs}
        for turn in range(12 if quick else 60):
            for name, rates in (("theirs", row.ours), ("ours", row.limit)):
                request = programs[name].stdin
                assert request is not None
                request.write(json.dumps(turn) + "\n")
                request.flush()
                seconds = float(answer(name))
                if turn >= 2:  # the first ones begin with the boot of the console
                    rates.append(_STEPS / seconds)
    finally:
        for program in programs.values():
            program.communicate()
    return row


if __name__ == "__main__":
    serve(Path(sys.argv[1]).read_bytes())
