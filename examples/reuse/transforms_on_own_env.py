"""Our transforms on an environment written by hand: all that they want is the console's memory under `ram`.

python examples/reuse/transforms_on_own_env.py --steps 100
"""

import argparse

import torch
from tensordict import TensorDict
from torchrl.data import Binary, Categorical, Composite, Unbounded
from torchrl.envs import Compose, EnvBase, TransformedEnv

from pokered_rl.envs import ContextFeatures, GameStateReader, MapMemory, RewardTerms
from pokered_rl.envs.rewards import NewTiles
from pokered_rl.game import FULL_LAYOUT, RAM_MAP

X, Y, WIDTH, HEIGHT = (
    FULL_LAYOUT.column(RAM_MAP[label].address)
    for label in ("wXCoord", "wYCoord", "wCurrentMapWidth2", "wCurrentMapHeight2")
)


class Walkers(EnvBase):
    """Walkers on an empty map of 20 x 18 tiles, without any emulator: each action moves one a tile."""

    def __init__(self, num_walkers: int) -> None:
        super().__init__(batch_size=[num_walkers])
        flag = {"n": 1, "shape": (num_walkers, 1), "dtype": torch.bool}
        ram = Unbounded(shape=(num_walkers, FULL_LAYOUT.size), dtype=torch.uint8)
        self.observation_spec = Composite(ram=ram, shape=[num_walkers])
        self.action_spec = Categorical(4, shape=(num_walkers,))
        self.reward_spec = Unbounded(shape=(num_walkers, 1))
        self.done_spec = Composite({key: Binary(**flag) for key in ("done", "terminated")}, shape=[num_walkers])

    def _reset(self, tensordict: TensorDict | None = None, **_: object) -> TensorDict:
        self.ram = torch.zeros(*self.batch_size, FULL_LAYOUT.size, dtype=torch.uint8)
        self.ram[:, [X, Y, WIDTH, HEIGHT]] = torch.tensor([10, 9, 20, 18], dtype=torch.uint8)
        return TensorDict({"ram": self.ram.clone()}, self.batch_size).update(self.done_spec.zero())

    def _step(self, tensordict: TensorDict) -> TensorDict:
        move = torch.tensor([[1, 0], [-1, 0], [0, -1], [0, 1]])[tensordict["action"]]
        place = (self.ram[:, [X, Y]].long() + move).clamp(torch.zeros(2), torch.tensor([19, 17]))
        self.ram[:, [X, Y]] = place.to(torch.uint8)
        return TensorDict({"ram": self.ram.clone()}, self.batch_size).update(self.full_done_spec.zero())

    def _set_seed(self, seed: int | None) -> None:
        torch.manual_seed(seed or 0)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--steps", type=int, default=100, help="random steps (%(default)s)")
    steps = parser.parse_args().steps
    terms = [NewTiles(weight=1.0, neighbour=0.0, distance=0.0)]
    ours = Compose(GameStateReader(fields=("x", "y")), MapMemory(), ContextFeatures(), RewardTerms(terms=terms))
    rollout = TransformedEnv(Walkers(2), ours).rollout(steps)
    print({key: tuple(rollout[key].shape) for key in ("map_memory", "context", ("game", "x"))})
    print("new tiles of each walker:", rollout["next", "reward"].sum((1, 2)).tolist())
