"""Rendering many logs: which ones, in parallel, and going on when one of them is bad."""

from __future__ import annotations

import multiprocessing
import queue
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pokered_rl.emulator import Cartridge
from pokered_rl.episodes import EpisodeLog
from pokered_rl.errors import ConfigError, PokeredError
from pokered_rl.record.grid import grid_pictures, render_grid
from pokered_rl.record.render import RenderedEpisode, RenderOptions, is_rendered, picture_count, render_episodes
from pokered_rl.resources import available_cpus

__all__ = [
    "RenderJob",
    "RenderOutcome",
    "ShownValues",
    "grid_job",
    "joined_jobs",
    "load_logs",
    "render_jobs",
    "select_logs",
    "single_jobs",
]

#: Called with the number of pictures written, and the outcome of a job when one has ended.
Progress = Callable[[int, "RenderOutcome | None"], None]


@dataclass(frozen=True, kw_only=True)
class RenderJob:
    """One video: the logs it shows, one after the other or (``grid``) all at once, and the file to write."""

    logs: tuple[EpisodeLog, ...]
    out: Path
    grid: bool = False

    def pictures(self, options: RenderOptions) -> int:
        """Pictures of the video."""
        if self.grid:
            return grid_pictures(self.logs, options)
        return sum(picture_count(log, options) for log in self.logs)

    def is_finished(self, options: RenderOptions, *, values_of: str = "") -> bool:
        """True if the file is there and is the video of these logs with these options."""
        return is_rendered(self.logs, self.out, options, kind="grid" if self.grid else "episodes", values_of=values_of)


@dataclass(frozen=True, kw_only=True)
class ShownValues:
    """Action values for the panel of videos that show one episode at a time.

    Attributes:
        of: a log's action values, float32 [T, A]; picklable, such as ``load_policy(run).action_values``.
        name: says whose they are: a finished video with values of the same name is skipped.
    """

    of: Callable[[EpisodeLog], npt.NDArray[np.float32]]
    name: str


@dataclass(frozen=True, kw_only=True)
class RenderOutcome:
    """What became of a job: a video, one that was there already (``skipped``), or an error."""

    out: Path
    result: RenderedEpisode | None = None
    skipped: bool = False
    error: str | None = None


def load_logs(paths: Sequence[Path]) -> tuple[list[EpisodeLog], list[str]]:
    """Returns the logs that can be read, in order, and one message for each that cannot."""
    logs, errors = [], []
    for path in paths:
        try:
            logs.append(EpisodeLog.load(path))
        except PokeredError as error:
            errors.append(str(error))
    return logs, errors


def select_logs(
    logs: Sequence[EpisodeLog], *, best: int | None = None, last: int | None = None, every: int | None = None
) -> list[EpisodeLog]:
    """Returns some of the logs, in their order.

    Args:
        logs: in order of time.
        best: the so many with the highest return.
        last: the so many last ones.
        every: each n-th, the first included.

    Several conditions give every log that fulfils one of them; none gives all.

    Raises:
        ConfigError: a number is below 1.
    """
    for name, value in (("best", best), ("last", last), ("every", every)):
        if value is not None and value < 1:
            raise ConfigError(f"{name} must be >= 1, got {value}")
    if best is None and last is None and every is None:
        return list(logs)
    chosen: set[int] = set()
    if best is not None:
        chosen.update(sorted(range(len(logs)), key=lambda index: -logs[index].episode_return)[:best])
    if last is not None:
        chosen.update(range(len(logs))[-last:])
    if every is not None:
        chosen.update(range(0, len(logs), every))
    return [logs[index] for index in sorted(chosen)]


def single_jobs(logs: Sequence[EpisodeLog], out: Path) -> list[RenderJob]:
    """One video a log, named like it."""
    return [RenderJob(logs=(log,), out=out / f"{_stem(log)}.mp4") for log in logs]


def joined_jobs(logs: Sequence[EpisodeLog], out: Path) -> list[RenderJob]:
    """One video for each emulator of each worker, its episodes in order."""

    def emulator(log: EpisodeLog) -> tuple[int, int]:
        return log.header.worker, log.header.emulator

    return [
        RenderJob(logs=tuple(group), out=out / f"joined-w{worker:03d}-e{number:03d}.mp4")
        for (worker, number), group in groupby(sorted(logs, key=emulator), key=emulator)
    ]


def grid_job(logs: Sequence[EpisodeLog], out: Path) -> list[RenderJob]:
    """One video in which all logs play at once; none without a log."""
    return [RenderJob(logs=tuple(logs), out=out / f"grid-of-{len(logs)}.mp4", grid=True)] if logs else []


def _stem(log: EpisodeLog) -> str:
    return log.path.stem if log.path is not None else f"{log.header.global_step:012d}"


def render_jobs(
    jobs: Sequence[RenderJob],
    *,
    options: RenderOptions | None = None,
    cartridge: Cartridge | None = None,
    workers: int | None = None,
    values: ShownValues | None = None,
    on_progress: Progress | None = None,
) -> list[RenderOutcome]:
    """Renders all jobs; a bad log costs only its own video.

    Args:
        jobs: what to render. Videos that are finished already are skipped.
        options: how they look.
        cartridge: the cartridge all of them were played on; found for each by default.
        workers: processes; by default as many as there are cores, at most one a job.
        values: action values to be shown in the panel; not in a grid.
        on_progress: called from time to time.

    Returns:
        One outcome a job, in order.

    Raises:
        KeyboardInterrupt: passed on after the worker processes have ended; unfinished videos are removed.
    """
    options = options or RenderOptions()
    workers = min(len(jobs), workers or available_cpus())
    report = on_progress or (lambda _pictures, _outcome: None)
    if workers <= 1:
        return [_run_here(job, options, cartridge, values, report) for job in jobs]
    return _run_in_processes(jobs, options, cartridge, values, workers, report)


def _run_here(
    job: RenderJob,
    options: RenderOptions,
    cartridge: Cartridge | None,
    values: ShownValues | None,
    report: Progress,
) -> RenderOutcome:
    outcome = _run(job, options, cartridge, values, lambda pictures: report(pictures, None))
    report(job.pictures(options) if outcome.skipped else 0, outcome)
    return outcome


def _run(
    job: RenderJob,
    options: RenderOptions,
    cartridge: Cartridge | None,
    values: ShownValues | None,
    on_pictures: Callable[[int], None],
) -> RenderOutcome:
    values_of = values.name if values is not None else ""
    try:
        if job.is_finished(options, values_of=values_of):
            return RenderOutcome(out=job.out, skipped=True)
        if job.grid:
            result = render_grid(job.logs, job.out, cartridge=cartridge, options=options, on_progress=on_pictures)
        else:
            result = render_episodes(
                job.logs,
                job.out,
                cartridge=cartridge,
                options=options,
                action_values=None if values is None else [values.of(log) for log in job.logs],
                values_of=values_of,
                on_progress=on_pictures,
            )
    except (PokeredError, OSError) as error:
        return RenderOutcome(out=job.out, error=str(error))
    return RenderOutcome(out=job.out, result=result)


_pictures: Any = None  # in a worker process: the queue that counts pictures


def _begin_worker(pictures: Any) -> None:
    global _pictures
    _pictures = pictures


def _run_in_worker(
    job: RenderJob, options: RenderOptions, cartridge: Cartridge | None, values: ShownValues | None
) -> RenderOutcome:
    return _run(job, options, cartridge, values, _pictures.put)


def _run_in_processes(
    jobs: Sequence[RenderJob],
    options: RenderOptions,
    cartridge: Cartridge | None,
    values: ShownValues | None,
    workers: int,
    report: Progress,
) -> list[RenderOutcome]:
    context = multiprocessing.get_context("spawn")
    pictures = context.Queue()
    executor = ProcessPoolExecutor(workers, mp_context=context, initializer=_begin_worker, initargs=(pictures,))
    # Long ones first: the last one to end should not be one that began late.
    order = sorted(range(len(jobs)), key=lambda index: -jobs[index].pictures(options))
    try:
        futures = {executor.submit(_run_in_worker, jobs[index], options, cartridge, values): index for index in order}
        outcomes: dict[int, RenderOutcome] = {}
        waiting: set[Future[RenderOutcome]] = set(futures)
        while waiting:
            done, waiting = wait(waiting, timeout=0.2)
            report(_drain(pictures), None)
            for future in done:
                index = futures[future]
                outcome = outcomes[index] = _outcome_of(future, jobs[index])
                report(jobs[index].pictures(options) if outcome.skipped else 0, outcome)
        report(_drain(pictures), None)
    except BaseException:
        for process in list((executor._processes or {}).values()):
            process.terminate()
        executor.shutdown(wait=True, cancel_futures=True)
        for job in jobs:
            for unfinished in job.out.parent.glob(f".{job.out.name}.*.part"):
                unfinished.unlink(missing_ok=True)
        raise
    executor.shutdown()
    return [outcomes[index] for index in range(len(jobs))]


def _outcome_of(future: Future[RenderOutcome], job: RenderJob) -> RenderOutcome:
    try:
        return future.result()
    except BrokenProcessPool:
        return RenderOutcome(out=job.out, error=f"{job.out}: a rendering process was killed (out of memory?)")


def _drain(pictures: Any) -> int:
    total = 0
    while True:
        try:
            total += pictures.get_nowait()
        except queue.Empty:
            return total
