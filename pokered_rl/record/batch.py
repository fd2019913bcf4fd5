"""Render many logs: choose them, render in parallel, and continue when one of them is bad."""

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
from pokered_rl.episodes.timeline import split_played_again
from pokered_rl.errors import ConfigError, PokeredError
from pokered_rl.record.grid import grid_frames, render_grid
from pokered_rl.record.render import RenderedEpisode, RenderOptions, is_rendered, render_episodes, shown_frames
from pokered_rl.resources import available_cpus as usable_cores

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

#: Called with the number of frames rendered since the last call, and the outcome of a job that has ended, else None.
ProgressCallback = Callable[[int, "RenderOutcome | None"], None]


@dataclass(frozen=True, kw_only=True)
class RenderJob:
    """One video: the logs that it shows and the file to write."""

    logs: tuple[EpisodeLog, ...]
    out: Path
    #: Show all logs at once instead of one after the other.
    grid: bool = False

    def frames(self, options: RenderOptions) -> int:
        """Return how many emulator frames the video shows."""
        if self.grid:
            return grid_frames(self.logs, options)
        return sum(shown_frames(log, options) for log in self.logs)

    def is_finished(self, options: RenderOptions, *, values_of: str = "") -> bool:
        """Return whether the file exists and is the video of these logs with these options."""
        return is_rendered(self.logs, self.out, options, kind="grid" if self.grid else "episodes", values_of=values_of)


@dataclass(frozen=True, kw_only=True)
class ShownValues:
    """Action values for the panel of videos that show one episode at a time."""

    #: Returns the action values float32 [T, A] of a log; picklable, such as ``load_policy(run).action_values``.
    of: Callable[[EpisodeLog], npt.NDArray[np.float32]]
    #: Name of the network. A finished video with values of the same name is skipped.
    name: str


@dataclass(frozen=True, kw_only=True)
class RenderOutcome:
    """Result of a job: a new video, one that existed already (``skipped``), or an error."""

    out: Path
    result: RenderedEpisode | None = None
    skipped: bool = False
    error: str | None = None


def load_logs(paths: Sequence[Path]) -> tuple[list[EpisodeLog], list[str]]:
    """Return the logs that can be read, in order, and one message for each that cannot."""
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
    """Return the logs that fulfil at least one of the conditions, in their order; all logs without a condition.

    Episodes that were played again after a crash are not chosen.

    Args:
        logs: In order of time.
        best: Keep the N with the highest return.
        last: Keep the N last ones.
        every: Keep each N-th, the first included.

    Raises:
        ConfigError: A number is below 1.
    """
    for name, value in (("best", best), ("last", last), ("every", every)):
        if value is not None and value < 1:
            raise ConfigError(f"{name} must be >= 1, got {value}")
    if best is None and last is None and every is None:
        return list(logs)
    logs = split_played_again(logs)[0] or logs
    chosen: set[int] = set()
    if best is not None:
        chosen.update(sorted(range(len(logs)), key=lambda index: -logs[index].episode_return)[:best])
    if last is not None:
        chosen.update(range(len(logs))[-last:])
    if every is not None:
        chosen.update(range(0, len(logs), every))
    return [logs[index] for index in sorted(chosen)]


def single_jobs(logs: Sequence[EpisodeLog], out: Path) -> list[RenderJob]:
    """Return one job for each log, its video named like the log."""
    return [RenderJob(logs=(log,), out=out / f"{_stem(log)}.mp4") for log in logs]


def joined_jobs(logs: Sequence[EpisodeLog], out: Path) -> list[RenderJob]:
    """Return one job for each emulator of each worker, its episodes in order."""

    def emulator(log: EpisodeLog) -> tuple[int, int]:
        return log.header.worker, log.header.emulator

    return [
        RenderJob(logs=tuple(group), out=out / f"joined-w{worker:03d}-e{number:03d}.mp4")
        for (worker, number), group in groupby(sorted(logs, key=emulator), key=emulator)
    ]


def grid_job(logs: Sequence[EpisodeLog], out: Path) -> list[RenderJob]:
    """Return one job for a video in which all logs play at once; none without a log."""
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
    on_progress: ProgressCallback | None = None,
) -> list[RenderOutcome]:
    """Render all jobs; a bad log costs only its own video.

    Args:
        jobs: What to render. Finished videos are skipped.
        options: How the videos look.
        cartridge: The cartridge all of them were played on; found for each by default.
        workers: Processes; by default one a core, at most one a job.
        values: Action values for the panel; not used by a grid.
        on_progress: Called from time to time.

    Returns:
        One outcome a job, in order.

    Raises:
        KeyboardInterrupt: Passed on after the worker processes have ended; unfinished videos are removed.
    """
    render = _Renderer(options or RenderOptions(), cartridge, values)
    workers = min(len(jobs), workers or usable_cores())
    report = on_progress or (lambda _frames, _outcome: None)
    if workers > 1:
        return _run_in_processes(jobs, render, workers, report)
    outcomes = []
    for job in jobs:
        outcomes.append(render(job, lambda frames: report(frames, None)))
        report(render.skipped_frames(job, outcomes[-1]), outcomes[-1])
    return outcomes


@dataclass(frozen=True)
class _Renderer:
    options: RenderOptions
    cartridge: Cartridge | None
    values: ShownValues | None

    def __call__(self, job: RenderJob, on_frames: Callable[[int], None]) -> RenderOutcome:
        options, cartridge, values = self.options, self.cartridge, self.values
        values_of = values.name if values is not None else ""
        try:
            if job.is_finished(options, values_of=values_of):
                return RenderOutcome(out=job.out, skipped=True)
            if job.grid:
                result = render_grid(job.logs, job.out, cartridge=cartridge, options=options, on_progress=on_frames)
            else:
                result = render_episodes(
                    job.logs,
                    job.out,
                    cartridge=cartridge,
                    options=options,
                    action_values=None if values is None else [values.of(log) for log in job.logs],
                    values_of=values_of,
                    on_progress=on_frames,
                )
        except (PokeredError, OSError) as error:
            return RenderOutcome(out=job.out, error=str(error))
        return RenderOutcome(out=job.out, result=result)

    def skipped_frames(self, job: RenderJob, outcome: RenderOutcome) -> int:
        """Return the frames of a job that count as rendered although nothing was written."""
        return job.frames(self.options) if outcome.skipped else 0


_rendered_frames: Any = None  # in a worker process: the queue that counts frames


def _begin_worker(frames: Any) -> None:
    global _rendered_frames
    _rendered_frames = frames


def _run_in_worker(render: _Renderer, job: RenderJob) -> RenderOutcome:
    return render(job, _rendered_frames.put)


def _run_in_processes(
    jobs: Sequence[RenderJob], render: _Renderer, workers: int, report: ProgressCallback
) -> list[RenderOutcome]:
    context = multiprocessing.get_context("spawn")
    frames = context.Queue()
    executor = ProcessPoolExecutor(workers, mp_context=context, initializer=_begin_worker, initargs=(frames,))
    # The longest first, so that no long one starts last and runs alone.
    order = sorted(range(len(jobs)), key=lambda index: -jobs[index].frames(render.options))
    try:
        futures = {executor.submit(_run_in_worker, render, jobs[index]): index for index in order}
        outcomes: dict[int, RenderOutcome] = {}
        waiting: set[Future[RenderOutcome]] = set(futures)
        while waiting:
            done, waiting = wait(waiting, timeout=0.2)
            report(_drain(frames), None)
            for future in done:
                index = futures[future]
                outcome = outcomes[index] = _outcome_of(future, jobs[index])
                report(render.skipped_frames(jobs[index], outcome), outcome)
        report(_drain(frames), None)
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


def _drain(frames: Any) -> int:
    total = 0
    while True:
        try:
            total += frames.get_nowait()
        except queue.Empty:
            return total
