"""Show what R2D2's stored states are for: a cue seen at step 0 is asked for up to 120 steps later.

    python docs/benchmarks/cue_recall.py                        # LSTM, stored states: all questions right
    python docs/benchmarks/cue_recall.py --variants no_lstm     # chance
    python docs/benchmarks/cue_recall.py --variants zero_start  # replayed from zero states: late questions at chance
    python docs/benchmarks/cue_recall.py --variants stored_state zero_start no_lstm --seeds 0 1 2 --json FILE

Early questions teach the LSTM to keep the cue. Late ones lie in sequences that start after it.
"""

import argparse
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import torch
from tensordict import TensorDict
from torchrl.data import Binary, Bounded, Categorical, Composite, Unbounded
from torchrl.envs import EnvBase, ExplorationType, InitTracker, TransformedEnv, set_exploration_type
from torchrl.modules import MLP
from torchrl.objectives import SoftUpdate

from pokered_rl.cli.measurement import provenance, write_json
from pokered_rl.data import SequenceBuilder, SequenceLayout, make_replay
from pokered_rl.modules import LSTMCore, MemorylessCore, R2D2Policy, RecurrentQuantileNetwork
from pokered_rl.objectives import R2D2Loss

CUES, LAST_STEP, LATE, QUERY_CHANCE = 4, 120, 60, 0.2
LAYOUT = SequenceLayout(burn_in_steps=10, unroll_steps=40, n_step=2)


class CueRecall(EnvBase):
    """A task that shows one of four cues, at step 0 only; a question pays +1 for the right answer and -1 for any other.

    Up to step 60 the answer is the cue. Later questions have a symbol of their own and want the cue after it: no
    sequence that holds the cue holds such a question, so only a stored state can teach the answer.
    """

    def __init__(self, num_envs: int) -> None:
        super().__init__(batch_size=[num_envs])
        flag = {"n": 1, "shape": (num_envs, 1), "dtype": torch.bool}
        self.observation_spec = Composite(
            observation=Unbounded(shape=(num_envs, CUES + 3)),
            is_query=Binary(**flag),
            step_count=Unbounded(shape=(num_envs, 1), dtype=torch.int64),
            shape=[num_envs],
        )
        self.action_spec = Categorical(CUES, shape=(num_envs,))
        self.reward_spec = Bounded(-1, 1, shape=(num_envs, 1))
        self.done_spec = Composite({key: Binary(**flag) for key in ("done", "terminated")}, shape=[num_envs])

    def _reset(self, tensordict: TensorDict | None = None, **_: object) -> TensorDict:
        self.now = 0  # all episodes have the same length, so they start together
        self.cue = torch.randint(0, CUES, self.batch_size)
        return self._observe().update(self.done_spec.zero())

    def _step(self, tensordict: TensorDict) -> TensorDict:
        right = tensordict["action"] == (self.cue + (self.now > LATE)) % CUES
        reward = torch.where(right, 1.0, -1.0).unsqueeze(-1) * tensordict["is_query"]
        self.now += 1
        done = torch.full((*self.batch_size, 1), self.now > LAST_STEP)
        return self._observe().update({"reward": reward, "done": done, "terminated": done.clone()})

    def _observe(self) -> TensorDict:
        cue = torch.nn.functional.one_hot(self.cue, CUES) * (self.now == 0)
        query = (torch.rand(*self.batch_size, 1) < QUERY_CHANCE) & (self.now > 0)
        symbols = [query & (self.now <= LATE), query & (self.now > LATE), torch.randn(*self.batch_size, 1)]
        step = torch.full((*self.batch_size, 1), self.now)
        observation = torch.cat([cue, *symbols], -1)
        return TensorDict({"observation": observation, "is_query": query, "step_count": step}, self.batch_size)

    def _set_seed(self, seed: int | None) -> None:
        torch.manual_seed(seed or 0)


def train(variant: str, seed: int, *, rollouts: int = 100, updates: int = 24) -> dict[str, float]:
    """Train one agent; return its share of right answers, early and late, and the seconds it took."""
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    start = time.perf_counter()
    network = RecurrentQuantileNetwork(
        encoder=MLP(in_features=CUES + 3, out_features=32, num_cells=[]), observation_keys=["observation"],
        num_features=32, num_actions=CUES, num_quantiles=5, hidden_size=48, head_size=32,
        core=MemorylessCore if variant == "no_lstm" else LSTMCore, noise_std=0.0,
    )  # fmt: skip
    policy = R2D2Policy(network)
    env = TransformedEnv(CueRecall(32), policy.make_primers(epsilon=0.1)).append_transform(InitTracker())
    loss = R2D2Loss(network, burn_in_steps=LAYOUT.burn_in_steps, n_step=LAYOUT.n_step, gamma=0.5)
    target, optimizer = SoftUpdate(loss, tau=0.02), torch.optim.Adam(loss.parameters(), lr=3e-3)
    builder = SequenceBuilder(layout=LAYOUT, observation_keys=["observation"], state_keys=network.state_keys)
    with tempfile.TemporaryDirectory() as folder:
        replay = make_replay(scratch_dir=folder, capacity_transitions=60_000, layout=LAYOUT, batch_size=64)
        for _ in range(rollouts):
            with set_exploration_type(ExplorationType.RANDOM), torch.no_grad():
                replay.extend(builder.extend(env.rollout(LAST_STEP + 1, policy)))
            for _ in range(updates):
                batch = replay.sample()
                if variant == "zero_start":
                    batch.update({key: torch.zeros_like(batch[key]) for key in network.state_keys})
                optimizer.zero_grad()
                loss(batch)["loss_quantile"].backward()
                torch.nn.utils.clip_grad_norm_(loss.parameters(), 40.0)
                optimizer.step()
                target.step()
                replay.update_tensordict_priority(batch)
    return evaluate(env, policy) | {"seconds": time.perf_counter() - start}


@torch.no_grad()
def evaluate(env: EnvBase, policy: R2D2Policy, batches: int = 8) -> dict[str, float]:
    """Act greedily and count right answers."""
    played = torch.cat([env.rollout(LAST_STEP + 1, policy) for _ in range(batches)])
    right, late = played["next", "reward"] > 0, played["step_count"] > LATE
    shares = {"early": right[played["is_query"] & ~late], "late": right[played["is_query"] & late]}
    return {name: share.float().mean().item() for name, share in shares.items()}


def main() -> None:
    """Run every variant with every seed, two at a time."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    variants = ["stored_state", "zero_start", "no_lstm"]
    parser.add_argument("--variants", nargs="+", choices=variants, default=variants[:1])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results of all runs there")
    arguments = parser.parse_args()
    runs = [(variant, seed) for variant in arguments.variants for seed in arguments.seeds]
    samples = []
    with ProcessPoolExecutor(max_workers=2) as executor:
        for (variant, seed), result in zip(runs, executor.map(train, *zip(*runs, strict=True)), strict=True):
            print(variant, seed, result, flush=True)
            samples.append({"variant": variant, "seed": seed} | result)
    if arguments.json is not None:
        worst = {
            variant: {
                f"{which.__name__}_{part}": which(run[part] for run in samples if run["variant"] == variant)
                for which in (min, max)
                for part in ("early", "late")
            }
            for variant in arguments.variants
        }
        write_json(arguments.json, provenance() | {"variants": worst, "samples": samples})


if __name__ == "__main__":
    main()
