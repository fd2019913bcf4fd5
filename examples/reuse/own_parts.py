"""Train with parts of your own: environment, reward term, network, loss and callback.

python examples/reuse/own_parts.py --config-name quickstart run.name=mine run.target_total_steps=20_000
"""

import sys

from tensordict import TensorDictBase
from torchrl.envs import RewardClipping, TransformedEnv
from torchrl.modules import MLP

from pokered_rl import Callback, Experiment, R2D2Loss, make_env
from pokered_rl.envs.rewards import RewardTerm
from pokered_rl.modules import RecurrentQuantileNetwork
from pokered_rl.training import StopReason
from pokered_rl.training.main import main


def clipped_env(cartridge, **options):
    """Build the usual environment; a reward is at most 1."""
    env: TransformedEnv = make_env(cartridge, **options)
    return env.append_transform(RewardClipping(-1.0, 1.0))


class Northwards(RewardTerm):
    """Pay for steps to the north."""

    name, default_weight = "northwards", 0.1

    def _value(self, step):
        same_map = step.now.map_id == step.before.map_id
        return same_map * (step.before.y - step.now.y)


def context_network(config, env):
    """Build a network that reads the context features only."""
    return RecurrentQuantileNetwork(
        encoder=MLP(in_features=env.observation_spec["context"].shape[-1], out_features=64, num_cells=[64]),
        observation_keys=["context"],
        num_features=64,
        num_actions=len(config.env.actions),
        num_quantiles=config.network.num_quantiles,
        hidden_size=config.network.hidden_size,
        head_size=64,
    )


class DecayLoss(R2D2Loss):
    """R2D2 with a penalty on the weights."""

    def forward(self, tensordict: TensorDictBase) -> TensorDictBase:  # noqa: D102
        losses = super().forward(tensordict)
        weights = self.network_params.flatten_keys().values()
        return losses.set("loss_decay", 1e-5 * sum(value.square().sum() for value in weights if value.requires_grad))


def decay_loss(config, network):
    """Build the loss of a network."""
    return DecayLoss(network, burn_in_steps=config.replay.burn_in_steps, n_step=config.loss.n_step)


class StopAtReturn(Callback):
    """Stop when an episode has reached a return."""

    def __init__(self, least: float) -> None:
        self.least, self.best, self.episodes = least, float("-inf"), 0

    def on_episode(self, trainer, episode):  # noqa: D102
        self.episodes += 1
        self.best = max(self.best, episode.total_reward)

    def should_stop(self, trainer):  # noqa: D102
        return StopReason.target if self.best >= self.least else None

    def state_dict(self):  # noqa: D102
        return {"best": self.best, "episodes": self.episodes}

    def load_state_dict(self, state):  # noqa: D102
        self.best, self.episodes = state["best"], state["episodes"]


def experiment(config, *, least_return: float = 50.0) -> Experiment:
    """Compose the run."""
    return Experiment(
        config,
        make_env=clipped_env,
        reward_terms=[Northwards],
        network=context_network,
        loss=decay_loss,
        callbacks=[StopAtReturn(least_return)],
    )


if __name__ == "__main__":
    sys.exit(main(make_experiment=experiment))
