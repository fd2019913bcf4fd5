"""`ArchiveStates`: fill an archive with the states that the emulators reach."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from pokered_rl.envs.curriculum import ArchiveStarts, Level, StateArchive, cell_key, level_of
from pokered_rl.envs.memory import EmulatorMemory
from pokered_rl.envs.pokemon_red import PokemonRedEnv
from pokered_rl.envs.ram_frame import PROGRESS_LABELS, GameProgress, RamFrame, any_of
from pokered_rl.envs.transforms.base import RamTransform
from pokered_rl.errors import ConfigError
from pokered_rl.game import CartridgeProfile

__all__ = ["ArchiveStates"]

_EVENT_BYTES = 320
#: Events that are not required tell levels apart only while they are among the last of an episode: their sets would
#: grow without end.
_RECENT_EVENTS = 3
_TRAINER_BATTLE = 2
_NO_ENEMY = 0xFF
#: Captures that may be saved up for a rush of new cells, and borrowed for events and fights.
_MOST_CREDIT, _LEAST_CREDIT = 64.0, -64.0
#: A state replaces one that took clearly more steps from power-on.
_SHORTER, _SHORTER_STEPS = 0.6, 32
#: While a battle lasts its episode goes on for this many steps at least, up to the second number in all.
_FIGHT_STEPS, _MAX_FIGHT_STEPS = 16, 900


class _Memory(EmulatorMemory):
    """Where each emulator is in its episode."""

    def __init__(self, num_emulators: int) -> None:
        #: Cell that the episode began in; 0 for power-on.
        self.origin = np.zeros(num_emulators, np.uint64)
        #: Flags of the named events of the step before.
        self.events = np.zeros((num_emulators, _EVENT_BYTES), np.uint8)
        #: Bits of the last events that are not required, the newest first, -1 for none.
        self.recent = np.full((num_emulators, _RECENT_EVENTS), -1, np.int64)
        #: Hash of the level now.
        self.level = np.zeros(num_emulators, np.uint64)
        #: Named events and badges at its start, the most so far, and whether its outcome is still open.
        self.first_story = np.zeros(num_emulators, np.int64)
        self.story = np.zeros(num_emulators, np.int64)
        self.open = np.zeros(num_emulators, bool)
        #: Steps after its last news until it is truncated (0: never), and how long its present battle has lasted.
        self.patience = np.zeros(num_emulators, np.int64)
        self.fight_steps = np.zeros(num_emulators, np.int64)
        #: Agent steps from power-on.
        self.depth = np.zeros(num_emulators, np.int64)
        #: Last square of tiles that was looked at (-1 to look again), last cell, and last one with a state.
        self.square = np.full(num_emulators, -1, np.int64)
        self.cell = np.zeros(num_emulators, np.uint64)
        self.parent = np.zeros(num_emulators, np.uint64)
        #: Captures that are allowed now (one number, in an array so that it is saved).
        self.credit = np.full(num_emulators, _MOST_CREDIT / num_emulators)


class ArchiveStates(RamTransform):
    """Capture a save state in each new cell, and end archived episodes some time after their last news.

    A cell is: its level (the badges and required events
    (:attr:`~pokered_rl.game.CartridgeProfile.required_events`) that hold, and the last three other events of the
    profile), the sum of the party's levels in twos, the map and a square of ``tile_size`` tiles; inside a trainer
    battle, instead of the square, the trainer's class, the enemy's species, and the enemy's and the party's HP in
    quarters. A state carries what the other transforms remember of its emulator, so that nothing is paid twice.
    An episode that began in the archive is truncated ``patience_steps`` after its last new cell or event, one from
    power-on after ``power_on_patience_steps``; a battle that is going on then is played to its end.

    Reads:
        ``ram`` uint8 [*, R]; the :class:`~pokered_rl.envs.PokemonRedEnv` it stands on, whose ``start_states`` it
        replaces by :class:`~pokered_rl.envs.curriculum.ArchiveStarts`.

    Writes:
        Nothing into the tensordict; cells and states into the archive.

    Resets:
        The emulators in ``_reset``; the outcome of an archived episode is noted.

    Args:
        archive: The archive that is filled.
        power_on_share: Share of the emulators that always begin at power-on, 0 to 1.
        patience_steps: Agent steps without news after which an archived episode is truncated.
        power_on_patience_steps: The same for the others; None plays them to the environment's limit.
        capture_every_steps: Agent steps, summed over the emulators, for each captured state on average; a capture
            costs as much as about 20 steps.
        tile_size: Width and height of a cell's square in tiles.
        profile: Whose events count; None takes the cartridge's.

    Raises:
        ConfigError: A number is out of range.

    Example:
        >>> from pokered_rl.envs import ArchiveStates, StateArchive, make_env
        >>> archive = StateArchive()
        >>> env = make_env(extra_transforms=[ArchiveStates(archive)], max_episode_steps=50, seed=0)
        >>> td = env.rollout(20)
        >>> len(archive) > 0
        True
        >>> env.close()
    """

    labels: ClassVar[tuple[str, ...]] = (
        *RamFrame.LABELS,
        *PROGRESS_LABELS,
        "wEnemyMonHP",
        "wEnemyMonMaxHP",
        "wEnemyMonPartyPos",
        "wEnemyMonSpecies",
        "wTrainerClass",
    )
    memory: _Memory

    def __init__(
        self,
        archive: StateArchive,
        *,
        power_on_share: float = 0.25,
        patience_steps: int = 160,
        power_on_patience_steps: int | None = None,
        capture_every_steps: int = 2000,
        tile_size: int = 3,
        profile: CartridgeProfile | None = None,
        **keys: Any,
    ) -> None:
        super().__init__(**keys)
        for name, value in (
            ("patience_steps", patience_steps),
            ("power_on_patience_steps", power_on_patience_steps),
            ("capture_every_steps", capture_every_steps),
        ):
            if value is not None and value < 1:
                raise ConfigError(f"{name} must be >= 1, got {value}")
        if tile_size < 1:
            raise ConfigError(f"tile_size must be >= 1, got {tile_size}")
        self.archive = archive
        self.power_on_share = power_on_share
        self.patience_steps = patience_steps
        self.power_on_patience_steps = power_on_patience_steps
        self.capture_every_steps = capture_every_steps
        self.tile_size = tile_size
        self.profile = profile
        self._progress: GameProgress | None = None
        #: Badges and half the party's levels of the step before.
        self._known: tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]] | None = None
        self._levels: list[Level] = []

    @property
    def env(self) -> PokemonRedEnv:
        """The environment whose emulators are captured."""
        base = self._base_env()
        if not isinstance(base, PokemonRedEnv):
            raise ConfigError(f"ArchiveStates must stand on a PokemonRedEnv, got {type(base).__name__}")
        return base

    def _reset_env_preprocess(self, tensordict: Any) -> Any:
        env = self.env  # before its start states are drawn
        if not isinstance(env.start_states, ArchiveStarts):
            self.archive.load()
            env.start_states = ArchiveStarts(
                self.archive,
                env.start_states,
                power_on_share=self.power_on_share,
                max_steps=self.patience_steps,
                power_on_max_steps=self.power_on_patience_steps,
            )
        return super()._reset_env_preprocess(tensordict)

    def _allocate(self, num_emulators: int) -> _Memory:
        profile = self.profile or self.env.cartridge.profile
        self._named, self._required = _flags(profile.events), _flags(profile.required_events)
        self._side_events = frozenset(profile.events).difference(profile.required_events)
        self._levels = [level_of(b"", 0)] * num_emulators
        self._stories = np.zeros(num_emulators, np.int64)
        self._progress = self._known = None
        return _Memory(num_emulators)

    def _start(self, frame: RamFrame, emulators: npt.NDArray[np.bool_]) -> None:
        memory, env = self.memory, self.env
        for e in np.flatnonzero(emulators & (memory.origin == 0) & (memory.depth > 0)).tolist():
            self.archive.add_stop(f"{int(memory.level[e]):016x}")
        for e in np.flatnonzero(emulators).tolist():
            self._close(e, success=False)
            memory.recent[e] = self._recent_before(env.start(e).cell)
        self._look_at_progress(frame, started=emulators)
        for e in np.flatnonzero(emulators).tolist():
            start = env.start(e)
            memory.origin[e] = int(start.cell or "0", 16)
            memory.parent[e] = memory.origin[e]
            memory.cell[e] = 0
            memory.square[e] = -1
            memory.depth[e] = start.depth_steps
            memory.first_story[e] = memory.story[e] = self._stories[e]
            memory.open[e] = bool(start.cell)
            memory.patience[e] = start.max_steps or 0
            memory.fight_steps[e] = 0

    def _advance(self, frame: RamFrame, action: npt.NDArray[np.int64] | None) -> None:
        memory = self.memory
        memory.depth += 1
        memory.credit = np.minimum(memory.credit + 1 / self.capture_every_steps, _MOST_CREDIT / self.num_emulators)
        self._look_at_progress(frame)
        for e in np.flatnonzero(self._stories > memory.story).tolist():
            memory.story[e] = self._stories[e]
            self._extend(e)
            self._close(e, success=bool(memory.story[e] > memory.first_story[e]))
        self._play_fights_to_their_end(frame)
        for e, key, is_fight in self._cells(frame):
            self._arrive(frame, e, key, is_fight=is_fight)

    def _recent_before(self, cell: str) -> list[int]:
        """Return the last events on the way to a cell that are not required."""
        known = self.archive.cells.get(cell)
        events = self.archive.level_events.get(known.level, ()) if known is not None else ()
        recent = [bit for bit in events if bit in self._side_events]
        return (recent + [-1] * _RECENT_EVENTS)[:_RECENT_EVENTS]

    def _look_at_progress(self, frame: RamFrame, started: npt.NDArray[np.bool_] | None = None) -> None:
        progress = frame.progress
        if progress is self._progress and started is None:
            return
        self._progress = progress
        memory, events = self.memory, progress.event_bytes & self._named
        party = progress.party_level.sum(1) // 2
        fresh = events & ~memory.events
        if started is not None:
            fresh[started] = 0
        fresh &= ~self._required
        for e in np.flatnonzero(fresh.any(1)).tolist():
            bits = np.flatnonzero(np.unpackbits(fresh[e], bitorder="little"))[::-1].tolist()
            memory.recent[e] = [*bits, *(bit for bit in memory.recent[e] if bit not in bits)][:_RECENT_EVENTS]
        changed = np.ones(frame.num_emulators, bool)
        if self._known is not None:
            known_badges, known_party = self._known
            changed = (events != memory.events).any(1) | (progress.badge_bits != known_badges) | (party != known_party)
            if started is not None:
                changed |= started
        memory.events = events
        self._known = progress.badge_bits, party
        for e in np.flatnonzero(changed).tolist():
            badges = int(progress.badge_bits[e])
            of_level = events[e] & self._required | _flags(memory.recent[e][memory.recent[e] >= 0])
            self._levels[e] = level_of(of_level.tobytes(), badges)
            self._stories[e] = int(np.bitwise_count(events[e]).sum()) + badges.bit_count()
            memory.level[e] = int(self._levels[e].key, 16)
            memory.square[e] = -1

    def _cells(self, frame: RamFrame) -> Iterator[tuple[int, int, bool]]:
        """Yield emulator, key and kind of each cell that an emulator has just entered."""
        fight = frame.in_battle == _TRAINER_BATTLE
        if any_of(fight):
            fight &= frame.u8("wEnemyMonPartyPos") != _NO_ENEMY
        assert self._known is not None
        size, party = self.tile_size, self._known[1]
        walking = (frame.in_battle == 0) & ~frame.text_open
        square = (frame.map_id << 16) | (frame.x // size << 8) | (frame.y // size)
        walking &= square != self.memory.square
        self.memory.square = np.where(walking, square, self.memory.square)
        for e in np.flatnonzero(walking | fight).tolist():
            level = self._levels[e]
            if fight[e]:
                parts = (
                    int(frame.u8("wTrainerClass")[e]),
                    int(frame.u8("wEnemyMonSpecies")[e]),
                    _quarters(frame.u16("wEnemyMonHP")[e], frame.u16("wEnemyMonMaxHP")[e]),
                    _quarters(frame.progress.party_hp[e].sum(), frame.progress.party_max_hp[e].sum()),
                )
            else:
                parts = (-1, int(frame.x[e]) // size, int(frame.y[e]) // size, 0)
            key = cell_key(level, int(party[e]), int(frame.map_id[e]), *parts)
            if key != self.memory.cell[e]:
                yield e, key, bool(fight[e])

    def _arrive(self, frame: RamFrame, e: int, key: int, *, is_fight: bool) -> None:
        memory, archive, level = self.memory, self.archive, self._levels[e]
        name, depth = f"{key:016x}", int(memory.depth[e])
        known = archive.cells.get(name)
        first_of_level = known is None and not archive.knows_level(level.key)
        if known is None:
            if first_of_level:
                archive.add_level(level)
            parent = f"{int(memory.parent[e]):016x}" if memory.parent[e] else ""
            archive.add_cell(
                name,
                level=level.key,
                story=int(self._stories[e]),
                map_id=int(frame.map_id[e]),
                x=int(frame.x[e]),
                y=int(frame.y[e]),
                depth_steps=depth,
                parent=parent,
            )
            self._extend(e)
        credit = memory.credit.sum()
        if known is None or not known.states:
            wanted = credit >= 1 or ((first_of_level or is_fight) and credit > _LEAST_CREDIT)
        elif depth < _SHORTER * known.depth_steps - _SHORTER_STEPS:
            wanted = credit >= 1
        else:
            wanted = len(known.states) < archive.states_per_cell and credit >= _MOST_CREDIT / 2
        if wanted:
            if not frame.usable_buttons[e].any():
                memory.square[e] = -1
                return  # not a moment to begin an episode in: look again at the next step
            state = self.env.capture(e)
            archive.add_state(name, state, self._remembered(e), depth_steps=depth)
            memory.credit -= 1 / self.num_emulators
            memory.parent[e] = key
        elif known is not None and known.states:
            memory.parent[e] = key
        memory.cell[e] = key

    def _remembered(self, e: int) -> dict[str, Any]:
        """Return what the transforms that carry their memory remember of an emulator."""
        siblings = getattr(self.container, "transform", ())
        return {
            type(each).__name__: each.emulator_state(e)
            for each in siblings
            if isinstance(each, RamTransform) and each.carries_memory and each.memory is not None
        }

    def _extend(self, e: int) -> None:
        if self.memory.patience[e]:
            self.env.extend_episodes([e], int(self.memory.patience[e]))

    def _play_fights_to_their_end(self, frame: RamFrame) -> None:
        if frame.any_battle:
            memory = self.memory
            fighting = (frame.in_battle != 0) & (memory.patience > 0) & (memory.fight_steps < _MAX_FIGHT_STEPS)
            memory.fight_steps = np.where(frame.in_battle != 0, memory.fight_steps + 1, 0)
            self.env.extend_episodes(np.flatnonzero(fighting), _FIGHT_STEPS)

    def _close(self, e: int, *, success: bool) -> None:
        """Note the outcome of an archived episode, once."""
        memory = self.memory
        if memory.open[e]:
            memory.open[e] = False
            self.archive.add_outcome(f"{int(memory.origin[e]):016x}", success=success)

    def get_extra_state(self) -> dict[str, Any]:
        """Return the memory and how far the archive's journals have been read."""
        return {**super().get_extra_state(), "archive": self.archive.state_dict()}

    def set_extra_state(self, state: Mapping[str, Any]) -> None:
        """Restore :meth:`get_extra_state`."""
        super().set_extra_state(state)
        self._progress = self._known = None
        self.archive.load_state_dict(state["archive"])


def _flags(bits: Iterable[int]) -> npt.NDArray[np.uint8]:
    """Return the bytes of event flags in which ``bits`` are set, uint8 [320]."""
    flags = np.zeros(_EVENT_BYTES, np.uint8)
    for bit in bits:
        flags[bit // 8] |= 1 << (bit % 8)
    return flags


def _quarters(hp: Any, most: Any) -> int:
    return min(int(hp) * 4 // max(int(most), 1), 4)
