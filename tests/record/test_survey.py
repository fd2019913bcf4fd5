from collections import Counter

import numpy as np
import pytest

from pokered_rl.emulator import Emulator, unpack_shades
from pokered_rl.game import ScreenKind
from pokered_rl.record.survey import MapSurvey, survey, trace

BEDROOM = 38


@pytest.fixture(scope="module")
def traced(recorded_logs, sprout):
    return [trace(log, cartridge=sprout, screens=True) for log in recorded_logs]


@pytest.fixture(scope="module")
def surveyed(traced, sprout):
    result = MapSurvey(maps=sprout.profile.maps)
    for each in traced:
        result.add(each)
    return result


def test_a_trace_follows_the_player(traced, recorded_logs):
    for each, log in zip(traced, recorded_logs, strict=True):
        assert each.places.shape == (log.steps + 1, 3)
        assert each.places[0].tolist() == [BEDROOM, 8, 3]  # where Sprout begins
        moves = np.abs(np.diff(each.places[:, 1:], axis=0)).sum(axis=1)
        assert set(moves.tolist()) == {0, 1}  # 24 frames are at most one map step
        assert each.kinds[0] == ScreenKind.OVERWORLD
        assert each.usable.shape == (log.steps + 1, 8)
        # The recorded reward paid 0.25 for each place new after a step; the start counts when it is seen again.
        assert log.term_returns["coverage"] == pytest.approx(0.25 * len(np.unique(each.places[1:], axis=0)))


def test_visits_count_steps_and_first_visits_keep_the_earliest(surveyed, traced):
    expected = Counter(tuple(place) for each in traced for place in each.places.tolist())
    assert surveyed.visits == expected
    assert surveyed.visit_counts(BEDROOM).sum() == sum(n for cell, n in expected.items() if cell[0] == BEDROOM)
    first = surveyed.first_visits(BEDROOM)
    assert first[3, 8] == 0  # the first log begins at global step 0, the second one at 1,000
    assert (first >= 0).sum() == len({cell for cell in expected if cell[0] == BEDROOM})
    assert surveyed.map_ids[0] == BEDROOM
    assert surveyed.episodes == 2


def test_the_background_is_what_was_on_screen_without_the_player(surveyed, sprout, playable):
    background = surveyed.background(BEDROOM)
    width, height = surveyed.size(BEDROOM)
    assert background.shape == (16 * height, 16 * width)
    with Emulator(sprout, screen="full") as emulator:
        emulator.load_state(playable)
        screen = unpack_shades(emulator.pixels())  # the player at (8, 3) in the middle: column 4, row 4
    # The map step (x, y) is on screen at column x - 4, row y + 1. Nothing moves in this room but the player, who hides
    # two steps of the screen.
    for x in range(4, width):
        for y in range(height):
            column, row = x - 4, y + 1
            if (column, row) not in ((4, 4), (4, 3)):
                shown = screen[row * 16 : row * 16 + 16, column * 16 : column * 16 + 16]
                assert np.array_equal(background[y * 16 : y * 16 + 16, x * 16 : x * 16 + 16], shown), (x, y)
    # Where the player stood at the start he hid the floor; later he stood elsewhere and it was seen.
    here = background[3 * 16 : 4 * 16, 8 * 16 : 9 * 16]
    assert (here >= 0).all()
    assert not np.array_equal(here, screen[4 * 16 : 5 * 16, 4 * 16 : 5 * 16])


def test_a_survey_needs_an_episode(recorded_logs, sprout):
    with pytest.raises(ValueError, match="at least one episode"):
        survey([])
    assert survey(recorded_logs[:1], cartridge=sprout, screens=False).episodes == 1
