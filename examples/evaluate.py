"""Evaluate the agent of a run: the command ``pokered_rl evaluate``.

python examples/evaluate.py runs/quickstart --episodes 50 --epsilon 0 0.01 0.05 --random
"""

import sys

from pokered_rl.cli.evaluate import main

if __name__ == "__main__":
    sys.exit(main())
