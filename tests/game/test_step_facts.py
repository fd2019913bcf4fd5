"""What 75,776 logged steps of the retail game showed, held against the tables by steps of Sprout.

There every move was one tile in the direction asked for (19,192 moves), every crossing of an edge one step in the world
(56), every other change of the map one of the table of warps (162) or a return to a place of healing (6), and in 21
observations the map was new while the coordinates were still the old ones. The logs are not part of the repository.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import numpy as np
import torch

from pokered_rl.emulator import ActionSet, Cartridge, EmulatorPool, SaveState, start_states
from pokered_rl.game import (
    SCREEN_RANGES,
    GameMaps,
    GameState,
    MapKind,
    RamLayout,
    ScreenKind,
    read_screen,
    state_ranges,
)

_ACTIONS = ActionSet()
_DIRECTIONS = {"up": (0, -1), "down": (0, 1), "left": (-1, 0), "right": (1, 0)}
Place = tuple[int, int, int]


def kind_of_step(maps: GameMaps, before: Place, after: Place, button: str) -> str:
    """Name what a step from one place (map, x, y) to the next did; ``unexplained`` if the tables do not know it."""
    (here, x, y), (there, next_x, next_y) = before, after
    if here == there:
        moved = (next_x - x, next_y - y)
        if moved == (0, 0):
            return "stays"
        if moved == _DIRECTIONS.get(button):
            return "moves"
        if (moved, button) == ((0, 2), "down"):
            return "jumps a ledge"  # in one step, since the environment waits until the game listens again
    ways = {(warp_id, warp) for wx, wy, warp_id, warp in maps[here].warps if abs(wx - x) + abs(wy - y) <= 1}
    for map_id, warp in ways:
        # Out of a building, to the last map outdoors: the table has the door.
        entrance = maps[here].entrance
        goal = entrance[0] if map_id == 255 and entrance is not None else map_id
        if goal == there and maps[there].warps[warp - 1][:2] == (next_x, next_y):
            return "warps"
        # Out of a door the player is led one tile further down.
        if goal == there and maps[there].warps[warp - 1][:2] == (next_x, next_y - 1):
            return "warps"
    if maps[here].outdoor and maps[there].outdoor and here != there:
        places = torch.tensor([before, after])
        gx, gy, placed = maps.global_xy(*places.unbind(1))
        if placed.all() and int((gx[1] - gx[0]).abs() + (gy[1] - gy[0]).abs()) == 1:
            return "crosses an edge"
    if maps[there].kind == MapKind.HEALING:
        return "is healed"
    return "unexplained"


def _steps_of(cartridge: Cartridge, states: Iterable[SaveState], steps: int) -> list[tuple[Place, Place, str, bool]]:
    """Play random walks; return the place before and after each step, its button, and whether it was a free step."""
    states, found = list(states), []
    layout = RamLayout.merged([*state_ranges(), *SCREEN_RANGES])
    chance = np.random.default_rng(0)
    with EmulatorPool(cartridge, num_emulators=len(states), actions=_ACTIONS, ram_layout=layout) as pool:
        before = pool.reset(range(len(states)), states).ram
        buttons = np.full(len(states), _ACTIONS.index("down"))
        for _ in range(steps):
            # Walks of a few tiles in one direction reach edges and doors; A and B get through texts and fights.
            turned = chance.random(len(states)) < 0.3
            names = chance.choice([*_DIRECTIONS, "a", "b"], len(states))
            buttons = np.where(turned, [_ACTIONS.index(name) for name in names], buttons)
            after = pool.step(buttons).ram
            places = [_places(ram, layout) for ram in (before, after)]
            free = read_screen(torch.from_numpy(before), layout).kind == ScreenKind.OVERWORLD
            for index, button in enumerate(buttons.tolist()):
                name = _ACTIONS.names[button]
                found.append((places[0][index], places[1][index], name, bool(free[index])))
            before = after
    return found


def _places(ram: np.ndarray, layout: RamLayout) -> list[Place]:
    state = GameState.from_ram(torch.from_numpy(ram), layout)
    return list(zip(state.map_id.tolist(), state.x.tolist(), state.y.tolist(), strict=True))


def test_steps_of_sprout_are_what_steps_of_the_retail_game_are(sprout):
    states = [SaveState.load(path) for path in start_states(sprout).values()]
    maps, kinds = sprout.profile.maps, Counter[str]()
    for before, after, button, free in _steps_of(sprout, states, 100):
        kind = kind_of_step(maps, before, after, button) if free else "in a text"
        assert kind != "unexplained", f"{maps.name(before[0])} {before} {button} {after}"
        kinds[kind] += 1
    assert kinds["moves"] > 300, kinds
    assert kinds["warps"] >= 2, kinds
    assert kinds["crosses an edge"] >= 1, kinds


def test_steps_that_no_table_explains_are_found(sprout):
    maps = sprout.profile.maps
    lane, home = maps.id("PEBBLE_LANE"), next(each for each in maps if not each.outdoor)
    assert kind_of_step(maps, (lane, 3, 3), (lane, 4, 3), "right") == "moves"
    assert kind_of_step(maps, (lane, 3, 3), (lane, 4, 3), "left") == "unexplained"
    assert kind_of_step(maps, (lane, 3, 3), (lane, 5, 3), "right") == "unexplained"
    assert kind_of_step(maps, (lane, 3, 3), (home.id, 0, 0), "up") == "unexplained"
