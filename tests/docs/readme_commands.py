"""Prints the README's n-th set-up command, so that CI runs what users read."""

import re
import sys
from pathlib import Path

README = Path(__file__).parents[2] / "README.md"


def commands() -> list[str]:
    """The lines of the README's shell blocks that install something, in order."""
    blocks = re.findall(r"```(?:bash|sh|shell)\n(.*?)```", README.read_text(), flags=re.DOTALL)
    return [line.strip() for block in blocks for line in block.splitlines() if " pip install -e " in line]


if __name__ == "__main__":
    print(commands()[int(sys.argv[1]) - 1])
