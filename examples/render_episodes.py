"""Render episode logs to full-length videos: the command ``pokered_rl render``.

python examples/render_episodes.py runs/quickstart --best 3 --last 1
python examples/render_episodes.py runs/quickstart --grid --last 16 --scale 1 --speed 4
"""

import sys

from pokered_rl.cli.render import main

if __name__ == "__main__":
    sys.exit(main())
