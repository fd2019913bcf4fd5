"""`AffordanceMask`: the rules reach the action spec, and failures are learned in menus only."""

import numpy as np
import pytest
import torch
from tensordict import TensorDict

from pokered_rl.emulator import ActionSet
from pokered_rl.envs import AffordanceMask, make_env
from pokered_rl.envs.transforms.affordance_mask import FailureMemory
from pokered_rl.errors import CheckpointError, ConfigError

NAMES = ActionSet().names
NOOP, A, B, START, RIGHT, LEFT, UP, DOWN = range(8)


def _td(ram: torch.Tensor, action: int = 0) -> TensorDict:
    return TensorDict({"ram": ram[None], "action": torch.tensor([action])}, [1])


def _allowed(td: TensorDict) -> set[str]:
    return {name for name, on in zip(NAMES, td["action_mask"][0].tolist(), strict=True) if on}


def test_everything_is_allowed_in_the_overworld(overworld):
    assert _allowed(AffordanceMask()(_td(overworld()))) == set(NAMES)


def test_left_and_right_are_masked_in_the_start_menu(start_menu):
    # ram_map: the START menu watches A B START and the cursor keys UP and DOWN.
    assert _allowed(AffordanceMask()(_td(start_menu()))) == set(NAMES) - {"left", "right"}


def test_an_action_that_changed_nothing_three_times_is_masked(start_menu):
    mask = AffordanceMask()
    mask(_td(start_menu()))
    for k in range(3):
        assert "a" in _allowed(mask(_td(start_menu(), A))) or k == 2
    assert "a" not in _allowed(mask(_td(start_menu())))


def test_an_effect_clears_the_failures(start_menu):
    mask = AffordanceMask()
    mask(_td(start_menu()))
    mask(_td(start_menu(), A))
    mask(_td(start_menu(), A))
    mask(_td(start_menu(wCurrentMenuItem=1), A))  # this time the cursor moved
    mask(_td(start_menu(), UP))
    mask(_td(start_menu(), A))
    assert "a" in _allowed(mask(_td(start_menu())))


@pytest.mark.parametrize("wait_frames", [0, 4])
def test_a_step_in_which_the_game_was_busy_had_an_effect(start_menu, wait_frames):
    # A refusal shows a text and leads back to the same menu: the game ignored the buttons meanwhile.
    mask = AffordanceMask()
    mask(_td(start_menu()))
    for _ in range(4):
        td = mask(_td(start_menu(), A).set("wait_frames", torch.tensor([[wait_frames]], dtype=torch.int32)))
    assert ("a" in _allowed(td)) is bool(wait_frames)


def test_one_emulator_that_waited_clears_nothing_of_another(start_menu):
    mask = AffordanceMask()
    two = TensorDict({"ram": torch.stack([start_menu()] * 2), "action": torch.tensor([A, A])}, [2])
    two["wait_frames"] = torch.tensor([[0], [40]])
    for _ in range(5):
        td = mask(two.clone())
    assert td["action_mask"][:, A].tolist() == [False, True]


def test_failures_in_one_situation_mask_nothing_in_another(start_menu):
    mask = AffordanceMask()
    mask(_td(start_menu()))
    for _ in range(4):
        mask(_td(start_menu(), A))
    assert "a" not in _allowed(mask(_td(start_menu())))
    assert "a" in _allowed(mask(_td(start_menu(wCurrentMenuItem=2))))


def test_a_masked_action_is_tried_again_after_its_count_has_decayed(start_menu):
    mask = AffordanceMask(decay=0.9)
    mask(_td(start_menu()))
    for _ in range(3):
        mask(_td(start_menu(), A))
    # 1 + 0.9 + 0.81 = 2.71; masked while the count is at least 2.5, so until one more visit: 2.71 * 0.9 = 2.44.
    assert "a" not in _allowed(mask(_td(start_menu())))
    assert "a" in _allowed(mask(_td(start_menu(), START)))


def test_b_the_way_out_is_never_masked_by_experience(start_menu):
    mask = AffordanceMask()
    mask(_td(start_menu()))
    for _ in range(6):
        mask(_td(start_menu(), B))
    assert "b" in _allowed(mask(_td(start_menu())))


def test_the_last_button_left_is_never_masked(start_menu):
    actions = ActionSet(("noop", "a", "right"))
    mask = AffordanceMask(actions=actions)
    mask(_td(start_menu()))
    for _ in range(6):
        mask(_td(start_menu(), 1))
    # RIGHT is masked by the rules; without A nothing but waiting would be left.
    assert mask(_td(start_menu()))["action_mask"][0].tolist() == [True, True, False]


def test_nothing_is_learned_in_the_overworld(overworld):
    mask = AffordanceMask()
    for _ in range(10):
        td = mask(_td(overworld(), UP))
    assert _allowed(td) == set(NAMES)
    assert len(mask.failures) == 0


def test_letters_make_a_situation_and_the_blinking_arrow_and_the_map_do_not(start_menu, write):
    mask = AffordanceMask()

    def screen(*tiles: tuple[int, int]) -> torch.Tensor:
        picture = [0] * 360
        picture[2 * 20 + 11] = 0xED
        for place, tile in tiles:
            picture[place] = tile
        return start_menu(wTileMap=picture)

    arrow = 4 * 20 + 18
    mask(_td(screen((0, 0x80), (arrow, 0xEE))))
    for k in range(4):
        # The arrow comes and goes, water behind the menu moves: the same situation.
        mask(_td(screen((0, 0x80), (arrow, 0xEE if k % 2 else 0x7F), (300, 0x14 + k)), A))
    assert "a" not in _allowed(mask(_td(screen((0, 0x80), (arrow, 0x7F)))))
    assert "a" in _allowed(mask(_td(screen((0, 0x81), (arrow, 0x7F)))))


@pytest.mark.parametrize("persistent", [False, True])
def test_a_new_episode_forgets_unless_the_memory_is_persistent(start_menu, persistent):
    mask = AffordanceMask(persistent=persistent)
    mask(_td(start_menu()))
    for _ in range(4):
        mask(_td(start_menu(), A))
    td = mask._reset(TensorDict({}, [1]), _td(start_menu()).select("ram"))
    assert ("a" not in _allowed(td)) is persistent


def test_a_persistent_memory_is_shared_by_the_emulators(start_menu):
    mask = AffordanceMask(persistent=True)
    two = TensorDict({"ram": torch.stack([start_menu(), start_menu()]), "action": torch.tensor([A, A])}, [2])
    mask(two.clone())
    mask(two.clone())
    td = mask(two.clone())
    # Two emulators failed twice each, which makes four (less the decay).
    assert not td["action_mask"][:, A].any()


def test_without_the_memory_only_the_rules_mask(start_menu):
    mask = AffordanceMask(learned=False)
    for _ in range(6):
        td = mask(_td(start_menu(), A))
    assert _allowed(td) == set(NAMES) - {"left", "right"}


def test_without_a_no_op_everything_is_allowed_where_nothing_would_be(start_menu):
    mask = AffordanceMask(actions=ActionSet(("left", "right")))
    assert mask(_td(start_menu()))["action_mask"].all()


def test_the_mask_fires_in_play_and_random_actions_respect_it(sprout, start):
    """Regression: the first version of this system compared incomparable frames, so its mask never fired."""
    env = make_env(sprout, num_emulators=2, start_states=start, seed=0)
    try:
        torch.manual_seed(0)
        td = env.reset()
        td["action"] = torch.full((2,), START)
        td = env.step(td)["next"]
        assert not td["action_mask"][:, RIGHT].any()
        for _ in range(60):
            td = env.rand_action(td)
            assert td["action_mask"].gather(-1, td["action"].unsqueeze(-1)).all()
            td = env.step(td)["next"]
    finally:
        env.close()


def test_one_hot_action_specs_carry_the_mask_too(sprout, start):
    env = make_env(sprout, num_emulators=1, start_states=start, one_hot_actions=True)
    try:
        td = env.reset()
        td["action"] = torch.nn.functional.one_hot(torch.tensor([START]), 8).bool()
        td = env.step(td)["next"]
        drawn = {int(env.rand_action(td)["action"].to(torch.uint8).argmax(-1)) for _ in range(60)}
        assert RIGHT not in drawn
        assert LEFT not in drawn
        assert len(drawn) > 3
    finally:
        env.close()


def test_what_one_emulator_has_learned_is_carried_into_another(start_menu):
    mask, other = AffordanceMask(), AffordanceMask()
    mask(_td(start_menu()))
    for _ in range(3):
        mask(_td(start_menu(), A))
    other(_td(start_menu()))
    other.load_emulator_state(0, mask.emulator_state(0))
    assert "a" not in _allowed(other(_td(start_menu())))
    # With the next episode it is forgotten.
    assert "a" in _allowed(other(_td(start_menu()).set("is_init", torch.ones(1, 1, dtype=torch.bool))))


def test_a_memory_of_all_episodes_is_not_carried_by_one(start_menu):
    mask = AffordanceMask(persistent=True)
    mask(_td(start_menu()))
    for _ in range(3):
        mask(_td(start_menu(), A))
    assert mask.emulator_state(0) == {}
    assert not mask.carries_memory


def test_a_full_failure_memory_forgets_the_least_recently_used():
    memory, owners = FailureMemory(capacity=8, num_actions=2), np.zeros(1, np.uint64)
    keys = np.arange(1, 9, dtype=np.uint64)
    for key in keys:
        memory.counts[memory.slots(key[None], owners)[0], 0] = float(key)
    memory.slots(keys[:1], owners)  # the first is used again, so the second is the oldest
    memory.slots(np.array([99], np.uint64), owners)
    assert len(memory) == 8
    assert memory.counts[memory.slots(keys[:1], owners)[0], 0] == 1.0
    # The second made room: asked for again, it comes back empty.
    assert memory.counts[memory.slots(keys[1:2], owners)[0], 0] == 0.0


def test_the_failure_memory_refuses_a_state_of_another_shape():
    state = FailureMemory(capacity=8, num_actions=2).state_dict()
    with pytest.raises(CheckpointError, match="capacity"):
        FailureMemory(capacity=16, num_actions=2).load_state_dict(state)


@pytest.mark.parametrize(("name", "value"), [("fail_threshold", 0), ("decay", 0.0), ("decay", 1.5), ("capacity", 0)])
def test_arguments_out_of_range_are_refused(name, value):
    with pytest.raises(ConfigError, match=name):
        AffordanceMask(**{name: value})
