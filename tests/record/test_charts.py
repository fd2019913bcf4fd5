"""Charts of a run's metrics: what the report and the live page draw."""

import numpy as np
import pytest

from pokered_rl.record.charts import metrics_charts, read_evaluations, returns_chart, series_of
from pokered_rl.record.curves import Curve

EVALUATION = """job,steps,policy,episodes,return,return_low,return_high,tiles,rate_door,rate_door_low,rate_door_high
1,10,trained,10,1,0.5,1.5,4,,,
1,10,random,10,0.25,0.2,0.3,2,,,
1,20,trained,10,2,1.5,2.5,6,0.5,0.3,0.7
"""
TRAIN = """job,steps,recent_return,loss_quantile,mean_q,steps_per_second,rate_door,abandoned
1,5,0.5,,,100,,
1,99,9,9,9,9,,1
2,10,0.75,2,0.1,200,0.25,
2,15,nan,1,0.2,200,0.5,
"""


@pytest.fixture
def run(tmp_path):
    (tmp_path / "metrics").mkdir()
    (tmp_path / "metrics" / "evaluation.csv").write_text(EVALUATION)
    (tmp_path / "metrics" / "train.csv").write_text(TRAIN)
    return tmp_path


def test_evaluations_that_were_played_again_are_left_out_and_the_rest_is_in_order(tmp_path):
    table = tmp_path / "evaluation.csv"
    table.write_text("job,steps,policy,tiles,abandoned\n1,30,trained,5,1\n2,20,trained,4,\n1,10,trained,3,\n")
    assert [row["tiles"] for row in read_evaluations(table)] == ["3", "4"]
    assert read_evaluations(tmp_path / "gone.csv") == []


def test_training_evaluation_and_random_policy_are_in_one_chart(run):
    charts = {chart["title"]: chart for chart in metrics_charts(run, milestones=["window", "door"])}
    assert list(charts) == [
        *("return", "tiles an episode", "milestones, training", "milestones, evaluation"),
        *("steps and updates a second", "loss", "Q"),
    ]
    training, evaluation = charts["return"]["series"]
    # Rows that a crash undid, and values that are no numbers, are left out.
    assert (training["x"], training["y"]) == ([5, 10], [0.5, 0.75])
    assert evaluation == {
        "name": "evaluation",
        "x": [10, 20],
        "y": [1.0, 2.0],
        "low": [0.5, 1.5],
        "high": [1.5, 2.5],
    }
    assert charts["return"]["lines"] == [{"name": "random policy", "y": 0.25}]
    assert charts["loss"]["series"][0]["y"] == [2.0, 1.0]


def test_diagnostics_of_each_part_of_the_network_are_lines_of_one_chart(run):
    (run / "metrics" / "train.csv").write_text(
        "steps,lr_share_core,q_share_pixels,q_share_own_input\n10,0.5,0.9,0.1\n20,0.75,0.8,0.2\n"
    )
    charts = {chart["title"]: chart for chart in metrics_charts(run)}
    (core,) = charts["share of the learning rate that acts"]["series"]
    assert core == {"name": "core", "x": [10, 20], "y": [0.5, 0.75]}
    assert "share of dormant units" not in charts
    assert [line["name"] for line in charts["share of an input in Q"]["series"]] == ["pixels", "own_input"]


def test_a_rate_that_no_episode_has_reached_yet_is_0_with_its_interval(run):
    charts = {chart["title"]: chart for chart in metrics_charts(run, milestones=["window", "door"])}
    (door,) = charts["milestones, evaluation"]["series"]
    assert (door["y"], door["low"]) == ([0.0, 0.5], [0.0, 0.3])
    # Wilson's upper end of 0 in 10 is 3.8415 / 13.8415.
    assert door["high"] == [pytest.approx(0.27753, abs=1e-5), 0.7]
    assert charts["milestones, training"]["series"][0]["y"] == [0.0, 0.25, 0.5]


def test_many_rows_are_averaged():
    rows = [{"steps": str(step), "loss": str(step % 2)} for step in range(600)]
    series = series_of(rows, "loss", name="loss")
    assert len(series["x"]) == 300
    assert set(series["y"]) == {0.5}  # of each two rows
    assert series["x"][-1] == 599


def test_a_run_without_metrics_has_no_charts(tmp_path):
    assert metrics_charts(tmp_path) == []


def test_points_of_a_curve_without_an_episode_are_left_out():
    mean = np.array([1.0, np.nan, 3.0])
    curve = Curve(steps=np.array([5.0, 15.0, 25.0]), mean=mean, low=mean - 1, high=mean + 1, seeds=1)
    chart = returns_chart("return", curve, ([1, 2], [0.5, 0.25]))
    assert chart["series"][0]["x"] == [5, 25]
    assert chart["series"][0]["high"] == [2.0, 4.0]
    assert chart["series"][1]["dots"] is True
