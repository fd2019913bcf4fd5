"""Results of measurements as JSON files: command, commit, machine and date beside the figures."""

from __future__ import annotations

import json
import platform
import shlex
import subprocess
import sys
import textwrap
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pokered_rl.atomic import write_atomically
from pokered_rl.resources import available_cpus

__all__ = ["command_line", "machine", "provenance", "write_json"]

_WIDTH = 120
_PACKAGES = ("torch", "torchrl", "tensordict", "pyboy", "numpy")


def command_line(program: str | None, argv: Sequence[str] | None) -> str:
    """Return the command that a reader repeats.

    Args:
        program: Name of the program; None for ``python`` and the script that runs, relative to the working directory.
        argv: Arguments; None for those of this process.
    """
    if program is None:
        script = Path(sys.argv[0])
        if script.is_absolute() and script.is_relative_to(Path.cwd()):
            script = script.relative_to(Path.cwd())
        program = f"python {shlex.quote(str(script))}"
    return " ".join([program, *map(shlex.quote, sys.argv[1:] if argv is None else argv)])


def machine() -> dict[str, Any]:
    """Describe the machine and the libraries on which speed depends."""
    model = platform.processor() or platform.machine()
    try:
        with Path("/proc/cpuinfo").open() as file:
            model = next((line.split(":")[1].strip() for line in file if line.startswith("model name")), model)
    except OSError:
        pass
    return {
        "cpu": model,
        "cores": available_cpus(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "packages": {name: version(name) for name in _PACKAGES},
    }


def _git(folder: Path, *arguments: str) -> str:
    try:
        done = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=False)
    except OSError:  # git is not installed
        return ""
    return done.stdout.strip()


def _commit(folder: Path) -> str:
    """Return the checked-out commit, with "-dirty" if anything but results has changed since."""
    changes = _git(
        folder, "status", "--porcelain", "--untracked-files=no", "--", ":/", ":(top,exclude)docs/benchmarks/results"
    )
    return (_git(folder, "describe", "--always") or "unknown") + "-dirty" * bool(changes)


def provenance(command: str | None = None, *, folder: Path = Path(__file__).parent) -> dict[str, Any]:
    """Return command (by default that of this process), commit of the checkout at ``folder``, machine and date."""
    return {
        "command": command or command_line(None, None),
        "commit": _commit(folder),
        "machine": machine(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _is_flat(value: Any) -> bool:
    return not isinstance(value, dict | list) or not any(
        isinstance(entry, dict | list) for entry in (value.values() if isinstance(value, dict) else value)
    )


def _text(value: Any, indent: int = 0, *, entry_of_list: bool = False) -> str:
    """Format a value: a record of a list, and whatever fits, is one line; a long list of numbers is wrapped."""
    flat = json.dumps(value)
    if not isinstance(value, dict | list) or len(flat) + indent <= _WIDTH or (entry_of_list and _is_flat(value)):
        return flat
    inner, outer = " " * (indent + 1), " " * indent
    if isinstance(value, dict):
        entries = [f"{inner}{json.dumps(key)}: {_text(entry, indent + 1)}" for key, entry in value.items()]
        return "{\n" + ",\n".join(entries) + f"\n{outer}}}"
    if not any(isinstance(entry, dict | list | str) for entry in value):
        return "[\n" + textwrap.fill(flat[1:-1], _WIDTH, initial_indent=inner, subsequent_indent=inner) + f"\n{outer}]"
    entries = [inner + _text(entry, indent + 1, entry_of_list=True) for entry in value]
    return "[\n" + ",\n".join(entries) + f"\n{outer}]"


def write_json(file: Path, content: dict[str, Any]) -> None:
    """Write results atomically; missing folders are made."""
    lines = [f" {json.dumps(key)}: {_text(value, 1)}" for key, value in content.items()]
    write_atomically(file, ("{\n" + ",\n".join(lines) + "\n}\n").encode())
