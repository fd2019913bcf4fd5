import pytest

from pokered_rl.emulator import ActionSet, ActionTiming
from pokered_rl.errors import ConfigError
from pokered_rl.game.screen_rules import BUTTONS


def test_default_actions_leave_out_select():
    actions = ActionSet()
    assert actions.names == ("noop", "a", "b", "start", "right", "left", "up", "down")
    # BUTTONS: A 0, B 1, SELECT 2, START 3, RIGHT 4, LEFT 5, UP 6, DOWN 7.
    assert actions.buttons.tolist() == [-1, 0, 1, 3, 4, 5, 6, 7]
    assert actions.noop == 0
    assert len(actions) == 8


def test_every_button_is_named_by_its_place_in_buttons():
    names = tuple(button.lower() for button in BUTTONS)
    assert ActionSet(names).button_indices == tuple(range(8))


def test_no_op_may_be_left_out():
    actions = ActionSet(("down", "a"))
    assert actions.noop is None
    assert actions.buttons.tolist() == [7, 0]
    assert actions.index("a") == 1


@pytest.mark.parametrize(
    ("names", "message"),
    [(("a", "turbo"), "'turbo'"), (("a", "a"), "distinct"), (("noop",), "at least one button"), ((), "at least one")],
)
def test_impossible_action_sets_are_refused(names, message):
    with pytest.raises(ConfigError, match=message):
        ActionSet(names)


def test_unknown_action_name_lists_the_known_ones():
    with pytest.raises(ConfigError, match="noop, a, b"):
        ActionSet().index("select")


def test_equal_action_sets_compare_equal():
    assert ActionSet() == ActionSet() != ActionSet(("a",))
    assert hash(ActionSet()) == hash(ActionSet())


@pytest.mark.parametrize(("frames", "hold"), [(24, 24), (24, 0), (1, 1), (4, 8)])
def test_button_must_be_up_before_the_step_ends(frames, hold):
    with pytest.raises(ConfigError, match=f"hold_frames must be .* got {hold}"):
        ActionTiming(frames_per_action=frames, hold_frames=hold)
