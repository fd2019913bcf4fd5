"""The facts about an episode in its log, and their JSON form (section META of the file).

They are JSON so that other programs can read them. Everything read back is checked for type and range; unknown fields
are ignored, so that a later writer may add some.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple, get_type_hints

from pokered_rl.errors import ConfigError, EpisodeLogError
from pokered_rl.game import RamLayout

__all__ = ["Acted", "Captured", "EpisodeHeader", "Outcome", "ReachedMilestone"]

#: Limit of the steps of an episode; a damaged count must not allocate memory.
MAX_STEPS = 10_000_000
#: Latest wall clock, in the year 5138: a calendar cannot show every number.
LAST_UNIX_SECOND = 10**11
#: Limit of the waiting frames of a step, which are stored in 16 bits.
MAX_WAIT_FRAMES = 2**16 - 1


class Outcome(StrEnum):
    """Why a log ends."""

    #: The episode terminated.
    TERMINATED = "terminated"
    #: The step limit was reached.
    TRUNCATED = "truncated"
    #: In continuous mode, the next segment begins in the state in which this one ends.
    CONTINUED = "continued"
    #: The job ended before the episode.
    SHUTDOWN = "shutdown"


class Acted(NamedTuple):
    """Who takes the buttons from a step on."""

    #: Steps played before.
    step: int
    #: ``policy``, ``person``, ``script`` or ``random``.
    who: str


class Captured(NamedTuple):
    """A state that was captured, from which other episodes may begin."""

    #: Steps played when it was captured.
    step: int
    #: `SaveState.sha256` of the state.
    sha256: str


class ReachedMilestone(NamedTuple):
    """A milestone that was reached for the first time in an episode."""

    #: Steps played when it was reached.
    step: int
    #: Name of the milestone.
    name: str


@dataclass(frozen=True, kw_only=True)
class EpisodeHeader:
    """Everything about an episode that is known when it begins."""

    #: Name of the run.
    run_name: str
    #: Number of the collector worker.
    worker: int
    #: Number of the emulator within the worker.
    emulator: int
    #: Agent steps of the whole run when the episode began.
    global_step: int
    #: SHA-1 (hex) of the ROM file.
    cartridge_sha1: str
    #: Title in the cartridge's header.
    cartridge_title: str
    #: Version of PyBoy that played.
    pyboy_version: str
    #: First byte of PyBoy's state format.
    state_version: int
    #: `SaveState.sha256` of the start state.
    start_state_sha256: str
    #: Names of the action set, in the order of the action numbers.
    actions: tuple[str, ...]
    #: Emulator frames of one action, waiting not counted.
    frames_per_action: int
    #: Frames that the button is held.
    hold_frames: int
    #: Number of the episode on this emulator; it counts on in later jobs that take the emulator up again.
    episode: int = 0
    #: Number of the segment, from 0, within an episode of several logs (an endless one, or one that a later job
    #: continued).
    segment: int = 0
    #: The learner's number of the weights that took the first step (a training run counts its updates); -1 when no
    #: network acted or the number is unknown.
    weights_version: int = -1
    #: Exploration rate of the emulator, None when unknown.
    epsilon: float | None = None
    #: Named seeds, ``run`` and ``worker``; from the latter this worker's emulators and exploration draw.
    seeds: Mapping[str, int] = field(default_factory=dict)
    #: SHA-256 of the run's ``config.yaml`` as that job wrote it, empty when there is none.
    config_sha256: str = ""
    #: Whether the emulator was advanced further while the game ignored input.
    wait_while_busy: bool = True
    #: Most waiting frames of one step.
    max_wait_frames: int = 240
    #: Names of the columns of ``term_rewards``.
    reward_terms: tuple[str, ...] = ()
    #: Steps between two RAM hashes.
    ram_hash_every_steps: int = 100
    #: Wall clock when the episode began.
    start_unix_seconds: float = 0.0
    #: Identity of the run, empty when unknown.
    run_id: str = ""
    #: Number of the job within the run, from 1; 0 when unknown. And how often its worker had been replaced.
    job: int = 0
    attempt: int = 0
    #: Job and attempt in which the history of this emulator began: a checkpoint that is restored continues it.
    history: tuple[int, ...] = ()
    #: Agent steps of this emulator in its history when the log began; a checkpoint that is restored turns it back.
    history_steps: int = 0
    #: Agent steps of the whole run when the job began.
    job_global_step: int = 0
    #: Agent steps of the episode before this log.
    episode_steps: int = 0
    #: Name of the rule by which milestones were noted, empty when none was followed.
    milestone_rule: str = ""
    #: Step limit of the episode when it began, None without one.
    max_episode_steps: int | None = None
    #: Whether entering the hall of fame ends the episode.
    terminate_at_hall_of_fame: bool = False
    #: Helpers that were on: a step in which one pressed the button is noted in ``acted``.
    helpers: tuple[str, ...] = ()
    #: Whether what was remembered of earlier steps went on: rewards and milestones then depend on more than this log.
    carried_memory: bool = False
    #: SHA-256 of the file of weights that acted, empty when unknown.
    weights_sha256: str = ""
    #: Address ranges of the RAM that the chain covers, ``(start, stop)`` alternating; empty without a chain.
    chain_ranges: tuple[int, ...] = ()

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
            ("max_wait_frames", 0, MAX_WAIT_FRAMES),
            ("job", 0, 10**6),
            ("attempt", 0, 10**6),
            ("history_steps", 0, 10**12),
            ("job_global_step", 0, 10**12),
            ("episode_steps", 0, 10**12),
            ("start_unix_seconds", 0, LAST_UNIX_SECOND),
        ):
            _check_range(name, getattr(self, name), low, high)
        for name, digits in (("start_state_sha256", 64), ("cartridge_sha1", 40)):
            value = getattr(self, name)
            if len(value) != digits or not set(value) <= set("0123456789abcdef"):
                raise EpisodeLogError(f"{name} must be {digits} hexadecimal digits, got {value!r}")
        if not self.actions:
            raise EpisodeLogError("actions must name at least one action, got none")
        if len(self.history) not in (0, 2):
            raise EpisodeLogError(f"history must be [job, attempt] or empty, got {list(self.history)}")
        try:
            self.chain_layout  # noqa: B018 - checks the ranges
        except (ConfigError, ValueError) as error:
            raise EpisodeLogError(f"chain_ranges: {error}") from error

    @property
    def chain_layout(self) -> RamLayout:
        """Bytes of RAM that the chain covers."""
        pairs = zip(self.chain_ranges[::2], self.chain_ranges[1::2], strict=True)
        return RamLayout(tuple(pairs))

    @property
    def wait_limit(self) -> int:
        """Most waiting frames that a step can have."""
        return self.max_wait_frames if self.wait_while_busy else 0


@dataclass(frozen=True, kw_only=True)
class Meta:
    """The part of META that is known only when the episode ends."""

    #: Agent steps, T.
    steps: int
    #: Why the log ends.
    outcome: Outcome
    #: Milestones in the order in which they were reached.
    milestones: tuple[ReachedMilestone, ...]
    #: Wall clock when the episode ended.
    end_unix_seconds: float
    #: Who acted, from which step on; empty when unknown.
    acted: tuple[Acted, ...] = ()
    #: States that were captured on the way.
    captured: tuple[Captured, ...] = ()

    def __post_init__(self) -> None:
        _check_range("steps", self.steps, 0, MAX_STEPS)
        _check_range("end_unix_seconds", self.end_unix_seconds, 0, LAST_UNIX_SECOND)


#: Fields that a log of format version 1 does not have.
SINCE_VERSION_2 = frozenset(
    (
        *("run_id", "job", "attempt", "history", "history_steps", "job_global_step", "max_episode_steps"),
        *("episode_steps", "milestone_rule", "helpers"),
        *("terminate_at_hall_of_fame", "carried_memory", "weights_sha256", "chain_ranges", "acted", "captured"),
    )
)


def _check_range(name: str, value: float, low: int, high: int) -> None:
    if not low <= value <= high:
        raise EpisodeLogError(f"{name} must be between {low} and {high}, got {value}")


def pack_meta(
    header: EpisodeHeader, meta: Meta, *, frames: int, episode_return: float, term_returns: Mapping[str, float]
) -> bytes:
    """Return section META.

    Args:
        header: Facts known at the beginning of the episode.
        meta: Facts known at its end.
        frames: Emulator frames of the episode. This and the sums are for other programs: the library computes them.
        episode_return: Sum of the rewards.
        term_returns: Sum of the rewards of each term.
    """
    sums = {
        "frames": frames,
        "return": _finite(episode_return),
        "term_returns": {name: _finite(value) for name, value in term_returns.items()},
    }
    fields = asdict(header) | asdict(meta) | sums
    return json.dumps(fields, allow_nan=False, ensure_ascii=False, separators=(",", ":")).encode()


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def unpack_meta(data: bytes, *, name: str, version: int) -> tuple[EpisodeHeader, Meta]:
    """Read section META.

    Args:
        data: The section.
        name: Name of the file in error messages.
        version: Format of the file; version 1 lacks the fields that are in :data:`SINCE_VERSION_2`.

    Raises:
        EpisodeLogError: It is not the JSON object expected; the message names the field.
    """
    try:
        fields = json.loads(data.decode())
    except (ValueError, RecursionError) as error:
        raise EpisodeLogError(f"{name}: section META is not JSON ({error}); delete the file") from error
    if not isinstance(fields, dict):
        raise EpisodeLogError(f"{name}: section META must be a JSON object, got {type(fields).__name__}")
    try:
        if version == 1:
            fields = {key: value for key, value in fields.items() if key not in SINCE_VERSION_2}
        absent = SINCE_VERSION_2 if version == 1 else frozenset()
        return (
            EpisodeHeader(**_read_fields(fields, EpisodeHeader, absent)),
            Meta(**_read_fields(fields, Meta, absent)),
        )
    except EpisodeLogError as error:
        raise EpisodeLogError(f"{name}: section META: {error}") from error


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= 1e300


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_step_and_text(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and _is_integer(value[0]) and _is_text(value[1])


def _is_list(value: Any, is_item: Callable[[Any], bool]) -> bool:
    return isinstance(value, list) and all(map(is_item, value))


# Type of a field: what its JSON value must be, the test of that, and the conversion.
_KINDS: dict[Any, tuple[str, Callable[[Any], bool], Callable[[Any], Any]]] = {
    int: ("a whole number", _is_integer, int),
    float: ("a finite number", _is_number, float),
    float | None: (
        "a finite number or null",
        lambda value: value is None or _is_number(value),
        lambda value: None if value is None else float(value),
    ),
    str: ("a text", _is_text, str),
    bool: ("true or false", lambda value: isinstance(value, bool), bool),
    tuple[str, ...]: ("a list of texts", lambda value: _is_list(value, _is_text), tuple),
    Mapping[str, int]: (
        "an object of whole numbers",
        lambda value: isinstance(value, dict) and _is_list([*value.values()], _is_integer),
        dict,
    ),
    tuple[int, ...]: ("a list of whole numbers", lambda value: _is_list(value, _is_integer), tuple),
    int | None: (
        "a whole number or null",
        lambda value: value is None or _is_integer(value),
        lambda value: value,
    ),
    tuple[ReachedMilestone, ...]: (
        "a list of [step, name]",
        lambda value: _is_list(value, _is_step_and_text),
        lambda value: tuple(ReachedMilestone(*item) for item in value),
    ),
    tuple[Acted, ...]: (
        "a list of [step, who]",
        lambda value: _is_list(value, _is_step_and_text),
        lambda value: tuple(Acted(*item) for item in value),
    ),
    tuple[Captured, ...]: (
        "a list of [step, SHA-256]",
        lambda value: _is_list(value, _is_step_and_text),
        lambda value: tuple(Captured(*item) for item in value),
    ),
    Outcome: (
        f"one of {', '.join(Outcome)} (later versions may know more: update pokered_rl)",
        lambda value: value in list(Outcome),
        Outcome,
    ),
}


def _read_fields(fields: Mapping[str, Any], target: type, absent: frozenset[str]) -> dict[str, Any]:
    """Return the checked values of the fields of a dataclass, but for those that are absent."""
    values = {}
    for key, kind in get_type_hints(target).items():
        if key in absent:
            continue
        expected, is_valid, convert = _KINDS[kind]
        value = fields.get(key)
        if not is_valid(value):
            found = repr(value)[:60] if key in fields else "nothing"
            raise EpisodeLogError(f"{key} must be {expected}, got {found}")
        values[key] = convert(value)
    return values
