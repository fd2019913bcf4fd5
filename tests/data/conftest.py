import numpy as np
import pytest
import torch
from tensordict import TensorDict


class RolloutStream:
    """Collector batches whose every number tells where it comes from.

    Observation of emulator e, episode n, step t: [e, n, t]; recurrent state before it: 1000 e + 100 n + t (zero at
    t = 0, as the primer leaves it); action t % 3; reward t + 1. Episodes end after the given numbers of steps; an odd
    number truncates, an even one terminates.
    """

    def __init__(self, lengths: list[list[int]]) -> None:
        self.lengths = lengths  # [E][episode]
        self.at = [(0, 0)] * len(lengths)  # episode, step

    def observation(self, e: int, n: int, t: int) -> torch.Tensor:
        return torch.tensor([e, n, t], dtype=torch.float32)

    def state(self, e: int, n: int, t: int) -> torch.Tensor:
        return torch.tensor([1000.0 * e + 100.0 * n + t if t else 0.0])

    def value(self, e: int, n: int, t: int) -> torch.Tensor:
        return torch.tensor([0.1 * t, 0.2 * t + n, 0.3 * t - e])

    def mask(self, t: int) -> torch.Tensor:
        return torch.tensor([t % 2 == 0, True, t % 3 == 0])

    def batch(self, time: int) -> TensorDict:
        envs = len(self.lengths)
        td = TensorDict(
            {
                "pixels": torch.zeros(envs, time, 3),
                "action_mask": torch.zeros(envs, time, 3, dtype=torch.bool),
                "action": torch.zeros(envs, time, dtype=torch.int64),
                "action_value": torch.zeros(envs, time, 3),
                "is_init": torch.zeros(envs, time, 1, dtype=torch.bool),
                "step_count": torch.zeros(envs, time, 1, dtype=torch.int64),
                "recurrent_state_h": torch.zeros(envs, time, 1),
                "recurrent_state_c": torch.zeros(envs, time, 1),
                "next": {
                    "pixels": torch.zeros(envs, time, 3),
                    "action_mask": torch.zeros(envs, time, 3, dtype=torch.bool),
                    "reward": torch.zeros(envs, time, 1),
                    "done": torch.zeros(envs, time, 1, dtype=torch.bool),
                    "terminated": torch.zeros(envs, time, 1, dtype=torch.bool),
                    "truncated": torch.zeros(envs, time, 1, dtype=torch.bool),
                },
            },
            batch_size=[envs, time],
        )
        for e in range(envs):
            n, t = self.at[e]
            for i in range(time):
                td["pixels"][e, i] = self.observation(e, n, t)
                td["action_mask"][e, i] = self.mask(t)
                td["action"][e, i] = t % 3
                td["action_value"][e, i] = self.value(e, n, t)
                td["is_init"][e, i] = t == 0
                td["step_count"][e, i] = t
                td["recurrent_state_h"][e, i] = self.state(e, n, t)
                td["recurrent_state_c"][e, i] = -self.state(e, n, t)
                td["next", "reward"][e, i] = t + 1
                td["next", "pixels"][e, i] = self.observation(e, n, t + 1)
                td["next", "action_mask"][e, i] = self.mask(t + 1)
                length = self.lengths[e][n]
                if t + 1 == length:
                    td["next", "done"][e, i] = True
                    td["next", "truncated" if length % 2 else "terminated"][e, i] = True
                    n, t = n + 1, 0
                else:
                    t += 1
            self.at[e] = (n, t)
        return td


@pytest.fixture
def rollout_stream():
    return RolloutStream


@pytest.fixture(autouse=True)
def _few_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002 - third-party code under test may read the global generator
    yield
    torch.set_num_threads(before)
