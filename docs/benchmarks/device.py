"""Rows of one device, for a machine with a GPU: learner, sampler, and learning while workers' batches arrive."""

import threading
import time
from functools import partial

import torch

from learning import (
    LAYOUT,
    calls_per_second,
    filled_replay,
    learner_parts,
    learner_row,
    played_rows,
    sequences_of,
)
from pairs import Row
from pokered_rl.data import SequenceReplay
from pokered_rl.training.config import Config

_CONFIG = Config()


class _Arrivals:
    """A thread that inserts sequences at a rate of agent steps, as a run's workers would."""

    def __init__(self, replay: SequenceReplay, sequences, steps_per_second: float) -> None:
        self._replay, self._sequences = replay, sequences
        self._interval = len(sequences) * LAYOUT.period_steps / steps_per_second
        self._stop = threading.Event()
        self.steps = 0
        self._thread = threading.Thread(target=self._insert, daemon=True)

    def __enter__(self) -> "_Arrivals":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _insert(self) -> None:
        due = time.perf_counter()
        while not self._stop.wait(max(0.0, due - time.perf_counter())):
            self._replay.extend(self._sequences.clone())
            self.steps += len(self._sequences) * LAYOUT.period_steps
            due += self._interval


def device_rows(device: torch.device, *, quick: bool, steps_per_second: float) -> dict[str, Row]:
    """Return the rows ``learner``, ``sampler`` and ``end_to_end`` of a device.

    On the CPU the network is ``tiny`` and the batch has four sequences, to try the program where there is no GPU.
    """
    cuda = device.type == "cuda"
    size, hidden = ("base", 512) if cuda else ("tiny", 128)
    batch_size = _CONFIG.learner.batch_size if cuda else 4
    seconds = (10.0 if quick else 40.0) if cuda else 6.0
    rounds = 5 if quick or not cuda else 20
    played = played_rows()
    block = sequences_of(played, 64, hidden_size=hidden)
    learner = learner_row(size, batch_size, device, block, seconds)
    if cuda:
        learner.parts = {
            "eager": learner_row(size, batch_size, device, block, seconds / 2, cuda_graph=False),
            "compiled": learner_row(size, batch_size, device, block, seconds / 2, compiles=True),
            "tiny": learner_row("tiny", batch_size, device, sequences_of(played, 64, hidden_size=128), seconds / 2),
        }
    rows = {"learner": learner}
    with filled_replay(block, sequences=2_000, batch_size=batch_size, prefetch=2, pin_memory=cuda) as buffer:
        whole, bare = learner_parts(size, block, buffer, batch_size=batch_size, device=device)

        rate = partial(calls_per_second, device=device)
        for work in (whole.step, bare, whole.draw):
            rate(work, 5)
        sampler = rows["sampler"] = Row([], [], "batches/s", notes={"limit": "updates/s of the bare update"})
        for _ in range(rounds):
            sampler.ours.append(rate(whole.draw, 5))
            sampler.limit.append(rate(bare, 5))
        together = rows["end_to_end"] = Row([], [], "updates/s", notes={"limit": "updates/s while nothing arrives"})
        steps = elapsed = 0.0
        for _ in range(rounds):
            together.limit.append(rate(whole.step, 5))
            start = time.perf_counter()
            with _Arrivals(buffer, block[:16], steps_per_second) as arrivals:
                together.ours.append(rate(whole.step, 5))
            steps, elapsed = steps + arrivals.steps, elapsed + time.perf_counter() - start
        together.notes |= {"steps_per_second_asked": steps_per_second, "steps_per_second": round(steps / elapsed)}
    return rows
