"""`MapMemory` on walks made by hand."""

import pytest
import torch
from tensordict import TensorDict

from pokered_rl.envs import MapMemory
from pokered_rl.envs.transforms import Saliency
from pokered_rl.errors import ConfigError

RIGHT, LEFT, UP, DOWN, A = 4, 5, 6, 7, 1


@pytest.fixture
def play(overworld):
    """Plays steps (action, x, y, further bytes) of one emulator and returns the last crop, [2, 5, 5]."""

    def run(memory: MapMemory, *steps: tuple[int, int, int, dict]) -> torch.Tensor:
        for action, x, y, values in steps:
            ram = overworld(wXCoord=x, wYCoord=y, **values)
            td = memory(TensorDict({"ram": ram[None], "action": torch.tensor([action])}, [1]))
        return td["map_memory"][0]

    return run


def test_visits_are_counted_on_arrival_in_four_levels(play):
    memory = MapMemory(radius=2)
    to_and_fro = [(RIGHT, 6, 6, {}), (LEFT, 5, 6, {})]
    crop = play(memory, (0, 5, 6, {}), (0, 5, 6, {}))
    # Standing still is no second visit.
    assert crop[0, 2].tolist() == [0, 0, 1, 0, 0]
    # (5, 6) was arrived at twice, (6, 6) once: levels 2 and 1.
    crop = play(memory, *to_and_fro)
    assert crop[0, 2].tolist() == [0, 0, 2, 1, 0]
    # Five and four times: levels 3 and 2.
    crop = play(memory, *to_and_fro * 3)
    assert crop[0, 2].tolist() == [0, 0, 3, 2, 0]


def test_an_event_of_the_story_forgets_visits_and_keeps_what_was_marked(play):
    memory = MapMemory(radius=2, renewing_events=[7])
    story = {"wEventFlags": bytes([1 << 7]).ljust(320, b"\0")}
    right = {"wSpritePlayerStateData1FacingDirection": 12}
    crop = play(memory, (0, 5, 6, {}), (RIGHT, 6, 6, right), (RIGHT, 6, 6, right))
    assert crop[0, 2].tolist() == [0, 1, 1, 0, 0]
    assert crop[1, 2, 3] == Saliency.BLOCKED
    crop = play(memory, (LEFT, 5, 6, story))
    assert crop[0, 2].tolist() == [0, 0, 1, 0, 0]
    assert crop[1, 2, 4] == Saliency.BLOCKED
    crop = play(memory, (RIGHT, 6, 6, story))
    assert crop[0, 2].tolist() == [0, 1, 1, 0, 0], "an event happens once"


def test_up_is_north_and_the_player_is_in_the_middle(play):
    crop = play(MapMemory(radius=2), (0, 5, 6, {}), (UP, 5, 5, {}), (UP, 5, 4, {}), (RIGHT, 6, 4, {}))
    # The player at (6, 4) came from (5, 6) by (5, 5) and (5, 4): left and below.
    assert crop[0].tolist() == [
        [0, 0, 0, 0, 0],
        [0, 0, 0, 0, 0],
        [0, 1, 1, 0, 0],
        [0, 1, 0, 0, 0],
        [0, 1, 0, 0, 0],
    ]


def test_tiles_beyond_the_edge_of_the_map_are_marked(play):
    crop = play(MapMemory(radius=2), (0, 1, 0, {}))
    # At (1, 0) two lines above and one column to the left lie outside of the map.
    assert crop[1].tolist() == [[1, 1, 1, 1, 1], [1, 1, 1, 1, 1], [1, 0, 0, 0, 0], [1, 0, 0, 0, 0], [1, 0, 0, 0, 0]]


def test_running_into_something_marks_it_and_turning_does_not(play):
    memory = MapMemory(radius=2)
    crop = play(memory, (0, 5, 6, {}), (RIGHT, 5, 6, {"wSpritePlayerStateData1FacingDirection": 12}))
    # The first press turned the player to the right: nothing is known of the tile there.
    assert crop[1].sum() == 0
    crop = play(memory, (RIGHT, 5, 6, {"wSpritePlayerStateData1FacingDirection": 12}))
    assert crop[1, 2].tolist() == [0, 0, 0, 1, 0]
    assert crop[1].sum() == 1


def test_a_blocked_tile_that_is_entered_later_is_free_again(play):
    memory = MapMemory(radius=2)
    right = {"wSpritePlayerStateData1FacingDirection": 12}
    crop = play(memory, (0, 5, 6, right), (RIGHT, 5, 6, right))
    assert crop[1].sum() == 1
    assert play(memory, (RIGHT, 6, 6, right))[1].sum() == 0


def test_text_opened_by_a_marks_the_tile_in_front(play):
    up = {"wSpritePlayerStateData1FacingDirection": 4}
    crop = play(MapMemory(radius=2), (0, 5, 6, up), (A, 5, 6, {**up, "wFontLoaded": 1}))
    assert crop[1].nonzero().tolist() == [[1, 2]]  # one line above the middle
    assert crop[1, 1, 2] == 2


def test_the_start_menu_marks_nothing(play):
    crop = play(MapMemory(radius=2), (0, 5, 6, {}), (3, 5, 6, {"wFontLoaded": 1}))
    assert crop[1].sum() == 0


def test_both_ends_of_a_door_are_marked(play):
    memory = MapMemory(radius=2)
    inside = {"wCurMap": 37, "wCurMapTileset": 1, "wCurrentMapWidth2": 8, "wCurrentMapHeight2": 8}
    crop = play(memory, (0, 5, 6, {}), (UP, 3, 5, inside))
    assert crop[1, 2, 2] == 3
    crop = play(memory, (DOWN, 5, 6, {}))
    assert crop[1, 2, 2] == 3


def test_walking_from_one_outdoor_map_into_the_next_is_no_door(play):
    crop = play(MapMemory(radius=2), (0, 5, 1, {}), (UP, 5, 17, {"wCurMap": 12}))
    assert 3 not in crop[1]


def test_maps_are_remembered_apart_and_kept(play):
    memory = MapMemory(radius=2)
    other = {"wCurMap": 37, "wCurMapTileset": 1}
    play(memory, (0, 5, 6, {}), (RIGHT, 6, 6, {}))
    crop = play(memory, (UP, 6, 6, other))
    assert crop[0].tolist() == [[0] * 5, [0] * 5, [0, 0, 1, 0, 0], [0] * 5, [0] * 5]
    crop = play(memory, (DOWN, 6, 6, {}))
    assert crop[0, 2].tolist() == [0, 1, 2, 0, 0]


@pytest.mark.parametrize("persistent", [False, True])
def test_an_episode_begins_with_an_empty_memory_unless_it_is_persistent(overworld, persistent):
    memory = MapMemory(radius=1, persistent=persistent)
    first = TensorDict({"ram": overworld()[None], "action": torch.tensor([0])}, [1])
    memory(first)
    memory(TensorDict({"ram": overworld(wXCoord=6)[None], "action": torch.tensor([RIGHT])}, [1]))
    crop = memory._reset(TensorDict({}, [1]), first.select("ram"))["map_memory"][0, 0, 1]
    assert crop.tolist() == ([0, 2, 1] if persistent else [0, 1, 0])


def test_memory_grows_with_the_maps_entered_and_is_used_again(overworld):
    memory = MapMemory(radius=10)
    td = TensorDict({"ram": overworld()[None], "action": torch.tensor([0])}, [1])
    memory(td)
    used = memory.memory.tiles.num_cells
    # Three planes of (20 + 20) x (18 + 20) cells, and the cell that belongs to no map.
    assert used == 3 * 40 * 38 + 1
    for _ in range(50):
        memory._reset(TensorDict({}, [1]), td.select("ram"))
        memory(td)
    assert memory.memory.tiles.num_cells == used


def test_coordinates_off_the_map_are_survived(play):
    # The line is 255 for an instant when the player walks off the northern edge.
    crop = play(MapMemory(radius=2), (0, 5, 0, {}), (UP, 5, 255, {}))
    assert crop.shape == (2, 5, 5)
    assert int(crop.max()) <= 3


def test_a_map_that_turns_out_larger_keeps_what_was_seen(play):
    memory = MapMemory(radius=1)
    small = {"wCurrentMapWidth2": 8, "wCurrentMapHeight2": 8}
    play(memory, (0, 3, 3, small), (RIGHT, 4, 3, small))
    assert play(memory, (RIGHT, 5, 3, {}))[0, 1].tolist() == [1, 1, 0]
    assert play(memory, (RIGHT, 12, 3, {}))[0, 1].tolist() == [0, 1, 0]


def test_radius_must_be_positive():
    with pytest.raises(ConfigError, match="radius"):
        MapMemory(radius=0)
