"""The replay at the capacity of the default config, filled for real: 2 GB of disk and some minutes.

With the variable POKERED_RESULTS set to a folder, the figures are written there as `replay_full.json`.
"""

import json
import os
import platform
import shutil
import statistics
import subprocess
import time
from pathlib import Path

import pytest
import torch
from tensordict import TensorDict

from pokered_rl.cli.measurement import write_json
from pokered_rl.data import SequenceLayout, bytes_per_transition, make_replay
from pokered_rl.envs import make_env

CAPACITY_TRANSITIONS = 5_000_000
BATCH_SEQUENCES = 64
LAYOUT = SequenceLayout(burn_in_steps=40, unroll_steps=80, n_step=5, unroll_state=True)
HIDDEN = 512


def private_bytes():
    fields = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) * 1024 for line in fields if line.startswith("Private_"))


def commit():
    return subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False).stdout.strip()


def played_rows(num_emulators=8, steps=400):
    """Observations of random play, [E, T, ...]: the statistics of real screens, not of noise or zeros."""
    env = make_env(num_emulators=num_emulators, max_episode_steps=2048, seed=0)
    try:
        rollout = env.rollout(steps, break_when_any_done=False)
    finally:
        env.close()
    keys = ("pixels", "map_memory", "context", "last_action", "last_reward", "action_mask", "action")
    return rollout.select(*keys)


def sequences_from(rows, size, generator):
    emulators, steps = rows.batch_size
    length = LAYOUT.length
    start = torch.randint(steps - length, (size,), generator=generator)
    emulator = torch.randint(emulators, (size, 1), generator=generator)
    window = start[:, None] + torch.arange(length)
    entries = {key: value[emulator, window] for key, value in rows.items()}
    flags = torch.zeros(size, length, dtype=torch.bool)
    states = {key: torch.randn(size, HIDDEN, generator=generator) for key in ("recurrent_state_h", "recurrent_state_c")}
    return TensorDict(
        {
            **entries,
            "reward": torch.rand(size, length, generator=generator),
            "mask": ~flags,
            "is_init": flags,
            "terminated": flags.clone(),
            "truncated": flags.clone(),
            **states,
            "unroll_state": TensorDict(states, batch_size=[size]).clone(),
            "td_error": torch.rand(size, generator=generator),
        },
        batch_size=[size],
    )


def milliseconds(action, times):
    result = []
    for _ in range(times):
        start = time.perf_counter()
        action()
        result.append(round(1e3 * (time.perf_counter() - start), 2))
    return result


def summary(times):
    return {"median": statistics.median(times), "max": max(times)}


def busy_step(products):
    """Stands in for an optimizer step: so much work, whatever else the machine does meanwhile."""
    a = torch.full((256, 256), 0.01)
    for _ in range(products):
        a = torch.tanh(a @ a)


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_five_million_transitions_fit_in_three_gigabytes_of_disk_and_two_of_private_memory(tmp_path):
    generator = torch.Generator().manual_seed(0)
    rows = played_rows()
    options = {
        "capacity_transitions": CAPACITY_TRANSITIONS,
        "layout": LAYOUT,
        "batch_size": BATCH_SEQUENCES,
        "two_bit_shapes": {"map_memory": tuple(rows["map_memory"].shape[2:])},
        "num_actions": rows["action_mask"].shape[-1],
        "seed": 0,
    }
    folder = tmp_path / "sequences"
    if shutil.disk_usage(tmp_path).free < 8e9:
        pytest.skip("needs 8 GB of free disk")
    replay = make_replay(scratch_dir=folder, **options)
    first = sequences_from(rows, BATCH_SEQUENCES, generator)
    stored = replay.codec.inv(first)
    replay.allocate(first)

    extend_seconds = []
    last = first
    for begin in range(0, replay.capacity_sequences, BATCH_SEQUENCES):
        size = min(BATCH_SEQUENCES, replay.capacity_sequences - begin)
        last = first if begin == 0 else sequences_from(rows, size, generator)
        start = time.perf_counter()
        replay.extend(last)
        extend_seconds.append(time.perf_counter() - start)
    assert len(replay) == replay.capacity_sequences == 62_500

    began = time.thread_time()
    unprefetched = milliseconds(replay.sample, 50)
    thread_seconds = time.thread_time() - began
    private = private_bytes()
    disk = sum(file.stat().st_blocks * 512 for file in folder.rglob("*") if file.is_file())
    for expected, begin in ((first, 0), (last, replay.capacity_sequences - len(last))):
        found = replay[begin : begin + len(expected)]
        for key in ("pixels", "map_memory", "reward", "action", "action_mask"):
            assert torch.equal(found[key], expected[key]), key

    ahead = make_replay(scratch_dir=folder, **options, prefetch=2)
    replay.save(tmp_path / "checkpoint")
    load = milliseconds(lambda: ahead.load(tmp_path / "checkpoint"), 1)
    ahead.sample()
    products = round(100 * 200 / statistics.median(milliseconds(lambda: busy_step(100), 5)))
    alone, together = [], []
    for _ in range(30):  # alternately, so that whatever else the machine does meets both
        alone += milliseconds(lambda: busy_step(products), 1)
        together += milliseconds(lambda: (ahead.sample(), busy_step(products)), 1)
    ratios = [with_sample / without for with_sample, without in zip(together, alone, strict=True)]
    prefetched = milliseconds(lambda: (time.sleep(0.2), ahead.sample()), 10)
    per_transition = bytes_per_transition(stored, LAYOUT, episode_steps=2048)
    results = {
        "command": "POKERED_RESULTS=docs/benchmarks/results pytest tests/data/test_replay_full.py -m long",
        "commit": commit(),
        "date": time.strftime("%Y-%m-%d"),
        "samples": {
            "extend_64_milliseconds": [round(1e3 * seconds, 1) for seconds in extend_seconds],
            "sample_64_milliseconds": unprefetched,
            "step_milliseconds": alone,
            "step_with_sample_milliseconds": together,
            "prefetched_sample_after_200_ms_milliseconds": prefetched,
        },
        "machine": {"cpus": os.cpu_count(), "processor": platform.machine(), "torch": torch.__version__},
        "capacity_transitions": CAPACITY_TRANSITIONS,
        "sequences": len(replay),
        "context_features": rows["context"].shape[-1],
        "bytes_per_transition_endless_episodes": round(bytes_per_transition(stored, LAYOUT), 1),
        "bytes_per_transition_episodes_of_2048": round(per_transition, 1),
        "disk_bytes": disk,
        "private_bytes": private,
        "extend_64_milliseconds": round(1e3 * statistics.median(extend_seconds), 2),
        "sample_64_milliseconds": summary(unprefetched),
        "sample_64_thread_milliseconds": round(1e3 * thread_seconds / len(unprefetched), 2),
        "step_of_200_ms_with_prefetched_sample_ratio": round(statistics.median(ratios), 3),
        "prefetched_sample_after_200_ms_milliseconds": round(statistics.median(prefetched) - 200, 2),
        "load_milliseconds": load[0],
        "load_average": os.getloadavg()[0],
    }
    ahead.shutdown()
    if "POKERED_RESULTS" in os.environ:
        write_json(Path(os.environ["POKERED_RESULTS"]) / "replay_full.json", results)
    print(json.dumps(results, indent=2))
    assert per_transition <= 600
    assert disk < 3e9
    assert private < 2e9
