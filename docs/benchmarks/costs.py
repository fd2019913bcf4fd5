"""Measure what a step costs on this machine, for the speed and the memory that `pokered_rl doctor` expects.

    python docs/benchmarks/costs.py --json docs/benchmarks/results/costs.json

CPU seconds of one thread, so that a busy machine disturbs little: emulation, everything else in a worker at two batch
sizes (which gives a part for each step of the worker and a part for each emulator; building and encoding sequences are
in it), what the learner's process does with what a worker sends, drawing for each stored step, and an update with
sequences of two lengths (a part for the update and one for each stored step). `pokered_rl.training.costs` computes the
rest.
"""

import argparse
import json
import logging
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import psutil
import torch

from acting import acting_config, built, playing_pool
from learning import LAYOUT, filled_replay, learner_parts, played_rows, sequences_of
from pokered_rl.cli.measurement import provenance, write_json
from pokered_rl.collectors import InlinePool, worker_pool
from pokered_rl.data import SequenceLayout
from pokered_rl.episodes.proof import Proof
from pokered_rl.resources import keep_freed_memory
from pokered_rl.training.config import Backend

SIZES = ("tiny", "base")
EMULATORS = (8, 32)
#: Lengths of the quick start's sequences, and of the batches that updates are measured with.
SHORT = SequenceLayout(burn_in_steps=4, unroll_steps=20, n_step=LAYOUT.n_step, unroll_state=LAYOUT.unroll_state)
_BATCH = 16
#: A random policy under the mask, whose waiting frames count.
RANDOM = Path(__file__).parents[1] / "reference" / "proofs" / "random.proof"


class _Timer:
    """CPU time of this thread inside a function."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function
        self.seconds = 0.0

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        start = time.thread_time()
        try:
            return self._function(*arguments, **options)
        finally:
            self.seconds += time.thread_time() - start


def _worker_costs(size: str, emulators: int, batches: int) -> dict[str, list[float]]:
    """Microseconds of each batch: emulation a frame, the rest a worker's step; what is done once an agent step."""
    samples: dict[str, list[float]] = {"frame_us": [], "other_us": [], "drain_us": [], "build_us": [], "encode_us": []}
    config = acting_config(size, emulators=emulators)
    config.collector.backend = Backend.inline
    unpack = _Timer(worker_pool.unpack_message)
    with built(config) as trainer, mock.patch.object(worker_pool, "unpack_message", unpack):
        workers = trainer.workers
        assert isinstance(workers, InlinePool)
        workers.collect()
        env = workers._collector.env
        while hasattr(env, "base_env"):
            env = env.base_env
        pool = env._pool
        halves = [_Timer(pool._run_first_half), _Timer(pool._run_second_half)]
        pool._run_first_half, pool._run_second_half = halves
        add = workers.sink.add = _Timer(workers.sink.add)
        maker = workers._collector.experience
        build = maker._builder.extend = _Timer(maker._builder.extend)
        encode = maker._codec.inv = _Timer(maker._codec.inv)
        emulated = [emulator.frame_count for emulator in pool.emulators]
        for _ in range(batches):
            for timer in (*halves, unpack, add, build, encode):
                timer.seconds = 0.0
            start = time.thread_time()
            workers.collect()
            total = time.thread_time() - start
            now = [emulator.frame_count for emulator in pool.emulators]
            frames, emulated = sum(now) - sum(emulated), now
            ticking, drain = halves[0].seconds + halves[1].seconds, unpack.seconds + add.seconds
            steps = workers.steps_per_batch
            samples["frame_us"].append(1e6 * ticking / frames)
            samples["other_us"].append(1e6 * (total - ticking - drain) / steps)
            for name, seconds in (("drain_us", drain), ("build_us", build.seconds), ("encode_us", encode.seconds)):
                samples[name].append(1e6 * seconds / (steps * emulators))
    return samples


def _learner_costs(size: str, rows: Any, updates: int) -> dict[int, list[float]]:
    """Microseconds of an update of 16 sequences, by their length; drawing is not part of them."""
    hidden, samples = 128 if size == "tiny" else 512, {}
    for layout in (SHORT, LAYOUT):
        block = sequences_of(rows, 64, hidden_size=hidden, layout=layout)
        with filled_replay(block, sequences=64, batch_size=_BATCH, layout=layout) as buffer:
            device = torch.device("cpu")
            learner, _ = learner_parts(size, block, buffer, batch_size=_BATCH, device=device, layout=layout)
            drawing = buffer.sample = _Timer(buffer.sample)
            times = []
            for _ in range(updates + 1):
                drawing.seconds, start = 0.0, time.thread_time()
                learner.step()
                times.append(1e6 * (time.thread_time() - start - drawing.seconds))
        samples[layout.length] = times[1:]
    return samples


def _sample_costs(rows: Any, batches: int) -> list[float]:
    """Microseconds of drawing and unpacking a batch for each stored step of it."""
    block, times = sequences_of(rows, 64, hidden_size=512), []
    with filled_replay(block, sequences=1_000, batch_size=64) as buffer:
        for _ in range(batches + 1):
            start = time.thread_time()
            buffer.sample()
            times.append(1e6 * (time.thread_time() - start) / (64 * LAYOUT.length))
    return times[1:]


def _wait_frames() -> float:
    """Waiting frames of a step of a random policy under the mask; the first leg is the boot."""
    proof = Proof.load(RANDOM)
    return round(float(proof.wait_frames[proof.legs[0].steps :].mean()), 3)


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
    keep_freed_memory()  # as training does
    logging.getLogger("torchrl").setLevel(logging.WARNING)
    samples: dict[str, Any] = {"update_us": {}}
    costs: dict[str, Any] = {"worker_step_us": {}, "update_us": {}}
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
        updates = _learner_costs(size, rows, arguments.batches)
        samples["update_us"][size] = {str(length): times for length, times in updates.items()}
        short, long = (statistics.median(times) for times in updates.values())
        each = (long - short) / (_BATCH * (LAYOUT.length - SHORT.length))
        fixed = short - each * _BATCH * SHORT.length
        costs["update_us"][size] = {"fixed": round(fixed, 1), "each": round(each, 2)}
    costs["frame_us"] = round(statistics.median(value for found in everything for value in found["frame_us"]), 3)
    # Means: not every batch completes sequences.
    drain, build, encode = (
        round(statistics.fmean(value for found in everything for value in found[name]), 3)
        for name in ("drain_us", "build_us", "encode_us")
    )
    costs["drain_us"] = drain
    costs["wait_frames"] = _wait_frames()
    bytes_per_step = processes.pop("bytes_per_step")
    costs |= processes
    parts = {"build_us": build, "encode_us": encode}
    report = provenance() | {"bytes_per_step": bytes_per_step, "costs": costs, "worker": parts, "samples": samples}
    print(json.dumps(costs, indent=1))
    if arguments.json is not None:
        write_json(arguments.json, report)


if __name__ == "__main__":
    main()
