"""The mask is honest: on the cartridge, what it masks changes nothing when it is pressed all the same."""

import pytest
import torch

from pokered_rl.emulator import ActionSet, Emulator, press_effects
from pokered_rl.envs import make_env
from pokered_rl.game import BUTTONS, ScreenKind

_WORLD = {
    ScreenKind.OVERWORLD,
    ScreenKind.WALKING,
    ScreenKind.SCRIPTED,
    ScreenKind.TEXT_PRINTING,
    ScreenKind.TRANSITION,
    ScreenKind.BATTLE_BUSY,
}


@pytest.fixture
def survey(sprout, start):
    """Random play; on menus and texts every button is tried. Returns (kind, name, allowed by rules, by all, effect)."""

    def run(steps: int, most: int, seed: int) -> list[tuple[ScreenKind, str, bool, bool, bool]]:
        actions = ActionSet(("noop", "a", "b", "start", "select", "right", "left", "up", "down"))
        env = make_env(sprout, actions=actions, start_states=start, max_episode_steps=None, mask={"decay": 1.0})
        rules = next(t for t in env.transform if type(t).__name__ == "AffordanceMask")
        found, seen = [], {}
        try:
            torch.manual_seed(seed)
            with Emulator(sprout) as emulator:
                td = env.reset()
                for _ in range(steps):
                    td = env.step(env.rand_action(td))["next"]
                    frame = rules._frame(td)
                    kind = ScreenKind(int(frame.screen_kind[0]))
                    if kind in _WORLD:
                        continue
                    allowed = td["action_mask"][0].tolist()
                    by_rule = [button < 0 or bool(frame.usable_buttons[0, button]) for button in actions.button_indices]
                    key = (kind, tuple(allowed), frame.u8("wTopMenuItemY")[0], frame.u8("wCurrentMenuItem")[0])
                    seen[key] = seen.get(key, 0) + 1
                    if seen[key] > most:
                        continue
                    [state] = env.base_env.save_states()
                    for button, effect in zip(BUTTONS, press_effects(emulator, state, frames=24), strict=True):
                        k = actions.index(button.lower())
                        found.append((kind, button, by_rule[k], allowed[k], bool(effect)))
        finally:
            env.close()
        return found

    return run


def _judge(found, kinds: set[ScreenKind]) -> None:
    by_rules = [(kind.name, name) for kind, name, rule, _, effect in found if not rule and effect]
    assert not by_rules, f"masked by the rules, but it has an effect: {by_rules}"
    idle = [(rule, allowed) for _, _, rule, allowed, effect in found if not effect]
    assert sum(not rule for rule, _ in idle) >= 0.8 * len(idle)
    # What was learned may be outdated (that is why it decays), but it has to be right nearly always.
    learned = [effect for _, _, rule, allowed, effect in found if rule and not allowed]
    assert sum(learned) <= 0.1 * len(learned) + 1
    assert sum(not allowed for _, allowed in idle) >= sum(not rule for rule, _ in idle)
    assert {kind for kind, *_ in found} >= kinds


def test_masked_buttons_have_no_effect_and_most_idle_ones_are_masked(survey):
    _judge(survey(steps=100, most=1, seed=1), {ScreenKind.START_MENU})


@pytest.mark.long
@pytest.mark.parametrize("seed", [2, 3])
def test_masked_buttons_have_no_effect_in_long_play(survey, seed):
    _judge(survey(steps=4000, most=3, seed=seed), {ScreenKind.START_MENU, ScreenKind.TEXT_WAITING})
