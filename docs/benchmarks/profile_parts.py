"""Profile a worker's step by part (py-spy), a learner's step by operation (torch profiler).

    pip install py-spy
    python docs/benchmarks/profile_parts.py --json docs/benchmarks/results/profiles.json

Shares of one run: they vary less than times on a busy machine.
"""

import argparse
import logging
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from acting import acting_config, built
from learning import LAYOUT, filled_replay, learner_parts, played_rows, sequences_of
from pokered_rl.cli.measurement import provenance, write_json
from pokered_rl.training.config import Backend, Config

#: Part of a worker's step, by what a frame of the stack contains; the innermost frame that is named here decides.
_PARTS = {
    "Emulator.tick": "emulation",
    "emulator/": "pool: buttons, RAM, screen",
    "envs/pokemon_red.py": "environment",
    "affordance_mask.py": "AffordanceMask",
    "map_memory.py": "MapMemory",
    "transforms/context.py": "ContextFeatures",
    "reward_terms.py": "RewardTerms",
    "last_action.py": "LastActionReward",
    "episode_recorder.py": "EpisodeRecorder",
    "modules/": "network and choice of actions",
    "data/": "sequences and replay",
    "ExperienceSink": "sequences and replay",
}
_REST = "TorchRL's and our loops"


def _play(size: str, emulators: int, seconds: float) -> None:
    """Act inside this process, for py-spy to sample."""
    torch.set_num_threads(1)
    config = acting_config(size, emulators=emulators)
    config.env.log_every_episodes = 1
    config.collector.backend = Backend.inline
    with built(config) as trainer:
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            trainer.workers.collect()


def _part(stack: list[str]) -> str:
    for frame in reversed(stack):
        for text, part in _PARTS.items():
            if text in frame:
                return part
    return _REST


def worker_profile(size: str, emulators: int, seconds: float) -> dict[str, float]:
    """Shares of a worker's time by part."""
    with tempfile.TemporaryDirectory() as folder:
        raw = Path(folder) / "stacks"
        play = [sys.executable, __file__, "--play", size, str(emulators), str(seconds)]
        recorder = ["py-spy", "record", "--rate", "500", "--format", "raw", "--output", str(raw), "--", *play]
        subprocess.run(recorder, check=True, capture_output=True)
        counts: Counter[str] = Counter()
        for line in raw.read_text().splitlines():
            stack, _, number = line.rpartition(" ")
            frames = stack.split(";")
            inside = [place for place, frame in enumerate(frames) if frame.startswith("InlinePool.collect")]
            if inside and not any(frame.startswith("InlinePool.start") for frame in frames):
                counts[_part(frames[inside[0] + 1 :])] += int(number)
    total = sum(counts.values())
    return {part: round(number / total, 4) for part, number in counts.most_common()}


def learner_profile(size: str, steps: int) -> dict[str, float]:
    """Shares of a learner's step by operation, the twelve largest."""
    block = sequences_of(played_rows(), 64, hidden_size=128 if size == "tiny" else 512)
    with filled_replay(block, sequences=64, batch_size=8) as buffer:
        learner, _ = learner_parts(size, block, buffer, batch_size=8, device=torch.device("cpu"))
        learner.step()
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profiler:
            for _ in range(steps):
                learner.step()
    times = {event.key: event.self_cpu_time_total for event in profiler.key_averages()}
    total = sum(times.values())
    largest = sorted(times, key=times.__getitem__, reverse=True)[:12]
    return {name: round(times[name] / total, 4) for name in largest}


def main() -> None:
    """Profile both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write shares there")
    parser.add_argument("--play", nargs=3, metavar=("SIZE", "EMULATORS", "SECONDS"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    logging.getLogger("torchrl").setLevel(logging.WARNING)
    if arguments.play:
        size, emulators, seconds = arguments.play
        _play(size, int(emulators), float(seconds))
        return
    torch.set_num_threads(1)
    emulators = Config().collector.emulators_per_worker
    profiles: dict[str, Any] = {
        f"worker_{size}": worker_profile(size, emulators, arguments.seconds) for size in ("tiny", "base")
    }
    profiles["learner_base"] = learner_profile("base", steps=3)
    for name, shares in profiles.items():
        table = Table("part", "share", title=name)
        for part, share in shares.items():
            table.add_row(part, f"{share:.1%}")
        Console().print(table)
    if arguments.json is not None:
        sizes = {"emulators": emulators, "learner_batch": f"8 x {LAYOUT.length} rows", "seconds": arguments.seconds}
        report = provenance() | sizes | {"samples": profiles}
        write_json(arguments.json, report)


if __name__ == "__main__":
    main()
