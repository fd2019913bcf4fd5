"""A reward term of your own in ten lines, beside some of ours.

python examples/reuse/reward_term.py --steps 200
"""

import argparse

from pokered_rl import make_env
from pokered_rl.envs.rewards import REWARD_TERMS, RewardTerm


class Texts(RewardTerm):
    """Pays for a text box that opens: for looking at things and talking to people."""

    name, default_weight = "texts", 0.1

    def _value(self, step):  # [E] from the frames before and after the step
        return step.now.text_open & ~step.before.text_open


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--steps", type=int, default=200, help="random steps of each emulator (%(default)s)")
    arguments = parser.parse_args()

    only = dict.fromkeys(REWARD_TERMS, 0.0) | {"new_tiles": 1.0, "badges": 5.0}  # every other term is off
    env = make_env(num_emulators=4, reward={"weights": only, "extra_terms": [Texts(weight=0.5)]})
    rollout = env.rollout(arguments.steps, break_when_any_done=False)  # [4, T]
    for name, values in rollout["next", "reward_terms"].items():
        print(f"{name:12} {values.sum() / 4:8.2f} an episode")
    env.close()
