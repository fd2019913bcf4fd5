"""On the cartridge, under every shipped preset: doing the same over and over pays nothing after its first round."""

import pytest
import torch
from torchrl.envs import TransformedEnv

from pokered_rl.emulator import PYBOY_VERSION, ActionSet, Cartridge, SaveState
from pokered_rl.envs import RewardTerms, make_env
from pokered_rl.envs.rewards import load_preset, make_terms
from pokered_rl.game import FULL_LAYOUT, RAM_MAP, ScreenKind, screen_kind

PRESETS = ("balanced", "exploration", "story")
STEPS = 500
ACTIONS = ActionSet()


@pytest.fixture(scope="module")
def in_the_grass(sprout: Cartridge) -> SaveState:
    """A player with one creature in the tall grass of the first lane."""
    from sprout_walkthrough import grass_state

    return SaveState(
        pyboy=grass_state(),
        cartridge_sha1=sprout.sha1,
        cartridge_title=sprout.title,
        pyboy_version=PYBOY_VERSION,
    )


def _byte(ram: torch.Tensor, label: str) -> int:
    return int(ram[FULL_LAYOUT.column(RAM_MAP[label].address)])


class _Game:
    """Steps the environment, sums the rewards of each preset, and knows what is on the screen."""

    def __init__(self, env: TransformedEnv) -> None:
        self._env, self._td = env, env.reset()
        self.steps = 0
        self.returns = dict.fromkeys(PRESETS, 0.0)

    @property
    def ram(self) -> torch.Tensor:
        return self._td["ram"][0]

    @property
    def kind(self) -> ScreenKind:
        return ScreenKind(int(screen_kind(self.ram)))

    def press(self, button: str) -> None:
        self._td["action"] = torch.tensor([ACTIONS.index(button)])
        self._td = self._env.step(self._td)["next"]
        self.steps += 1
        for preset in PRESETS:
            self.returns[preset] += float(self._td[preset])

    def press_until(self, button: str, *kinds: ScreenKind) -> None:
        for _ in range(40):
            if self.kind in kinds:
                return
            self.press(button)
        raise AssertionError(f"{button} does not lead to {kinds}, but to {self.kind.name}")


def _menu(game: _Game) -> None:
    """Opens and closes the menu."""
    game.press("start")
    assert game.kind is ScreenKind.START_MENU
    game.press_until("b", ScreenKind.OVERWORLD)


def _save_menu(game: _Game) -> None:
    """Asks to save, and then does not."""
    game.press("start")
    while _byte(game.ram, "wCurrentMenuItem") != _byte(game.ram, "wMaxMenuItem") - 3:  # EXIT, OPTION, SAVE
        game.press("up")
    game.press("a")
    game.press_until("a", ScreenKind.YES_NO)
    game.press_until("b", ScreenKind.OVERWORLD)


def _save(game: _Game) -> None:
    """Saves, over the last time."""
    game.press("start")
    while _byte(game.ram, "wCurrentMenuItem") != _byte(game.ram, "wMaxMenuItem") - 3:
        game.press("up")
    game.press_until("a", ScreenKind.YES_NO)
    game.press_until("a", ScreenKind.OVERWORLD)


def _to_and_fro(game: _Game) -> None:
    """Two steps there and two back, in front of the door."""
    for button in ("right", "right", "left", "left"):
        game.press(button)


def _flee(game: _Game) -> None:
    """Walks in the grass until somebody comes, and runs."""
    for turn in range(400):
        if game.kind is not ScreenKind.OVERWORLD:
            break
        game.press(("right", "left")[turn % 2])
    assert _byte(game.ram, "wIsInBattle") == 1
    for _ in range(80):
        match game.kind:
            case ScreenKind.OVERWORLD:
                return
            case ScreenKind.BATTLE_LEFT:
                game.press("right")
            case ScreenKind.BATTLE_RIGHT:
                game.press("a" if _byte(game.ram, "wCurrentMenuItem") else "down")
            case _:
                game.press("b")
    raise AssertionError(f"no way out of the battle: {game.kind.name}")


@pytest.mark.parametrize("round_of", [_menu, _save_menu, _save, _to_and_fro, _flee])
def test_repetition_pays_nothing_after_the_first_round(sprout, in_the_grass, round_of):
    presets = [
        RewardTerms(
            terms=make_terms(profile=sprout.profile, **load_preset(name)),
            out_keys=[name, f"{name}_terms"],
            write_terms=False,
        )
        for name in PRESETS
    ]
    env = make_env(
        sprout, transforms=presets, start_states=in_the_grass, max_episode_steps=None, ram_layout=FULL_LAYOUT
    )
    try:
        game = _Game(env)
        round_of(game)
        first = game.steps
        game.returns = dict.fromkeys(PRESETS, 0.0)
        rounds = 0
        while game.steps < first + STEPS:
            round_of(game)
            rounds += 1
    finally:
        env.close()
    assert rounds >= 3
    assert all(value <= 0 for value in game.returns.values()), game.returns
