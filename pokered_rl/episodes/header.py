"""What an episode log says about itself, and its JSON form (section META of the file).

JSON, because these few values are the part that other programs want to read. Everything read back is checked for
type and range; an unknown field is ignored, so that a later writer may add some.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple

from pokered_rl.errors import EpisodeLogError

__all__ = ["EpisodeHeader", "Meta", "Milestone", "Outcome", "pack_meta", "unpack_meta"]

#: An episode may be this long: keeps a damaged count from asking for memory.
MAX_STEPS = 10_000_000


class Outcome(StrEnum):
    """Why a log ends where it ends."""

    TERMINATED = "terminated"
    """The episode reached an end of its own."""
    TRUNCATED = "truncated"
    """The step limit was reached."""
    CONTINUED = "continued"
    """Continuous mode: the next segment begins in the state in which this one ends."""
    SHUTDOWN = "shutdown"
    """The job ended first."""


class Milestone(NamedTuple):
    """Something reached for the first time in an episode."""

    step: int
    """Steps played when it was reached."""
    name: str


@dataclass(frozen=True, kw_only=True)
class EpisodeHeader:
    """Everything about an episode that is known when it begins.

    Attributes:
        run_name: name of the run.
        worker: number of the collector worker.
        emulator: number of the emulator within the worker.
        global_step: agent steps of the whole run when the episode began.
        episode: number of the episode on this emulator; it counts on in later jobs that take the emulator up again.
        segment: number of the segment within an episode of several logs (an endless one, or one that went on in a
            later job), 0 for the first.
        weights_version: the learner's number of the weights that took the first step (a training run counts its
            updates), -1 when no network acted or its number is unknown.
        epsilon: exploration rate of the emulator, None when unknown.
        seeds: named seeds: ``run``, and ``worker``, from which this worker's emulators and exploration draw.
        config_sha256: hash of the run's ``config.yaml`` as that job wrote it, empty when there is none.
        cartridge_sha1: SHA-1 (hex) of the ROM file.
        cartridge_title: title in the cartridge's header.
        pyboy_version: PyBoy that played.
        state_version: first byte of PyBoy's state format.
        start_state_sha256: `SaveState.sha256` of the start state.
        actions: names of the action set, in the order of the action numbers.
        frames_per_action: emulator frames of one action, waiting not counted.
        hold_frames: frames the button is held.
        wait_while_busy: whether the pool went on ticking while the game ignored input.
        max_wait_frames: the most it waited in one step.
        reward_terms: names of the columns of ``term_rewards``.
        ram_hash_every_steps: distance of the RAM hashes.
        start_unix_seconds: wall clock when the episode began.
    """

    run_name: str
    worker: int
    emulator: int
    global_step: int
    cartridge_sha1: str
    cartridge_title: str
    pyboy_version: str
    state_version: int
    start_state_sha256: str
    actions: tuple[str, ...]
    frames_per_action: int
    hold_frames: int
    episode: int = 0
    segment: int = 0
    weights_version: int = -1
    epsilon: float | None = None
    seeds: Mapping[str, int] = field(default_factory=dict)
    config_sha256: str = ""
    wait_while_busy: bool = True
    max_wait_frames: int = 240
    reward_terms: tuple[str, ...] = ()
    ram_hash_every_steps: int = 100
    start_unix_seconds: float = 0.0

    def __post_init__(self) -> None:
        for name, low, high in (
            ("worker", 0, 10**6),
            ("emulator", 0, 10**6),
            ("global_step", 0, 10**12 - 1),
            ("episode", 0, 10**12),
            ("segment", 0, 10**12),
            ("frames_per_action", 1, 3600),
            ("hold_frames", 1, self.frames_per_action),
            ("ram_hash_every_steps", 1, MAX_STEPS),
            ("state_version", 0, 255),
        ):
            if not low <= getattr(self, name) <= high:
                raise EpisodeLogError(f"{name} must be between {low} and {high}, got {getattr(self, name)}")
        for name, digits in (("start_state_sha256", 64), ("cartridge_sha1", 40)):
            value = getattr(self, name)
            if len(value) != digits or not set(value) <= set("0123456789abcdef"):
                raise EpisodeLogError(f"{name} must be {digits} hexadecimal digits, got {value!r}")
        if not self.actions:
            raise EpisodeLogError("actions must name at least one action, got none")


class Meta(NamedTuple):
    """The part of META that is known only when the episode ends."""

    steps: int
    outcome: Outcome
    milestones: tuple[Milestone, ...]
    end_unix_seconds: float


def pack_meta(
    header: EpisodeHeader,
    *,
    steps: int,
    frames: int,
    outcome: Outcome,
    episode_return: float,
    term_returns: Mapping[str, float],
    milestones: Sequence[Milestone],
    end_unix_seconds: float,
) -> bytes:
    """Returns section META. The sums are there for other readers; this library computes them from the steps."""
    fields = asdict(header) | {
        "steps": steps,
        "frames": frames,
        "outcome": outcome.value,
        "return": _finite(episode_return),
        "term_returns": {name: _finite(value) for name, value in term_returns.items()},
        "milestones": [[milestone.step, milestone.name] for milestone in milestones],
        "end_unix_seconds": end_unix_seconds,
    }
    return json.dumps(fields, allow_nan=False, ensure_ascii=False, separators=(",", ":")).encode()


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def unpack_meta(data: bytes, *, name: str) -> tuple[EpisodeHeader, Meta]:
    """Reads section META.

    Raises:
        EpisodeLogError: it is not the JSON object expected; the message names the field.
    """
    try:
        fields = json.loads(data.decode())
    except (ValueError, RecursionError) as error:
        raise EpisodeLogError(f"{name}: section META is not JSON ({error}); delete the file") from error
    if not isinstance(fields, dict):
        raise EpisodeLogError(f"{name}: section META must be a JSON object, got {type(fields).__name__}")
    reader = _FieldReader(fields, name)
    try:
        header = EpisodeHeader(
            run_name=reader.text("run_name"),
            worker=reader.integer("worker"),
            emulator=reader.integer("emulator"),
            global_step=reader.integer("global_step"),
            episode=reader.integer("episode"),
            segment=reader.integer("segment"),
            weights_version=reader.integer("weights_version"),
            epsilon=None if fields.get("epsilon") is None else reader.number("epsilon"),
            seeds=reader.integers("seeds"),
            config_sha256=reader.text("config_sha256"),
            cartridge_sha1=reader.text("cartridge_sha1"),
            cartridge_title=reader.text("cartridge_title"),
            pyboy_version=reader.text("pyboy_version"),
            state_version=reader.integer("state_version"),
            start_state_sha256=reader.text("start_state_sha256"),
            actions=reader.texts("actions"),
            frames_per_action=reader.integer("frames_per_action"),
            hold_frames=reader.integer("hold_frames"),
            wait_while_busy=reader.flag("wait_while_busy"),
            max_wait_frames=reader.integer("max_wait_frames"),
            reward_terms=reader.texts("reward_terms"),
            ram_hash_every_steps=reader.integer("ram_hash_every_steps"),
            start_unix_seconds=reader.number("start_unix_seconds"),
        )
    except EpisodeLogError as error:
        prefix = "" if str(error).startswith(f"{name}: ") else f"{name}: section META: "
        raise EpisodeLogError(f"{prefix}{error}") from error
    steps = reader.integer("steps")
    if not 0 <= steps <= MAX_STEPS:
        raise EpisodeLogError(f"{name}: section META: steps must be between 0 and {MAX_STEPS}, got {steps}")
    outcome = reader.text("outcome")
    if outcome not in list(Outcome):
        raise EpisodeLogError(
            f"{name}: section META: outcome must be one of {', '.join(Outcome)}, got {outcome!r}; update pokered_rl"
        )
    meta = Meta(steps, Outcome(outcome), reader.milestones("milestones"), reader.number("end_unix_seconds"))
    return header, meta


class _FieldReader:
    """Typed access to a JSON object, with errors that name file and field."""

    def __init__(self, fields: dict[str, Any], name: str) -> None:
        self._fields = fields
        self._name = name

    def _error(self, key: str, expected: str) -> EpisodeLogError:
        found = repr(self._fields[key])[:60] if key in self._fields else "nothing"
        return EpisodeLogError(f"{self._name}: section META: {key} must be {expected}, got {found}")

    def integer(self, key: str) -> int:
        value = self._fields.get(key)
        if not isinstance(value, int) or isinstance(value, bool) or abs(value) >= 2**63:
            raise self._error(key, "a whole number")
        return value

    def number(self, key: str) -> float:
        value = self._fields.get(key)
        if not isinstance(value, int | float) or isinstance(value, bool) or abs(value) > 1e300:
            raise self._error(key, "a finite number")
        return float(value)

    def text(self, key: str) -> str:
        value = self._fields.get(key)
        if not isinstance(value, str):
            raise self._error(key, "a text")
        return value

    def flag(self, key: str) -> bool:
        value = self._fields.get(key)
        if not isinstance(value, bool):
            raise self._error(key, "true or false")
        return value

    def texts(self, key: str) -> tuple[str, ...]:
        value = self._fields.get(key)
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise self._error(key, "a list of texts")
        return tuple(value)

    def integers(self, key: str) -> dict[str, int]:
        value = self._fields.get(key)
        if not isinstance(value, dict) or not all(
            isinstance(v, int) and not isinstance(v, bool) for v in value.values()
        ):
            raise self._error(key, "an object of whole numbers")
        return value

    def milestones(self, key: str) -> tuple[Milestone, ...]:
        value = self._fields.get(key)
        wrong = self._error(key, "a list of [step, name]")
        if not isinstance(value, list):
            raise wrong
        for item in value:
            if not (isinstance(item, list) and len(item) == 2 and type(item[0]) is int and isinstance(item[1], str)):
                raise wrong
        return tuple(Milestone(step, name) for step, name in value)
