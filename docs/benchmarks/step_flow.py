"""Show the files of the library that one training step enters, in order: one batch of a worker and one update.

The worker runs in this process (``InlinePool``); shapes and reward are those of ``configs/quickstart.yaml``.

    python docs/benchmarks/step_flow.py            # the files, and how many functions of each
    python docs/benchmarks/step_flow.py --write    # brings the tables of docs/concepts/step_flow.md up to date
    python docs/benchmarks/step_flow.py --check    # fails when they are not
"""

import argparse
import ast
import re
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
from pokered_rl.training.builders import probe
from pokered_rl.training.learner import Learner
from pokered_rl.training.load_config import load_config

_PACKAGE = Path(pokered_rl.__file__).parent
_PAGE = Path(__file__).parents[1] / "concepts" / "step_flow.md"


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


def _page_with(batch: list[str], update: list[str], page: str) -> str:
    """Return the page with new tables: the files of a batch, those of an update, each with its first sentence."""
    tables = iter([batch, update])
    page = re.sub(r"(\| file \| .*\n\|---.*\n)(?:\|.*\n)*", lambda head: head[1] + _table(next(tables)), page)
    return re.sub(r"\d+ files in all", f"{len({*batch, *update})} files in all", page)


def _table(files: list[str]) -> str:
    docstrings = (ast.get_docstring(ast.parse((_PACKAGE / file).read_text())) or "" for file in files)
    return "".join(f"| `{file}` | {_first_line(text)} |\n" for file, text in zip(files, docstrings, strict=True))


def _first_line(docstring: str) -> str:
    return re.sub(r":\w+:`~?(?:[\w.]+\.)?(\w+)`", r"`\1`", docstring.partition("\n")[0]).replace("``", "`")


def _record(folder: Path) -> tuple[_Entered, _Entered]:
    torch.manual_seed(5)  # no episode ends in the batch, and no emulator enters another map
    config = load_config("quickstart")
    layout = SequenceLayout(
        burn_in_steps=config.replay.burn_in_steps,
        unroll_steps=config.replay.unroll_steps,
        n_step=config.loss.n_step,
        period_steps=config.replay.sequence_period_steps,
    )
    num_actions, batch_size = len(config.env.actions), config.learner.batch_size
    emulators, steps = config.collector.emulators_per_worker, config.collector.steps_per_batch
    network = R2D2Network(
        num_actions=num_actions,
        size=config.network.size.value,
        hidden_size=config.network.hidden_size,
        num_quantiles=config.network.num_quantiles,
    )
    policy = R2D2Policy(network)
    loss = R2D2Loss(network, burn_in_steps=layout.burn_in_steps, n_step=layout.n_step, gamma=config.loss.gamma)
    options: dict[str, Any] = {
        "num_emulators": emulators,
        "actions": tuple(config.env.actions),
        "max_episode_steps": config.env.max_episode_steps,
        "reward": {"weights": config.reward.weights, "write_terms": False},
        "recorder": {"folder": str(folder / "episode_logs")},
        "extra_transforms": (policy.make_primers(),),
    }
    replay = make_replay(
        scratch_dir=folder / "replay",
        capacity_transitions=20_000,
        layout=layout,
        batch_size=batch_size,
        two_bit_shapes={"map_memory": (2, 21, 21)},
        num_actions=num_actions,
        seed=0,
    )
    builder = SequenceBuilder(
        layout=layout,
        observation_keys=(*network.observation_keys, "action_mask"),
        state_keys=network.state_keys,
    )
    with probe(config) as probed:
        replay.allocate(builder.example(probed.example()))
    pool = InlinePool(
        make_envs=[partial(make_env, **options)],
        policy=policy,
        emulators_per_worker=emulators,
        steps_per_batch=steps,
        builder=builder,
        replay=replay,
        limiter=RateLimiter(samples_per_insert=4.0, min_fill_sequences=batch_size),
    )
    learner = Learner(
        loss=loss,
        optimizer=torch.optim.Adam(loss.parameters()),
        target_updater=SoftUpdate(loss, tau=0.01),
        replay=replay,
        batch_size=batch_size,
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
    """Print both lists, and how many files there are in all; write or check the page."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--write", action="store_true", help="bring docs/concepts/step_flow.md up to date")
    parser.add_argument("--check", action="store_true", help="fail when that page is not up to date")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        batch, update = _record(Path(folder))
    for title, part in (("One batch of a worker", batch), ("One update", update)):
        print(f"{title}: {len(part.files)} files, {len(part.functions)} functions")
        for file in part.files:
            count = sum(where == file for where, _ in part.functions)
            print(f"  {file} ({count})")
    print(f"Together {len({*batch.files, *update.files})} files")
    page = _PAGE.read_text()
    current = _page_with(batch.files, update.files, page)
    if arguments.write:
        _PAGE.write_text(current)
    elif arguments.check and page != current:
        sys.exit(f"{_PAGE.name} names other files: run this program with --write")


if __name__ == "__main__":
    main()
