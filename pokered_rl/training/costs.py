"""Memory and expected speed of a run, computed from measured costs.

The model, with the costs of ``docs/benchmarks/results/costs.json`` (made by ``docs/benchmarks/costs.py``):

- a worker takes ``E * frames * frame_us + fixed + E * each`` of a core for one step of its E emulators, and with an
  archive ``capture_steps`` of its steps for one in ``curriculum.capture_every_steps``;
- the learner's process takes ``drain_us`` for each agent step that arrives, and ``sample_step_us`` for each stored step
  of a batch that it draws; its threads share one interpreter lock, so these times add up;
- an update takes ``fixed`` and ``each`` for each stored step of its batch, on one CPU thread; on a GPU it is one CUDA
  graph, whose launch was not measured and is left out;
- ``replay.samples_per_insert`` fixes the number of agent steps per update, so the slowest part sets the pace;
- no more than the cores of this machine work at a time, whatever the number of processes;
- on another machine, or with other cores busy, all times are longer by one factor (:meth:`Costs.scaled`).
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace

from pokered_rl.bundled import bundled_path
from pokered_rl.errors import ConfigError
from pokered_rl.resources import worker_count
from pokered_rl.training.config import Backend, Config

__all__ = ["Costs", "ExpectedSpeed", "MemoryNeeds", "expected_speed", "measured_costs", "memory_needs"]

#: One unpacked time step of a batch: frame, map, context, mask.
_STEP_BYTES = 3_000
#: Pages of the replay that are mapped at a time.
_MAPPED_BYTES = 600_000_000


@dataclass(frozen=True)
class Costs:
    """Costs measured on one core."""

    #: Emulating a frame.
    frame_us: float
    #: Frames of a step beyond those of the action, in random play.
    wait_frames: float
    #: By network size, the rest of a worker's step: ``fixed``, and ``each`` for each emulator.
    worker_step_us: dict[str, dict[str, float]]
    #: Time of the learner's process for each agent step that arrives.
    drain_us: float
    #: By network size, the learner's update: ``fixed``, and ``each`` for each stored step of its batch.
    update_us: dict[str, dict[str, float]]
    #: Private memory of a worker without its emulators.
    worker_bytes: float
    #: Private memory of an emulator.
    emulator_bytes: float
    #: Private memory of the learner's process.
    learner_bytes: float
    #: Time of the learner's process for drawing and unpacking a batch, for each stored step of it; by default what
    #: ``replay_full.json`` has for 64 sequences of 125 steps.
    sample_step_us: float = 2.15
    #: Agent steps that a worker could make while the archive captures a state; by default what ``archive_cost.json``
    #: has: all that the archive takes for each captured state.
    capture_steps: float = 29.3

    def scaled(self, factor: float) -> Costs:
        """Return the costs on cores that take ``factor`` times as long; memory is the same."""

        def each(sizes: dict[str, dict[str, float]]) -> dict[str, dict[str, float]]:
            return {size: {part: factor * us for part, us in parts.items()} for size, parts in sizes.items()}

        return replace(
            self,
            frame_us=factor * self.frame_us,
            worker_step_us=each(self.worker_step_us),
            drain_us=factor * self.drain_us,
            update_us=each(self.update_us),
            sample_step_us=factor * self.sample_step_us,
        )


@dataclass(frozen=True)
class MemoryNeeds:
    """Private memory of a run, page cache excluded."""

    #: Bytes of the learner's process.
    learner: float
    #: Bytes of each worker.
    worker: float
    #: Bytes of all processes.
    total: float


@dataclass(frozen=True)
class ExpectedSpeed:
    """Agent steps per second that each part of a run can sustain."""

    #: Workers, emulating and choosing actions.
    acting: float
    #: The learner's process, taking in what workers send and drawing batches.
    intake: float
    #: Updates, times the agent steps that belong to one; None for a learner on a GPU, whose costs depend on the model.
    learning: float | None
    #: Agent steps that belong to an update.
    steps_per_update: float
    #: All parts together on the cores of this machine; with ``collector.backend=inline`` on one.
    cores: float

    @property
    def limits(self) -> dict[str, float]:
        """Each part's steps per second, by the part's name."""
        parts = {"acting": self.acting, "the cores": self.cores}
        if self.learning is None:
            return parts | {"the learner's process": self.intake}
        return parts | {"taking in and drawing": self.intake, "learning": self.learning}

    @property
    def steps(self) -> float:
        """Expected agent steps per second."""
        return min(self.limits.values())

    @property
    def bound_by(self) -> str:
        """The slowest part."""
        limits = self.limits
        return min(limits, key=limits.__getitem__)


def measured_costs() -> Costs:
    """Return the costs that come with the package.

    Raises:
        ConfigError: They are missing.
    """
    return Costs(**json.loads(bundled_path("costs.json").read_text())["costs"])


def memory_needs(config: Config, costs: Costs, *, workers: int, sequences: int) -> MemoryNeeds:
    """Compute the memory of a run.

    Args:
        config: The whole tree.
        costs: Measured costs.
        workers: Worker processes on this machine; 0 for workers inside the learner's process, or elsewhere.
        sequences: Capacity of the replay.
    """
    # Imported on use: a command's help must not wait for PyTorch.
    from pokered_rl.data.storage import BOOKKEEPING_BYTES

    batches = 2 + config.replay.prefetch_batches
    learner = costs.learner_bytes + sequences * BOOKKEEPING_BYTES + _MAPPED_BYTES
    learner += batches * _steps_per_batch(config) * _STEP_BYTES
    worker = costs.worker_bytes + config.collector.emulators_per_worker * costs.emulator_bytes
    return MemoryNeeds(learner=learner, worker=worker, total=learner + workers * worker)


def expected_speed(config: Config, costs: Costs, *, cores: int, on_gpu: bool = False) -> ExpectedSpeed:
    """Estimate the speed of a run.

    Args:
        config: The whole tree.
        costs: Measured costs.
        cores: CPU cores of this machine; Ray's workers are taken to have a core each.
        on_gpu: The learner is on a GPU.

    Raises:
        ConfigError: The costs of this network size were not measured.
    """
    collector, size = config.collector, config.network.size.value
    if size not in costs.worker_step_us:
        raise ConfigError(f"network.size={size}: its costs were not measured, only {', '.join(costs.worker_step_us)}")
    inline = collector.backend is Backend.inline
    workers, emulators = 1 if inline else worker_count(collector.num_workers, cores), collector.emulators_per_worker
    frames = config.env.frames_per_action + (costs.wait_frames if config.env.wait_while_busy else 0)
    other, update = costs.worker_step_us[size], costs.update_us[size]
    acting_us = frames * costs.frame_us + other["each"] + other["fixed"] / emulators
    if config.curriculum.enabled:
        acting_us *= 1 + costs.capture_steps / config.curriculum.capture_every_steps

    transitions = config.learner.batch_size * config.replay.sequence_period_steps
    steps_per_update, stored = transitions / config.replay.samples_per_insert, _steps_per_batch(config)
    intake_us = costs.drain_us + stored * costs.sample_step_us / steps_per_update
    learning_us = 0.0 if on_gpu else (update["fixed"] + stored * update["each"]) / steps_per_update
    here_us = intake_us + learning_us + (0 if collector.backend is Backend.ray else acting_us)
    return ExpectedSpeed(
        acting=workers * 1e6 / acting_us,
        intake=1e6 / intake_us,
        learning=None if on_gpu else 1e6 * max(1, config.runtime.learner_threads) / learning_us,
        steps_per_update=steps_per_update,
        cores=(1 if inline else cores) * 1e6 / here_us,
    )


def _steps_per_batch(config: Config) -> int:
    length = config.replay.burn_in_steps + config.replay.unroll_steps + config.loss.n_step
    return config.learner.batch_size * length
