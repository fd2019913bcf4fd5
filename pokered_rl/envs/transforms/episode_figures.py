"""`EpisodeMeter`: what happened in the game during each episode, in figures."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from tensordict import TensorDictBase

from pokered_rl.envs.memory import EmulatorMemory, StepMemory
from pokered_rl.envs.pokemon_red import PokemonRedEnv
from pokered_rl.envs.ram_frame import RamFrame, any_of
from pokered_rl.envs.rewards.battle import battle_results
from pokered_rl.envs.transforms.base import RamTransform
from pokered_rl.envs.transforms.episode_recorder import MilestoneTracker
from pokered_rl.envs.transforms.reward_terms import RewardTerms

__all__ = ["EpisodeFigures", "EpisodeMeter", "WatchedSteps"]

_MAP_PREFIX = "map:"
_SEEN_STEPS = 32
_PLACE_WEIGHTS = np.array([1 << 16, 1 << 8, 1], np.int64)


@dataclass(frozen=True)
class EpisodeFigures:
    """What happened in the game during one episode."""

    #: The emulator's number in its environment.
    emulator: int
    #: Cell of the archive that the episode began in; empty for one that began at power-on or in a given start state.
    cell: str = ""
    #: Unique (map, x, y) visited, and maps, the start included.
    tiles: int = 0
    maps: int = 0
    #: Milestones of the story that were reached in the episode, with its step, in the order in which they were.
    milestones: dict[str, int] = field(default_factory=dict)
    #: The one that is furthest in the story; empty for none.
    furthest: str = ""
    #: Badges, event flags set, and sum of the party's levels, at the end.
    badges: int = 0
    events: int = 0
    party_level: int = 0
    #: Sum of each reward term, weight included.
    terms: dict[str, float] = field(default_factory=dict)
    battles_won: int = 0
    battles_lost: int = 0
    #: Emulator frames that the game ignored the buttons and the environment waited.
    wait_frames: int = 0
    #: Mean share of the actions that were masked.
    masked_share: float = 0.0
    #: ``map_id << 16 | x << 8 | y`` of the tiles; empty unless the episode began outside of the archive.
    places: tuple[int, ...] = ()


class WatchedSteps(NamedTuple):
    """Where E emulators were after each of T steps, for a page that follows the run."""

    #: int32 [T, E], ``map_id << 16 | x << 8 | y``; where the player was last while no map is loaded.
    places: npt.NDArray[np.int32]
    #: uint8 [T, E]: bit 0 in a battle, 1 a text or menu is open, 2 a map is loaded.
    flags: npt.NDArray[np.uint8]
    #: uint16 [T, E], sum of the party's levels.
    levels: npt.NDArray[np.uint16]
    #: float32 [T, E, K], shares of the reward terms.
    terms: npt.NDArray[np.float32]
    #: (step, emulator, name) of each milestone of the story that was reached.
    milestones: list[tuple[int, int, str]]
    #: Cell of the archive that each emulator's episode began in, at the end; empty for other starts.
    cells: list[str]


class _Memory(StepMemory):
    """Counters of the running episodes, and the tiles that each has visited."""

    def __init__(self, tracker: MilestoneTracker, num_emulators: int, num_terms: int) -> None:
        self.tracker = tracker
        self.terms = np.zeros((num_emulators, num_terms))
        self.won = np.zeros(num_emulators, np.int64)
        self.lost = np.zeros(num_emulators, np.int64)
        self.wait_frames = np.zeros(num_emulators, np.int64)
        self.masked = np.zeros(num_emulators, np.int64)
        self.steps = np.zeros(num_emulators, np.int64)
        self.place = np.full(num_emulators, -1, np.int64)
        self.places: list[set[int]] = [set() for _ in range(num_emulators)]
        self.milestones: list[dict[str, int]] = [{} for _ in range(num_emulators)]

    def state_dict(self) -> dict[str, Any]:
        places = [torch.tensor(sorted(each), dtype=torch.int64) for each in self.places]
        return {**super().state_dict(), "places": places, "milestones": [dict(each) for each in self.milestones]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        super().load_state_dict(state)
        self.places = [set(each.tolist()) for each in state["places"]]
        self.milestones = [dict(each) for each in state["milestones"]]


class EpisodeMeter(RamTransform):
    """Measure each episode: tiles, maps, milestones, events, battles, reward by term, waiting, masked actions.

    Put it behind :class:`RewardTerms`, whose terms it sums.

    Reads:
        ``ram`` uint8 [*, R], ``action_mask`` bool [*, A] where there is one, ``wait_frames``, ``done``; the
        :class:`PokemonRedEnv` it stands on (on another environment it measures nothing).

    Writes:
        Nothing into the tensordict; :meth:`take` returns the figures of the episodes that have ended.

    Resets:
        The emulators in ``_reset``.

    Example:
        >>> from pokered_rl.envs import EpisodeMeter, make_env
        >>> env = make_env(extra_transforms=[EpisodeMeter()], max_episode_steps=20)
        >>> td = env.rollout(20)
        >>> [figures.maps for figures in env.transform[-1].take()]
        [1]
        >>> env.close()
    """

    IN_KEYS: ClassVar = ("ram", "action_mask", "wait_frames", "done")
    labels: ClassVar[tuple[str, ...]] = (*MilestoneTracker.LABELS, "wBattleResult", "wEnemyMonHP")
    memory: _Memory

    def __init__(self, **keys: Any) -> None:
        super().__init__(**keys)
        self._finished: list[EpisodeFigures] = []
        #: Whether each step is noted for :meth:`take_steps`.
        self.watching = False
        self._steps: list[tuple[npt.NDArray[Any], ...]] = []
        self._reached: list[tuple[int, int, str]] = []
        self._env: PokemonRedEnv | None = None
        self._rewards: RewardTerms | None = None
        self._looked = False
        #: Action masks and wait frames of the last steps.
        self._seen: list[tuple[torch.Tensor | None, torch.Tensor | None]] = []

    def take(self) -> list[EpisodeFigures]:
        """Return the figures of the episodes that have ended since the last call, in the order of their ends."""
        finished, self._finished = self._finished, []
        return finished

    @property
    def term_names(self) -> tuple[str, ...]:
        """Names of the reward terms that are summed."""
        return self._rewards.term_names if self._rewards is not None else ()

    def take_steps(self) -> WatchedSteps | None:
        """Return the steps since the last call; None where :attr:`watching` was off or nothing was measured."""
        steps, reached, self._steps, self._reached = self._steps, self._reached, [], []
        if not steps or self._env is None:
            return None
        cells = [self._env.start(index).cell for index in range(self.num_emulators)]
        places, flags, levels, terms = (np.stack(part) for part in zip(*steps, strict=True))
        return WatchedSteps(places, flags, levels, terms, reached, cells)

    def _note(self, frame: RamFrame) -> None:
        terms = self._rewards.last_values if self._rewards is not None else np.zeros((self.num_emulators, 0))
        flags = ((frame.in_battle != 0) | (frame.text_open << 1) | (frame.on_map << 2)).astype(np.uint8)
        levels = frame.progress.party_level.sum(1).astype(np.uint16)
        self._steps.append((self.memory.place.astype(np.int32), flags, levels, terms.astype(np.float32)))

    def _look(self) -> None:
        """Find the environment and the reward terms."""
        base = self._base_env()
        self._env = base if isinstance(base, PokemonRedEnv) else None
        container = getattr(self.container, "transform", ())
        siblings = list(container) if isinstance(container, Iterable) else []
        self._rewards = next((each for each in siblings if isinstance(each, RewardTerms)), None)
        self._looked = True

    def _allocate(self, num_emulators: int) -> EmulatorMemory:
        self._look()
        assert self._env is not None
        tracker = MilestoneTracker(num_emulators=num_emulators, profile=self._env.cartridge.profile)
        return _Memory(tracker, num_emulators, len(self._rewards.term_names) if self._rewards else 0)

    def _start(self, frame: RamFrame, emulators: npt.NDArray[np.bool_]) -> None:
        memory = self.memory
        self._count_seen()
        memory.tracker.start(frame, emulators)
        for counter in (memory.terms, memory.won, memory.lost, memory.wait_frames, memory.masked, memory.steps):
            counter[emulators] = 0
        for index in np.flatnonzero(emulators).tolist():
            memory.places[index], memory.milestones[index] = set(), {}
        memory.place[emulators] = -1
        self._visit(frame)
        memory.before = frame

    def _visit(self, frame: RamFrame) -> None:
        memory = self.memory
        place = _PLACE_WEIGHTS @ frame.gather(RamFrame.LABELS)[:3]  # map, x and y
        moved = (place != memory.place) & frame.on_map
        if any_of(moved):
            for index in np.flatnonzero(moved).tolist():
                memory.places[index].add(int(place[index]))
            memory.place = np.where(moved, place, memory.place)

    def _advance(self, frame: RamFrame, action: npt.NDArray[np.int64] | None) -> None:
        memory, before = self.memory, self.memory.before
        memory.steps += 1
        self._visit(frame)
        for index, name in memory.tracker.advance(frame):
            if not name.startswith(_MAP_PREFIX):
                memory.milestones[index][name] = int(memory.steps[index])
                if self.watching:
                    self._reached.append((len(self._steps), index, name))
        if before is not None and any_of(frame.in_battle != before.in_battle):
            won, lost = battle_results(frame, before)
            memory.won += won
            memory.lost += lost
        if self._rewards is not None:
            memory.terms += self._rewards.last_values
        memory.before = frame

    def _step(self, tensordict: TensorDictBase, next_tensordict: TensorDictBase) -> TensorDictBase:
        if not self._looked:
            self._look()
        if self._env is None:
            return next_tensordict
        self._advance(self._frame(next_tensordict), None)
        if self.watching:
            self._note(self._frame(next_tensordict))
        self._seen.append((tensordict.get(self.in_keys[1], None), next_tensordict.get(self.in_keys[2], None)))
        done = next_tensordict.get(self.in_keys[3]).numpy(force=True).reshape(self.num_emulators)
        some_ended = any_of(done)
        if some_ended or len(self._seen) == _SEEN_STEPS:
            self._count_seen()
        if some_ended:
            frame = self._frame(next_tensordict)
            self._finished += [self._figures(frame, index) for index in np.flatnonzero(done).tolist()]
        return next_tensordict

    def _count_seen(self) -> None:
        """Add the masks and waits of the steps that were only kept so far: many at once cost little more than one."""
        seen, self._seen = self._seen, []
        memory, count = self.memory, self.num_emulators
        masks = [mask.reshape(count, -1) for mask, _ in seen if mask is not None]
        if masks:
            memory.masked += (~torch.stack(masks)).sum((0, -1)).numpy(force=True)
        waits = [wait.reshape(count) for _, wait in seen if wait is not None]
        if waits:
            memory.wait_frames += torch.stack(waits).sum(0).numpy(force=True)

    def _reset(self, tensordict: TensorDictBase, tensordict_reset: TensorDictBase) -> TensorDictBase:
        if not self._looked:
            self._look()
        return tensordict_reset if self._env is None else super()._reset(tensordict, tensordict_reset)

    def _figures(self, frame: RamFrame, index: int) -> EpisodeFigures:
        memory, progress, env = self.memory, frame.progress, self._env
        assert env is not None
        order = env.cartridge.profile.milestones.names
        reached, places = memory.milestones[index], memory.places[index]
        cell = env.start(index).cell
        return EpisodeFigures(
            emulator=index,
            cell=cell,
            tiles=len(places),
            maps=len({place >> 16 for place in places}),
            milestones=dict(reached),
            furthest=max(reached, key=order.index, default=""),
            badges=int(progress.badge_bits[index]).bit_count(),
            events=int(np.unpackbits(progress.event_bytes[index]).sum()),
            party_level=int(progress.party_level[index].sum()),
            terms={name: float(value) for name, value in zip(self.term_names, memory.terms[index], strict=True)},
            battles_won=int(memory.won[index]),
            battles_lost=int(memory.lost[index]),
            wait_frames=int(memory.wait_frames[index]),
            masked_share=float(memory.masked[index] / max(1, memory.steps[index] * len(env.actions))),
            places=() if cell else tuple(sorted(places)),
        )

    def get_extra_state(self) -> dict[str, Any]:
        """Return the counters of the running episodes."""
        self._count_seen()
        return super().get_extra_state()

    def set_extra_state(self, state: Mapping[str, Any]) -> None:
        """Continue from :meth:`get_extra_state`."""
        self._seen = []
        super().set_extra_state(state)

    def set_container(self, container: Any) -> None:
        """Attach the transform to an environment."""
        super().set_container(container)
        self._looked = False
