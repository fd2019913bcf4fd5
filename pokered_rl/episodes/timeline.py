"""Which logs of a run count: after a crash, what lay behind the checkpoint is played again."""

from __future__ import annotations

from collections.abc import Sequence

from pokered_rl.episodes.log import EpisodeLog

__all__ = ["counted_steps", "split_played_again"]


def counted_steps(logs: Sequence[EpisodeLog]) -> list[int]:
    """Return how many steps of each log count: those that no later job or worker has played again.

    A checkpoint that is restored turns the history of every emulator back; the logs behind it are of steps that were
    then played again, from the first step of the next log of that emulator on. A job that began without the state of
    an emulator (another number of workers) has nothing that continues; then the logs count that began before it.
    Logs that do not name their job count altogether.

    Args:
        logs: Of one run or of several.
    """
    counts = [log.steps for log in logs]
    jobs: dict[str, dict[int, int]] = {}  # run -> job -> global step at which it began
    of_emulator: dict[tuple[object, ...], list[int]] = {}
    for index, log in enumerate(logs):
        header = log.header
        if not header.job:
            continue
        begun = jobs.setdefault(header.run_id or header.run_name, {})
        begun[header.job] = min(begun.get(header.job, header.job_global_step), header.job_global_step)
        key = (header.run_id or header.run_name, header.worker, header.emulator, header.history)
        of_emulator.setdefault(key, []).append(index)
    for (run, *_), indices in of_emulator.items():
        # From the newest on: the earliest step that a later job or worker has played.
        frontier: int | None = None
        groups: dict[tuple[int, int], list[int]] = {}
        for index in indices:
            groups.setdefault((logs[index].header.job, logs[index].header.attempt), []).append(index)
        newest_job = max(job for job, _ in groups)
        later = [step for job, step in jobs[str(run)].items() if job > newest_job]
        for _, group in sorted(groups.items(), reverse=True):
            for index in group:
                header, steps = logs[index].header, logs[index].steps
                if frontier is not None:
                    counts[index] = min(steps, max(0, frontier - header.history_steps))
                elif later and header.global_step >= min(later):
                    counts[index] = 0
            first = min(logs[index].header.history_steps for index in group)
            frontier = first if frontier is None else min(frontier, first)
    return counts


def split_played_again(logs: Sequence[EpisodeLog]) -> tuple[list[EpisodeLog], list[EpisodeLog]]:
    """Return the logs all of whose steps count, and those of which some were played again, both in order."""
    counts = counted_steps(logs)
    whole = [log for log, count in zip(logs, counts, strict=True) if count == log.steps]
    again = [log for log, count in zip(logs, counts, strict=True) if count < log.steps]
    return whole, again
