"""The end of the game: it restarts with cleared RAM; the episode ends before, or keeps what it knows."""

import pytest
import torch

from pokered_rl.emulator import start_states
from pokered_rl.envs import make_env
from pokered_rl.episodes import EpisodeFolder

_HALL_OF_FAME = 118


class _Player:
    """Presses buttons in an environment of one emulator, from the state behind the last fight."""

    def __init__(self, env):
        self.env, self.td = env, env.reset()

    def press(self, *buttons: str) -> None:
        for button in buttons:
            if bool(self.td["done"]):
                return
            self.td["action"] = torch.tensor([self.env.base_env.actions.index(button)])
            self.td = self.env.step(self.td)["next"]

    def go(self, x: int, y: int) -> None:
        first = self.field("map_id")
        for _ in range(40):
            here = (self.field("map_id"), self.field("x"), self.field("y"))
            if here == (first, x, y) or here[0] != first:
                return
            self.press("right" if here[1] < x else "left" if here[1] > x else "down" if here[2] < y else "up")
        raise AssertionError(f"no way to ({x}, {y})")

    def field(self, name: str) -> int:
        return int(self.td["game", name])

    def finish(self) -> None:
        """Walks into the hall and has the team written down."""
        self.go(5, 2)
        self.press("up", "up")
        assert self.field("map_id") == _HALL_OF_FAME
        self.go(3, 3)
        self.go(3, 2)
        self.press("up", "a")
        assert self.field("hall_of_fame") == 1


@pytest.fixture
def play(sprout, tmp_path):
    envs = []

    def run(*, terminate: bool) -> _Player:
        env = make_env(
            sprout,
            start_states=start_states(sprout)["champion"],
            max_episode_steps=None,
            terminate_at_hall_of_fame=terminate,
            game_fields=("map_id", "x", "y", "hall_of_fame"),
            recorder={"folder": tmp_path},
        )
        envs.append(env)
        return _Player(env)

    yield run
    for env in envs:
        env.close()


def test_the_hall_of_fame_terminates_an_episode(play):
    player = play(terminate=True)
    player.finish()
    assert bool(player.td["terminated"])
    assert not bool(player.td["truncated"])
    assert player.td["reward_terms", "champion"].item() > 0


def test_the_restart_behind_the_hall_of_fame_pays_nothing_twice(play, sprout, tmp_path):
    player = play(terminate=False)
    player.finish()
    at_title, after = [], []
    for press in range(300):  # through the credits and the title, to CONTINUE
        player.press("start" if press % 3 == 2 else "a")
        (at_title if player.field("hall_of_fame") == 0 else after).append(player.td)
        if not at_title:
            after.clear()  # still in the credits
        if len(after) == 5:
            break
    assert at_title
    assert len(after) == 5
    assert max(td["reward"].item() for td in at_title) <= 0
    # The saved game has its events, its team and its creatures: all of that was there before.
    paid = {name for td in after for name, value in td["reward_terms"].items() if value > 0}
    assert paid <= {"new_maps", "new_tiles", "frontier"}
    player.env.close()
    [log] = EpisodeFolder(tmp_path)
    names = [milestone.name for milestone in log.milestones]
    assert names.count("hall_of_fame") == 1
    assert f"map:{sprout.profile.maps.name(0)}" not in names  # the map number in cleared RAM
