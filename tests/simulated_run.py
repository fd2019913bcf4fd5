"""A simulated run: figures that wander over the first map of Sprout, written as a training run writes them."""

import json
import threading
import time
from pathlib import Path

import numpy as np

from pokered_rl.record.live.feed import FeedWriter, WatchFile

ACTIONS = ("a", "b", "right", "left", "up", "down")
_MAP, _WIDTH, _HEIGHT = 0, 20, 18
_WAYS = np.array([(0, 0), (0, 0), (1, 0), (-1, 0), (0, -1), (0, 1)])


class SimulatedRun:
    """Write progress and feed of `workers` x 8 emulators in a thread, `updates_per_second` records of each worker.

    Args:
        folder: The run folder; made.
        workers: Number of workers of eight emulators.
        updates_per_second: Records of each worker.
    """

    def __init__(self, folder: Path, *, workers: int = 8, updates_per_second: float = 10.0) -> None:
        self.folder, self.workers, self.pause = folder, workers, 1.0 / updates_per_second
        self.asked: list[object] = []
        #: Sent as the open log of an emulator, when it is asked for.
        self.log: bytes | None = None
        #: When each round of records was written, as they say.
        self.rounds: list[float] = []
        folder.mkdir(parents=True, exist_ok=True)
        self._places = np.tile(np.array([10, 9]), (workers, 8, 1))
        self._steps = np.zeros((workers, 8), np.int64)
        self._random = np.random.default_rng(0)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True)
        self.write_progress("running")

    def write_progress(self, last_stop: str, *, name: str = "simulated") -> None:
        total = int(self._steps.sum())
        content = {
            "run": name,
            "complete": last_stop == "target reached",
            "steps": total,
            "target_total_steps": 1_000_000,
            "updates": total // 10,
            "episodes": 3,
            "last_stop": last_stop,
            "written_at": time.time(),
        }
        path = self.folder / "progress.json"
        path.with_suffix(".new").write_text(json.dumps(content))
        path.with_suffix(".new").replace(path)

    def start(self) -> "SimulatedRun":
        self._thread.start()
        return self

    def end(self, last_stop: str = "target reached") -> None:
        self._stop.set()
        self._thread.join()
        self.write_progress(last_stop)

    def _work(self) -> None:
        facts = {
            "run": "simulated",
            "actions": list(ACTIONS),
            "num_workers": self.workers,
            "emulators_per_worker": 8,
            "epsilons": np.geomspace(0.4, 0.001, 8 * self.workers).round(4).tolist(),
            "replay_capacity": 1000,
        }
        watch, writer = WatchFile(self.folder), None
        written, due, sent = 0.0, time.monotonic(), 0
        while not self._stop.is_set():
            asked = watch.read()
            if asked is None and writer is not None:
                writer = writer.close()
            if asked is not None:
                self.asked.append(asked)
                writer = writer or FeedWriter(self.folder, facts)
                for worker in range(self.workers):
                    record = self.record(worker, asked.emulator)
                    if self.log is not None and "emulator" in record and asked.log_request != sent:
                        record["log"], sent = self.log, asked.log_request
                    writer.append(record)
                self.rounds.append(record["time"])
            if time.monotonic() - written > 0.5:
                written = time.monotonic()
                self.write_progress("running")
            due = max(due + self.pause, time.monotonic() - self.pause)  # what writing takes is no pause
            time.sleep(max(0.0, due - time.monotonic()))

    def record(self, worker: int, looked_at: int = -1, *, steps: int = 2) -> dict[str, object]:
        actions = self._random.integers(0, len(ACTIONS), (steps, 8))
        places = np.empty((steps, 8), np.int32)
        first = self._steps[worker].astype(np.int32)
        for step in range(steps):
            wanted = self._places[worker] + _WAYS[actions[step]]
            self._places[worker] = np.clip(wanted, 0, [_WIDTH - 1, _HEIGHT - 1])
            places[step] = _MAP << 16 | self._places[worker, :, 0] << 8 | self._places[worker, :, 1]
        self._steps[worker] += steps
        record = {
            "worker": worker,
            "time": time.time(),
            "first_step": first,
            "places": places,
            "flags": np.full((steps, 8), 4, np.uint8),
            "levels": np.full((steps, 8), 5, np.uint16),
            "actions": actions.astype(np.uint8),
            "rewards": np.full((steps, 8), 0.25, np.float32),
            "done": np.zeros((steps, 8), np.uint8),
            "milestones": [],
            "cells": [""] * 7 + ["<img src=x onerror=alert(1)>"],
            "pictures": self._random.integers(0, 256, (8, 72, 20), np.uint8),
        }
        one = looked_at - 8 * worker
        if 0 <= one < 8:
            record |= {
                "emulator": one,
                "terms": np.full((steps, 2), 0.125, np.float32),
                "term_names": ["new_tiles", "<b>steps</b>"],
                "screens": self._random.integers(0, 256, (steps, 72, 20), np.uint8),
                "masks": np.full((steps, 1), 0b101111, np.uint8),
                "values": np.linspace(-1, 1, 6, dtype=np.float16)[None].repeat(steps, 0),
                "quantiles": np.linspace(-1, 1, 30, dtype=np.float16).reshape(6, 5),
            }
        return record
