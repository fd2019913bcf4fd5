"""Train a recurrent agent (R2D2) on Pokémon Red.

python examples/train_r2d2.py --config-name quickstart
python examples/train_r2d2.py run.name=a collector.num_workers=8

The same run.name again continues the run. Every option is in configs/ and in the configuration reference of the docs.
This file names the parts of a run: copy it and replace the one that your research is about
(examples/reuse/own_parts.py replaces all of them).
"""

from __future__ import annotations

import signal
import sys
from typing import TYPE_CHECKING

if __name__ == "__main__" and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C during the imports ends without a traceback; main handles it

from pokered_rl.training.main import main

if TYPE_CHECKING:
    from pokered_rl.training import Config, Experiment


def experiment(config: Config) -> Experiment:
    """Compose the run of a config; what is passed here are the defaults."""
    # Imported here, because they take seconds and the command line is to answer --help and Ctrl-C before.
    from pokered_rl.envs import make_env
    from pokered_rl.training import Experiment
    from pokered_rl.training.builders import make_loss, make_network

    return Experiment(
        # 1. The config: a YAML file of configs/ with the overrides of the command line, as dataclasses:
        #    config.learner.batch_size, config.loss.gamma, ...
        config,
        # 2. The environment: W worker processes call make_env(cartridge, num_emulators=E, seed=..., ...). It steps E
        #    emulators as one batch [E]; transforms decode the console's memory into pixels, action_mask, map_memory,
        #    context and reward.
        make_env=make_env,
        transforms=[],  # TorchRL transforms that are put behind those of the environment
        reward_terms=[],  # RewardTerm classes that are paid beside the terms of config.reward
        # 3. The network, made for the specs of the environment: encoder -> LSTM -> quantiles [B, T, A, N]. Workers act
        #    with a copy of it (R2D2Policy: epsilon-greedy under the mask, noisy layers).
        network=make_network,
        # 4. The loss. What the workers play is cut into sequences [B, L], stored with a priority, and drawn in
        #    proportion to it; R2D2Loss warms the LSTM up on the first steps, learns from the rest (double Q, n-step,
        #    quantile Huber) and writes the new priorities.
        loss=make_loss,
        # 5. What happens along the way: metrics, display, checkpoints and stop conditions are callbacks, and yours are
        #    called like them.
        callbacks=[],
    )


if __name__ == "__main__":
    # 6. The run: main reads the command line, composes the experiment and calls experiment.run(). In a notebook:
    #    Experiment("quickstart", overrides=["run.name=a"]).run()
    sys.exit(main(make_experiment=experiment))
