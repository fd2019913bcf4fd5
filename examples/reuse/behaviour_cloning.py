"""Behaviour cloning from episode logs: a policy learns to press what was pressed.

python examples/reuse/behaviour_cloning.py runs/quickstart
"""

import argparse

import torch
from tensordict.nn import TensorDictModule, TensorDictSequential
from torch.nn.functional import cross_entropy
from torchrl.modules import MLP

from pokered_rl.data import from_episode_logs
from pokered_rl.modules import PixelEncoder


def make_policy(context_size: int, num_actions: int) -> TensorDictSequential:
    """Picture and context -> logits."""
    return TensorDictSequential(
        TensorDictModule(PixelEncoder(num_features=128), ["pixels"], ["picture"]),
        TensorDictModule(MLP(128 + context_size, num_actions, num_cells=[128]), ["picture", "context"], ["logits"]),
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("logs", nargs="+", help="run folders, log files or glob patterns")
    parser.add_argument("--updates", type=int, default=500, help="optimizer steps (%(default)s)")
    parser.add_argument("--episodes", type=int, default=20, help="latest logs that are taken (%(default)s)")
    arguments = parser.parse_args()

    # Each log is played again and checked; what comes out is what the policy saw, with its masks.
    logs = from_episode_logs(arguments.logs, on_error="skip")[-arguments.episodes :]
    steps = torch.cat([log.select("pixels", "context", "action", "action_mask") for log in logs])  # [N]
    order = torch.randperm(len(steps), generator=torch.Generator().manual_seed(0))
    held_out, train = steps[order[: len(steps) // 10]], steps[order[len(steps) // 10 :]]

    policy = make_policy(steps["context"].shape[-1], steps["action_mask"].shape[-1])
    optimizer = torch.optim.Adam(policy.parameters(), lr=1e-3)
    for update in range(arguments.updates):
        batch = policy(train[torch.randint(len(train), (256,))])
        logits = batch["logits"].masked_fill(~batch["action_mask"], -1e9)
        cross_entropy(logits, batch["action"]).backward()
        optimizer.step(), optimizer.zero_grad()
        if update % 50 == 49 or update == arguments.updates - 1:
            with torch.no_grad():
                best = policy(held_out)["logits"].masked_fill(~held_out["action_mask"], -1e9).argmax(-1)
            print(f"update {update + 1}: {(best == held_out['action']).float().mean():.0%} right", flush=True)
