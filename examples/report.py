"""Write one HTML page about a run: the command ``pokered_rl report``.

python examples/report.py runs/seed0 --seeds runs/seed1 runs/seed2
"""

import sys

from pokered_rl.cli.report import main

if __name__ == "__main__":
    sys.exit(main())
