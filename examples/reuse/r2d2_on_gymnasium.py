"""Our loss, network, policy, sequences and replay on a Gymnasium task with hidden state: CartPole without velocities.

python examples/reuse/r2d2_on_gymnasium.py                 # remembers where the pole was, so knows how it moves
python examples/reuse/r2d2_on_gymnasium.py --no-memory     # sees positions only
"""

import argparse
import tempfile

import gymnasium
import torch
from gymnasium.wrappers import TransformObservation
from torchrl.collectors import Collector
from torchrl.envs import GymWrapper, InitTracker, SerialEnv, StepCounter
from torchrl.modules import MLP
from torchrl.objectives import HardUpdate

from pokered_rl.data import SequenceBuilder, SequenceLayout, make_replay
from pokered_rl.modules import LSTMCore, MemorylessCore, R2D2Policy, RecurrentQuantileNetwork
from pokered_rl.objectives import R2D2Loss

LAYOUT = SequenceLayout(burn_in_steps=5, unroll_steps=20, n_step=3)


def make_cart_pole() -> GymWrapper:
    """CartPole of which only the two positions are seen."""
    positions = gymnasium.spaces.Box(-10, 10, (2,))
    env = TransformObservation(gymnasium.make("CartPole-v1"), lambda seen: seen[[0, 2]] * (1, 10), positions)
    return GymWrapper(env, categorical_action_encoding=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=80_000, help="environment steps (%(default)s)")
    parser.add_argument("--no-memory", action="store_true", help="a layer without memory in place of the LSTM")
    arguments = parser.parse_args()
    torch.manual_seed(0)
    network = RecurrentQuantileNetwork(
        encoder=MLP(2, 64, num_cells=[]), observation_keys=["observation"], num_features=64, num_actions=2,
        num_quantiles=11, hidden_size=64, head_size=64, core=MemorylessCore if arguments.no_memory else LSTMCore,
    )  # fmt: skip
    policy = R2D2Policy(network)
    env = SerialEnv(8, make_cart_pole).append_transform(policy.make_primers(epsilon=0.05))
    env = env.append_transform(InitTracker()).append_transform(StepCounter())
    loss = R2D2Loss(network, burn_in_steps=LAYOUT.burn_in_steps, n_step=LAYOUT.n_step, gamma=0.99)
    target, optimizer = HardUpdate(loss, value_network_update_interval=100), torch.optim.Adam(loss.parameters(), 1e-3)
    builder = SequenceBuilder(layout=LAYOUT, observation_keys=["observation"], state_keys=network.state_keys)
    with tempfile.TemporaryDirectory() as folder:
        replay = make_replay(scratch_dir=folder, capacity_transitions=50_000, layout=LAYOUT, batch_size=32)
        collector = Collector(env, policy, frames_per_batch=800, total_frames=arguments.steps)
        for index, rollout in enumerate(collector):  # [8, 100]
            replay.extend(builder.extend(rollout))
            for _ in range(20):
                batch = replay.sample()
                loss(batch)["loss_quantile"].backward()
                optimizer.step(), optimizer.zero_grad(), target.step()
                replay.update_tensordict_priority(batch)
            if index % 5 == 4:
                falls = rollout["next", "terminated"].sum().clamp(min=1)
                print(f"{(index + 1) * 800:6} steps: a pole falls every {800 / falls:.0f} steps", flush=True)
