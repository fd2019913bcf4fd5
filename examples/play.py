"""Play by hand and record an episode log: the command ``pokered_rl play``.

python examples/play.py --terminal
"""

import sys

from pokered_rl.cli.play import main

if __name__ == "__main__":
    sys.exit(main())
