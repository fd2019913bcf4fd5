import io

import torch
from rich.console import Console
from tensordict import TensorDict
from torchrl.data import Binary, Categorical, Composite, Unbounded
from torchrl.envs import EnvBase

from pokered_rl.training.evaluate import Evaluation, RandomPolicy, evaluate, table


class _Corridor(EnvBase):
    """Row r walks right by its action (0 or 1) and is done after r + 2 steps; reward 1 for each step to the right."""

    def __init__(self, rows: int) -> None:
        super().__init__(batch_size=[rows])
        place = Composite(
            {name: Unbounded(shape=(rows,), dtype=torch.int64) for name in ("map_id", "x", "y")}, shape=(rows,)
        )
        mask = Binary(2, shape=(rows, 2), dtype=torch.bool)
        self.observation_spec = Composite(game=place, action_mask=mask, shape=(rows,))
        self.action_spec = Categorical(2, shape=(rows,))
        self.reward_spec = Unbounded(shape=(rows, 1))
        self.rows = rows

    def _observe(self) -> dict:
        zero = torch.zeros(self.rows, dtype=torch.int64)
        game = TensorDict({"map_id": zero, "x": self.x.clone(), "y": zero}, batch_size=[self.rows])
        return {"game": game, "action_mask": torch.tensor([[False, True]]).expand(self.rows, 2).clone()}

    def _reset(self, tensordict=None, **kwargs):
        self.x = torch.zeros(self.rows, dtype=torch.int64)
        self.t = 0
        return TensorDict(self._observe(), batch_size=[self.rows])

    def _step(self, tensordict):
        self.x = self.x + tensordict["action"]
        self.t += 1
        done = (torch.arange(self.rows) + 2 <= self.t).unsqueeze(-1)
        reward = tensordict["action"].float().unsqueeze(-1)
        return TensorDict({**self._observe(), "reward": reward, "done": done}, batch_size=[self.rows])

    def _set_seed(self, seed):
        pass


def test_each_row_counts_until_its_own_first_end():
    # The mask allows only "right": row r makes r + 2 steps, sees r + 3 places with its start and gets r + 2.
    result = evaluate(_Corridor(3), RandomPolicy(seed=1), max_steps=50)
    assert result.lengths == [2, 3, 4]
    assert result.coverage == [3, 4, 5]
    assert result.returns == [2.0, 3.0, 4.0]
    assert result.mean_coverage == 4.0


def test_evaluation_stops_at_the_step_limit():
    result = evaluate(_Corridor(3), RandomPolicy(), max_steps=2)
    assert result.lengths == [2, 2, 2]


def test_random_policy_draws_uniformly_from_what_is_allowed():
    mask = torch.tensor([[True, False, True, False]]).repeat(4000, 1)
    action = RandomPolicy(seed=3)(TensorDict({"action_mask": mask}, batch_size=[4000]))["action"]
    counts = torch.bincount(action, minlength=4)
    assert counts[1] == counts[3] == 0
    # Binomial(4000, 1/2): mean 2000, standard deviation 31.6; five of them are 158.
    assert abs(int(counts[0]) - 2000) < 158


def test_row_that_allows_nothing_allows_everything():
    mask = torch.zeros(100, 4, dtype=torch.bool)
    action = RandomPolicy(seed=3)(TensorDict({"action_mask": mask}, batch_size=[100]))["action"]
    assert set(action.tolist()) == {0, 1, 2, 3}


def test_table_puts_both_policies_side_by_side():
    out = io.StringIO()
    shown = table(Evaluation([10, 20], [1.0, 3.0], [5, 5]), Evaluation([4, 6], [0.5, 0.5], [5, 5]))
    Console(file=out, width=100).print(shown)
    text = out.getvalue()
    for part in ("trained", "15.0", "20", "2.00", "random", "5.0", "0.50"):
        assert part in text
