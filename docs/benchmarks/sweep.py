"""`--sweep`: how many workers, how many emulators in each, while a learner keeps a core busy."""

import multiprocessing
import time
from collections.abc import Sequence
from typing import Any

import torch

from acting import playing_pool
from pokered_rl.resources import available_cpus, worker_count

EMULATORS = (4, 8, 16, 32, 64)


def _learn(counter: Any) -> None:
    """Simulate a learner on one core: count matrix products."""
    torch.set_num_threads(1)
    a = torch.full((256, 256), 0.01)
    while True:
        a = torch.tanh(a @ a)
        counter.value += 1


def sweep(*, seconds: float, emulators: Sequence[int] = EMULATORS) -> dict[str, Any]:
    """Measure steps per second of every combination, and the share of its speed that a simulated learner keeps.

    Returns:
        `cells`: workers, emulators, steps_per_second, learner_share; `recommended`: workers and emulators of the
        fastest cell among those that leave the learner nine tenths of its speed; `auto`: the workers that
        `collector.num_workers=auto` takes here.
    """
    counter = multiprocessing.get_context("spawn").Value("q", 0, lock=False)
    learner = multiprocessing.get_context("spawn").Process(target=_learn, args=(counter,), daemon=True)
    learner.start()
    while counter.value == 0:
        time.sleep(0.1)
    alone = _rate(counter, lambda: time.sleep(3.0))[0]
    cells = []
    for workers in range(1, available_cpus() + 1):
        for number in emulators:
            with playing_pool("base", workers=workers, emulators=number) as playing:
                rate, steps = _rate(counter, lambda playing=playing: playing.steps_per_second(seconds))
            cells.append(
                {
                    "workers": workers,
                    "emulators": number,
                    "steps_per_second": round(steps, 1),
                    "learner_share": round(rate / alone, 3),
                }
            )
    learner.terminate()
    polite = [cell for cell in cells if cell["learner_share"] >= 0.9] or cells
    best = max(polite, key=lambda cell: cell["steps_per_second"])
    return {
        "cells": cells,
        "recommended": {"workers": best["workers"], "emulators": best["emulators"]},
        "auto": worker_count("auto", available_cpus()),
    }


def _rate(counter: Any, work: Any) -> tuple[float, Any]:
    before, start = counter.value, time.perf_counter()
    result = work()
    return (counter.value - before) / (time.perf_counter() - start), result
