"""The command line of the installed package; the programs under ``examples/`` call the same functions."""

import sys
from collections.abc import Sequence
from importlib import import_module, metadata

from pokered_rl.signals import raise_on_ctrl_c

__all__ = ["main"]

if sys.platform == "win32":
    raise SystemExit("error: pokered_rl runs on Linux and macOS; on Windows install it inside WSL (wsl --install)")

#: Commands, each run by `main` of the module of its name, and what they do.
_COMMANDS = {
    "train": "train an agent, or continue a run",
    "render": "render episodes to videos",
    "evaluate": "play episodes with a trained agent: coverage, return, milestones",
    "report": "write one HTML page about a run",
    "curriculum": "show or export the archive of states of a run",
    "verify": "replay episode logs and proofs and compare what they claim",
    "prove": "chain the logs of a run from power-on to a milestone in one file",
    "leaderboard": "write a page of verified proofs",
    "live": "serve a page that follows a run, or shows the logs of a finished one",
    "watch": "watch a trained agent play",
    "play": "play by hand and record an episode log",
    "doctor": "check whether this machine can train with a config",
}


def _usage(program: str) -> str:
    lines = "".join(f"  {name:11} {text}\n" for name, text in _COMMANDS.items())
    return f"usage: {program} COMMAND [arguments]\n\n{lines}\n{program} COMMAND --help lists the arguments.\n"


def main(argv: Sequence[str] | None = None, *, program: str = "pokered_rl") -> int:
    """Run a command.

    Args:
        argv: Command and its arguments. None takes those of this process.
        program: Name shown in messages.

    Returns:
        The exit status of the command; 2 without a known command.
    """
    arguments = sys.argv[1:] if argv is None else list(argv)
    command = arguments[0] if arguments else ""
    if command in _COMMANDS:
        run = import_module(f"{__name__}.{command}").main
        raise_on_ctrl_c()
        if argv is None:
            del sys.argv[1]  # the command's own main reads this process's arguments, too
            return int(run(program=f"{program} {command}"))
        return int(run(arguments[1:], program=f"{program} {command}"))
    if command in {"-h", "--help"}:
        sys.stdout.write(_usage(program))
        return 0
    if command == "--version":
        sys.stdout.write(f"pokered_rl {metadata.version('pokered_rl')}\n")
        return 0
    sys.stderr.write((f"error: there is no command {command!r}\n" if command else "") + _usage(program))
    return 2
