"""Behaviour cloning from episode logs: the network learns to press what was pressed, and nothing else.

python examples/reuse/behaviour_cloning.py --config-name quickstart run.name=cloned \
    demonstrations.pretrain_updates=1_000 run.target_total_steps=1
"""

import sys

from tensordict import TensorDictBase

from pokered_rl import Experiment, R2D2Loss
from pokered_rl.errors import ConfigError
from pokered_rl.training.main import main


class CloningLoss(R2D2Loss):
    """R2D2's loss without the values: the shown action shall be the best one by a margin."""

    def forward(self, tensordict: TensorDictBase) -> TensorDictBase:  # noqa: D102
        return super().forward(tensordict).exclude("loss_quantile")


def cloning_loss(config, network):
    """Build the loss of a network."""
    settings = config.demonstrations
    if not (settings.logs and settings.margin_weight):
        raise ConfigError(
            "demonstrations.logs and demonstrations.margin_weight must be set, there is nothing to clone without them; "
            "such as 'demonstrations.logs=[runs/by_hand]' demonstrations.margin_weight=1"
        )
    return CloningLoss(
        network,
        burn_in_steps=config.replay.burn_in_steps,
        n_step=config.loss.n_step,
        margin_weight=settings.margin_weight,
        margin=settings.margin,
    )


def experiment(config) -> Experiment:
    """Compose the run."""
    return Experiment(config, loss=cloning_loss)


if __name__ == "__main__":
    sys.exit(main(make_experiment=experiment))
