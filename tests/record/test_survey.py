from collections import Counter

import numpy as np
import pytest
import torch

from pokered_rl.emulator import Emulator
from pokered_rl.envs import make_env
from pokered_rl.episodes import EpisodeLog, find_logs
from pokered_rl.errors import ConfigError
from pokered_rl.game import ScreenKind
from pokered_rl.observations import unpack_shades
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


def test_the_background_is_composed_of_the_screens_without_the_player(surveyed, sprout, start):
    background = surveyed.background(BEDROOM)
    width, height = surveyed.size(BEDROOM)
    assert background.shape == (16 * height, 16 * width)
    with Emulator(sprout, screen="full") as emulator:
        emulator.load_state(start)
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


def test_the_mask_of_a_trace_is_that_of_the_policy(sprout, start, tmp_path):
    # The policy presses what it may, mostly START and B, so that menus come up and the mask has something to learn.
    generator = torch.Generator().manual_seed(2)
    likes = torch.tensor([0.05, 0.1, 0.1, 0.3, 0.15, 0.1, 0.1, 0.1])

    def act(tensordict):
        return tensordict.set(
            "action", torch.multinomial(likes * tensordict["action_mask"], 1, generator=generator).squeeze(-1)
        )

    env = make_env(sprout, start_states=[start], max_episode_steps=120, recorder={"folder": tmp_path})
    live = env.rollout(120, act)[0]
    env.close()
    traced = trace(EpisodeLog.load(find_logs([tmp_path])[0]), cartridge=sprout)
    assert np.array_equal(traced.allowed[:-1], live["action_mask"].numpy())
    assert np.array_equal(traced.allowed[-1], live["next", "action_mask"][-1].numpy())
    assert not traced.usable.all()
    assert (traced.usable >= traced.allowed).all()


def test_surveys_of_several_processes_add_up_to_one(traced, surveyed, sprout):
    parts = []
    for each in traced:
        part = MapSurvey(maps=sprout.profile.maps)
        part.add(each)
        parts.append(part)
    parts[1].merge(parts[0])
    merged = parts[1]
    assert merged.visits == surveyed.visits
    assert merged.first_visit == surveyed.first_visit
    assert merged.episodes == 2
    assert merged.map_ids == surveyed.map_ids
    for map_id in surveyed.map_ids:
        assert np.array_equal(merged.background(map_id), surveyed.background(map_id))


def test_a_survey_needs_an_episode(recorded_logs, sprout):
    with pytest.raises(ConfigError, match="at least one episode"):
        survey([])
    assert survey(recorded_logs[:1], cartridge=sprout, screens=False).episodes == 1
