"""An expert that plays Sprout in agent actions: it reads the RAM and presses one button a step.

    PYTHONPATH=roms/sprout python tests/roms/sprout_expert.py FOLDER --episodes 20
    PYTHONPATH=roms/sprout python tests/roms/sprout_expert.py FOLDER --episodes 3 --noise 0.2 --until brindle
    PYTHONPATH=roms/sprout python tests/roms/sprout_expert.py FOLDER --agent RUN

Where :mod:`sprout_walkthrough` holds keys for as long as it needs, this one acts under the timing, the waiting and the
mask of the environment, as an agent or a person does, and decides from the RAM of every step anew, so that random
actions and lost fights do not stop it. Each episode begins at power-on and becomes one log in FOLDER. Episodes with an
odd seed fight the first leader before they fetch the parcel: the game allows both, and an agent that has seen one order
alone is lost where it takes the other. With ``--agent`` it corrects a trained agent: the agent plays, and the expert
takes the buttons from it and gives them back at random times (DAgger, Ross et al. 2011). Logs note who acted, so that
random steps and those of the agent are not imitated.
"""

from __future__ import annotations

import argparse
import shutil
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import creatures
import numpy as np
import torch
import world
from sprout_player import STEPS
from tensordict import TensorDictBase
from tensordict.nn import TensorDictModuleBase
from torchrl.envs import EnvBase, ExplorationType, set_exploration_type
from torchrl.envs.utils import step_mdp

from pokered_rl.emulator import ActionSet, Cartridge
from pokered_rl.envs import AffordanceMask, EpisodeRecorder, make_env
from pokered_rl.envs.ram_frame import read_frame
from pokered_rl.envs.transforms.episode_recorder import MilestoneTracker
from pokered_rl.episodes import EpisodeLog, find_logs, load_start_state
from pokered_rl.game import FULL_LAYOUT, ScreenKind, screen_kind
from pokered_rl.training import TrainedPolicy, load_policy

#: The actions of ``configs/sprout.yaml``.
ACTIONS = ("a", "b", "right", "left", "up", "down")
MAPS = {entry["name"]: entry for entry in world.MAPS}
NAMES = {entry["id"]: entry["name"] for entry in world.MAPS}
EVENTS = {name: bit for bit, name in enumerate(world.EVENTS)}
TIMES = {(a, d): tenths / 10 for a, d, tenths in creatures.MATCHUPS}
#: Squares of the four plates.
PLATES = ((9, 2), (17, 2), (9, 6), (17, 6))
#: Objects that stand in a way until an event.
GATES = {
    "WOOD_GUARD": "GOT_STARTER", "KEEPER": "SHOWED_GATE_PASS", "SUMMIT_GUARD": "SUMMIT_OPEN",
    "BOULDER": "SOLVED_PLATES", "CHAMPION": "BEAT_CHAMPION", "RIVAL_PATH": "BEAT_RIVAL_PATH",
}  # fmt: skip
#: Decisions at one place after which a random action is taken.
_STUCK = 12
#: More steps than any way has.
_FAR = 10**6
#: Steps that an agent, and the expert after it, play at a time, on average.
_AGENT_STEPS, _EXPERT_STEPS = 150, 100
#: Rate of random actions of an agent that is corrected.
_AGENT_EPSILON = 0.02


class Spot(NamedTuple):
    """A square of a map; with ``face``, the direction in which something is talked to from it."""

    map: str
    x: int
    y: int
    face: str = ""


SOUP, HEAL_BRINDLE, HEAL_HIGHMERE = (
    Spot("HOME_1F", 3, 5, "up"), Spot("BRINDLE_HEAL", 3, 4, "up"), Spot("HIGHMERE_HEAL", 3, 4, "up"),
)  # fmt: skip
LANE = (Spot("PEBBLE_LANE", 4, 32), Spot("PEBBLE_LANE", 9, 31))
REEDS = (Spot("REED_PATH", 6, 5), Spot("REED_PATH", 9, 4))
CAVE = (Spot("CAVE_1F", 15, 1), Spot("CAVE_1F", 17, 10))
#: Level to reach, on which squares, before an event.
GROW = {"ENTERED_TANGLEWOOD": (9, LANE), "BEAT_RIVAL_PATH": (17, REEDS), "BEAT_LEADER_TIDE": (24, CAVE)}
#: What to do until an event has happened, in this order.
STORY: tuple[tuple[str, Spot], ...] = (
    ("READ_OLD_STONE", Spot("MOSSBY", 16, 14, "up")),
    ("MET_SCHOLAR", Spot("LAB", 5, 3, "up")),
    ("GOT_STARTER", Spot("LAB", 6, 5, "up")),
    ("BATTLED_RIVAL_IN_LAB", Spot("LAB", 4, 8)),
    ("ENTERED_PEBBLE_LANE", Spot("PEBBLE_LANE", 9, 31)),
    ("ENTERED_TANGLEWOOD", Spot("TANGLEWOOD", 11, 18)),
    ("REACHED_BRINDLE", Spot("BRINDLE", 20, 17)),
    ("GOT_PARCEL", Spot("BRINDLE_SHOP", 2, 4, "up")),
    ("GOT_BOOK", Spot("LAB", 5, 3, "up")),
    ("GOT_LANTERN", Spot("BRINDLE_HOUSE", 6, 3, "left")),
    ("GOT_GATE_PASS", Spot("STONE_HALL", 4, 3, "up")),
    ("BEAT_RIVAL_PATH", Spot("REED_PATH", 15, 8)),
    ("SHOWED_GATE_PASS", Spot("GATEHOUSE", 3, 3, "right")),
    ("ENTERED_CAVE", Spot("CAVE_1F", 1, 14)),
    ("SOLVED_PLATES", Spot("CAVE_B1F", 13, 5)),
    ("REACHED_HIGHMERE", Spot("HIGHMERE", 2, 2)),
    ("BEAT_LEADER_TIDE", Spot("TIDE_HALL", 4, 3, "up")),
    ("SUMMIT_OPEN", Spot("HIGHMERE", 12, 6, "up")),
    ("BEAT_CHAMPION", Spot("SUMMIT_HALL", 5, 3, "up")),
    ("HALL_OF_FAME", Spot("HALL_OF_FRIENDS", 3, 2, "up")),
)
#: The story with the first leader before the parcel.
LEADER_FIRST = (*STORY[:7], STORY[10], *STORY[7:10], *STORY[11:])
#: Before these the party is healed whenever it is not nearly well.
HARD = {"GOT_GATE_PASS", "BEAT_RIVAL_PATH", "ENTERED_CAVE", "BEAT_LEADER_TIDE", "BEAT_CHAMPION"}


# ------------------------------------------------------------------------------------------------ the maps
def _cells(name: str) -> list[str]:
    return MAPS[name]["cells"].strip("\n").split("\n")


def _kind(name: str, x: int, y: int) -> str:
    cells = _cells(name)
    if not (0 <= y < len(cells) and 0 <= x < len(cells[0])):
        return ""
    return world.TILESETS[MAPS[name]["tileset"]][1][cells[y][x]][1]


def _warp_target(name: str, x: int, y: int) -> Spot | None:
    for wx, wy, target, index in MAPS[name].get("warps", ()):
        if (wx, wy) != (x, y):
            continue
        if target == "LAST_MAP":
            target = next(town for town, entry in MAPS.items() if any(w[2] == name for w in entry.get("warps", ())))
        tx, ty = MAPS[target]["warps"][index][:2]
        steps_out = MAPS[target]["tileset"] == "OUTDOOR" and "door" in _kind(target, tx, ty)
        return Spot(target, tx, ty + steps_out)
    return None


def _after(here: Spot, key: str) -> Spot | None:
    """Return where a step in a direction leads, if nobody stands there."""
    name, x, y, _ = here
    dx, dy, _ = STEPS[key]
    x, y = x + dx, y + dy
    kind = _kind(name, x, y)
    if kind:
        if "door" in kind:
            return _warp_target(name, x, y)
        if "walk" in kind:
            return Spot(name, x, y)
        return Spot(name, x, y + 1) if kind == "ledge" and key == "down" and "walk" in _kind(name, x, y + 1) else None
    if 0 <= y < len(_cells(name)) and 0 <= x < len(_cells(name)[0]):
        return None
    if (leaves := _warp_target(name, here.x, here.y)) is not None:
        return leaves
    side = {"up": "north", "down": "south", "left": "west", "right": "east"}[key]
    if side not in MAPS[name]:
        return None
    other, shift = MAPS[name][side]
    cells = _cells(other)
    there = (
        Spot(other, x - 2 * shift, 0 if side == "south" else len(cells) - 1)
        if side in ("north", "south")
        else Spot(other, 0 if side == "east" else len(cells[0]) - 1, y - 2 * shift)
    )
    return there if "walk" in _kind(*there[:3]) else None


@cache
def _arrivals() -> dict[Spot, list[Spot]]:
    """Return the squares from which one step leads to a square, for all maps together."""
    arrivals: dict[Spot, list[Spot]] = {}
    for name in MAPS:
        for y, line in enumerate(_cells(name)):
            for x in range(len(line)):
                if "walk" in _kind(name, x, y):
                    for key in STEPS:
                        if (there := _after(Spot(name, x, y), key)) is not None:
                            arrivals.setdefault(there, []).append(Spot(name, x, y))
    return arrivals


@cache
def _distances(goal: Spot, blocked: frozenset[Spot]) -> dict[Spot, int]:
    """Return the steps from every square to a goal."""
    distance, todo = {goal: 0}, deque([goal])
    while todo:
        here = todo.popleft()
        for before in _arrivals().get(here, ()):
            if before not in distance and before not in blocked:
                distance[before] = distance[here] + 1
                todo.append(before)
    return distance


# ------------------------------------------------------------------------------------------------ the game
class Ram:
    """The bytes of one emulator, by address."""

    def __init__(self, ram: torch.Tensor) -> None:
        self.tensor = ram
        self._bytes = bytes(ram.numpy())

    def __getitem__(self, at: int) -> int:
        return self._bytes[at - 0xC000 if at < 0xE000 else at - 0xFF80 + 0x2000]

    def big(self, at: int) -> int:
        return self[at] << 8 | self[at + 1]

    def event(self, name: str) -> bool:
        bit = EVENTS[name]
        return bool(self[0xD747 + bit // 8] >> bit % 8 & 1)

    @property
    def text(self) -> str:
        """The letters on the screen, without blanks and lines."""
        letters = {tile: chr(tile - 0x80 + ord("A")) for tile in range(0x80, 0x9A)}
        letters |= {tile: chr(tile - 0xA0 + ord("a")) for tile in range(0xA0, 0xBA)}
        return "".join(letters.get(self[at], "") for at in range(0xC3A0, 0xC508))

    @property
    def here(self) -> Spot:
        return Spot(NAMES[self[0xD35E]], self[0xD362], self[0xD361])

    @property
    def health(self) -> float:
        """Share of the first creature's HP; 1 without one."""
        return self.big(0xD16C) / max(self.big(0xD18D), 1) if self[0xD163] else 1.0

    @property
    def strokes(self) -> int:
        """PP of the first creature's moves that do damage."""
        return sum(
            self[0xD188 + i] & 63 for i in range(4) if (move := self[0xD173 + i]) and creatures.MOVES[move][2] > 0
        )


class Plates:
    """The order of the plates, found by trying: a wrong one releases all others, the first one then stays down."""

    def __init__(self) -> None:
        self._down = 0
        self._forget()

    def _forget(self) -> None:
        self._order: list[tuple[int, int]] = []
        self._wrong: set[tuple[int, int]] = set()  # tried behind those of the order

    @property
    def wanted(self) -> tuple[int, int]:
        """The plate to step on next."""
        if self._down < len(self._order):
            return self._order[self._down]
        return next(plate for plate in PLATES if plate not in self._order and plate not in self._wrong)

    def released(self) -> None:
        """Note that all are up again, as they are when the room is entered."""
        self._down = 0

    def stepped_on(self, plate: tuple[int, int], *, stays: bool) -> None:
        """Learn from what the game says of a plate; what contradicts it is forgotten."""
        known = self._down < len(self._order)
        if known and stays != (plate == self._order[self._down]):
            self._forget()
        elif not known and stays:
            self._order.append(plate)
            self._wrong.clear()
        elif not known:
            self._wrong.add(plate)
        if len(self._order) + len(self._wrong) == len(PLATES):
            self._forget()
        self._down = self._down + 1 if stays else int(self._order[:1] == [plate])
        self._down = min(self._down, len(self._order))


class Expert:
    """Chooses a button from the RAM; it remembers the plates, its way to a healer and where it got stuck.

    It does not look up the order of the plates, which an agent cannot see either.

    Args:
        story: Events in the order in which they are brought about, with the place of each.
        noise: Share of the steps in which any allowed button is pressed.
        seed: Of the noise.
    """

    def __init__(self, *, story: tuple[tuple[str, Spot], ...] = STORY, noise: float = 0.0, seed: int = 0) -> None:
        self.story = story
        self.noise = noise
        #: Whether the last action was a random one.
        self.at_random = False
        self._random = np.random.default_rng(seed)
        self._heals = False
        self._grown = 0  # number of the square walked to for training
        self._plates = Plates()
        self._heard = False  # what the game said of a plate
        self._before: Spot | None = None
        self._stuck = 0

    def action(self, ram: torch.Tensor, allowed: torch.Tensor) -> int:
        """Return an index of ``ACTIONS``; ``ram`` uint8 [8319] and ``allowed`` bool [A] are those of this step."""
        chosen = ACTIONS.index(self._button(Ram(ram)))
        self.at_random = self._random.random() < self.noise or not bool(allowed[chosen]) or self._stuck > _STUCK
        if self.at_random:
            self._stuck = 0
            return int(self._random.choice(np.flatnonzero(allowed.numpy())))
        return chosen

    def _button(self, ram: Ram) -> str:
        kind = ScreenKind(int(screen_kind(ram.tensor[None], FULL_LAYOUT)))
        if kind is not ScreenKind.OVERWORLD:
            self._stuck = 0
            self._hear_of_plates(ram)
            return self._in_menu(ram, kind)
        self._heard = False
        return self._on_the_map(ram)

    # -------------------------------------------------------------------------------------------- menus and fights
    def _in_menu(self, ram: Ram, kind: ScreenKind) -> str:
        cursor, fights = ram[0xCC26], bool(ram[0xD057])
        if kind in (ScreenKind.TEXT_WAITING, ScreenKind.TEXT_PRINTING, ScreenKind.TITLE, ScreenKind.NAMING):
            return "a"
        if kind is ScreenKind.BATTLE_LEFT:
            return "up" if cursor else "a"
        if kind is ScreenKind.BATTLE_RIGHT:
            return "left"
        if kind is ScreenKind.MOVE_LIST:
            if ram[0xCC24] == 8 and ram[0xCC25] == 5:  # the list of moves to forget
                worth = [_worth(ram, ram[0xD01C + i]) for i in range(4)]
                return _towards(cursor, worth.index(min(worth)))
            moves = [
                (_worth(ram, ram[0xD01C + i]) if ram[0xD02D + i] & 63 else -1.0, -i)
                for i in range(4)
                if ram[0xD01C + i]
            ]
            return _towards(cursor, 1 - max(moves)[1])
        if kind is ScreenKind.PARTY and fights and not ram.big(0xD015):
            alive = [i for i in range(ram[0xD163]) if ram.big(0xD16C + 44 * i)]
            return _towards(cursor, alive[0] if alive else 0)
        if kind is ScreenKind.YES_NO:
            starter = "Takeit" in ram.text and ram.here == Spot("LAB", 6, 5)
            yes = starter or any(words in ram.text for words in ("HEALCANCEL", "Forget"))
            return ("up" if cursor else "a") if yes else "b"
        return "b"

    # -------------------------------------------------------------------------------------------- the map
    def _on_the_map(self, ram: Ram) -> str:
        here = ram.here
        self._stuck = self._stuck + 1 if here == self._before else 0
        self._before = here
        if here.map != "CAVE_B1F":
            self._plates.released()
        goal = self._goal(ram, here)
        if here == (*goal[:3], ""):
            if not goal.face:
                return "a"
            return "a" if ram[0xC109] == STEPS[goal.face][2] else goal.face
        taken = {(ram[0xC205 + 16 * i] - 4, ram[0xC204 + 16 * i] - 4) for i in _sprites(ram)}
        distance = _distances(Spot(*goal[:3]), self._blocked(ram, here, goal))
        ways = []
        for key in STEPS:
            there = _after(here, key)
            if there is not None and (there.map != here.map or there[1:3] not in taken):
                turn = ram[0xC109] != STEPS[key][2]
                ways.append((distance.get(there, _FAR), turn, key))
        nearest = min(ways, default=(_FAR, False, "b"))
        return nearest[-1] if nearest[0] < distance.get(here, _FAR) else "b"  # wait for whoever stands in the way

    def _goal(self, ram: Ram, here: Spot) -> Spot:
        event, spot = next(((event, spot) for event, spot in self.story if not ram.event(event)), STORY[-1])
        if event == "SOLVED_PLATES" and here.map == "CAVE_B1F":
            spot = Spot("CAVE_B1F", *self._plates.wanted)
            if here == spot:
                spot = Spot("CAVE_B1F", 13, 5)
        if not ram.event("GOT_STARTER"):
            return spot
        low = 0.35 if event not in HARD else 0.6
        if not ram.event("REACHED_BRINDLE"):
            low = 0.3
        if ram.health < low or ram.strokes < 4:
            self._heals = True
        elif ram.health > 0.95 and ram.strokes > 10:
            self._heals = False
        if self._heals:
            places = [SOUP, HEAL_BRINDLE] + [HEAL_HIGHMERE] * ram.event("REACHED_HIGHMERE")
            far = [(_distances(Spot(*p[:3]), self._blocked(ram, here, p)).get(here, _FAR), p) for p in places]
            return min(far)[1]
        level, squares = GROW.get(event, (0, ()))
        if ram[0xD18C] < level:
            if here == squares[self._grown % 2]:
                self._grown += 1
            return squares[self._grown % 2]
        return spot

    def _hear_of_plates(self, ram: Ram) -> None:
        here, text = ram.here, ram.text
        stays = "Click" in text
        if not self._heard and here.map == "CAVE_B1F" and here[1:3] in PLATES and (stays or "Allplates" in text):
            self._heard = True
            self._plates.stepped_on((here.x, here.y), stays=stays)

    def _blocked(self, ram: Ram, here: Spot, goal: Spot) -> frozenset[Spot]:
        """Return the squares that cannot be walked on: people who stand, and plates that are not wanted."""
        blocked = set()
        for name, entry in MAPS.items():
            shown = _sprites(ram) if name == here.map else None
            for slot, thing in enumerate(entry.get("objects", ()), 1):
                if thing["move"] != "stay":
                    continue
                gate = GATES.get(thing.get("toggle", ""))
                stands = "toggle" not in thing if gate is None else not ram.event(gate)
                if slot in shown if shown is not None else stands:
                    blocked.add(Spot(name, thing["x"], thing["y"]))
        if goal.map == "CAVE_B1F" and not ram.event("SOLVED_PLATES"):
            blocked |= {Spot("CAVE_B1F", *at) for at in PLATES if at != goal[1:3]}
        return frozenset(blocked)


def _sprites(ram: Ram) -> list[int]:
    return [i for i in range(1, ram[0xD4E1] + 1) if ram[0xC100 + 16 * i]]


def _towards(cursor: int, item: int) -> str:
    return "a" if cursor == item else "down" if cursor < item else "up"


def _worth(ram: Ram, number: int) -> float:
    """Return the value of a move against the enemy, as the walkthrough's ``power`` does."""
    if number not in creatures.MOVES:
        return -1.0
    _, kind, strength, accuracy, _, _ = creatures.MOVES[number]
    worth = strength * accuracy / 100 * (1.5 if kind in (ram[0xD019], ram[0xD01A]) else 1.0)
    for other in {ram[0xCFEA], ram[0xCFEB]}:
        worth *= TIMES.get((kind, other), 1.0)
    return float(worth)


# ------------------------------------------------------------------------------------------------ logs
def play(
    folder: Path,
    *,
    noise: float,
    seed: int,
    until: str = "hall_of_fame",
    max_steps: int,
    agent: TrainedPolicy | None = None,
    stopped: Callable[[], bool] = lambda: False,
) -> tuple[int, list[str]]:
    """Play one episode from power-on into a log; return its steps and the milestones reached, in order."""
    cartridge = Cartridge.bundled()
    env, recorder, policy = _environment(folder, cartridge, seed=seed, max_steps=max_steps, agent=agent)
    story, reached = MilestoneTracker(num_emulators=1, profile=cartridge.profile), list[str]()
    expert, step = Expert(story=LEADER_FIRST if seed % 2 else STORY, noise=noise, seed=seed), 0
    switches, acts = np.random.default_rng([seed, 1]), policy is None
    torch.manual_seed(seed)
    try:
        td: TensorDictBase = env.reset()
        story.start(read_frame(td["ram"], FULL_LAYOUT), np.ones(1, bool))
        while until not in reached and not td["done"].item() and not stopped():
            shown = expert.action(td["ram"][0], td["action_mask"][0])
            if policy is not None:
                with torch.no_grad(), set_exploration_type(ExplorationType.RANDOM):
                    td = policy(td)
                acts ^= switches.random() < 1 / (_EXPERT_STEPS if acts else _AGENT_STEPS)
            if acts:
                td["action"] = torch.tensor([shown])
            recorder.acting = "policy" if not acts else "random" if expert.at_random else "script"
            td = step_mdp(env.step(td))
            reached += [name for _, name in story.advance(read_frame(td["ram"], FULL_LAYOUT)) if ":" not in name]
            step += 1
    finally:
        env.close()  # writes the log
    return step, reached


def _environment(
    folder: Path, cartridge: Cartridge, *, seed: int, max_steps: int, agent: TrainedPolicy | None
) -> tuple[EnvBase, EpisodeRecorder, TensorDictModuleBase | None]:
    """Return an environment that records into a folder, its recorder, and the policy of an agent."""
    facts: dict[str, Any] = {"folder": folder, "run_name": "expert", "worker": seed, "seeds": {"expert": seed}}
    options: dict[str, Any] = {"max_episode_steps": max_steps, "terminate_at_hall_of_fame": True}
    if agent is not None:
        facts["weights_sha256"] = agent.weights_sha256
        env = agent.make_env(epsilon=_AGENT_EPSILON, seed=seed, recorder=facts, ram_layout=FULL_LAYOUT, **options)
        return env, next(each for each in env.transform if isinstance(each, EpisodeRecorder)), agent.policy
    actions = ActionSet(ACTIONS)
    recorder = EpisodeRecorder(profile=cartridge.profile, **facts)
    transforms = [AffordanceMask(actions=actions), recorder]
    env = make_env(cartridge, actions=actions, ram_layout=FULL_LAYOUT, transforms=transforms, **options)
    return env, recorder, None


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path, help="where the logs go")
    parser.add_argument("--episodes", type=int, default=20)
    parser.add_argument("--noise", type=float, default=0.02, help="share of random actions")
    parser.add_argument("--until", default="hall_of_fame", help="milestone at which a log ends")
    parser.add_argument("--seed", type=int, default=0, help="of the first episode")
    parser.add_argument("--steps", type=int, default=30_000, help="most steps of an episode")
    parser.add_argument("--agent", metavar="RUN", help="an agent with these actions, which the expert corrects")
    parser.add_argument(
        "--embed", action="store_true", help="put its start state into each log, so that it is one file"
    )
    options = parser.parse_args(argv)
    agent, failed = load_policy(options.agent) if options.agent is not None else None, 0
    # PyBoy swallows an exception that a signal raises while a frame is emulated.
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    for seed in range(options.seed, options.seed + options.episodes):
        steps, reached = play(
            options.folder,
            noise=options.noise,
            seed=seed,
            until=options.until,
            max_steps=options.steps,
            agent=agent,
            stopped=ended.is_set,
        )
        failed += options.until not in reached
        sys.stdout.write(f"seed {seed}: {steps:,} steps, {' '.join(reached[-1:]) or 'nothing'}\n")
        sys.stdout.flush()
        if ended.is_set():
            break
    if options.embed:
        for path in find_logs([options.folder]):
            log = EpisodeLog.load(path)
            log.with_start_state(load_start_state(log)).save(options.folder)
            path.unlink()
        shutil.rmtree(options.folder / "start_states")
    return int(failed > 0)


if __name__ == "__main__":
    raise SystemExit(main())
