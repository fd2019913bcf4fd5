"""Replay episode logs and compare their RAM hashes: the command ``pokered_rl verify``.

python examples/verify_episodes.py runs/quickstart --json verified.json
"""

import sys

from pokered_rl.cli.verify import main

if __name__ == "__main__":
    sys.exit(main())
