"""``python -m pokered_rl train``: what the examples do, for an installed package."""

import sys

__all__: list[str] = []

_USAGE = "usage: python -m pokered_rl train [--config-name NAME] [section.option=value ...]\n"


def _main() -> int:
    command = sys.argv[1] if len(sys.argv) > 1 else ""
    if command == "train":
        from pokered_rl.training.main import main

        del sys.argv[1]
        return main(program="python -m pokered_rl train")
    if command in {"-h", "--help"}:
        sys.stdout.write(_USAGE)
        return 0
    sys.stderr.write(f"error: unknown command {command!r}\n{_USAGE}" if command else _USAGE)
    return 2


if __name__ == "__main__":
    sys.exit(_main())
