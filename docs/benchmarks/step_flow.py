"""Print the files of the library that one training step enters, in order: one batch of a worker and one update.

The worker runs in this process (``InlinePool``), the shapes are those of ``configs/quickstart.yaml``.

python docs/benchmarks/step_flow.py
"""

import sys
import tempfile
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torchrl.objectives import SoftUpdate

import pokered_rl
from pokered_rl.collectors import InlinePool
from pokered_rl.data import RateLimiter, SequenceBuilder, SequenceLayout, make_replay
from pokered_rl.envs import make_env
from pokered_rl.modules import R2D2Network, R2D2Policy
from pokered_rl.objectives import R2D2Loss
from pokered_rl.training.learner import Learner

_PACKAGE = Path(pokered_rl.__file__).parent
_WEIGHTS = {"new_tiles": 1.0, "new_maps": 4.0, "frontier": 0.0, "revisit": 0.0, "map_stay": 0.0, "steps": 0.0}


class _Entered:
    """Notes each function of the library that is called, in the order of first calls."""

    def __init__(self) -> None:
        self.functions: dict[tuple[str, str], None] = {}

    def __enter__(self) -> "_Entered":
        sys.setprofile(self._note)
        return self

    def __exit__(self, *_: object) -> None:
        sys.setprofile(None)

    def _note(self, frame: FrameType, event: str, _: object) -> None:
        path = frame.f_code.co_filename
        if event == "call" and path.startswith(str(_PACKAGE)):
            name = Path(path).relative_to(_PACKAGE).as_posix()
            self.functions[name, frame.f_code.co_qualname] = None

    @property
    def files(self) -> list[str]:
        return list(dict.fromkeys(file for file, _ in self.functions))


def files_of_a_step(folder: Path) -> tuple[list[str], list[str]]:
    """Return the files that a batch enters and those that an update enters, each in the order of the first call."""
    batch, update = _record(folder)
    return batch.files, update.files


def _record(folder: Path) -> tuple[_Entered, _Entered]:
    torch.manual_seed(0)
    layout = SequenceLayout(burn_in_steps=4, unroll_steps=20, n_step=5)
    network = R2D2Network(num_actions=6, size="tiny", hidden_size=64, num_quantiles=11)
    policy, loss = R2D2Policy(network), R2D2Loss(network, burn_in_steps=4, n_step=5, gamma=0.95)
    options: dict[str, Any] = {
        "num_emulators": 16,
        "actions": ("a", "b", "right", "left", "up", "down"),
        "max_episode_steps": 256,
        "reward": {"weights": _WEIGHTS, "write_terms": False},
        "recorder": {"folder": str(folder / "episode_logs")},
        "extra_transforms": (policy.make_primers(),),
    }
    builder = SequenceBuilder(
        layout=layout, observation_keys=(*network.observation_keys, "action_mask"), state_keys=network.state_keys
    )
    replay = make_replay(
        scratch_dir=folder / "replay",
        capacity_transitions=20_000,
        layout=layout,
        batch_size=16,
        two_bit_shapes={"map_memory": (2, 21, 21)},
        num_actions=6,
        seed=0,
    )
    pool = InlinePool(
        make_envs=[partial(make_env, **options)],
        policy=policy,
        emulators_per_worker=16,
        steps_per_batch=20,
        builder=builder,
        replay=replay,
        limiter=RateLimiter(samples_per_insert=4.0, min_fill_sequences=16),
        two_bit_keys=("map_memory",),
    )
    learner = Learner(
        loss=loss,
        optimizer=torch.optim.Adam(loss.parameters()),
        target_updater=SoftUpdate(loss, tau=0.01),
        replay=replay,
        batch_size=16,
        max_grad_norm=10.0,
        device=torch.device("cpu"),
    )
    with pool:
        # Two batches before: emulators are started, and the replay holds a sequence of each.
        for _ in range(2):
            pool.collect()
        pool.set_weights(network, version=1)
        with _Entered() as batch:
            pool.collect()
        with _Entered() as update:
            learner.step()
    return batch, update


def main() -> None:
    """Print both lists, and how many files there are in all."""
    with tempfile.TemporaryDirectory() as folder:
        batch, update = _record(Path(folder))
    for title, part in (("One batch of a worker", batch), ("One update", update)):
        print(f"{title}: {len(part.files)} files, {len(part.functions)} functions")
        for file in part.files:
            count = sum(where == file for where, _ in part.functions)
            print(f"  {file} ({count})")
    print(f"Together {len(dict.fromkeys([*batch.files, *update.files]))} files")


if __name__ == "__main__":
    main()
