import io
import re

import pytest
import torch
from rich.console import Console
from tensordict import TensorDict
from torchrl.data import Binary, Categorical, Composite, Unbounded
from torchrl.envs import EnvBase

from pokered_rl.game import Milestone, Milestones
from pokered_rl.training.evaluation import Evaluation, RandomPolicy, evaluate, mean_interval, rate_interval, table


class _Corridor(EnvBase):
    """Row r walks right by its action (0 or 1) and is done after r + 2 steps; reward 1 for each step to the right."""

    def __init__(self, rows: int) -> None:
        super().__init__(batch_size=[rows])
        place = Composite(
            {name: Unbounded(shape=(rows,), dtype=torch.int64) for name in ("map_id", "x", "y")}, shape=(rows,)
        )
        mask = Binary(2, shape=(rows, 2), dtype=torch.bool)
        for name in ("badge_bits", "hall_of_fame"):
            place[name] = Unbounded(shape=(rows,), dtype=torch.int64)
        place["event_flags"] = Binary(2560, shape=(rows, 2560), dtype=torch.bool)
        self.observation_spec = Composite(game=place, action_mask=mask, shape=(rows,))
        self.action_spec = Categorical(2, shape=(rows,))
        self.reward_spec = Unbounded(shape=(rows, 1))
        self.rows = rows

    def _observe(self) -> dict:
        zero = torch.zeros(self.rows, dtype=torch.int64)
        flags = torch.zeros(self.rows, 2560, dtype=torch.bool)
        flags[:, 7] = self.x >= 2
        flags[:, 8] = True
        story = {"badge_bits": (self.x >= 3).long(), "hall_of_fame": zero, "event_flags": flags}
        game = TensorDict({"map_id": zero, "x": self.x.clone(), "y": zero, **story}, batch_size=[self.rows])
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


def test_table_has_a_row_for_each_evaluation_with_intervals_and_a_column_for_each_milestone():
    out = io.StringIO()
    rows = [
        ("random", Evaluation([4, 6], [0.5, 0.5], [5, 5], [{}, {}])),
        ("trained", Evaluation([10, 20], [1.0, 3.0], [5, 5], [{"a": 1}, {"a": 1, "b": 3}])),
    ]
    Console(file=out, width=100).print(table(rows, ["a", "b", "c"]))
    text = out.getvalue()
    # Wilson's interval of 1 in 2: centre 0.5, half 1.96 / (1 + 1.9207) * sqrt(0.125 + 0.2401) = 0.4055.
    for part in ("trained", "15", "(10-20)", "2.0", "50%", "(9-91%)", "random", "5", "(4-6)", "0.5"):
        assert part in text
    head, random, trained = (
        next(line for line in text.split("\n") if word in line) for word in ("policy", "ran", "tra")
    )
    assert re.findall("[a-z]+", head) == ["policy", "tiles", "return", "a", "b"]  # nobody came to c
    assert re.findall(r"(\d+)%", random) == ["0", "0"]
    assert re.findall(r"(\d+)%", trained) == ["100", "50"]
    assert text.index("random") < text.index("trained")


_STORY = Milestones(
    (Milestone("met", events=(7,)), Milestone("from the start", events=(8,)), Milestone("badge", badges=(0,)))
)


def test_milestones_are_noted_with_the_step_that_reached_them_and_not_those_of_the_start():
    # Row r makes r + 2 steps to the right: event 7 is set at x = 2, the badge is there at x = 3, so not in row 0.
    result = evaluate(_Corridor(3), RandomPolicy(), max_steps=50, milestones=_STORY)
    assert result.milestones == [{"met": 2}, {"met": 2, "badge": 3}, {"met": 2, "badge": 3}]


def test_nothing_counts_after_the_first_end_of_an_episode():
    # Row 0 ends at x = 2, but goes on being stepped while row 2 plays.
    result = evaluate(_Corridor(3), RandomPolicy(), max_steps=50, milestones=_STORY)
    assert "badge" not in result.milestones[0]


def test_summary_gives_rates_and_median_steps_in_the_order_of_the_story():
    summary = evaluate(_Corridor(3), RandomPolicy(), max_steps=50, milestones=_STORY).summary(_STORY.names)
    assert list(summary["milestones"]) == ["met", "from the start", "badge"]
    assert [each["rate"] for each in summary["milestones"].values()] == [1.0, 0.0, pytest.approx(2 / 3)]
    assert [each["median_step"] for each in summary["milestones"].values()] == [2, None, 3]
    assert summary["coverage"]["mean"] == 4.0
    assert summary["distinct_episodes"] == summary["episodes"] == 3
    assert Evaluation([5, 5], [1.0, 1.0], [9, 9]).summary()["distinct_episodes"] == 1


def test_one_episode_has_no_interval():
    summary = Evaluation([5], [1.0], [9], [{"met": 2}]).summary(["met"])
    assert summary["coverage"] == {"mean": 5.0, "interval": None}
    assert summary["milestones"]["met"] == {"rate": 1.0, "interval": None, "median_step": 2}


def test_wilson_interval_of_eight_out_of_ten():
    # centre = (0.8 + 3.8415/20) / (1 + 0.38415) = 0.71674; half = sqrt(0.016 + 3.8415/400) * 1.96 / 1.38415 = 0.2266
    low, high = rate_interval(8, 10)
    assert (low, high) == (pytest.approx(0.4902, abs=1e-4), pytest.approx(0.9433, abs=1e-4))
    # Of 0 in 10: high = z^2 / (10 + z^2) = 3.8415 / 13.8415.
    assert rate_interval(0, 10) == (pytest.approx(0.0, abs=1e-12), pytest.approx(0.27753, abs=1e-4))


def test_bootstrapped_interval_is_that_of_the_mean():
    # 400 values with mean 0.5 and standard deviation 0.5: standard error 0.025, so 0.5 -+ 1.96 * 0.025.
    low, high = mean_interval([0.0, 1.0] * 200)
    assert low == pytest.approx(0.451, abs=0.01)
    assert high == pytest.approx(0.549, abs=0.01)
    assert mean_interval([3.0, 3.0]) == (3.0, 3.0)


def test_joined_evaluations_keep_the_order_of_their_episodes():
    joined = Evaluation.joined([Evaluation([1], [2.0], [3], [{"a": 1}]), Evaluation([4], [5.0], [6], [{}])], at_steps=7)
    assert joined == Evaluation([1, 4], [2.0, 5.0], [3, 6], [{"a": 1}, {}], at_steps=7)
    assert joined.mean_milestones == 0.5
    assert joined.furthest(["a", "b"]) == ("a", 0.5)
    assert joined.furthest(["b"]) is None


def test_evaluation_can_be_ended_from_outside():
    calls = iter([None, None, "signal"])
    result = evaluate(_Corridor(3), RandomPolicy(), max_steps=50, stopped=lambda: next(calls, "signal"))
    assert max(result.lengths) == 3  # not 4
