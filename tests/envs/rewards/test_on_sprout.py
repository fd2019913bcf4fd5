"""Terms on the bundled cartridge, where RAM made by hand could be wrong."""

import torch

from pokered_rl.emulator import start_states
from pokered_rl.envs import make_env
from pokered_rl.envs.rewards import REWARD_TERMS


def test_a_door_pays_once_each_way(sprout):
    weights = dict.fromkeys(REWARD_TERMS, 0.0) | {"warps": 1.0}
    # In front of the house that was just left: the way out was used before the episode began.
    env = make_env(sprout, start_states=start_states(sprout)["leave_home"], reward={"weights": weights})
    try:
        td, paid = env.reset(), []
        for button in ("up", "down") * 3:
            td["action"] = torch.tensor([env.base_env.actions.index(button)])
            td = env.step(td)["next"]
            paid.append(td["reward"].item())
    finally:
        env.close()
    assert paid == [1, 0, 0, 0, 0, 0]


def test_talking_is_paid_in_random_play(sprout):
    weights = dict.fromkeys(REWARD_TERMS, 0.0) | {"talks": 1.0}
    states = list(start_states(sprout).values())[:8]
    env = make_env(sprout, num_emulators=8, start_states=states, reward={"weights": weights}, seed=1)
    try:
        torch.manual_seed(1)
        paid = env.rollout(200, break_when_any_done=False)["next", "reward"]
    finally:
        env.close()
    assert paid.sum() > 0
