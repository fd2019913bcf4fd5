import numpy as np
import pytest

from pokered_rl.game import GameMaps
from pokered_rl.record.maps import affordance_figure, background_picture, maps_figure, world_figure
from pokered_rl.record.survey import MapSurvey, trace


@pytest.fixture(scope="module")
def traced(recorded_logs, sprout):
    return trace(recorded_logs[0], cartridge=sprout, screens=True)


@pytest.fixture(scope="module")
def surveyed(traced, sprout):
    result = MapSurvey(maps=sprout.profile.maps)
    result.add(traced)
    return result


@pytest.mark.parametrize("show", ["visits", "first_visit"])
def test_every_visited_map_is_drawn_in_its_own_axes(surveyed, show):
    figure = maps_figure(surveyed, show=show)
    titles = [axes.get_title() for axes in figure.axes if axes.get_title()]
    assert len(titles) == len(surveyed.map_ids)
    visited = int((surveyed.visit_counts(38) > 0).sum())
    assert titles[0].endswith(f"({visited} of 80)")


@pytest.mark.parametrize("show", ["visits", "first_visit"])
def test_houses_count_at_their_doors_in_the_world(surveyed, show, sprout):
    figure = world_figure(surveyed, show=show)
    image = figure.axes[0].images[-1].get_array()
    assert (~image.mask).sum() == 1  # all of the bedroom is the door of the house
    assert image.max() == (sum(surveyed.visits.values()) if show == "visits" else 0)


def test_maps_without_a_place_are_said_to_have_none(traced, sprout):
    nowhere = MapSurvey(maps=GameMaps(()))
    nowhere.add(traced)
    (axes,) = world_figure(nowhere).axes
    assert "no" in axes.texts[0].get_text()
    assert maps_figure(nowhere).axes[0].get_title().startswith("map 38")


def test_what_was_not_seen_is_lighter_than_black_and_darker_than_white(surveyed):
    picture = background_picture(surveyed, 38)
    assert picture.dtype == np.uint8
    assert picture.shape == (128, 160, 3)


def test_the_share_of_usable_buttons_is_shown_for_every_kind_of_screen(traced):
    axes = affordance_figure([traced]).axes[0]
    shares = axes.images[0].get_array()
    assert shares.shape == (len(set(traced.kinds.tolist())), 8)
    overworld = traced.usable[traced.kinds == 0]
    assert np.asarray(shares[0]) == pytest.approx(overworld.mean(axis=0))
