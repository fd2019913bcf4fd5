from dataclasses import replace

import numpy as np
import pytest

from pokered_rl.errors import ConfigError
from pokered_rl.game import GameMaps, ScreenKind
from pokered_rl.record.maps import affordance_figure, background_picture, has_place, maps_figure, world_figure
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


def test_the_world_says_that_no_visited_map_has_a_place(traced, sprout):
    nowhere = MapSurvey(maps=GameMaps(()))
    nowhere.add(traced)
    (axes,) = world_figure(nowhere).axes
    assert "no" in axes.texts[0].get_text()
    assert maps_figure(nowhere).axes[0].get_title().startswith("map 38")


def test_unseen_parts_are_lighter_than_black_and_darker_than_white(surveyed):
    picture = background_picture(surveyed, 38)
    assert picture.dtype == np.uint8
    assert picture.shape == (128, 160, 3)


def _cells(axes):
    return {(text.get_position()[1], text.get_position()[0]): text.get_text() for text in axes.texts}


def test_masked_actions_are_shown_for_every_kind_of_screen_and_every_map(traced, sprout):
    # 41 pictures of 8 actions: on 10 of the overworld, "a" was masked by the rules on 2, and by experience on 5 more.
    kinds = np.array([ScreenKind.OVERWORLD] * 10 + [ScreenKind.TEXT_WAITING] * 31, np.uint8)
    usable = np.ones((41, 8), bool)
    usable[:2, 1] = False
    allowed = usable.copy()
    allowed[2:7, 1] = False
    places = np.zeros((41, 3), np.int64)
    places[:20, 0] = 38
    made = replace(traced, kinds=kinds, usable=usable, allowed=allowed, places=places)
    axes = affordance_figure([made]).axes[0]
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert names == ["text waiting 75.6%", "overworld 24.4%"]  # 31 and 10 of 41
    assert [label.get_text() for label in axes.get_xticklabels()] == list(traced.log.header.actions)
    assert _cells(axes)[1, 1] == "20%+50%"
    assert _cells(axes)[0, 1] == "-"
    assert axes.images[0].get_array()[1, 1] == pytest.approx(0.7)
    axes = affordance_figure([made], by="map", maps=sprout.profile.maps).axes[0]
    home = 1  # 21 pictures on map 0, 20 in the bedroom
    assert axes.get_yticklabels()[home].get_text() == "Home 2F 48.8%"
    assert _cells(axes)[home, 1] == "10%+25%"


def test_masks_of_different_actions_are_not_mixed(traced):
    other = replace(traced, log=replace(traced.log, header=replace(traced.log.header, actions=("a",) * 8)))
    with pytest.raises(ConfigError, match="the same actions"):
        affordance_figure([traced, other])


def test_a_map_without_a_place_is_not_in_the_world(surveyed, traced):
    assert has_place(surveyed)
    nowhere = MapSurvey(maps=GameMaps(()))
    nowhere.add(traced)
    assert not has_place(nowhere)
