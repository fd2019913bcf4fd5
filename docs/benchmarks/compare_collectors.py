"""Compare one supervised collector a worker with TorchRL's collectors of many workers.

    python docs/benchmarks/compare_collectors.py processes ray --json docs/benchmarks/results/collectors.json

Both sides play the bundled cartridge with the same tiny network, two workers of eight emulators. `processes` differs
in supervision only: the same workers, in one `MultiAsyncCollector` or in one each, and the same sequences built of what
they send. `ray` puts TorchRL's `RayCollector` as it comes, its batches taken and dropped, beside our Ray workers. After
the timing one worker is stopped (SIGSTOP) or killed, and the workers that still play are counted.
"""

import argparse
import contextlib
import copy
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import psutil
import torch
from torchrl.collectors import MultiAsyncCollector

from pokered_rl.cli.measurement import provenance, write_json
from pokered_rl.collectors import ProcessPool, RayPool, WorkerSpec
from pokered_rl.collectors.worker import collector_in_process, prepare_process, unpack_message
from pokered_rl.data import SequenceBuilder, SequenceCodec, SequenceLayout
from pokered_rl.envs import make_env
from pokered_rl.modules import R2D2Network, R2D2Policy

FAULTS = ("hung", "killed")
WORKERS, EMULATORS, STEPS = 2, 8, 20
TIMED_SECONDS, PATIENCE_SECONDS, HUNG_SECONDS = 5.0, 40.0, 5.0


class CountingReplay:
    """A replay that stores nothing."""

    codec = SequenceCodec(two_bit_shapes={"map_memory": (2, 21, 21)}, num_actions=8, compression_level=3)

    def extend(self, sequences: Any) -> torch.Tensor:
        """Return the indices at which they would be stored."""
        return torch.arange(len(sequences))


def make_policy() -> R2D2Policy:
    """The policy of both sides."""
    torch.manual_seed(0)
    env = make_env()
    spec = env.observation_spec
    env.close()
    return R2D2Policy(
        R2D2Network(
            num_actions=8,
            size="tiny",
            hidden_size=64,
            num_quantiles=11,
            pixel_shape=tuple(spec["pixels"].shape[1:]),
            map_shape=tuple(spec["map_memory"].shape[1:]),
            context_size=spec["context"].shape[-1],
        )
    )


class Ours:
    """Supervised workers with a collector each."""

    def __init__(self, kind: type[ProcessPool] | type[RayPool], policy: R2D2Policy) -> None:
        self.workers = kind(
            make_envs=[partial(make_env, num_emulators=EMULATORS, extra_transforms=(policy.make_primers(),))] * WORKERS,
            policy=policy,
            emulators_per_worker=EMULATORS,
            steps_per_batch=STEPS,
            builder=SequenceBuilder(
                layout=SequenceLayout(burn_in_steps=4, unroll_steps=20, n_step=2),
                observation_keys=(*policy.network.observation_keys, "action_mask"),
            ),
            replay=CountingReplay(),
            worker_timeout_seconds=HUNG_SECONDS,
        )

    def batches(self) -> Iterator[int]:
        """Agent steps of each new batch."""
        while True:
            before = self.workers.steps
            self.workers.collect()
            yield self.workers.steps - before

    def close(self) -> None:
        """End the workers."""
        self.workers.close()


class OneCollector:
    """The same workers in one collector of TorchRL: only the supervision differs."""

    def __init__(self, policy: R2D2Policy) -> None:
        self.workers = Ours(ProcessPool, policy).workers  # its workers' plans and its sink; it is never started
        self.collector = MultiAsyncCollector(
            [partial(_env_of, self.workers.worker_spec(worker)) for worker in range(WORKERS)],
            policy=None,
            collector_class=_collector_of,
            init_fn=prepare_process,
            frames_per_batch=EMULATORS * STEPS,
            total_frames=-1,
            num_sub_threads=1,
            use_buffers=False,
            cat_results="stack",
        )

    def batches(self) -> Iterator[int]:
        """Agent steps of each new batch."""
        for data in self.collector:
            message = unpack_message(data["message"])
            self.workers._receive(message.worker, message)
            yield message.experience.num_steps

    def close(self) -> None:
        """End the workers."""
        with contextlib.suppress(Exception):
            self.collector.shutdown()


def _env_of(spec: WorkerSpec) -> Any:
    raise AssertionError("the worker builds its environment from its specification")


def _collector_of(env: Any, **options: Any) -> Any:
    return collector_in_process(env, spec=getattr(env, "fn", env).args[0], **options)  # TorchRL may have wrapped it


class TorchrlRay:
    """TorchRL's `RayCollector`."""

    def __init__(self, policy: R2D2Policy) -> None:
        from torchrl.collectors.distributed import RayCollector

        env = partial(make_env, num_emulators=EMULATORS, extra_transforms=(policy.make_primers(epsilon=0.4),))
        self.collector = RayCollector(
            [env] * WORKERS,
            copy.deepcopy(policy),
            frames_per_batch=EMULATORS * STEPS,
            total_frames=10**9,
            remote_configs={"num_cpus": 1, "num_gpus": 0},
            ray_init_config={"log_to_driver": False, "include_dashboard": False, "num_cpus": WORKERS},
        )

    def batches(self) -> Iterator[int]:
        """Agent steps of each new batch."""
        for batch in self.collector:
            yield batch.numel()

    def close(self) -> None:
        """End the workers."""
        with contextlib.suppress(Exception):
            self.collector.shutdown()


def _worker_processes() -> list[psutil.Process]:
    """Return the worker processes."""
    found = []
    for child in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            command = " ".join(child.cmdline())
            ray_actor = command.startswith("ray::") and not any(name in command for name in ("IDLE", "Agent"))
            forked = "forkserver" in command and child.ppid() != os.getpid()
            spawned = "spawn_main" in command
            if child.status() != psutil.STATUS_ZOMBIE and (ray_actor or forked or spawned):
                found.append(child)
    return found


class Drain(threading.Thread):
    """Take batches in a thread and count their steps."""

    def __init__(self, side: Any) -> None:
        super().__init__(daemon=True)
        self.side, self.steps, self.error, self.stop = side, 0, None, False

    def run(self) -> None:
        """Count."""
        try:
            for steps in self.side.batches():
                self.steps += steps
                if self.stop:
                    return
        except BaseException as error:  # noqa: BLE001 - the error is the result
            self.error = f"{type(error).__name__}: {str(error).strip().splitlines()[0][:160]}"


def _rate(drain: Drain, seconds: float) -> float:
    steps, began = drain.steps, time.monotonic()
    time.sleep(seconds)
    return (drain.steps - steps) / (time.monotonic() - began)


def _playing(seconds: float = 2.0) -> int:
    """Count the worker processes that use the CPU."""
    before = {worker.pid: sum(worker.cpu_times()[:2]) for worker in _worker_processes()}
    time.sleep(seconds)
    done = 0
    for worker in _worker_processes():
        with contextlib.suppress(psutil.Error):
            done += worker.pid in before and sum(worker.cpu_times()[:2]) - before[worker.pid] > 0.05 * seconds
    return done


def _after(drain: Drain) -> dict[str, Any]:
    """Count the workers that play after a loss: wait until all do again, for an error, or for a limit of time."""
    began = time.monotonic()
    steps = drain.steps
    while (playing := _playing()) < WORKERS and drain.error is None and time.monotonic() - began < PATIENCE_SECONDS:
        pass
    return {
        "workers_playing": playing,
        "steps_received": drain.steps - steps,
        "seconds": round(time.monotonic() - began, 1),
        "error": drain.error,
    }


def measure(side: Any, *, fault: str, windows: int = 3) -> dict[str, Any]:
    """Measure steps per second in windows, and what follows when one worker is ``hung`` or ``killed``."""
    drain = Drain(side)
    drain.start()
    deadline = time.monotonic() + 200
    while drain.steps < 6 * WORKERS * EMULATORS * STEPS and drain.error is None:
        if time.monotonic() > deadline:
            raise SystemExit("the workers did not start")
        time.sleep(0.1)
    if drain.error:
        raise SystemExit(drain.error)
    rates = [_rate(drain, TIMED_SECONDS) for _ in range(windows)]
    result: dict[str, Any] = {"steps_per_second": [round(rate, 1) for rate in rates]}
    _worker_processes()[0].send_signal(signal.SIGSTOP if fault == "hung" else signal.SIGKILL)
    result[fault] = _after(drain)
    drain.stop = True
    threading.Thread(target=side.close, daemon=True).start()
    drain.join(15)
    for worker in _worker_processes():
        with contextlib.suppress(psutil.Error):
            worker.kill()
    return result


SIDES: dict[str, dict[str, Callable[[], Any]]] = {
    "processes": {
        "ours": lambda: Ours(ProcessPool, make_policy()),
        "torchrl": lambda: OneCollector(make_policy()),
    },
    "ray": {
        "ours": lambda: Ours(RayPool, make_policy()),
        "torchrl": lambda: TorchrlRay(make_policy()),
    },
}


def _run_apart(kind: str, side: str, fault: str) -> dict[str, Any]:
    """Measure in a process of its own, so that no measurement affects the next."""
    command = [sys.executable, __file__, kind, "--side", side, "--fault", fault]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    if done.returncode:
        raise SystemExit(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


def main() -> int:
    """Measure the chosen kinds, ours and TorchRL's in turn."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kinds", nargs="+", choices=list(SIDES))
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results there; other kinds in it stay")
    parser.add_argument("--side", choices=["ours", "torchrl"], help=argparse.SUPPRESS)
    parser.add_argument("--fault", choices=FAULTS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    os.environ.setdefault("RAY_worker_niceness", "0")  # for both sides; see RayPool
    if arguments.side:
        result = measure(SIDES[arguments.kinds[0]][arguments.side](), fault=arguments.fault)
        print(json.dumps(result), flush=True)
        os._exit(0)  # a collector that lost a worker does not end by itself

    results = {}
    for kind in arguments.kinds:
        runs: dict[str, list[dict[str, Any]]] = {"ours": [], "torchrl": []}
        for fault in FAULTS:
            for side, done in runs.items():
                done.append(_run_apart(kind, side, fault))
        rates = {side: [rate for run in done for rate in run["steps_per_second"]] for side, done in runs.items()}
        results[kind] = {
            "ratio": round(median(rates["ours"]) / median(rates["torchrl"]), 3),
            **{
                side: {"steps_per_second": rates[side]}
                | {fault: run[fault] for fault, run in zip(FAULTS, done, strict=True)}
                for side, done in runs.items()
            },
        }
        print(kind, json.dumps(results[kind], indent=1))
    if arguments.json:
        _write(arguments.json, results)
    return 0


def _write(target: Path, results: dict[str, Any]) -> None:
    old = json.loads(target.read_text())["samples"] if target.is_file() else {}
    # The command that makes all that is in the file, not only what this call added.
    command = f"python docs/benchmarks/compare_collectors.py {' '.join(old | results)} --json {target}"
    write_json(target, provenance() | {"command": command, "samples": old | results})


if __name__ == "__main__":
    sys.exit(main())
