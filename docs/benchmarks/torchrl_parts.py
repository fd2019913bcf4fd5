"""Parts that TorchRL has, too, beside ours.

python docs/benchmarks/torchrl_parts.py --json docs/benchmarks/results/torchrl_parts.json
"""

import argparse
import json
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from tensordict import TensorDict
from torch import nn
from torchrl.checkpoint import Checkpoint, CheckpointRotation
from torchrl.envs import StepCounter
from torchrl.modules import LSTMModule

from pokered_rl import R2D2Network, make_env
from pokered_rl.cli.measurement import provenance, write_json
from pokered_rl.collectors import SharedControl
from pokered_rl.modules import LSTMCore
from pokered_rl.training.checkpoint import CheckpointStore

#: Emulators, units of features and of the LSTM.
EMULATORS, FEATURES, HIDDEN = 32, 512, 512


def _microseconds(function: Callable[[], Any], *, repeats: int = 7, calls: int = 30) -> list[float]:
    """Time a call; one value for each repeat."""
    function()
    samples = []
    for _ in range(repeats):
        begin = time.perf_counter()
        for _ in range(calls):
            function()
        samples.append(round(1e6 * (time.perf_counter() - begin) / calls, 1))
    return samples


@torch.no_grad()
def acting_step() -> dict[str, list[float]]:
    """Measure one step of the LSTM for all emulators of a worker."""
    core, module = (
        LSTMCore(FEATURES, HIDDEN),
        LSTMModule(
            input_size=FEATURES,
            hidden_size=HIDDEN,
            in_keys=["features", "h", "c"],
            out_keys=["features_out", ("next", "h"), ("next", "c")],
        ),
    )
    features = torch.randn(EMULATORS, FEATURES)
    state = (torch.zeros(EMULATORS, HIDDEN), torch.zeros(EMULATORS, HIDDEN))
    step = TensorDict(
        {
            "features": features,
            "h": torch.zeros(EMULATORS, 1, HIDDEN),
            "c": torch.zeros(EMULATORS, 1, HIDDEN),
            "is_init": torch.zeros(EMULATORS, 1, dtype=torch.bool),
        },
        [EMULATORS],
    )
    return {
        "ours_us": _microseconds(lambda: core.step(features, state)),
        "torchrl_us": _microseconds(lambda: module(step.copy())),
    }


def step_counter() -> list[float]:
    """Measure TorchRL's step counter on one step of all emulators; ours is an array of the environment."""
    counter = StepCounter(max_steps=2048, step_count_key="counted")
    env = make_env(num_emulators=EMULATORS).append_transform(counter)
    now = env.reset()
    after = env.rand_step(now)["next"]
    env.close()
    return _microseconds(lambda: counter._step(now, after))


def weight_push() -> list[float]:
    """Measure the copy of the base network's weights that every worker then reads."""
    network = R2D2Network(num_actions=8)
    control = SharedControl(network, num_workers=16)
    return _microseconds(lambda: control.write_weights(network), calls=5)


def damaged_checkpoint() -> dict[str, bool]:
    """Flip a byte of the newest checkpoint's weights, and look which one is then used."""
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        model = nn.Linear(64, 64)
        rotation = CheckpointRotation(Path(folder) / "torchrl", keep_last=2)
        for step in (1, 2):
            rotation.save(Checkpoint(model=model), step=step)
        newest = rotation.latest()
        assert newest is not None
        _flip_a_byte(max(newest.rglob("*"), key=lambda path: path.stat().st_size if path.is_file() else 0))
        before = model.weight.detach().clone()
        try:
            rotation.load_latest(Checkpoint(model=model))
            found["torchrl_notices"] = torch.equal(before, model.weight)
        except Exception:  # noqa: BLE001 - whatever it raises, it has noticed
            found["torchrl_notices"] = True

        store = CheckpointStore(Path(folder) / "ours", keep=2)
        for step in (1, 2):
            store.save(steps=step, updates=0, state={"model": model.state_dict()})
        _flip_a_byte(max((Path(folder) / "ours").iterdir()) / "state.pt")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            intact = store.newest()
        found["ours_falls_back"] = intact is not None and intact.steps == 1
        store.close()
    return found


def _flip_a_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)


def main() -> None:
    """Measure everything."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    samples: dict[str, Any] = {
        "acting_step": acting_step(),
        "step_counter_us": step_counter(),
        "weight_push_us": weight_push(),
        "damaged_checkpoint": damaged_checkpoint(),
        "state_bytes_per_step": 2 * HIDDEN * 4,
        "picture_bytes_per_step": 72 * 80 // 4,
    }
    medians: dict[str, float] = {
        "acting_step_ours_us": statistics.median(samples["acting_step"]["ours_us"]),
        "acting_step_torchrl_us": statistics.median(samples["acting_step"]["torchrl_us"]),
        "step_counter_us": statistics.median(samples["step_counter_us"]),
        "weight_push_ms": round(statistics.median(samples["weight_push_us"]) / 1e3, 2),
    }
    medians["acting_step_ratio"] = round(medians["acting_step_torchrl_us"] / medians["acting_step_ours_us"], 2)
    print(json.dumps(medians | {"damaged_checkpoint": samples["damaged_checkpoint"]}, indent=1))
    if arguments.json is not None:
        write_json(arguments.json, provenance() | {"medians": medians, "samples": samples})


if __name__ == "__main__":
    main()
