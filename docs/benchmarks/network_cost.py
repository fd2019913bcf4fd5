"""Measure what the network sizes cost: parameters, multiply-accumulates, and time of an acting step beside emulation.

    python docs/benchmarks/network_cost.py --json docs/benchmarks/results/network.json

Acting steps of 8 emulators and 24 frames of the same 8 emulators take turns on one thread, so that the network
finds the processor's caches as in a worker. The ratio is the result; milliseconds depend on the machine.
"""

import argparse
import statistics
import time
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from tensordict import TensorDict
from torchrl.envs import ExplorationType, set_exploration_type

from bare import BareEmulators, scripted_actions
from pokered_rl.cli.measurement import provenance, write_json
from pokered_rl.emulator import ActionSet, Cartridge, Emulator, boot
from pokered_rl.modules import NETWORK_SIZES, R2D2Network, R2D2Policy, network_cost

EMULATORS, CONTEXT = 8, 64


def observations(num_actions: int) -> TensorDict:
    """One step of random observations [E]."""
    return TensorDict(
        {
            "pixels": torch.randint(0, 256, (EMULATORS, 72, 20), dtype=torch.uint8),
            "map_memory": torch.randint(0, 4, (EMULATORS, 2, 21, 21), dtype=torch.uint8),
            "context": torch.rand(EMULATORS, CONTEXT),
            "last_action": torch.randint(0, num_actions + 1, (EMULATORS,)),
            "last_reward": torch.rand(EMULATORS, 1),
        },
        [EMULATORS],
    )


def main() -> None:
    """Measure every size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write results and raw samples there")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    actions = ActionSet()
    cartridge = Cartridge.find()
    with Emulator(cartridge) as emulator:
        state = boot(emulator)
    bare = BareEmulators(cartridge, EMULATORS)
    bare.load(state)
    sizes, samples = {}, {}
    for size in NETWORK_SIZES:
        network = R2D2Network(num_actions=len(actions), size=size, context_size=CONTEXT)
        policy, td = R2D2Policy(network), observations(len(actions))
        cost = network_cost(network, td)
        td.update(network.initial_state([EMULATORS]))
        td["epsilon"] = torch.full((EMULATORS, 1), 0.1)
        td["action_mask"] = torch.ones(EMULATORS, len(actions), dtype=torch.bool)
        acting, emulating = [], []
        with set_exploration_type(ExplorationType.RANDOM):
            for chosen in scripted_actions(arguments.rounds + 5, EMULATORS, num_actions=len(actions)):
                start = time.thread_time()  # CPU time: a busy machine interrupts both
                bare.play(chosen[None])
                middle = time.thread_time()
                policy(td)
                acting.append(1e3 * (time.thread_time() - middle))
                emulating.append(1e3 * (middle - start))
        acting, emulating = acting[5:], emulating[5:]
        samples[size] = {"acting_ms": acting, "emulating_ms": emulating}
        medians = {"acting_ms": statistics.median(acting), "emulating_ms": statistics.median(emulating)}
        sizes[size] = {
            "parameters": cost.parameters,
            "acting_macs": cost.acting_macs,
            **medians,
            "ratio": medians["acting_ms"] / medians["emulating_ms"],
        }
    bare.close()
    table = Table("size", "parameters", "MACs a step", f"acting, E={EMULATORS}", "24 frames", "ratio")
    for size, row in sizes.items():
        counts = (f"{row['parameters']:,}", f"{row['acting_macs']:,}")
        times = (f"{row['acting_ms']:.2f} ms", f"{row['emulating_ms']:.2f} ms", f"{row['ratio']:.2f}")
        table.add_row(size, *counts, *times)
    Console().print(table)
    if arguments.json is not None:
        write_json(arguments.json, provenance() | {"sizes": sizes, "samples": samples})


if __name__ == "__main__":
    main()
