"""Train a recurrent agent.

python examples/train_r2d2.py --config-name quickstart
python examples/train_r2d2.py run.name=a collector.num_workers=8

Every option is in configs/ and in the configuration reference of the docs. The same run.name again continues the run.
"""

import sys

from pokered_rl.cli.train import main

if __name__ == "__main__":
    sys.exit(main())
