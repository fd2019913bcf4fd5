"""Measure what the archive of states costs while a random policy acts, as a share of the processor time of acting.

Example:

    python docs/benchmarks/archive_cost.py --json docs/benchmarks/results/archive_cost.json
"""

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

from torchrl.envs.utils import step_mdp

from pokered_rl.cli.measurement import provenance, write_json
from pokered_rl.envs import ArchiveStates, StateArchive, make_env
from pokered_rl.training.evaluation import RandomPolicy

EMULATORS, WARM_UP_STEPS, ROUNDS, ROUND_STEPS = 32, 300, 10, 150


class _Timed(ArchiveStates):
    """The transform, with a clock around what it does in a step."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.clock = [0.0]

    def _advance(self, frame: Any, action: Any) -> None:
        began = time.process_time()
        super()._advance(frame, action)
        self.clock[0] += time.process_time() - began

    def _write(self, frame: Any, out: Any) -> None:
        began = time.process_time()
        super()._write(frame, out)
        self.clock[0] += time.process_time() - began


def main() -> None:
    """Play, print the share, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, metavar="FILE")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        archive = StateArchive(folder=folder)
        transform = _Timed(archive)
        env = make_env(num_emulators=EMULATORS, seed=0, extra_transforms=[transform])
        policy, tensordict = RandomPolicy(seed=0), env.reset()

        def play(num_steps: int) -> None:
            nonlocal tensordict
            for _ in range(num_steps):
                tensordict = step_mdp(env.step(policy(tensordict)))
                done = tensordict["done"]
                if done.any():
                    tensordict = env.reset(tensordict.set("_reset", done.clone())).exclude("_reset")

        play(WARM_UP_STEPS)
        transform.memory.credit[:] = 0  # the captures that are saved up for the first cells are spent
        shares, states = [], archive.num_states
        for _ in range(ROUNDS):
            transform.clock[0], began = 0.0, time.process_time()
            play(ROUND_STEPS)
            shares.append(transform.clock[0] / (time.process_time() - began))
        env.close()
    share = sum(shares) / len(shares)
    print(f"{share:.2%} of acting, {archive.num_states - states} states in {EMULATORS * ROUNDS * ROUND_STEPS:,} steps")
    if arguments.json is not None:
        content = {
            "unit": "share of the processor time of acting, random policy, mean of the rounds",
            "share": share,
            "capture_every_steps": transform.capture_every_steps,
            "states": archive.num_states - states,
            "steps": EMULATORS * ROUNDS * ROUND_STEPS,
            "samples": shares,
        }
        write_json(arguments.json, {**provenance(), **content})


if __name__ == "__main__":
    main()
