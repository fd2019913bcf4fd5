"""Watch a trained agent play: the command ``pokered_rl watch``.

python examples/watch.py runs/quickstart --terminal --speed 2
"""

import sys

from pokered_rl.cli.watch import main

if __name__ == "__main__":
    sys.exit(main())
