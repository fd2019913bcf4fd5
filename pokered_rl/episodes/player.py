"""Replay a logged episode and verify that the replay is the recorded episode.

The replay needs neither the environment nor its rules: the log has the button and the number of frames of every step.
After every step that has a RAM hash in the log, the emulator's RAM is compared with it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from tensordict import TensorDict

from pokered_rl.emulator import PYBOY_VERSION, ActionSet, Cartridge, Emulator, SaveState, ScreenSize
from pokered_rl.emulator.pool import WAIT_CHUNK_FRAMES
from pokered_rl.episodes.folder import load_start_state
from pokered_rl.episodes.header import Outcome
from pokered_rl.episodes.log import EpisodeLog, chain_start, chain_step
from pokered_rl.errors import CartridgeError, ConfigError, EpisodeLogError, SaveStateError
from pokered_rl.game import FULL_LAYOUT, RamLayout
from pokered_rl.game.screens import BusyRule

__all__ = [
    "Divergence",
    "EpisodePlayer",
    "ReplayDivergedError",
    "ReplayFrame",
    "cartridge_for",
    "trajectory",
    "verify",
]

_PLACE = RamLayout.of("wCurMap", "wYCoord", "wXCoord")


@dataclass(frozen=True, kw_only=True)
class Divergence:
    """Where a replay and the recorded episode differ."""

    #: Steps played when the hashes were found to differ.
    step: int
    #: The last step with equal hashes, if any; the difference arose after it.
    last_equal_step: int | None
    #: Map of the player in the replay.
    map_id: int
    #: Name of the map.
    map_name: str
    #: Position of the player in the replay, in map steps.
    x: int
    #: Position of the player in the replay, in map steps.
    y: int
    #: Hash in the log.
    expected: str
    #: Hash of the replay.
    found: str
    #: Likely cause.
    reason: str


class ReplayDivergedError(EpisodeLogError):
    """The replay of a log is not the recorded episode; ``divergence`` says where."""

    def __init__(self, message: str, divergence: Divergence) -> None:
        super().__init__(message)
        self.divergence = divergence


class ReplayFrame(NamedTuple):
    """One picture of an episode."""

    #: Emulator frames played since the start state; 0 is the start state itself.
    frame: int
    #: The current agent step, from 0.
    step: int
    #: uint8 [144, 40] (full) or [72, 20] (half), packed 2-bit shades as in ``Emulator.pixels``.
    pixels: npt.NDArray[np.uint8]


def cartridge_for(log: EpisodeLog, rom: str | os.PathLike[str] | None = None) -> Cartridge:
    """Return the cartridge on which a log was played.

    Args:
        log: The log.
        rom: Path of the ROM; by default the bundled cartridge and the one that ``Cartridge.find`` finds are tried.

    Raises:
        EpisodeLogError: None of them was played.
        CartridgeError: ``rom`` cannot be read.
    """
    return cartridge_with(log.header.cartridge_sha1, log.header.cartridge_title, name=log.name, rom=rom)


def cartridge_with(sha1: str, title: str, *, name: str, rom: str | os.PathLike[str] | None = None) -> Cartridge:
    """Return the cartridge with this SHA-1.

    Args:
        sha1: SHA-1 (hex) of the ROM.
        title: Its title, for the message.
        name: Name of the file that was played on it, for the message.
        rom: Path of the ROM; by default the bundled cartridge and the one that ``Cartridge.find`` finds are tried.

    Raises:
        EpisodeLogError: None of them has it.
        CartridgeError: ``rom`` cannot be read.
    """
    if rom is not None:
        candidates: list[Callable[[], Cartridge]] = [lambda: Cartridge.find(rom, allow_unknown=True)]
    else:
        candidates = [Cartridge.bundled, lambda: Cartridge.find(allow_unknown=True)]
    seen = []
    for find in candidates:
        try:
            cartridge = find()
        except CartridgeError:
            if rom is not None:
                raise
            continue
        if cartridge.sha1 == sha1:
            return cartridge
        seen.append(f"{cartridge.path} is {cartridge.title} (SHA-1 {cartridge.sha1})")
    raise EpisodeLogError(
        f"{name}: played on {title} (SHA-1 {sha1}); "
        f"{'; '.join(dict.fromkeys(seen)) or 'no ROM found'}. Name the ROM that was played (--rom)"
    )


class EpisodePlayer:
    """Replay one log, step by step or picture by picture, and check every RAM hash.

    Args:
        log: The episode.
        cartridge: The cartridge it was played on; found by :func:`cartridge_for` by default.
        start_state: The start state; found by :func:`load_start_state` by default.
        screen: Size of the pictures.
        verify: False leaves the hashes and the chain unchecked.
        check_waits: Also compare the waiting frames with those that the game asks for.
        on_sound: Called with the samples of every frame, see :class:`~pokered_rl.emulator.Emulator`. The episode was
            recorded without sound emulation; the hashes show whether the game depends on it.

    Raises:
        EpisodeLogError: The start state or the cartridge is missing, or is not the recorded one.

    Example:
        >>> with EpisodePlayer(log) as player:  # doctest: +SKIP
        ...     for frame in player.frames(every=2):
        ...         show(frame.pixels)
        ...     print(player.hashes_checked, "hashes equal")
    """

    def __init__(
        self,
        log: EpisodeLog,
        *,
        cartridge: Cartridge | None = None,
        start_state: SaveState | None = None,
        screen: ScreenSize = "full",
        verify: bool = True,
        check_waits: bool = False,
        on_sound: Callable[[npt.NDArray[np.int8]], None] | None = None,
    ) -> None:
        self.log = log
        self._state = start_state if start_state is not None else load_start_state(log)
        cartridge = cartridge if cartridge is not None else cartridge_for(log)
        if cartridge.sha1 != log.header.cartridge_sha1:
            raise EpisodeLogError(
                f"{log.name}: played on {log.header.cartridge_title} (SHA-1 {log.header.cartridge_sha1}), not on "
                f"{cartridge.path}, which is {cartridge.title} (SHA-1 {cartridge.sha1}); name the ROM that was played"
            )
        if self._state.sha256 != log.header.start_state_sha256:
            raise EpisodeLogError(
                f"{log.name}: begins in the start state {log.header.start_state_sha256}, got {self._state.sha256}"
            )
        try:
            self._buttons = ActionSet(log.header.actions).button_indices
        except ConfigError as error:
            raise EpisodeLogError(f"{log.name}: its action set is unknown: {error}; update pokered_rl") from error
        self._verify = verify
        self._is_busy = BusyRule(stack_words=cartridge.profile.stack_words) if check_waits else None
        self._chain_layout = log.header.chain_layout
        self._chain = log.chain if verify and self._chain_layout.size else None
        self._step_frames = log.step_frames
        self._with_sound = on_sound is not None
        self.emulator = Emulator(cartridge, screen=screen, on_sound=on_sound)
        try:
            self.rewind()
        except BaseException:
            self.emulator.close()
            raise

    def rewind(self) -> None:
        """Return to the start state.

        Raises:
            EpisodeLogError: The installed PyBoy cannot load it.
            ReplayDivergedError: Its RAM is not the one with which the log begins.
        """
        try:
            self.emulator.load_state(self._state)
        except SaveStateError as error:
            raise EpisodeLogError(
                f"{self.log.name}: its start state does not load: {error} Recorded with PyBoy "
                f"{self.log.header.pyboy_version}, installed is {PYBOY_VERSION}"
            ) from error
        self.step = 0  # steps played
        self.frame = 0  # frames played
        self.hashes_checked = 0
        self._last_equal_step: int | None = None
        self._check()
        if self._chain is not None:
            self._chain_value = chain_start(self.log.header, self.log.ram_hashes.get(0, ""))
            if self._chain_value != self._chain[0]:
                raise EpisodeLogError(
                    f"{self.log.name}: its header, or the RAM hash of its start, is not the one with which it was "
                    "recorded: the chain begins with another value; copy the log again from where it was written"
                )

    def play_step(self, *, render: bool = False) -> None:
        """Play one agent step; with ``render``, draw its last frame for ``emulator.pixels()``.

        Raises:
            ReplayDivergedError: The RAM after it is not the recorded one.
        """
        for _ in self._play_step(every=0, render=render):
            pass

    def play_to(self, step: int) -> None:
        """Play until ``step`` steps have been played; only the last frame is rendered."""
        while self.step < step:
            self.play_step(render=self.step == step - 1)

    def frames(self, *, every: int = 1, first_step: int = 0, last_step: int | None = None) -> Iterator[ReplayFrame]:
        """Play from the start state and yield every ``every``-th picture.

        The n-th picture shows the screen after n times ``every`` frames, the first one the start state (or the state in
        which ``first_step`` begins): F frames give ceil(F / every) pictures. After the last picture the replay
        continues, without pictures, to the next RAM hash, so that everything shown has been checked.

        Args:
            every: Distance of the pictures in emulator frames.
            first_step: First agent step shown.
            last_step: Agent step before which to stop; the end of the episode by default.

        Raises:
            ReplayDivergedError: The replay is not the recorded episode.
        """
        if every < 1:
            raise ConfigError(f"every must be >= 1, got {every}")
        last_step = self.log.steps if last_step is None else min(last_step, self.log.steps)
        self.rewind()
        self.play_to(first_step)
        origin = self.frame
        end = origin + int(self._step_frames[first_step:last_step].sum())
        if origin < end:
            yield ReplayFrame(origin, self.step, self.emulator.pixels())
        while self.step < last_step:
            for frame in self._play_step(every=every, origin=origin):
                if frame.frame < end:
                    yield frame
        while self._chain is None and self.step not in self.log.ram_hashes:
            self.play_step()

    @property
    def place(self) -> tuple[int, int, int]:
        """Map id, column and row of the player in map steps."""
        map_id, y, x = self.emulator.ram(_PLACE).tolist()
        return map_id, x, y

    def _play_step(self, *, every: int, origin: int = 0, render: bool = False) -> Iterator[ReplayFrame]:
        """Play one step; with ``every``, yield the pictures that are due after its first frame."""
        if self.step >= self.log.steps:
            raise IndexError(f"the episode has {self.log.steps} steps")
        begin = self.frame
        end = begin + int(self._step_frames[self.step])
        button = self._buttons[self.log.actions[self.step]]
        stops = {end}
        if button >= 0:
            release = begin + self.log.header.hold_frames
            stops.add(release)
            self.emulator.press(button)
        wait_looks = self._wait_looks(end) if self._is_busy is not None else {}
        stops.update(wait_looks)
        if every:
            first_due = begin + every - (begin - origin) % every
            stops.update(range(first_due, end + 1, every))
        for stop in sorted(stops):
            due = every > 0 and (stop - origin) % every == 0
            self.emulator.tick(stop - self.frame, due or (render and stop == end))
            self.frame = stop
            if stop in wait_looks:
                self._check_wait(wait_looks[stop], end)
            if button >= 0 and stop == release:
                self.emulator.release(button)
            if due and stop < end:
                yield ReplayFrame(stop, self.step, self.emulator.pixels())
        self.step += 1
        self._check_chain()
        self._check()
        if every and (end - origin) % every == 0:
            yield ReplayFrame(end, self.step, self.emulator.pixels())

    def _wait_looks(self, end: int) -> dict[int, int]:
        """Return the frames at which the emulator pool decided whether to wait on: frame to frames waited so far."""
        waited = int(self.log.wait_frames[self.step])
        first = end - 1 - waited
        return {first + done: done for done in (*range(0, waited, WAIT_CHUNK_FRAMES), waited)}

    def _check_wait(self, waited: int, end: int) -> None:
        """Compare what the pool decided after ``waited`` frames with what the game asks for."""
        assert self._is_busy is not None
        limit = self.log.header.wait_limit
        goes_on = self.frame < end - 1
        if goes_on == (waited < limit and self._is_busy(self.emulator.memory)):
            return
        wanted = "ended" if goes_on else f"gone on, up to {limit} frames"
        raise EpisodeLogError(
            f"{self.log.name}: step {self.step} waited {int(self.log.wait_frames[self.step])} frames for the game; by "
            f"the rule the wait should have {wanted} after {waited}"
        )

    def _check_chain(self) -> None:
        if self._chain is None:
            return
        step = self.step - 1
        ram = self.emulator.ram(self._chain_layout)
        action, waited = int(self.log.actions[step]), int(self.log.wait_frames[step])
        self._chain_value = chain_step(self._chain_value, action, waited, ram)
        if self._chain_value != self._chain[self.step]:
            self._diverged(f"chain {self._chain[self.step]:08x}", f"chain {self._chain_value:08x}")
        self._last_equal_step = self.step
        if self.step == self.log.steps and self.log.chain_end(self._chain_value) != self._chain[-1]:
            raise EpisodeLogError(
                f"{self.log.name}: its rewards, milestones, RAM hashes or outcome are not those with which it was "
                "recorded: the chain ends with another value; copy the log again from where it was written"
            )

    def _check(self) -> None:
        expected = self.log.ram_hashes.get(self.step)
        if expected is None or not self._verify:
            return
        found = self.emulator.ram_hash()
        if found != expected:
            self._diverged(expected, found)
        self.hashes_checked += 1
        self._last_equal_step = self.step

    def _diverged(self, expected: str, found: str) -> None:
        map_id, x, y = self.place
        divergence = Divergence(
            step=self.step,
            last_equal_step=self._last_equal_step,
            map_id=map_id,
            map_name=self.emulator.cartridge.profile.maps.name(map_id),
            x=x,
            y=y,
            expected=expected,
            found=found,
            reason=self._likely_reason(),
        )
        since = (
            "from the start on"
            if divergence.last_equal_step is None
            else f"equal up to step {divergence.last_equal_step}"
        )
        raise ReplayDivergedError(
            f"{self.log.name}: the replay is not the recorded episode: at step {self.step} of {self.log.steps} (map "
            f"{divergence.map_name}, x {divergence.x}, y {divergence.y}) the RAM hash is {found[:16]}, expected "
            f"{expected[:16]} ({since}). Likely reason: {divergence.reason}",
            divergence,
        )

    def _likely_reason(self) -> str:
        header = self.log.header
        if header.pyboy_version != PYBOY_VERSION:
            return f"recorded with PyBoy {header.pyboy_version}, replayed with {PYBOY_VERSION}: install the former"
        if self.step == 0:
            return "the start state is not the one that was loaded when the episode was recorded"
        if self._with_sound:
            return (
                "the game depends on sound emulation, which was off when this was recorded: render without sound "
                "(leave --sound away)"
            )
        timing = f"{header.frames_per_action} frames an action, {header.hold_frames} of them held"
        if not self._last_equal_step:
            return f"the timing in the log ({timing}) or its waiting frames are not those that were played"
        return (
            f"an action or waiting frames between steps {self._last_equal_step} and {self.step} are not those that "
            f"were played; cartridge, PyBoy version and timing ({timing}) fit"
        )

    def close(self) -> None:
        """Stop the emulator."""
        self.emulator.close()

    def __enter__(self) -> EpisodePlayer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def verify(log: EpisodeLog, *, cartridge: Cartridge | None = None) -> int:
    """Replay a log without pictures and return how many RAM hashes were found equal, which is all of them.

    Raises:
        ReplayDivergedError: A hash differs.
        EpisodeLogError: The log cannot be played.
    """
    with EpisodePlayer(log, cartridge=cartridge, screen="half") as player:
        player.play_to(log.steps)
        return player.hashes_checked


def trajectory(
    log: EpisodeLog,
    *,
    cartridge: Cartridge | None = None,
    screen: ScreenSize = "half",
    ram_layout: RamLayout = FULL_LAYOUT,
) -> TensorDict:
    """Replay a log and return the data of the environment, for offline RL and behaviour cloning.

    Args:
        log: The episode.
        cartridge: The cartridge it was played on; found by default.
        screen: Size of the pictures.
        ram_layout: Part of the RAM to read.

    Returns:
        TensorDict of batch size [T]. At the root and under ``"next"`` it has the keys of
        :class:`~pokered_rl.envs.PokemonRedEnv`: ``pixels`` uint8 [T, 72, 20], or [T, 144, 40] at full size, ``ram``
        uint8 [T, R], ``wait_frames`` int32 [T, 1], ``step_count`` int64 [T, 1], ``done``, ``terminated`` and
        ``truncated`` bool [T, 1]; besides ``action`` int64 [T], ``("next", "reward")`` float32 [T, 1] and
        ``("next", "reward_terms", name)`` float32 [T, 1]. A log that does not end by termination is truncated at its
        last step.

    Raises:
        EpisodeLogError: The log cannot be played, or its replay is not the recorded episode.
    """
    steps = log.steps
    with EpisodePlayer(log, cartridge=cartridge, screen=screen) as player:
        first = player.emulator.pixels()
        pixels = np.empty((steps + 1, *first.shape), np.uint8)
        ram = np.empty((steps + 1, ram_layout.size), np.uint8)
        pixels[0], ram[0] = first, player.emulator.ram(ram_layout)
        for step in range(1, steps + 1):
            player.play_step(render=True)
            pixels[step] = player.emulator.pixels()
            player.emulator.read_ram_into(ram_layout, ram[step])
    wait_frames = np.concatenate([[0], log.wait_frames]).astype(np.int32)[:, None]  # [T + 1, 1]
    observed = TensorDict(
        {
            "pixels": torch.from_numpy(pixels),
            "ram": torch.from_numpy(ram),
            "wait_frames": torch.from_numpy(wait_frames),
            "step_count": torch.arange(steps + 1)[:, None],
            "terminated": torch.zeros(steps + 1, 1, dtype=torch.bool),
            "truncated": torch.zeros(steps + 1, 1, dtype=torch.bool),
        },
        batch_size=[steps + 1],
    )
    observed["terminated"][-1] = log.outcome is Outcome.TERMINATED
    observed["truncated"][-1] = log.outcome is not Outcome.TERMINATED
    observed["done"] = observed["terminated"] | observed["truncated"]
    result, following = observed[:-1].clone(), observed[1:].clone()
    result["action"] = torch.from_numpy(log.actions.astype(np.int64))
    following["reward"] = torch.from_numpy(log.rewards.copy())[:, None]
    for column, name in enumerate(log.header.reward_terms):
        following["reward_terms", name] = torch.from_numpy(log.term_rewards[:, column].copy())[:, None]
    result["next"] = following
    return result
