"""Check the screens of a battle, from a state in one or in tall grass."""

import os
from typing import Any

from pokered_rl.emulator import Emulator, load_raw
from pokered_rl.game import ScreenKind

from .checks import CheckFailed
from .prober import MaskTrial, Prober, state_of
from .start import DIRECTIONS, decoder_faults

_STEPS_IN_GRASS = 400
_ROUNDS = 150
#: Outermost return addresses inside NewBattle, after a step and after a turn (39 public states of the real game).
_RETURNS = (0x062F, 0x0578)


def check_battle(emulator: Emulator, path: str | os.PathLike[str], masks: MaskTrial) -> tuple[str, dict[str, Any]]:
    """Enter a battle if the state is not in one, open its menus, and leave it.

    Args:
        emulator: Is set to the state.
        path: A state of this library or of PyBoy, inside a battle or standing in grass.
        masks: Tries every menu with every button.
    """
    emulator.load_state(load_raw(path, emulator.cartridge))
    prober = Prober(emulator)
    steps = _enter(prober)
    kind = prober.back_to(ScreenKind.BATTLE_LEFT, ScreenKind.BATTLE_RIGHT, button="b", most=60)
    if kind is ScreenKind.BATTLE_RIGHT:
        prober.press("left")
    word = prober.outermost()
    faults = decoder_faults(prober.ram, prober.state())
    faults += _enemy_faults(prober)
    menu = state_of(prober)
    screens = {}
    for name, buttons, expected in (
        ("FIGHT", ("up",), ScreenKind.BATTLE_LEFT),
        ("moves", ("up", "a"), ScreenKind.MOVE_LIST),
        ("second column", ("up", "right"), ScreenKind.BATTLE_RIGHT),
        ("bag", ("down", "a"), ScreenKind.LIST),
        ("party", ("up", "right", "a"), ScreenKind.PARTY),
    ):
        emulator.load_state(menu)
        for button in buttons:
            prober.press(button)
        screens[name] = prober.kind.name
        if prober.kind is not expected:
            faults.append(f"{name} ({' '.join(buttons).upper()}) showed {prober.kind.name}, expected {expected.name}")
            continue
        masks(prober, f"battle, {name}")
        prober.press("b")
    emulator.load_state(menu)
    rounds = _leave(prober, wild=prober.value("wIsInBattle") == 1)
    detail = (
        f"after {steps} steps; return {word:04X} ({'as' if word in _RETURNS else 'NOT as'} expected); "
        f"{', '.join(f'{name}: {kind}' for name, kind in screens.items())}; over after {rounds} presses"
    )
    if faults:
        raise CheckFailed(f"{'; '.join(faults)} ({detail})")
    return detail, {"outermost_return": word, "screens": screens}


def _enter(prober: Prober) -> int:
    """Walk to and fro until a battle begins; return the number of steps."""
    for step in range(_STEPS_IN_GRASS):
        prober.settle()
        if prober.value("wIsInBattle"):
            return step
        # Two there, two back: whatever stands in the way, some of them are steps.
        direction = list(DIRECTIONS)[(step // 2) % 2 + 2 * ((step // 40) % 2)]
        if prober.press(direction) is not ScreenKind.OVERWORLD and not prober.value("wIsInBattle"):
            prober.back_to(ScreenKind.OVERWORLD)
    raise CheckFailed(f"no battle within {_STEPS_IN_GRASS} steps to and fro: give a state in tall grass or in a battle")


def _enemy_faults(prober: Prober) -> list[str]:
    state, faults = prober.state(), []
    if not 1 <= state.enemy_level <= 100:
        faults.append(f"enemy level {state.enemy_level}")
    if not (state.enemy_hp <= state.enemy_max_hp and state.enemy_max_hp > 0):
        faults.append(f"enemy with {state.enemy_hp} of {state.enemy_max_hp} HP")
    if int(state.enemy_species) not in prober.emulator.cartridge.profile.species:
        faults.append(f"enemy species {state.enemy_species} is not in the table")
    if int(state.in_battle) not in (1, 2):
        faults.append(f"wIsInBattle {state.in_battle}")
    return faults


def _leave(prober: Prober, *, wild: bool) -> int:
    """Run from a wild battle or fight a trainer; return the number of presses until the map is back."""
    for press in range(_ROUNDS):
        kind = prober.settle(3600)
        if kind is ScreenKind.OVERWORLD and not prober.value("wIsInBattle"):
            return press
        wanted = {ScreenKind.BATTLE_LEFT: "right" if wild else "a", ScreenKind.BATTLE_RIGHT: "a" if wild else "left"}
        if wild and kind is ScreenKind.BATTLE_RIGHT and prober.value("wCurrentMenuItem") == 0:
            prober.press("down")
        else:
            prober.press(wanted.get(kind, "a" if kind in (ScreenKind.TEXT_WAITING, ScreenKind.MOVE_LIST) else "b"))
    raise CheckFailed(f"the battle is not over after {_ROUNDS} presses: {prober.kind.name}, {prober.text()!r}")
