"""Episode logs: small files from which an episode can be replayed and the replay verified.

A log holds a reference to its start state, one action byte and the number of waiting frames of every step, rewards,
RAM hashes and the origin of the episode. The start state itself (bytes of a :class:`~pokered_rl.emulator.SaveState`) is
stored once per run in ``start_states/`` under its SHA-256 (see :mod:`pokered_rl.episodes.folder`), or embedded.

:class:`EpisodeLogWriter` collects an episode step by step; :class:`EpisodeLog` is a finished episode in memory. The
file is written when the episode ends, to a temporary file that is then renamed: a crash loses only the episode in
progress.

Its chain has four bytes after each step, which depend on everything up to it: the first value on the header and the RAM
at the start, each further one on the value before, action, waiting frames and RAM, the last one on the end of the
episode, on the rewards and on the full RAM hashes. Whoever replays the log computes the same values, so that no action,
frame or number can be exchanged without being noticed at its step.
"""

from __future__ import annotations

import hashlib
import json
import os
import struct
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pokered_rl.atomic import write_atomically
from pokered_rl.emulator import SaveState
from pokered_rl.episodes.columns import from_planes, pack_rewards, to_planes, unpack_rewards
from pokered_rl.episodes.container import MAX_FILE_BYTES, container_version, pack_container, unpack_container
from pokered_rl.episodes.header import (
    Acted,
    Captured,
    EpisodeHeader,
    Meta,
    Outcome,
    ReachedMilestone,
    pack_meta,
    unpack_meta,
)
from pokered_rl.errors import EpisodeLogError, SaveStateError
from pokered_rl.plain_files import read_plain_file

__all__ = ["LOG_SUFFIX", "EpisodeLog", "EpisodeLogWriter", "chain_end", "chain_start", "chain_step"]

#: File name extension of an episode log.
LOG_SUFFIX = ".episode"

_REQUIRED = ("META", "ACTN", "WAIT", "REWD", "HASH")
_KNOWN = (*_REQUIRED, "STRT", "CHAI")
_HASH_DTYPE = np.dtype([("step", "<u4"), ("sha256", "u1", 32)])
_REMEDY = "the file is damaged or was written by a faulty writer: delete it"
_STEP = struct.Struct("<IBH")  # value before, action, waiting frames
_VALUE = struct.Struct("<I")
#: Numbers with a decimal point in the chain's JSON.
_REALS = ("epsilon", "start_unix_seconds", "end_unix_seconds")


@dataclass(frozen=True, kw_only=True, eq=False)
class EpisodeLog:
    """One episode, or one segment of an endless one, of T agent steps and K reward terms."""

    #: Everything that was known when the episode began.
    header: EpisodeHeader
    #: uint8 [T], indices into ``header.actions``.
    actions: npt.NDArray[np.uint8]
    #: uint16 [T], frames that passed after the action's own because the game ignored input.
    wait_frames: npt.NDArray[np.uint16]
    #: float32 [T], as the agent received them.
    rewards: npt.NDArray[np.float32]
    #: float32 [T, K], the share of each of ``header.reward_terms``.
    term_rewards: npt.NDArray[np.float32]
    #: Number of steps played -> SHA-256 (hex) of the full RAM image then. Contains T, and 0 when known.
    ram_hashes: Mapping[int, str]
    #: Milestones in the order in which they were reached.
    milestones: tuple[ReachedMilestone, ...] = ()
    #: Why the log ends.
    outcome: Outcome
    #: Wall clock when the episode ended.
    end_unix_seconds: float = 0.0
    #: Who acted, from which step on; empty when unknown.
    acted: tuple[Acted, ...] = ()
    #: States that were captured on the way, from which other episodes may begin.
    captured: tuple[Captured, ...] = ()
    #: uint32 [T + 2], see :func:`chain_step`: before the first step, after each step, at the end; None
    #: when it was not recorded.
    chain: npt.NDArray[np.uint32] | None = None
    #: The start state if it is embedded in the log.
    start_state: SaveState | None = None
    #: The file it was read from.
    path: Path | None = None

    def __post_init__(self) -> None:
        steps, terms, where = self.steps, len(self.header.reward_terms), self.name
        for name, found, expected in (
            ("wait_frames", self.wait_frames.shape, (steps,)),
            ("rewards", self.rewards.shape, (steps,)),
            ("term_rewards", self.term_rewards.shape, (steps, terms)),
        ):
            if found != expected:
                raise EpisodeLogError(f"{where}: {name} has shape {list(found)}, expected {list(expected)}; {_REMEDY}")
        if steps and int(self.actions.max()) >= len(self.header.actions):
            step = int(np.argmax(self.actions >= len(self.header.actions)))
            raise EpisodeLogError(
                f"{where}: action {int(self.actions[step])} at step {step}, the action set has "
                f"{len(self.header.actions)} ({', '.join(self.header.actions)}); {_REMEDY}"
            )
        if steps and int(self.wait_frames.max()) > self.header.wait_limit:
            step = int(np.argmax(self.wait_frames > self.header.wait_limit))
            raise EpisodeLogError(
                f"{where}: step {step} waited {int(self.wait_frames[step])} frames, at most {self.header.wait_limit} "
                f"are possible by its header; {_REMEDY}"
            )
        if self.chain is not None and 0 not in self.ram_hashes:
            raise EpisodeLogError(f"{where}: a chain, but no RAM hash of the start; {_REMEDY}")
        if self.chain is not None and self.chain.shape != (steps + 2,):
            raise EpisodeLogError(
                f"{where}: chain has shape {list(self.chain.shape)}, expected {[steps + 2]}; {_REMEDY}"
            )
        for what, step in (
            *(("RAM hash", step) for step in self.ram_hashes),
            *((milestone.name, milestone.step) for milestone in self.milestones),
            *((f"acting of {who}", step) for step, who in self.acted),
            *(("captured state", step) for step, _ in self.captured),
        ):
            if not 0 <= step <= steps:
                raise EpisodeLogError(f"{where}: {what} at step {step}, the episode has {steps} steps; {_REMEDY}")
        if steps not in self.ram_hashes:
            raise EpisodeLogError(f"{where}: no RAM hash at the last step ({steps}); {_REMEDY}")
        if self.start_state is not None and self.start_state.sha256 != self.header.start_state_sha256:
            raise EpisodeLogError(
                f"{where}: the embedded start state has SHA-256 {self.start_state.sha256}, expected "
                f"{self.header.start_state_sha256}; {_REMEDY}"
            )

    @property
    def name(self) -> str:
        """Name of the log in messages."""
        return str(self.path) if self.path is not None else "episode log"

    @property
    def steps(self) -> int:
        """Number of agent steps, T."""
        return int(self.actions.shape[0])

    @property
    def step_frames(self) -> npt.NDArray[np.int64]:
        """Emulator frames of every step, int64 [T], the action's own and the waiting after it."""
        return self.header.frames_per_action + self.wait_frames.astype(np.int64)

    @property
    def frames(self) -> int:
        """Emulator frames of the whole episode."""
        return int(self.step_frames.sum())

    @property
    def episode_return(self) -> float:
        """Sum of the rewards, not discounted."""
        with np.errstate(invalid="ignore"):  # inf - inf: the sum is NaN
            return float(self.rewards.sum(dtype=np.float64))

    @property
    def term_returns(self) -> dict[str, float]:
        """Sum of the rewards of each term, not discounted."""
        with np.errstate(invalid="ignore"):  # inf - inf: the sum is NaN
            sums = self.term_rewards.sum(axis=0, dtype=np.float64)
        return {name: float(value) for name, value in zip(self.header.reward_terms, sums, strict=True)}

    @property
    def final_ram_hash(self) -> str:
        """SHA-256 (hex) of the RAM after the last step."""
        return self.ram_hashes[self.steps]

    def chain_end(self, value: int) -> int:
        """Return what the chain must end with, given its value after the last step."""
        return chain_end(value, self.meta, self.ram_hashes, self.rewards, self.term_rewards)

    @property
    def meta(self) -> Meta:
        """The facts that were known only when the episode ended."""
        return Meta(
            steps=self.steps,
            outcome=self.outcome,
            milestones=self.milestones,
            end_unix_seconds=self.end_unix_seconds,
            acted=self.acted,
            captured=self.captured,
        )

    def to_bytes(self) -> bytes:
        """Return the content of the file (format: ``docs/reference/episode_format.md``)."""
        hashes = np.zeros(len(self.ram_hashes), _HASH_DTYPE)
        for record, step in zip(hashes, sorted(self.ram_hashes), strict=True):
            record["step"], record["sha256"] = step, np.frombuffer(bytes.fromhex(self.ram_hashes[step]), np.uint8)
        sections = {
            "META": pack_meta(
                self.header,
                self.meta,
                frames=self.frames,
                episode_return=self.episode_return,
                term_returns=self.term_returns,
            ),
            "ACTN": self.actions.tobytes(),
            "WAIT": to_planes(self.wait_frames, "<u2"),
            "REWD": pack_rewards(self.rewards, self.term_rewards),
            "HASH": hashes.tobytes(),
        }
        if self.chain is not None:
            sections["CHAI"] = self.chain.astype("<u4").tobytes()
        if self.start_state is not None:
            sections["STRT"] = self.start_state.to_bytes()
        return pack_container(sections)

    @classmethod
    def from_bytes(cls, data: bytes, *, name: str = "episode log") -> EpisodeLog:
        """Read what :meth:`to_bytes` wrote; ``name`` is the file's in error messages.

        Raises:
            EpisodeLogError: The data is not an undamaged log; the message names section and remedy.
        """
        sections = unpack_container(data, name=name, known=_KNOWN)
        for tag in sections:
            if tag not in _KNOWN:
                raise EpisodeLogError(
                    f"{name}: unknown section {tag} that a reader must know; update pokered_rl, or delete the file"
                )
        for tag in _REQUIRED:
            if tag not in sections:
                raise EpisodeLogError(f"{name}: section {tag} is missing; {_REMEDY}")
        version = container_version(data)
        header, meta = unpack_meta(sections["META"], name=name, version=version)
        rewards, term_rewards = unpack_rewards(
            sections["REWD"], meta.steps, len(header.reward_terms), f"{name}: section REWD"
        )
        return cls(
            header=header,
            actions=from_planes(sections["ACTN"], "u1", (meta.steps,), f"{name}: section ACTN"),
            wait_frames=from_planes(sections["WAIT"], "<u2", (meta.steps,), f"{name}: section WAIT"),
            rewards=rewards,
            term_rewards=term_rewards,
            ram_hashes=_read_hashes(sections["HASH"], name),
            milestones=meta.milestones,
            outcome=meta.outcome,
            end_unix_seconds=meta.end_unix_seconds,
            acted=meta.acted,
            captured=meta.captured,
            chain=_read_chain(sections.get("CHAI") if version > 1 else None, meta.steps, name),
            start_state=_read_state(sections.get("STRT"), name),
            path=Path(name) if name != "episode log" else None,
        )

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> EpisodeLog:
        """Read a log file.

        Raises:
            EpisodeLogError: The file cannot be read or is not an undamaged log.
        """
        try:
            data = read_plain_file(path, max_bytes=MAX_FILE_BYTES)
        except OSError as error:
            raise EpisodeLogError(f"{path}: cannot be read: {error.strerror or error}") from error
        return cls.from_bytes(data, name=str(path))

    def save(self, folder: str | os.PathLike[str]) -> Path:
        """Write the log into ``folder`` under its own name, atomically, and return the path.

        The name is ``<global step>-w<worker>-e<emulator>-<digest>.episode``: names sort by the global step at which
        the episode began, and the digest of the content distinguishes the logs of jobs that counted the same steps.
        """
        data = self.to_bytes()
        h = self.header
        digest = hashlib.sha256(data).hexdigest()[:10]
        name = f"{h.global_step:012d}-w{h.worker:03d}-e{h.emulator:03d}-{digest}{LOG_SUFFIX}"
        return write_atomically(Path(folder) / name, data)

    def with_start_state(self, state: SaveState | None) -> EpisodeLog:
        """Return the log with ``state`` embedded (None: without one), to be passed on as a single file."""
        return replace(self, start_state=state)


@dataclass(kw_only=True, eq=False)
class EpisodeLogWriter:
    """Collect one episode of one emulator and write it when it is finished.

    Nothing is written to the disk before :meth:`finish`, and a step costs a few list appends.

    Example:
        >>> writer = EpisodeLogWriter(folder=logs, header=header)  # doctest: +SKIP
        >>> writer.step(action, wait_frames=0, reward=0.5, terms=(0.5, 0.0))  # doctest: +SKIP
        >>> if writer.ram_hash_due:  # doctest: +SKIP
        ...     writer.add_ram_hash(pool.ram_hash(0))
        >>> path = writer.finish(Outcome.TRUNCATED, ram_hash=pool.ram_hash(0))  # doctest: +SKIP
    """

    #: Where the log is written (``<run>/episode_logs``); created if missing.
    folder: Path
    #: Everything that is known at the start. A replay needs the start state in ``start_states/`` of the folder, see
    #: :meth:`EpisodeFolder.add_start_state`.
    header: EpisodeHeader
    #: SHA-256 (hex) of the RAM in the start state, if known; a replay then tells a wrong start from a wrong step.
    start_ram_hash: str | None = None
    # Of each step: action, waiting frames, reward, terms.
    _steps: list[tuple[int, int, float, Sequence[float]]] = field(default_factory=list, init=False, repr=False)
    _ram_hashes: dict[int, str] = field(default_factory=dict, init=False, repr=False)
    _milestones: list[ReachedMilestone] = field(default_factory=list, init=False, repr=False)
    _acted: list[Acted] = field(default_factory=list, init=False, repr=False)
    _captured: list[Captured] = field(default_factory=list, init=False, repr=False)
    _chain: list[int] | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        if self.start_ram_hash is not None:
            self._ram_hashes[0] = self.start_ram_hash

    @property
    def steps(self) -> int:
        """Steps added so far."""
        return len(self._steps)

    @property
    def ram_hash_due(self) -> bool:
        """Whether the log needs the RAM hash after the step added last."""
        return self.steps > 0 and self.steps % self.header.ram_hash_every_steps == 0

    def step(
        self,
        action: int,
        *,
        wait_frames: int,
        reward: float,
        terms: Sequence[float] = (),
        ram: npt.NDArray[np.uint8] | None = None,
    ) -> None:
        """Add one agent step.

        Args:
            action: Index into ``header.actions``.
            wait_frames: Frames that passed after the action's own.
            reward: As the agent received it.
            terms: One value for each of ``header.reward_terms``.
            ram: The bytes of ``header.chain_layout`` after the step, contiguous; needed in every step where the header
                names some and the RAM in the start state is known.
        """
        if ram is not None and self.header.chain_ranges and self.start_ram_hash is not None:
            if not self._steps:
                self._chain = [chain_start(self.header, self.start_ram_hash)]
            if self._chain is not None:
                self._chain.append(chain_step(self._chain[-1], action, wait_frames, ram))
        self._steps.append((action, wait_frames, reward, terms))

    def add_ram_hash(self, sha256: str) -> None:
        """Add the hash (hex) of the full RAM image after the step added last."""
        self._ram_hashes[self.steps] = sha256

    def add_milestone(self, name: str) -> None:
        """Add a milestone that was reached in the step added last."""
        self._milestones.append(ReachedMilestone(step=self.steps, name=name))

    def add_captured(self, step: int, sha256: str) -> None:
        """Add a state that was captured after ``step`` steps."""
        self._captured.append(Captured(step, sha256))

    def set_acting(self, who: str) -> None:
        """Note who takes the buttons from the next step on."""
        if not self._acted or self._acted[-1].who != who:
            self._acted = [acted for acted in self._acted if acted.step < self.steps] + [Acted(self.steps, who)]

    def finish(self, outcome: Outcome, *, ram_hash: str, end_unix_seconds: float = 0.0) -> Path | None:
        """Write the log and return its path; return None for an episode without a step, which is not written.

        The arguments are those of :meth:`log`.
        """
        if not self._steps:
            return None
        return self.log(outcome, ram_hash=ram_hash, end_unix_seconds=end_unix_seconds).save(self.folder)

    def log(self, outcome: Outcome, *, ram_hash: str, end_unix_seconds: float = 0.0) -> EpisodeLog:
        """Return the episode so far, of at least one step; the writer goes on.

        Args:
            outcome: Why the episode ends.
            ram_hash: Hash (hex) of the RAM after the last step.
            end_unix_seconds: Wall clock now.

        Raises:
            EpisodeLogError: The steps do not fit together or to the header.
        """
        actions, wait_frames, rewards, terms = zip(*self._steps, strict=True)
        log = EpisodeLog(
            header=self.header,
            actions=np.asarray(actions, np.uint8),
            wait_frames=np.asarray(wait_frames, np.uint16),
            rewards=np.asarray(rewards, np.float32),
            term_rewards=np.asarray(terms, np.float32).reshape(self.steps, -1),
            ram_hashes={**self._ram_hashes, self.steps: ram_hash},
            milestones=tuple(self._milestones),
            outcome=outcome,
            end_unix_seconds=end_unix_seconds,
            acted=tuple(self._acted),
            captured=tuple(self._captured),
        )
        if self._chain is not None and len(self._chain) == log.steps + 1:
            log = replace(log, chain=np.asarray([*self._chain, log.chain_end(self._chain[-1])], np.uint32))
        return log


def _read_hashes(data: bytes, name: str) -> dict[int, str]:
    if len(data) % _HASH_DTYPE.itemsize:
        raise EpisodeLogError(
            f"{name}: section HASH holds {len(data)} bytes, not a multiple of {_HASH_DTYPE.itemsize}; {_REMEDY}"
        )
    return {int(record["step"]): record["sha256"].tobytes().hex() for record in np.frombuffer(data, _HASH_DTYPE)}


def _read_chain(data: bytes | None, steps: int, name: str) -> npt.NDArray[np.uint32] | None:
    if data is None:
        return None
    if len(data) != 4 * (steps + 2):
        raise EpisodeLogError(
            f"{name}: section CHAI holds {len(data)} bytes, expected {4 * (steps + 2)} for {steps} steps; {_REMEDY}"
        )
    return np.frombuffer(data, "<u4").astype(np.uint32)


def _read_state(data: bytes | None, name: str) -> SaveState | None:
    if data is None:
        return None
    try:
        return SaveState.from_bytes(data)
    except SaveStateError as error:
        raise EpisodeLogError(f"{name}: section STRT: {error}") from error


def chain_start(header: EpisodeHeader, start_ram_hash: str) -> int:
    """Return the value before the first step.

    Args:
        header: The whole header.
        start_ram_hash: SHA-256 (hex) of the full RAM image in the start state.
    """
    return _digest(_canonical(asdict(header)), bytes.fromhex(start_ram_hash))


def chain_step(value: int, action: int, wait_frames: int, ram: npt.NDArray[np.uint8]) -> int:
    """Return the value after a step.

    Args:
        value: The value before it.
        action: Index into ``header.actions``.
        wait_frames: Frames that passed after the action's own.
        ram: The bytes of ``header.chain_layout`` after the step.
    """
    digest = blake2b(_STEP.pack(value, action, wait_frames), digest_size=4)
    digest.update(ram.data)
    return int.from_bytes(digest.digest(), "little")


def chain_end(
    value: int,
    meta: Meta,
    ram_hashes: Mapping[int, str],
    rewards: npt.NDArray[np.float32],
    term_rewards: npt.NDArray[np.float32],
) -> int:
    """Return the value that follows the last step's: it depends on everything else in the log but the start state."""
    hashes = b"".join(_VALUE.pack(step) + bytes.fromhex(ram_hashes[step]) for step in sorted(ram_hashes))
    numbers = rewards.astype("<f4").tobytes() + np.ascontiguousarray(term_rewards, "<f4").tobytes()
    return _digest(_VALUE.pack(value), _canonical(asdict(meta)), hashes, numbers)


def _canonical(fields: Mapping[str, Any]) -> bytes:
    """Return JSON with sorted keys, without spaces, in ASCII; the numbers in `_REALS` have a decimal point."""
    reals = {key: float(fields[key]) for key in _REALS if fields.get(key) is not None}
    return json.dumps({**fields, **reals}, sort_keys=True, separators=(",", ":")).encode()


def _digest(*parts: bytes) -> int:
    digest = blake2b(digest_size=4)
    for part in parts:
        digest.update(_VALUE.pack(len(part)))
        digest.update(part)
    return int.from_bytes(digest.digest(), "little")
