"""Does a long memory lead astray: how far an agent gets when its LSTM state is set to zero every so many steps.

    python docs/benchmarks/lstm_state.py examples/assets/sprout_taught --json lstm_state.json

Sequences of demonstrations begin with a state of zero and a short burn-in, episodes from power-on carry a state over
thousands of steps. If that difference stood in the way, an agent whose state is renewed would get further.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

import torch
from tensordict import TensorDictBase
from tensordict.nn import TensorDictModuleBase

from pokered_rl.cli.measurement import provenance, write_json
from pokered_rl.training import load_policy
from pokered_rl.training.evaluation import GAME_FIELDS, evaluate


class Forgetful(TensorDictModuleBase):
    """A policy whose recurrent state is set to zero at every ``period``-th step; 0 never does."""

    def __init__(self, policy: TensorDictModuleBase, state_keys: tuple[str, ...], period: int) -> None:
        super().__init__()
        self.policy, self.state_keys, self.period, self.steps = policy, state_keys, period, 0
        self.in_keys, self.out_keys = policy.in_keys, policy.out_keys

    def forward(self, tensordict: TensorDictBase) -> TensorDictBase:
        """Act on a batch [E]."""
        if self.period and self.steps % self.period == 0:
            for key in self.state_keys:
                tensordict[key] = torch.zeros_like(tensordict[key])
        self.steps += 1
        return self.policy(tensordict)


def main() -> int:
    """Evaluate each period from power-on."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="run folder")
    parser.add_argument("--periods", type=int, nargs="+", default=[0, 64, 500], help="steps; 0 never (%(default)s)")
    parser.add_argument("--episodes", type=int, default=20, help="of each, played at a time (%(default)s)")
    parser.add_argument("--steps", type=int, default=3000, help="of an episode (%(default)s)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where the results go")
    arguments = parser.parse_args()
    trained = load_policy(arguments.run)
    milestones = trained.cartridge.profile.milestones
    samples: dict[str, Any] = {}
    for period in arguments.periods:
        torch.manual_seed(1)
        env = trained.make_env(
            num_emulators=arguments.episodes,
            epsilon=0.01,
            seed=1,
            max_episode_steps=arguments.steps,
            game_fields=GAME_FIELDS,
        )
        policy = Forgetful(trained.policy, tuple(trained.network.state_keys), period)
        result = evaluate(env, policy, max_steps=arguments.steps, milestones=milestones)
        env.close()
        rates = {
            name: sum(name in each for each in result.milestones) / arguments.episodes for name in milestones.names
        }
        samples[f"period {period}"] = {"coverage": result.coverage, "rates": rates}
        print(period, {name: rate for name, rate in rates.items() if rate})
    if arguments.json is not None:
        write_json(
            arguments.json,
            {**provenance(), "agent_steps": trained.steps, "episodes": arguments.episodes, "samples": samples},
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
