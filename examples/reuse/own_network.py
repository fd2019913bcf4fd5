"""A network of your own under the same loss, policy and replay: a GRU in place of the LSTM.

python examples/reuse/own_network.py --updates 200
"""

import argparse
import tempfile

import torch
from torch import Tensor, nn
from torchrl.collectors import Collector
from torchrl.objectives import SoftUpdate

from pokered_rl import R2D2Loss, R2D2Network, R2D2Policy, SequenceBuilder, make_env, make_replay
from pokered_rl.data import SequenceLayout
from pokered_rl.modules import RecurrentCore


class GRUCore(RecurrentCore):
    """Has one state entry, and runs its weights over sequences and over single steps."""

    state_names = ("recurrent_state_h",)

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(hidden_size)
        self.gru = nn.GRU(input_size, hidden_size, batch_first=True)

    def forward(self, features: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:  # noqa: D102
        output, h = self.gru(features, state[0].unsqueeze(0))  # [B, T, H], [1, B, H]
        return output, (h.squeeze(0),)

    def step(self, features: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:  # noqa: D102
        output, state = self.forward(features.unsqueeze(1), state)
        return output.squeeze(1), state


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--updates", type=int, default=200, help="optimizer steps (%(default)s)")
    updates = parser.parse_args().updates

    network = R2D2Network(num_actions=8, size="tiny", use_last_action=False, use_last_reward=False, core=GRUCore)
    policy, loss = R2D2Policy(network), R2D2Loss(network, burn_in_steps=8, n_step=3)
    target, optimizer = SoftUpdate(loss, tau=0.01), torch.optim.Adam(loss.parameters(), lr=3e-4)
    layout = SequenceLayout(burn_in_steps=8, unroll_steps=16, n_step=3)
    builder = SequenceBuilder(layout=layout, state_keys=network.state_keys)
    env = make_env(num_emulators=8, max_episode_steps=256, extra_transforms=[policy.make_primers(epsilon=0.2)])
    with tempfile.TemporaryDirectory() as folder:
        replay = make_replay(scratch_dir=folder, capacity_transitions=10_000, layout=layout, batch_size=16)
        for update, rollout in enumerate(Collector(env, policy, frames_per_batch=320, total_frames=320 * updates)):
            replay.extend(builder.extend(rollout))  # [8, 40] -> sequences of 27 rows
            batch = replay.sample()
            terms = loss(batch)
            terms["loss_quantile"].backward()
            optimizer.step(), optimizer.zero_grad(), target.step()
            replay.update_tensordict_priority(batch)
            print(f"update {update}: loss {terms['loss_quantile'].item():.4f}", flush=True)
