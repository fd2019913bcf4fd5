"""Proofs: everything that was pressed from power-on to a milestone, in one file that anybody can play again.

A proof is made of *legs*, one after the other in one console: the first begins at power-on, each further one where the
one before ended. No save state is part of it, so none can be forged. The format is described in
``docs/reference/proof_format.md``.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pokered_rl.atomic import write_atomically
from pokered_rl.emulator import ActionSet
from pokered_rl.episodes.columns import from_planes, to_planes
from pokered_rl.episodes.container import pack_container, unpack_container
from pokered_rl.episodes.header import MAX_STEPS, MAX_WAIT_FRAMES, Acted
from pokered_rl.episodes.log import chain_step
from pokered_rl.errors import ConfigError, EpisodeLogError
from pokered_rl.plain_files import read_plain_file

__all__ = ["PROOF_SUFFIX", "WAIT_RULES", "Leg", "Proof"]

#: File name extension of a proof.
PROOF_SUFFIX = ".proof"
#: How the waiting frames of a leg came about: ``busy`` while the game ignored input, ``none``, or ``free``.
WAIT_RULES = ("busy", "none", "free")
#: Limit of the emulator frames of a proof: 465 hours of play.
MAX_FRAMES = 10**8

_MAGIC = b"\x89PRF\r\n\x1a\n"
_VERSION = 1
_MAX_BYTES = 160 * 2**20
_MAX_LEGS = 10_000
_SECTIONS = ("META", "ACTN", "WAIT", "CHAI")
_REMEDY = "the file is damaged or forged"


@dataclass(frozen=True, kw_only=True)
class Leg:
    """A part of a proof that was played with the same settings."""

    #: Agent steps.
    steps: int
    #: Names of the action set.
    actions: tuple[str, ...]
    #: Emulator frames of a step, waiting not counted, and those of them that the button is held.
    frames_per_action: int
    hold_frames: int
    #: One of `WAIT_RULES`, and the most waiting frames of a step.
    wait_rule: str
    max_wait_frames: int
    #: Who acted, from which step of the leg on: ``policy``, ``person``, ``script`` or ``random``.
    acted: tuple[Acted, ...] = ()
    #: What the author says of the leg: run, weights, exploration rate, log, and the like.
    claims: Mapping[str, str | int | float | bool | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, low, high in (
            ("steps", 0, MAX_STEPS),
            ("frames_per_action", 1, 3600),
            ("hold_frames", 1, self.frames_per_action),
            ("max_wait_frames", 0, MAX_WAIT_FRAMES),
        ):
            value = getattr(self, name)
            if type(value) is not int or not low <= value <= high:
                raise EpisodeLogError(f"{name} must be a whole number between {low} and {high}, got {value!r}")
        if self.wait_rule not in WAIT_RULES:
            raise EpisodeLogError(f"wait_rule must be one of {', '.join(WAIT_RULES)}, got {self.wait_rule!r}")
        try:
            ActionSet(self.actions)
        except (ConfigError, TypeError) as error:
            raise EpisodeLogError(str(error)) from error
        if any(not 0 <= each.step < max(1, self.steps) for each in self.acted):
            raise EpisodeLogError(f"acted names a step outside of the leg's {self.steps}")


@dataclass(frozen=True, kw_only=True, eq=False)
class Proof:
    """Everything that was pressed from power-on to a milestone, T steps in all."""

    #: SHA-1 (hex) and title of the ROM.
    cartridge_sha1: str
    cartridge_title: str
    #: PyBoy that played.
    pyboy_version: str
    #: Milestone that is proved, the steps and emulator frames from power-on to it.
    milestone: str
    steps: int
    frames: int
    #: The parts, in order.
    legs: tuple[Leg, ...]
    #: uint8 [T], indices into the actions of the leg.
    actions: npt.NDArray[np.uint8]
    #: uint16 [T], frames that passed after the action's own.
    wait_frames: npt.NDArray[np.uint16]
    #: uint32 [T + 1]: a hash of everything above but actions and waiting frames, then one after each step.
    chain: npt.NDArray[np.uint32]
    #: The file it was read from.
    path: Path | None = None

    def __post_init__(self) -> None:
        where = self.name
        total = sum(leg.steps for leg in self.legs)
        for what, found, expected in (
            ("steps", self.steps, total),
            ("actions", self.actions.shape, (total,)),
            ("wait_frames", self.wait_frames.shape, (total,)),
            ("chain", self.chain.shape, (total + 1,)),
        ):
            if found != expected:
                raise EpisodeLogError(f"{where}: {what} is {found}, expected {expected} by its legs; {_REMEDY}")
        frames, begin = 0, 0
        for number, leg in enumerate(self.legs):
            actions, waits = self.actions[begin : begin + leg.steps], self.wait_frames[begin : begin + leg.steps]
            begin += leg.steps
            most = 0 if leg.wait_rule == "none" else leg.max_wait_frames
            if leg.steps and (int(actions.max()) >= len(leg.actions) or int(waits.max()) > most):
                raise EpisodeLogError(f"{where}: leg {number} has an action or a wait beyond its header; {_REMEDY}")
            frames += leg.steps * leg.frames_per_action + int(waits.sum(dtype=np.int64))
        if frames != self.frames or frames > MAX_FRAMES:
            raise EpisodeLogError(
                f"{where}: it says {self.frames} frames, its steps have {frames}, and at most {MAX_FRAMES} are played; "
                f"{_REMEDY}"
            )

    @property
    def name(self) -> str:
        """Name of the proof in messages."""
        return str(self.path) if self.path is not None else "proof"

    def meta(self) -> dict[str, Any]:
        """Return what section META holds."""
        names = ("cartridge_sha1", "cartridge_title", "pyboy_version", "milestone", "steps", "frames")
        return {name: getattr(self, name) for name in names} | {"legs": [asdict(leg) for leg in self.legs]}

    def chain_start(self) -> int:
        """Return what the chain must begin with."""
        text = json.dumps(self.meta(), sort_keys=True, separators=(",", ":")).encode()
        return int.from_bytes(blake2b(text, digest_size=4).digest(), "little")

    @staticmethod
    def chain_step(value: int, action: int, wait_frames: int, ram: npt.NDArray[np.uint8]) -> int:
        """Return the value after a step, given the full RAM image after it."""
        return chain_step(value, action, wait_frames, ram)

    def to_bytes(self) -> bytes:
        """Return the content of the file."""
        return pack_container(
            {
                "META": json.dumps(self.meta(), separators=(",", ":")).encode(),
                "ACTN": self.actions.tobytes(),
                "WAIT": to_planes(self.wait_frames, "<u2"),
                "CHAI": self.chain.astype("<u4").tobytes(),
            },
            version=_VERSION,
            magic=_MAGIC,
        )

    @classmethod
    def from_bytes(cls, data: bytes, *, name: str = "proof") -> Proof:
        """Read what :meth:`to_bytes` wrote.

        Raises:
            EpisodeLogError: The data is not an undamaged proof.
        """
        sections = unpack_container(data, name=name, known=_SECTIONS, magic=_MAGIC, versions=(_VERSION,))
        if set(sections) != set(_SECTIONS):
            raise EpisodeLogError(f"{name}: it must hold the sections {', '.join(_SECTIONS)}; {_REMEDY}")
        try:
            meta = json.loads(sections["META"].decode())
            legs = tuple(_leg(each) for each in _list(meta["legs"], _MAX_LEGS))
            fields: dict[str, Any] = {
                key: _text(meta[key]) for key in ("cartridge_sha1", "cartridge_title", "pyboy_version", "milestone")
            }
            fields |= {key: _integer(meta[key]) for key in ("steps", "frames")}
            steps = fields["steps"]
            if not 0 <= steps <= MAX_STEPS:
                raise ValueError(f"steps {steps}")
        except EpisodeLogError as error:
            raise EpisodeLogError(f"{name}: section META: {error}; {_REMEDY}") from error
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise EpisodeLogError(f"{name}: section META is not that of a proof ({error}); {_REMEDY}") from error
        return cls(
            **fields,
            legs=legs,
            actions=from_planes(sections["ACTN"], "u1", (steps,), f"{name}: section ACTN"),
            wait_frames=from_planes(sections["WAIT"], "<u2", (steps,), f"{name}: section WAIT"),
            chain=_chain(sections["CHAI"], steps, name),
            path=Path(name) if name != "proof" else None,
        )

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Proof:
        """Read a proof file.

        Raises:
            EpisodeLogError: The file cannot be read or is not an undamaged proof.
        """
        try:
            data = read_plain_file(path, max_bytes=_MAX_BYTES)
        except OSError as error:
            raise EpisodeLogError(f"{path}: cannot be read: {error.strerror or error}") from error
        return cls.from_bytes(data, name=str(path))

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the proof atomically and return the path."""
        return write_atomically(Path(path), self.to_bytes())


def _chain(data: bytes, steps: int, name: str) -> npt.NDArray[np.uint32]:
    if len(data) != 4 * (steps + 1):
        raise EpisodeLogError(f"{name}: section CHAI has {len(data)} bytes, expected {4 * (steps + 1)}; {_REMEDY}")
    return np.frombuffer(data, "<u4").astype(np.uint32)


def _leg(value: Any) -> Leg:
    claims = dict(value["claims"])
    if not all(isinstance(each, str | int | float | bool | None) for each in claims.values()) or len(claims) > 100:
        raise ValueError("claims must be texts, numbers, true, false or null")
    return Leg(
        steps=_integer(value["steps"]),
        actions=tuple(_text(each) for each in _list(value["actions"], 255)),
        frames_per_action=_integer(value["frames_per_action"]),
        hold_frames=_integer(value["hold_frames"]),
        wait_rule=_text(value["wait_rule"]),
        max_wait_frames=_integer(value["max_wait_frames"]),
        acted=tuple(Acted(_integer(step), _text(who)) for step, who in _list(value["acted"], MAX_STEPS)),
        claims={_text(key): each for key, each in claims.items()},
    )


def _list(value: Any, most: int) -> list[Any]:
    if not isinstance(value, list) or len(value) > most:
        raise TypeError(f"a list of at most {most} is needed, got {str(value)[:40]}")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"a text is needed, got {str(value)[:40]}")
    return value


def _integer(value: Any) -> int:
    if type(value) is not int or abs(value) >= 2**63:
        raise TypeError(f"a whole number is needed, got {str(value)[:40]}")
    return value
