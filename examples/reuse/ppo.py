"""TorchRL's own PPO on our environment: its collector, advantage and loss; our emulators, encoder and action mask.

python examples/reuse/ppo.py --steps 100000
"""

import argparse
from functools import partial

import torch
from tensordict.nn import TensorDictModule
from torchrl.collectors import Collector
from torchrl.envs import EnvBase
from torchrl.modules import MLP, ActorValueOperator, MaskedCategorical, ProbabilisticActor, ValueOperator
from torchrl.objectives import ClipPPOLoss
from torchrl.objectives.value import GAE

from pokered_rl import make_env
from pokered_rl.modules import PixelEncoder


def make_agent(env: EnvBase) -> ActorValueOperator:
    """A policy that chooses among the allowed actions only, and a critic, on one encoder of the packed picture."""
    encoder = PixelEncoder(num_features=128)
    inputs, size = ["picture", "context"], 128 + env.observation_spec["context"].shape[-1]
    logits = TensorDictModule(MLP(size, env.action_spec.n, num_cells=[128]), inputs, ["logits"])
    keys = {"logits": "logits", "mask": "action_mask"}
    return ActorValueOperator(
        TensorDictModule(encoder, ["pixels"], ["picture"]),
        ProbabilisticActor(logits, keys, distribution_class=MaskedCategorical, return_log_prob=True),
        ValueOperator(MLP(size, 1, num_cells=[128]), inputs),
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--steps", type=int, default=100_000, help="environment steps (%(default)s)")
    parser.add_argument("--batch", type=int, default=1024, help="steps in a batch of all emulators (%(default)s)")
    arguments = parser.parse_args()

    make = partial(make_env, num_emulators=8, max_episode_steps=512)
    agent = make_agent(probe := make())
    probe.close()
    policy, critic = agent.get_policy_operator(), agent.get_value_operator()
    advantage, loss = GAE(gamma=0.99, lmbda=0.95, value_network=critic), ClipPPOLoss(policy, critic, entropy_coeff=0.01)
    optimizer = torch.optim.Adam(loss.parameters(), lr=3e-4)
    for batch in Collector(make, policy, frames_per_batch=arguments.batch, total_frames=arguments.steps):  # [8, T]
        with torch.no_grad():
            advantage(batch)
        for minibatch in batch.reshape(-1)[torch.randperm(batch.numel())].split(256):
            terms = loss(minibatch)
            optimizer.zero_grad()
            sum(value for key, value in terms.items() if key.startswith("loss_")).backward()
            optimizer.step()
        print(f"reward of a step: {batch['next', 'reward'].mean():.4f}", flush=True)
