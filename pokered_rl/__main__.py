"""Run the command line: ``python -m pokered_rl``."""

import sys

from pokered_rl.cli import main

__all__: list[str] = []

if __name__ == "__main__":
    sys.exit(main(program="python -m pokered_rl"))
