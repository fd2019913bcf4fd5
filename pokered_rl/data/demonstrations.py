"""Demonstrations: logged episodes as sequences in a prioritized replay of their own (R2D3, Paine et al. 2020)."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import shutil
import signal
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import torch
from tensordict import TensorDict, TensorDictBase

from pokered_rl.atomic import write_atomically
from pokered_rl.data.episode_logs import LogReplay
from pokered_rl.data.replay import SequenceReplay
from pokered_rl.data.sequences import SequenceBuilder
from pokered_rl.emulator import ActionTiming
from pokered_rl.episodes import EpisodeLog, cartridge_for
from pokered_rl.errors import CheckpointError, ConfigError, EpisodeLogError, PokeredError

__all__ = [
    "DemonstrationReplay",
    "DemonstrationSummary",
    "LogSequences",
    "MixedReplay",
    "check_log",
    "demonstrated_steps",
    "map_logs",
]

Result = TypeVar("Result")
#: Of the stored sequences; part of their fingerprint.
_FORMAT = 2
#: Who shows how to play: where one of them acted in a log, the steps of an agent or of chance are not to be imitated.
_TEACHERS = ("person", "script")
_SUMMARY, _SEQUENCES, _PRIORITIES = "demonstrations.json", "sequences", "first_priorities"


def check_log(log: EpisodeLog, *, cartridge_sha1: str, timing: ActionTiming, wait_limit: int) -> None:
    """Check that a step of a log means what a step of an agent means.

    Args:
        log: The log.
        cartridge_sha1: Of the cartridge that the agent plays.
        timing: Frames of the agent's step.
        wait_limit: Most frames that the agent's step waits for the game.

    Raises:
        EpisodeLogError: The log was played on another cartridge, or with another timing.
    """
    header = log.header
    if header.cartridge_sha1 != cartridge_sha1:
        raise EpisodeLogError(
            f"{log.name}: another cartridge: played on {header.cartridge_title} (SHA-1 {header.cartridge_sha1[:8]}),"
            f" the agent plays SHA-1 {cartridge_sha1[:8]}"
        )
    played = (header.frames_per_action, header.hold_frames, header.wait_limit)
    wanted = (timing.frames_per_action, timing.hold_frames, wait_limit)
    if played != wanted:
        units = "frames an action, frames held, most frames waited"
        raise EpisodeLogError(f"{log.name}: another timing ({units}): {played}, the agent has {wanted}")


@contextmanager
def map_logs(
    function: Callable[[Path], Result], logs: Sequence[Path], *, num_processes: int
) -> Iterator[Iterator[Result | str]]:
    """Yield the results of a function for each log in order, in processes; a text is the message of its error.

    Args:
        function: Called with the path of a log; can be pickled.
        logs: The log files.
        num_processes: With 1 all is done in this process.
    """
    call = partial(_or_error, function)
    if min(num_processes, len(logs)) <= 1:
        yield map(call, logs)
        return
    pool = ProcessPoolExecutor(
        min(num_processes, len(logs)),
        mp_context=multiprocessing.get_context("spawn"),
        initializer=signal.signal,
        initargs=(signal.SIGINT, signal.SIG_IGN),  # Ctrl-C ends the job, which ends them
    )
    try:
        yield pool.map(call, logs)
    finally:
        pool.shutdown(cancel_futures=True)


def demonstrated_steps(log: EpisodeLog) -> torch.Tensor:
    """Return which steps of a log show how to play, bool [T].

    Where a person or a script acted, their steps do; those of a policy that they took over from, or random ones, do
    not. In a log without either all steps do.
    """
    marks = [(mark.step, mark.who in _TEACHERS) for mark in log.acted]
    shown = torch.ones(log.steps, dtype=torch.bool)
    if any(teaches for _, teaches in marks):
        for step, teaches in marks:
            shown[step:] = teaches
    return shown


def _or_error(function: Callable[[Path], Result], path: Path) -> Result | str:
    try:
        return function(path)
    except PokeredError as error:
        return str(error)


@dataclass(frozen=True, kw_only=True)
class LogSequences:
    """Turn a log into the sequences of an agent; it can be pickled.

    The log is replayed, with its hashes checked, through the agent's own transforms and reward terms. Sequences whose
    loss steps show nothing (see :func:`demonstrated_steps`) are left out; the others have ``demonstration`` bool
    [S, L], True at the steps that do. They begin with a recurrent state of zero, which burn-in warms up: a state that
    fits the network of the moment would have to be computed along all logs again and again.

    Args:
        replay: Replays the log; its ``cartridge``, ``actions`` and ``rescore`` are to be set.
        make_builder: Makes the :class:`~pokered_rl.data.SequenceBuilder` of the agent's sequences.
        state_sizes: Size H of each recurrent state entry.
        timing: Frames of the agent's step.
        wait_limit: Most frames that the agent's step waits for the game.
    """

    replay: LogReplay
    make_builder: Callable[[], SequenceBuilder]
    state_sizes: Mapping[str, int]
    timing: ActionTiming
    wait_limit: int

    def __call__(self, path: Path) -> tuple[TensorDict, dict[str, Any]]:
        """Return sequences [S] of a log, and its facts for the :class:`DemonstrationSummary`.

        Raises:
            EpisodeLogError: The log cannot be played, diverges, or was not played like the agent plays.
        """
        log = EpisodeLog.load(path)
        cartridge = self.replay.cartridge or cartridge_for(log)
        check_log(log, cartridge_sha1=cartridge.sha1, timing=self.timing, wait_limit=self.wait_limit)
        shown = demonstrated_steps(log)
        if not shown.any():
            raise EpisodeLogError(f"{log.name}: it has no step of a person or a script, or none at all")
        steps = self.replay(log).exclude("ram", ("next", "ram"))  # [T]
        mask = steps.get("action_mask", None)
        forbidden = 0 if mask is None else int((shown & ~mask.gather(-1, steps["action"][:, None])[:, 0]).sum())
        steps["demonstration"], steps["next", "demonstration"] = shown, torch.zeros_like(shown)
        for key, size in self.state_sizes.items():
            steps[key] = torch.zeros(1, 1).expand(log.steps, size)
        facts = {
            "steps": int(shown.sum()),
            "forbidden_actions": forbidden,
            "actors": sorted(
                {mark.who for mark in log.acted if mark.who in _TEACHERS} or {mark.who for mark in log.acted}
            ),
            "milestones": [name for _, name in log.milestones if not name.startswith("map:")],
        }
        builder = self.make_builder()
        builder.observation_keys += ("demonstration",)
        sequences, layout = builder.extend(steps[None]), builder.layout
        learnt = slice(layout.burn_in_steps, layout.burn_in_steps + layout.unroll_steps)
        return sequences[sequences["demonstration"][:, learnt].any(1)], facts


@dataclass(kw_only=True)
class DemonstrationSummary:
    """What a :class:`DemonstrationReplay` was made of."""

    logs: int = 0
    #: Steps that show how to play.
    steps: int = 0
    sequences: int = 0
    #: Steps whose action the mask of the agent forbids: it cannot imitate them.
    forbidden_actions: int = 0
    #: Who acted in the logs: ``person``, ``script``, ``policy``, ``random``.
    actors: list[str] = field(default_factory=list)
    #: Milestones of the story, with the number of logs that reach each.
    milestones: dict[str, int] = field(default_factory=dict)
    #: Name and problem of each log that was left out.
    left_out: dict[str, str] = field(default_factory=dict)

    def add(self, facts: Mapping[str, Any], sequences: int) -> None:
        """Take in a log."""
        self.logs += 1
        self.sequences += sequences
        self.steps += facts["steps"]
        self.forbidden_actions += facts["forbidden_actions"]
        self.actors = sorted({*self.actors, *facts["actors"]})
        for name in facts["milestones"]:
            self.milestones[name] = self.milestones.get(name, 0) + 1

    def __str__(self) -> str:
        """Return one line."""
        by = f" by {' and '.join(self.actors)}" if self.actors else ""
        furthest = list(self.milestones.items())[-1:]
        reach = "".join(f"; {count} reach {name}" for name, count in furthest)
        forbidden = f"; the mask forbids {self.forbidden_actions:,} of their actions" if self.forbidden_actions else ""
        left_out = f"; {len(self.left_out)} left out" if self.left_out else ""
        return (
            f"{self.logs} log{'s' if self.logs != 1 else ''}{by}, {self.steps:,} steps, {self.sequences:,}"
            f" sequences{reach}{forbidden}{left_out}"
        )


class DemonstrationReplay:
    """Sequences of logged episodes on disk, with priorities of their own.

    :meth:`prepare` replays the logs, once: what it wrote is opened again as long as logs and settings stay the same.
    A log that cannot be used is left out and named in ``summary.left_out``.

    Args:
        logs: The log files.
        folder: Where the sequences lie.
        make_replay: :func:`~pokered_rl.data.make_replay` with everything but ``scratch_dir`` and
            ``capacity_transitions``; with ``new_priority="maximum"``, because nobody has computed errors yet.
        sequences: Turns a log into sequences.
        settings: What the sequences depend on beside the logs, as plain values.
        num_processes: Processes that replay logs.
    """

    def __init__(
        self,
        logs: Sequence[Path],
        *,
        folder: Path,
        make_replay: Callable[..., SequenceReplay],
        sequences: LogSequences,
        settings: Mapping[str, Any] | None = None,
        num_processes: int = 1,
    ) -> None:
        self.logs = list(logs)
        self.folder = folder
        self.summary = DemonstrationSummary()
        self._sequences = sequences
        self._num_processes = num_processes
        layout = sequences.make_builder().layout
        # A log that cannot be read is named when it is replayed, and needs no room.
        counts = [-(-_steps_of(path) // layout.period_steps) for path in self.logs]
        self.replay = make_replay(
            scratch_dir=folder / _SEQUENCES, capacity_transitions=max(1, sum(counts)) * layout.period_steps
        )
        hashes = [[path.name, hashlib.sha256(path.read_bytes()).hexdigest()] for path in self.logs]
        content = json.dumps([_FORMAT, hashes, dict(settings or {})], sort_keys=True, default=str)
        self.fingerprint = hashlib.sha256(content.encode()).hexdigest()

    def __len__(self) -> int:
        return len(self.replay)

    def prepare(
        self,
        *,
        on_progress: Callable[[int, int], None] = lambda _done, _total: None,
        stopped: Callable[[], bool] = lambda: False,
    ) -> bool:
        """Open the sequences, or replay the logs where they are not there or others.

        Args:
            on_progress: Called with the number of logs replayed and their total.
            stopped: Whether to give up; what was done is then done again the next time.

        Returns:
            Whether logs were replayed.

        Raises:
            ConfigError: None of the logs can be used, or the disk is full.
        """
        saved = _read_summary(self.folder)
        if saved.get("fingerprint") == self.fingerprint:
            try:
                self.replay.load(self.folder / _PRIORITIES)
            except CheckpointError:
                pass  # files are missing: replayed below
            else:
                self.summary = DemonstrationSummary(**saved["summary"])
                return False
        (self.folder / _SUMMARY).unlink(missing_ok=True)
        shutil.rmtree(self.folder / _SEQUENCES, ignore_errors=True)
        self.summary = summary = DemonstrationSummary()
        with map_logs(self._sequences, self.logs, num_processes=self._num_processes) as results:
            for number, (path, result) in enumerate(zip(self.logs, results, strict=True)):
                if stopped():
                    self.summary = DemonstrationSummary()  # nothing to save
                    return True
                if isinstance(result, str):
                    summary.left_out[path.name] = result
                else:
                    sequences, facts = result
                    if not summary.logs:
                        self.replay.allocate(sequences[:1])
                    self.replay.extend(sequences)
                    summary.add(facts, len(sequences))
                on_progress(number + 1, len(self.logs))
        if not summary.logs:
            raise ConfigError(
                f"demonstrations.logs: none of the {len(self.logs)} logs can be used; the first:"
                f" {next(iter(summary.left_out.values()))}; set demonstrations.logs=[] to go on without them"
            )
        self.replay.update_priority(torch.arange(len(self)), torch.ones(len(self)))  # errors are not known yet
        self.replay.save(self.folder / _PRIORITIES)
        self.replay.flush()
        content = {"text": f"demonstrations, {summary}", "fingerprint": self.fingerprint, "summary": asdict(summary)}
        write_atomically(self.folder / _SUMMARY, json.dumps(content, indent=1).encode())
        return True

    def save(self, path: Path) -> None:
        """Write priorities and random state into a folder; the sequences stay where they are."""
        if self.summary.logs:
            self.replay.save(path)
            (path / _SUMMARY).write_text(json.dumps({"fingerprint": self.fingerprint}))

    def load(self, path: Path) -> None:
        """Take up the priorities that :meth:`save` wrote, unless they are those of other sequences.

        Raises:
            CheckpointError: They are damaged.
        """
        if _read_summary(path).get("fingerprint") == self.fingerprint:
            self.replay.load(path)


class MixedReplay:
    """Draw each batch from a replay and, in a share, from demonstrations; each keeps its own priorities.

    Each sequence of a batch is drawn from the demonstrations with probability ``ratio`` (R2D3, section 3), which may
    fall to ``final_ratio`` in a straight line. Batches have the entry ``demonstration`` bool [B, L], True at steps that
    show how to play.

    Args:
        replay: What the agent played; without ``prefetch``, since how much of a batch comes from it is drawn each time.
        demonstrations: The demonstrations, likewise.
        ratio: Their share of each batch, on average.
        final_ratio: The share at last.
        fall_updates: Batches after which it is that; 0 keeps ``ratio``.
        pretrain_updates: First batches that consist of demonstrations only.
        prefetch: Batches drawn ahead by as many threads; 0 draws when asked, as reproducible runs must.
        pin_memory: Put batches into memory from which a GPU copies by itself.
        seed: Of the draws between the two.

    Raises:
        ConfigError: A share is out of range.
    """

    def __init__(
        self,
        replay: SequenceReplay,
        demonstrations: DemonstrationReplay,
        *,
        ratio: float,
        final_ratio: float = 0.0,
        fall_updates: int = 0,
        pretrain_updates: int = 0,
        prefetch: int = 0,
        pin_memory: bool = False,
        seed: int = 0,
    ) -> None:
        for name, value in (("ratio", ratio), ("final_ratio", final_ratio)):
            if not 0 <= value <= 1:
                raise ConfigError(f"{name} must be in [0, 1], got {value}")
        self.replay = replay
        self.demonstrations = demonstrations
        self.ratio = ratio
        self.final_ratio = final_ratio
        self.fall_updates = fall_updates
        self.pretrain_updates = pretrain_updates
        #: Batches drawn.
        self.updates = 0
        self._generator = torch.Generator().manual_seed(seed)
        self._prefetch = prefetch
        self._pin_memory = pin_memory
        self._ahead: deque[Future[TensorDictBase]] = deque()
        self._threads = ThreadPoolExecutor(max(prefetch, 1), thread_name_prefix="draw")

    @property
    def share(self) -> float:
        """Share of the next batch that comes from the demonstrations, on average."""
        if self.updates < self.pretrain_updates:
            return 1.0
        since = self.updates - self.pretrain_updates
        done = min(since / self.fall_updates, 1.0) if self.fall_updates else 0.0
        return self.ratio + done * (self.final_ratio - self.ratio)

    def sample(self, batch_size: int) -> TensorDictBase:
        """Draw a batch [B]; its importance weights are those of each replay on its own."""
        if not self._prefetch:
            return self._draw(batch_size, self._next_shown(batch_size))
        # The first batch behind the pretraining waits until it is asked for: nothing is played before.
        while not self._ahead or (len(self._ahead) <= self._prefetch and self.updates != self.pretrain_updates):
            self._ahead.append(self._threads.submit(self._draw, batch_size, self._next_shown(batch_size)))
        return self._ahead.popleft().result()

    def _next_shown(self, batch_size: int) -> int:
        """Return how many demonstrations the next batch has."""
        shown = int((torch.rand(batch_size, generator=self._generator) < self.share).sum())
        self.updates += 1
        return shown

    def _draw(self, batch_size: int, shown: int) -> TensorDictBase:
        parts: list[TensorDictBase] = []
        if shown < batch_size:
            parts.append(self.replay.sample(batch_size - shown))
            parts[0]["demonstration"] = torch.zeros_like(parts[0]["mask"])
        if shown:
            parts.append(self.demonstrations.replay.sample(shown))
        # Without the old priorities, which only the agent's own have: a CUDA graph needs the same entries each time.
        batch: TensorDictBase = torch.cat([part.exclude("td_error") for part in parts])
        return batch.pin_memory() if self._pin_memory else batch

    def update_tensordict_priority(self, data: TensorDictBase) -> None:
        """Write the priorities ``td_error`` [B] into the replay that each sequence is of."""
        shown = data["demonstration"].any(-1)
        drawn = data.select("index", "index_generation", "td_error")  # not the frames
        for replay, part in ((self.replay, drawn[~shown]), (self.demonstrations.replay, drawn[shown])):
            if len(part):
                replay.update_tensordict_priority(part)

    def state_dict(self) -> dict[str, Any]:
        """Return the number of batches and the random state; priorities are saved with the replays."""
        return {"updates": self.updates - len(self._ahead), "generator": self._generator.get_state()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from :meth:`state_dict`."""
        self.updates = state["updates"]
        if "generator" in state:  # not where an earlier job had no demonstrations
            self._generator.set_state(state["generator"])


def _steps_of(path: Path) -> int:
    try:
        return EpisodeLog.load(path).steps
    except PokeredError:
        return 0


def _read_summary(folder: Path) -> dict[str, Any]:
    try:
        content = json.loads((folder / _SUMMARY).read_text())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
