"""``python -m pokered_rl plan``: what a config will do on a machine, computed from measured costs.

The model is a handful of divisions, so that anyone can follow it:

- a worker's step of E emulators takes ``E * frames * frame_us + fixed + E * each`` of a core;
- workers share the cores with the learner's process when there are more of them than cores;
- the learner's process needs ``drain_us`` for each step that arrives;
- an update takes ``rows * row_us`` on the CPU, or its multiplications at an assumed rate on a GPU;
- ``samples_per_insert`` ties updates to steps, so the slower of the two sets the pace.

Costs come from ``examples/plan_costs.py``. Disk is not modelled but added up: the stored entries are known.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from pokered_rl.errors import ConfigError, PokeredError
from pokered_rl.resources import available_cpus, worker_count
from pokered_rl.training.config import Backend, Config
from pokered_rl.training.load_config import load_config

__all__ = [
    "Costs",
    "Machine",
    "MemoryNeeds",
    "Plan",
    "acting_rate",
    "main",
    "make_plan",
    "measured_costs",
    "memory_needs",
    "plan_for",
    "scaling_markdown",
    "table",
]

#: Forward passes that an update costs: online and target network forward, and backward, which is twice a forward.
_PASSES = 4.0
#: Bytes of a checkpoint's optimizer and networks for each byte of weights: two networks, two moments of Adam.
_CHECKPOINT_COPIES = 4.0
#: Sum and minimum tree and write counter of a stored sequence.
_PRIORITY_BYTES = 24
#: An unpacked row of a batch: frame, map, context, mask.
_ROW_BYTES = 3_000
#: Mapped pages of the replay that are in use at a time.
_MAPPED_BYTES = 600_000_000


@dataclass(frozen=True)
class Costs:
    """Measured on one core; see ``examples/plan_costs.py``.

    Attributes:
        frame_us: emulating a frame.
        wait_frames: frames of a step beyond those of the action, in random play.
        worker_step_us: by network size, everything else of a worker's step: ``fixed``, and ``each`` emulator's part.
        drain_us: the learner's process, for each agent step that arrives.
        learner_row_us: by network size, the learner's step for each stored row of its batch.
        bytes_per_step: sent from a worker to the learner for each agent step.
        worker_bytes: private memory of a worker without its emulators.
        emulator_bytes: private memory of each emulator.
        learner_bytes: private memory of the learner's process.
    """

    frame_us: float
    wait_frames: float
    worker_step_us: dict[str, dict[str, float]]
    drain_us: float
    learner_row_us: dict[str, float]
    bytes_per_step: float
    worker_bytes: float
    emulator_bytes: float
    learner_bytes: float


@dataclass(frozen=True)
class Machine:
    """What a run is given.

    Attributes:
        cores: CPU cores of all nodes together.
        gpu_teraflops: rate that the learner reaches on its GPU; 0 for a learner on the CPU.
        nodes: machines; the learner is on one of them.
    """

    cores: int
    gpu_teraflops: float = 0.0
    nodes: int = 1


@dataclass(frozen=True)
class Plan:
    """What to expect.

    Attributes:
        workers: worker processes.
        emulators: of all workers.
        acting_steps: agent steps a second that the workers could make.
        drain_steps: steps a second that the learner's process could take in.
        learning_steps: steps a second that the learner could keep up with.
        steps: the least of the three.
        updates: optimizer steps a second at that pace.
        hours: until ``run.target_total_steps``.
        learner_bytes: private memory of the learner's process.
        worker_bytes: private memory of one worker.
        replay_bytes: rows of the replay on disk.
        run_bytes: the run's checkpoints on disk, without its episode logs.
        network_bytes: a second, into and out of the learner's node; 0 on a single node.
    """

    workers: int
    emulators: int
    acting_steps: float
    drain_steps: float
    learning_steps: float
    steps: float
    updates: float
    hours: float
    learner_bytes: float
    worker_bytes: float
    replay_bytes: float
    run_bytes: float
    network_bytes: float

    @property
    def bound_by(self) -> str:
        """What sets the pace."""
        limits = {"acting": self.acting_steps, "taking in": self.drain_steps, "learning": self.learning_steps}
        return min(limits, key=limits.__getitem__)


@dataclass(frozen=True)
class MemoryNeeds:
    """Private memory of a run, page cache aside.

    Attributes:
        learner: bytes of the learner's process.
        worker: bytes of each worker.
        total: bytes of all processes.
    """

    learner: float
    worker: float
    total: float


def memory_needs(config: Config, costs: Costs, *, workers: int, sequences: int) -> MemoryNeeds:
    """Memory of a run.

    Args:
        config: The whole tree.
        costs: Measured.
        workers: Worker processes on this machine; 0 for workers inside the learner's process, or elsewhere.
        sequences: Capacity of the replay.
    """
    batches = 2 + config.replay.prefetch_batches
    learner = costs.learner_bytes + sequences * _PRIORITY_BYTES + _MAPPED_BYTES
    learner += batches * config.learner.batch_size * _sequence_length(config) * _ROW_BYTES
    worker = costs.worker_bytes + config.collector.emulators_per_worker * costs.emulator_bytes
    return MemoryNeeds(learner=learner, worker=worker, total=learner + workers * worker)


def measured_costs() -> Costs:
    """The costs that come with the package.

    Raises:
        ConfigError: they are missing.
    """
    package = Path(__file__).resolve().parents[1]
    for file in (
        package / "_bundled" / "costs.json",
        package.parent / "docs" / "benchmarks" / "results" / "costs.json",
    ):
        if file.is_file():
            return Costs(**json.loads(file.read_text())["costs"])
    raise ConfigError(f"no measured costs beside the package at {package}; reinstall it")


def make_plan(
    config: Config, machine: Machine, costs: Costs, *, replay: tuple[int, int], macs: int, parameters: int
) -> Plan:
    """Computes what a config will do.

    Args:
        config: The whole tree.
        machine: What it runs on.
        costs: Measured.
        replay: Sequences, and bytes of their rows on disk: ``build.replay_needs``.
        macs: Multiplications of the network for one row of a sequence.
        parameters: Of the network.

    Raises:
        ConfigError: the costs of this network size were not measured.
    """
    collector, size = config.collector, config.network.size.value
    if size not in costs.worker_step_us:
        raise ConfigError(f"network.size={size}: its costs were not measured, only {', '.join(costs.worker_step_us)}")
    inline = collector.backend is Backend.inline
    workers = 1 if inline else worker_count(collector.num_workers, machine.cores)
    emulators = collector.emulators_per_worker

    frames = config.env.frames_per_action + (costs.wait_frames if config.env.wait_while_busy else 0)
    other = costs.worker_step_us[size]
    batch_us = emulators * frames * costs.frame_us + other["fixed"] + emulators * other["each"]
    share = 1.0 if workers < machine.cores else machine.cores / (workers + 1)
    acting = workers * share * emulators * 1e6 / batch_us

    rows = config.learner.batch_size * _sequence_length(config)
    if machine.gpu_teraflops:
        update_seconds = 2 * _PASSES * macs * rows / (machine.gpu_teraflops * 1e12)
    else:
        update_seconds = rows * costs.learner_row_us[size] / 1e6 / max(1, config.runtime.learner_threads)
    transitions = config.learner.batch_size * config.replay.sequence_period_steps
    steps_per_update = transitions / config.replay.samples_per_insert
    if inline:  # one after the other in one process
        learning = 1 / (1 / acting + costs.drain_us / 1e6 + update_seconds / steps_per_update)
    else:
        learning = steps_per_update / update_seconds
    steps = min(acting, 1e6 / costs.drain_us, learning)
    updates = steps / steps_per_update

    sequences, replay_bytes = replay
    remote = 1 - 1 / machine.nodes
    weights = 4 * parameters
    pushes = updates / collector.sync_every_updates
    memory = memory_needs(config, costs, workers=workers, sequences=sequences)
    return Plan(
        workers=workers,
        emulators=workers * emulators,
        acting_steps=acting,
        drain_steps=1e6 / costs.drain_us,
        learning_steps=learning,
        steps=steps,
        updates=updates,
        hours=config.run.target_total_steps / steps / 3600,
        learner_bytes=memory.learner,
        worker_bytes=memory.worker,
        replay_bytes=replay_bytes,
        run_bytes=config.runtime.keep_checkpoints * _CHECKPOINT_COPIES * weights,
        network_bytes=remote * steps * costs.bytes_per_step + (machine.nodes - 1) * pushes * weights,
    )


def _sequence_length(config: Config) -> int:
    return config.replay.burn_in_steps + config.replay.unroll_steps + config.loss.n_step


def plan_for(config: Config, machine: Machine) -> Plan:
    """The plan of a config, with the package's costs; builds the network and looks at one emulator to add up bytes."""
    from pokered_rl.training.build import network_needs, replay_needs

    cost = network_needs(config)
    return make_plan(
        config,
        machine,
        measured_costs(),
        replay=replay_needs(config),
        macs=cost.acting_macs,
        parameters=cost.parameters,
    )


#: Cases of the page on scaling: workers, machine. The rate of the GPU is an assumption: about a twentieth of what the
#: data sheets of current cards promise for bfloat16.
_CASES = (
    (16, Machine(cores=17)),
    (16, Machine(cores=17, gpu_teraflops=20.0)),
    (48, Machine(cores=49, gpu_teraflops=20.0)),
    (256, Machine(cores=257, gpu_teraflops=20.0, nodes=6)),
)


def scaling_markdown() -> str:
    """The tables of the page on scaling: the default config with 16, 48 and 256 workers, and on two cores."""
    from pokered_rl.training.build import network_needs, replay_needs

    costs, config = measured_costs(), Config()
    cost, replay = network_needs(config), replay_needs(config)
    lines = [
        "| workers x emulators | learner | nodes | acting, steps/s | learning, steps/s | expected, steps/s (bound by) "
        "| hours to 25 M steps | memory, GB | disk, GB | network, MB/s |",
        "|" + "---|" * 10,
    ]
    for workers, machine in _CASES:
        config.collector.num_workers = workers
        plan = make_plan(config, machine, costs, replay=replay, macs=cost.acting_macs, parameters=cost.parameters)
        memory = plan.learner_bytes + plan.workers * plan.worker_bytes
        learner = f"GPU, {machine.gpu_teraflops:g} TFLOP/s assumed" if machine.gpu_teraflops else "CPU, one thread"
        lines.append(
            f"| {plan.workers} x {plan.emulators // plan.workers} | {learner} | {machine.nodes} "
            f"| {plan.acting_steps:,.0f} | {plan.learning_steps:,.0f} | {plan.steps:,.0f} ({plan.bound_by}) "
            f"| {plan.hours:,.1f} | {memory / 1e9:.1f} | {(plan.replay_bytes + plan.run_bytes) / 1e9:.1f} "
            f"| {plan.network_bytes / 1e6:.1f} |"
        )
    return "\n".join(lines) + "\n"


def acting_rate(size: str, *, workers: int, emulators: int) -> float:
    """Steps a second of workers on a core each that play 24 frames a step and wait for nothing, from the costs."""
    costs = measured_costs()
    other = costs.worker_step_us[size]
    return workers * emulators * 1e6 / (emulators * (24 * costs.frame_us + other["each"]) + other["fixed"])


def table(plan: Plan, machine: Machine) -> Table:
    """The plan as a table."""
    result = Table(title="computed from measured costs; a first estimate, not a promise", show_header=False)
    learner = f"GPU at {machine.gpu_teraflops:g} TFLOP/s (assumed)" if machine.gpu_teraflops else "CPU"
    rows: dict[str, str] = {
        "machine": f"{machine.cores} cores, {machine.nodes} node{'s' * (machine.nodes > 1)}, learner on {learner}",
        "workers x emulators": f"{plan.workers} x {plan.emulators // plan.workers}",
        "acting alone": f"{plan.acting_steps:,.0f} steps/s",
        "taking in alone": f"{plan.drain_steps:,.0f} steps/s",
        "learning alone": f"{plan.learning_steps:,.0f} steps/s",
        "expected": f"{plan.steps:,.0f} steps/s, {plan.updates:.2g} updates/s, bound by {plan.bound_by}",
        "target reached after": f"{plan.hours:,.1f} hours",
        "memory of the learner": f"{plan.learner_bytes / 1e9:.1f} GB, and page cache for the replay if there is any",
        "memory of each worker": f"{plan.worker_bytes / 1e9:.2f} GB",
        "memory together": f"{(plan.learner_bytes + plan.workers * plan.worker_bytes) / 1e9:.1f} GB",
        "disk, replay": f"{plan.replay_bytes / 1e9:.1f} GB",
        "disk, checkpoints": f"{plan.run_bytes / 1e9:.2f} GB",
        "network between nodes": f"{plan.network_bytes / 1e6:,.1f} MB/s",
    }
    for name, value in rows.items():
        result.add_row(name, value)
    return result


def main(argv: Sequence[str] | None = None, *, program: str = "python -m pokered_rl plan") -> int:
    """Prints the plan of a config.

    Returns:
        0, or 1 for a config or costs that cannot be read; wrong arguments end in 2.
    """
    parser = argparse.ArgumentParser(
        prog=program, description="What to expect of a config: steps a second, memory, disk, network."
    )
    parser.add_argument("config", nargs="?", default="r2d2", help="a YAML file, or its name in configs/ (%(default)s)")
    parser.add_argument("overrides", nargs="*", metavar="section.option=value", help="changes to the config")
    parser.add_argument("--cores", type=int, help="CPU cores of all nodes together (those of this job)")
    parser.add_argument("--nodes", type=int, default=1, help="machines (%(default)s)")
    parser.add_argument(
        "--gpu-teraflops", type=float, default=0.0, metavar="N", help="learner on a GPU that reaches N (on the CPU)"
    )
    parser.add_argument("--json", action="store_true", help="print the plan as JSON")
    arguments = parser.parse_intermixed_args(argv)
    name, overrides = arguments.config, list(arguments.overrides)
    if "=" in name:
        name, overrides = "r2d2", [name, *overrides]
    try:
        path = Path(name)
        if path.suffix == ".yaml":
            config = load_config(path.stem, overrides, folder=path.parent)
        else:
            config = load_config(name, overrides)
        for option in ("cores", "nodes"):
            value = getattr(arguments, option)
            if value is not None and value < 1:
                raise ConfigError(f"--{option} must be >= 1, got {value}")
        if not 0 <= arguments.gpu_teraflops < math.inf:
            raise ConfigError(f"--gpu-teraflops must be >= 0 and finite, got {arguments.gpu_teraflops}")
        machine = Machine(
            cores=arguments.cores or available_cpus(), gpu_teraflops=arguments.gpu_teraflops, nodes=arguments.nodes
        )
        plan = plan_for(config, machine)
    except PokeredError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    if arguments.json:
        content: dict[str, Any] = dataclasses.asdict(plan) | {"bound_by": plan.bound_by}
        sys.stdout.write(json.dumps(content, indent=1) + "\n")
    else:
        Console().print(table(plan, machine))
    return 0
