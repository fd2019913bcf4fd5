"""What Adam's epsilon leaves of the learning rate, before and after the calibration: 25 updates on random play.

    python docs/benchmarks/acting_learning_rate.py --json docs/benchmarks/results/acting_learning_rate.json

Networks, losses and sequences have the sizes of configs/r2d2.yaml, batches have 16 sequences. For each variant: the
diagnostics of the metrics (:func:`pokered_rl.modules.diagnose`) before the first update and after the last one, and the
norm of the gradient before clipping.
"""

import argparse
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from tensordict import TensorDictBase
from torchrl.envs import ExplorationType, set_exploration_type
from torchrl.objectives import HardUpdate

from pokered_rl.cli.measurement import command_line, provenance, write_json
from pokered_rl.data import SequenceBuilder, SequenceLayout
from pokered_rl.emulator import Cartridge
from pokered_rl.envs import make_env
from pokered_rl.modules import R2D2Network, R2D2Policy, diagnose
from pokered_rl.objectives import R2D2Loss

BURN_IN, UNROLL, N_STEP, BATCH, UPDATES = 40, 80, 5, 16, 25
PLAIN_NETWORK = {"initialisation": "pytorch", "layer_norm": False}
PLAIN_LOSS = {"step_reduction": "mean", "reconstruct_next": False, "selection_noise": False}
#: Network options, loss options and Adam's epsilon.
VARIANTS: dict[str, tuple[dict[str, Any], dict[str, Any], float]] = {
    "none": (PLAIN_NETWORK, PLAIN_LOSS, 1e-3),
    "sum": (PLAIN_NETWORK, PLAIN_LOSS | {"step_reduction": "sum"}, 1e-3),
    "all": ({}, {}, 1e-3),
    "all_epsilon_1e-5": ({}, {}, 1e-5),
}


def play() -> tuple[TensorDictBase, dict[str, Any]]:
    """Return sequences of random play, and the arguments of the network that fits them."""
    env = make_env(Cartridge.bundled(), num_emulators=16, max_episode_steps=2048, seed=0)
    spec = env.observation_spec
    arguments = {
        "num_actions": 8,
        "map_shape": tuple(spec["map_memory"].shape[1:]),
        "context_size": spec["context"].shape[-1],
    }
    network = R2D2Network(**arguments)
    policy = R2D2Policy(network)
    env.append_transform(policy.make_primers(epsilon=1.0))
    with set_exploration_type(ExplorationType.RANDOM), torch.no_grad():
        rollout = env.rollout(2 * UNROLL + BURN_IN + N_STEP, policy, break_when_any_done=False)
    env.close()
    builder = SequenceBuilder(
        layout=SequenceLayout(burn_in_steps=BURN_IN, unroll_steps=UNROLL, n_step=N_STEP),
        observation_keys=(*network.observation_keys, "action_mask"),
        state_keys=network.state_keys,
    )
    return builder.extend(rollout), arguments


def measure(sequences: TensorDictBase, network: R2D2Network, options: dict[str, Any], epsilon: float) -> dict[str, Any]:
    """Take the updates; return diagnostics and norms of the gradient."""
    loss = R2D2Loss(network, burn_in_steps=BURN_IN, n_step=N_STEP, **options)
    HardUpdate(loss, value_network_update_interval=10 * UPDATES)
    optimizer = torch.optim.Adam(loss.parameters(), lr=1e-4, eps=epsilon)
    generator = torch.Generator().manual_seed(0)
    before = diagnose(network, optimizer, sequences[:BATCH], first_step=BURN_IN)
    norms = []
    for _ in range(UPDATES):
        out = loss(sequences[torch.randperm(len(sequences), generator=generator)[:BATCH]].clone())
        optimizer.zero_grad()
        sum(value for name, value in out.items() if name.startswith("loss_")).backward()
        norms.append(float(torch.nn.utils.clip_grad_norm_(loss.parameters(), float("inf"))))
        optimizer.step()
    after = diagnose(network, optimizer, sequences[:BATCH], first_step=BURN_IN)
    return {"before": before, "after": after, "grad_norm": {"first": norms[0], "last": norms[-1]}}


def main() -> None:
    """Measure every variant and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results there")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    sequences, network_arguments = play()
    results = {}
    for name, (network_options, loss_options, epsilon) in VARIANTS.items():
        torch.manual_seed(1)
        network = R2D2Network(**network_arguments, **network_options)
        results[name] = measure(sequences, network, loss_options, epsilon)
    table = Table(title="share of the learning rate that acts, median")
    parts = ("pixels", "map_memory", "vector", "core", "head", "reconstructions")
    for heading in ("variant", *parts, "norm"):
        table.add_column(heading, justify="left" if heading == "variant" else "right")
    for name, result in results.items():
        shares = [f"{result['after'][f'lr_share_{part}']:.3f}" for part in parts]
        table.add_row(name, *shares, f"{result['grad_norm']['last']:.0f}")
    Console().print(table)
    if arguments.json is not None:
        write_json(arguments.json, provenance(command_line(None, None)) | {"samples": results})


if __name__ == "__main__":
    main()
