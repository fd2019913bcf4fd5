"""``python -m pokered_rl``: what an installed package can do without the examples."""

import sys
from importlib import import_module

__all__: list[str] = []

#: Command, module whose `main` runs it, what it does.
_COMMANDS = {
    "train": ("pokered_rl.training.main", "train an agent; `train --help` says how"),
    "plan": ("pokered_rl.training.plan", "what to expect of a config: steps a second, memory, disk, network"),
    "doctor": ("pokered_rl.training.doctor", "look whether this machine can train, and what to do where it cannot"),
}
_USAGE = "usage: python -m pokered_rl COMMAND [arguments]\n\n" + "".join(
    f"  {name:8} {text}\n" for name, (_, text) in _COMMANDS.items()
)


def _main() -> int:
    command, *rest = sys.argv[1:] or [""]
    if command in _COMMANDS:
        main = import_module(_COMMANDS[command][0]).main
        return int(main(rest, program=f"python -m pokered_rl {command}"))
    if command in {"-h", "--help"}:
        sys.stdout.write(_USAGE)
        return 0
    sys.stderr.write(f"error: there is no command {command!r}\n{_USAGE}" if command else _USAGE)
    return 2


if __name__ == "__main__":
    sys.exit(_main())
