"""Measure what a step costs on this machine, for the speed and the memory that `pokered_rl doctor` expects.

    python docs/benchmarks/costs.py --json docs/benchmarks/results/costs.json

CPU seconds of one thread, so that a busy machine disturbs little: emulation, everything else in a worker at two batch
sizes (which gives a part for each step of the worker and a part for each emulator), what the learner's process does
with a batch, and for each stored step drawing it and the learner's step. `pokered_rl.training.costs` computes the rest.
"""

import argparse
import json
import logging
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import torch

from acting import acting_config, built, playing_pool
from learning import LAYOUT, filled_replay, learner_parts, played_rows, sequences_of
from pokered_rl.cli.measurement import provenance, write_json
from pokered_rl.collectors import InlinePool
from pokered_rl.training.config import Backend

SIZES = ("tiny", "base")
EMULATORS = (8, 32)


class _Timer:
    """CPU time of this thread inside a function."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function
        self.seconds = 0.0

    def __call__(self, *arguments: Any) -> Any:
        start = time.thread_time()
        try:
            return self._function(*arguments)
        finally:
            self.seconds += time.thread_time() - start


def _worker_costs(size: str, emulators: int, batches: int) -> dict[str, list[float]]:
    """Microseconds of each batch: emulation a frame, the rest a worker's step, the learner's process an agent step."""
    samples: dict[str, list[float]] = {"frame_us": [], "other_us": [], "drain_us": [], "wait_frames": []}
    config = acting_config(size, emulators=emulators)
    config.collector.backend = Backend.inline
    with built(config) as trainer:
        workers = trainer.workers
        assert isinstance(workers, InlinePool)
        workers.collect()
        env = workers._collector.env
        while hasattr(env, "base_env"):
            env = env.base_env
        pool = env._pool
        halves = [_Timer(pool._run_first_half), _Timer(pool._run_second_half)]
        pool._run_first_half, pool._run_second_half = halves
        drain = workers.sink.add = _Timer(workers.sink.add)
        emulated = [emulator.frame_count for emulator in pool.emulators]
        for _ in range(batches):
            for timer in (*halves, drain):
                timer.seconds = 0.0
            start = time.thread_time()
            workers.collect()
            total = time.thread_time() - start
            now = [emulator.frame_count for emulator in pool.emulators]
            frames, emulated = sum(now) - sum(emulated), now
            ticking = halves[0].seconds + halves[1].seconds
            steps = workers.steps_per_batch
            samples["frame_us"].append(1e6 * ticking / frames)
            samples["other_us"].append(1e6 * (total - ticking - drain.seconds) / steps)
            samples["drain_us"].append(1e6 * drain.seconds / (steps * emulators))
            samples["wait_frames"].append(frames / (steps * emulators) - 24)
    return samples


def _learner_costs(size: str, rows: Any, updates: int) -> list[float]:
    """Microseconds of a learner's step for each stored step of its batch."""
    block = sequences_of(rows, 64, hidden_size=128 if size == "tiny" else 512)
    with filled_replay(block, sequences=64, batch_size=4) as buffer:
        learner, _ = learner_parts(size, block, buffer, batch_size=4, device=torch.device("cpu"))
        times = []
        for _ in range(updates + 1):
            start = time.thread_time()
            learner.step()
            times.append(1e6 * (time.thread_time() - start) / (4 * LAYOUT.length))
    return times[1:]


def _sample_costs(rows: Any, batches: int) -> list[float]:
    """Microseconds of drawing and unpacking a batch for each stored step of it."""
    block, times = sequences_of(rows, 64, hidden_size=512), []
    with filled_replay(block, sequences=1_000, batch_size=64) as buffer:
        for _ in range(batches + 1):
            start = time.thread_time()
            buffer.sample()
            times.append(1e6 * (time.thread_time() - start) / (64 * LAYOUT.length))
    return times[1:]


def _process_costs() -> dict[str, float]:
    """Private bytes of a worker process, and bytes that it sends for an agent step."""
    private, sent = {}, []
    for emulators in EMULATORS:
        with playing_pool("base", workers=1, emulators=emulators) as playing:
            playing.steps_per_second(2.0)
            process = psutil.Process(playing.workers.control.pid(0))
            private[emulators] = process.memory_full_info().uss
            sent.append(playing.bytes_per_step)
    few, many = EMULATORS
    each = (private[many] - private[few]) / (many - few)
    return {
        "worker_bytes": private[few] - few * each,
        "emulator_bytes": each,
        "bytes_per_step": statistics.median(sent),
        "learner_bytes": psutil.Process().memory_full_info().uss,
    }


def main() -> None:
    """Measure everything and write it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batches", type=int, default=8)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write costs and raw samples there")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    logging.getLogger("torchrl").setLevel(logging.WARNING)
    samples: dict[str, Any] = {"learner_step_us": {}}
    costs: dict[str, Any] = {"worker_step_us": {}, "learner_step_us": {}}
    processes = {name: round(value) for name, value in _process_costs().items()}
    rows = played_rows()
    samples["sample_step_us"] = _sample_costs(rows, 4 * arguments.batches)
    costs["sample_step_us"] = round(statistics.median(samples["sample_step_us"]), 3)
    everything = []
    for size in SIZES:
        by_emulators = {emulators: _worker_costs(size, emulators, arguments.batches) for emulators in EMULATORS}
        samples[size] = {str(emulators): found for emulators, found in by_emulators.items()}
        everything += by_emulators.values()
        few, many = (statistics.median(by_emulators[emulators]["other_us"]) for emulators in EMULATORS)
        each = (many - few) / (EMULATORS[1] - EMULATORS[0])
        costs["worker_step_us"][size] = {"fixed": round(few - each * EMULATORS[0], 1), "each": round(each, 2)}
        samples["learner_step_us"][size] = _learner_costs(size, rows, arguments.batches)
        costs["learner_step_us"][size] = round(statistics.median(samples["learner_step_us"][size]), 2)
    costs["frame_us"] = round(statistics.median(value for found in everything for value in found["frame_us"]), 3)
    for name in ("drain_us", "wait_frames"):  # means: not every batch completes sequences, not every step waits
        costs[name] = round(statistics.fmean(value for found in everything for value in found[name]), 3)
    bytes_per_step = processes.pop("bytes_per_step")
    costs |= processes
    report = provenance() | {"bytes_per_step": bytes_per_step, "costs": costs, "samples": samples}
    print(json.dumps(costs, indent=1))
    if arguments.json is not None:
        write_json(arguments.json, report)


if __name__ == "__main__":
    main()
