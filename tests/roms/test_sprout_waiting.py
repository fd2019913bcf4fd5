"""Screens that wait for a button with a loop of their own, tried button by button on the running cartridge.

In the retail game these are the last Pokédex page after a capture (pokedex.asm), an evolution, which B stops
(evolution.asm), and the end of the hall of fame.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sprout_player as sp
import torch
from sprout_screens import OWNED, fight_until_it_evolves, one_level_before_evolution, put, throw_net, until_text

from pokered_rl.emulator import Cartridge, Emulator, EmulatorPool, load_raw, press_effects
from pokered_rl.game import BUTTONS, ScreenKind, read_screen

Tried = tuple[ScreenKind, set[str], set[str], int]


@pytest.fixture
def try_all(tmp_path: Path) -> Iterator[Callable[[Any], Tried]]:
    """Return kind of the player's screen, usable buttons, those that act, and the frames that a no-op waits."""
    cartridge = Cartridge.bundled()
    with Emulator(cartridge) as emulator, EmulatorPool(cartridge, num_emulators=1) as pool:

        def try_buttons(player: Any) -> Tried:
            path = tmp_path / "here.state"
            with path.open("wb") as file:
                player.pyboy.save_state(file)
            state = load_raw(path, cartridge)
            emulator.load_state(state)
            reading = read_screen(torch.from_numpy(emulator.ram()))
            assert not reading.ignored
            acts = press_effects(emulator, state)
            pool.reset([0], [state])
            waited = int(pool.step([pool.actions.index("noop")]).wait_frames[0])
            return ScreenKind(int(reading.kind)), _names(reading.usable.numpy()), _names(acts), waited

        yield try_buttons


def _names(flags: np.ndarray) -> set[str]:
    return {button for button, flag in zip(BUTTONS, flags.tolist(), strict=True) if flag}


def test_page_of_a_new_kind_waits_for_a_or_b(at: Any, try_all: Callable[[Any], Tried]) -> None:
    player = at("catch")
    put(player, OWNED, 0, 0)
    throw_net(player)
    until_text(player, "page in the book")
    player.press("a", 4, 8)
    assert player.settle_any() == "page"
    assert try_all(player) == (ScreenKind.TEXT_WAITING, {"A", "B"}, {"A", "B"}, 0)


def test_evolution_waits_for_b(at: Any, try_all: Callable[[Any], Tried]) -> None:
    player = at("catch")
    one_level_before_evolution(player)
    fight_until_it_evolves(player)
    # The game looks at B in a part of the animation only, as evolution.asm does; nothing else ever acts.
    acted: set[str] = set()
    for _ in range(3):
        kind, usable, acts, waited = try_all(player)
        # A stands for waiting where there is no no-op.
        assert (kind, usable, waited) == (ScreenKind.OTHER_MENU, {"A", "B"}, 0)
        acted |= acts
        player.tick(24)
    assert acted == {"B"}


def test_end_of_the_hall_of_fame_waits_for_a_or_b(at: Any, try_all: Callable[[Any], Tried]) -> None:
    player = at("champion")
    player.settle = lambda: sp.Player.settle(player)
    player.enter((5, 1))
    player.walk_to((3, 2))
    player.face("up")
    player.press("a", 4, 8)
    until_text(player, "THE END", presses=60)
    # Neither box nor arrow tell what the screen waits for: all buttons stay usable, and no step is waited away.
    assert try_all(player) == (ScreenKind.OTHER_MENU, set(BUTTONS), {"A", "B"}, 0)
