from dataclasses import replace

import numpy as np
import pytest

from pokered_rl.episodes import Outcome, ReachedMilestone
from pokered_rl.errors import ConfigError
from pokered_rl.record.curves import (
    learning_curve,
    learning_figure,
    milestone_figure,
    milestone_steps,
    reward_stack_figure,
)


@pytest.fixture
def episodes(recorded_logs):
    """Makes a run: one log of 40 steps for each return given, beginning at the global steps 0, 40, 80, ..."""

    def make(returns, milestones=()):
        template = recorded_logs[0]
        logs = []
        for number, value in enumerate(returns):
            rewards = np.zeros(40, np.float32)
            rewards[0] = value
            terms = np.stack([rewards, np.zeros(40, np.float32)], axis=1)
            logs.append(
                replace(
                    template,
                    header=replace(template.header, global_step=40 * number),
                    rewards=rewards,
                    term_rewards=terms,
                    milestones=tuple(ReachedMilestone(*each) for each in milestones) if number == 1 else (),
                )
            )
        return logs

    return make


def test_a_curve_is_the_mean_over_episodes_then_over_seeds(episodes):
    curve = learning_curve([episodes([0, 2, 4, 6]), episodes([2, 4, 6, 8])], points=2)
    # 160 steps in two intervals of 80, two episodes in each: means 1 and 5, and 3 and 7.
    assert curve.steps.tolist() == [40, 120]
    assert curve.mean.tolist() == [2, 6]
    # Two seeds that differ by 2: standard deviation sqrt(2), standard error 1, t(1 degree of freedom) = 12.706.
    assert curve.high - curve.mean == pytest.approx([12.706, 12.706])
    assert curve.mean - curve.low == pytest.approx([12.706, 12.706])


def test_one_seed_has_the_middle_half_of_its_episodes_as_band(episodes):
    curve = learning_curve([episodes([0, 1, 2, 3, 4])], points=1)
    assert (curve.mean[0], curve.low[0], curve.high[0]) == (2, 1, 3)


def test_a_mean_over_seeds_ends_where_the_shortest_run_ends(episodes):
    # Thirds of 160 steps, since the shorter run has three episodes: 0, then 2 and 4, then 6; and 2, then 4 and 6.
    curve = learning_curve([episodes([0, 2, 4, 6]), episodes([2, 4, 6])], points=4)
    assert curve.mean[:2].tolist() == [1, 4]
    assert np.isnan(curve.mean[-1])


def test_episodes_that_the_end_of_a_job_cut_in_two_are_left_out(episodes):
    whole, first, rest, segment = episodes([4, 1, 2, 8])
    first = replace(first, outcome=Outcome.SHUTDOWN)
    rest = replace(rest, header=replace(rest.header, segment=1))
    segment = replace(segment, header=replace(segment.header, segment=3), outcome=Outcome.CONTINUED)
    assert learning_curve([[whole, first, rest, segment]], points=1).mean[0] == 6  # 4 and 8
    assert learning_curve([[first]], points=1).mean[0] == 1, "better than nothing"


def test_a_term_can_be_shown_alone(episodes):
    assert learning_curve([episodes([1, 3])], points=1, term="coverage").mean[0] == 2
    assert learning_curve([episodes([1, 3])], points=1, term="time").mean[0] == 0


def test_a_curve_needs_episodes(episodes):
    for seeds in ([], [[]], [episodes([1]), []]):
        with pytest.raises(ConfigError, match="at least one episode log"):
            learning_curve(seeds)


def test_the_step_of_a_milestone_is_that_of_the_earliest_episode(episodes):
    logs = episodes([0, 0, 0], milestones=[(5, "door"), (30, "badge")])
    later = [replace(log, header=replace(log.header, global_step=1000)) for log in logs]
    assert milestone_steps(later + logs) == {"door": 45, "badge": 70}
    assert milestone_steps(logs[:1]) == {}


def test_figures_are_drawn(episodes, tmp_path):
    logs = episodes([1, 2, 3], milestones=[(5, "door")])
    for number, figure in enumerate(
        (
            learning_figure({"one seed": [logs], "two seeds": [logs, logs]}),
            reward_stack_figure(logs),
            milestone_figure({"a": logs, "b": logs[:1]}),
        )
    ):
        figure.savefig(tmp_path / f"{number}.png")
        assert (tmp_path / f"{number}.png").stat().st_size > 5000
