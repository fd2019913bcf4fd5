"""`watch` without a display, on a run that the test itself has trained for a few steps."""

from dataclasses import replace

import numpy as np
import pytest

from pokered_rl.cli.watch import main, watch
from pokered_rl.episodes import EpisodeLog, find_logs, verify
from pokered_rl.episodes.header import Acted
from pokered_rl.errors import EpisodeLogError
from pokered_rl.training import load_policy
from pokered_rl.training.checkpoint import load_tensors, save_tensors


@pytest.fixture(autouse=True)
def _no_display(monkeypatch):
    for name in ("POKERED_ROM", "DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)


class _Eyes:
    """Keeps what is shown; ends after `patience` looks, or never; presses `keys` at its looks."""

    def __init__(self, patience: int | None = None, keys: tuple[str | None, ...] = ()) -> None:
        self.pictures, self.captions, self.looks, self.patience, self.keys = [], [], 0, patience, keys

    def show(self, shades) -> None:
        self.pictures.append(shades)

    def caption(self, text: str) -> None:
        self.captions.append(text)

    def pressed(self) -> str | None:
        self.looks += 1
        if self.looks == self.patience:
            return "quit"
        return self.keys[self.looks - 1] if self.looks <= len(self.keys) else None


def test_every_frame_of_the_agents_game_is_shown(trained):
    eyes = _Eyes()
    # Two episodes of twenty steps. That the pictures are the agent's game, `watch` checks itself, by memory hash.
    assert watch(load_policy(trained), eyes, epsilon=0.0, speed=0, every=1, max_episodes=2) == 40
    assert len(eyes.pictures) >= 40 * 24
    assert eyes.pictures[0].shape == (144, 160)
    assert len({picture.tobytes() for picture in eyes.pictures}) > 3  # how many depends on where twenty steps lead
    assert "episode 1, step 20" in eyes.captions[19]
    assert "episode 2, step 1 " in eyes.captions[20]
    # From the same state the greedy agent plays the same game.
    half = len(eyes.pictures) // 2
    assert np.array_equal(eyes.pictures[half - 1], eyes.pictures[-1])


def test_newer_weights_of_a_running_run_are_taken_up(trained, tmp_path):
    for name in ("online_params.pt", "config.yaml"):
        (tmp_path / name).write_bytes((trained / name).read_bytes())

    class _Learns(_Eyes):
        def caption(self, text):
            super().caption(text)
            if len(self.captions) == 3:
                tree = load_tensors(tmp_path / "online_params.pt")
                save_tensors(tmp_path / "online_params.pt", tree | {"steps": 12_345})

    eyes = _Learns()
    watch(load_policy(tmp_path), eyes, epsilon=0.5, speed=0, every=8, max_steps=5)
    assert ["12,345" in text for text in eyes.captions] == [False, False, False, True, True]


def test_the_viewer_can_end_it(trained):
    eyes = _Eyes(patience=4)
    assert watch(load_policy(trained), eyes, epsilon=0.0, speed=0, every=8) == 3


def test_a_person_takes_the_buttons_and_gives_them_back(trained, tmp_path):
    # Three steps of the agent's; from the fourth look on the person has the buttons, each press takes a look.
    eyes = _Eyes(keys=(None, None, None, "take", "left", "up", None, "up", "select", "take"))
    policy = load_policy(trained)
    assert watch(policy, eyes, epsilon=0.0, speed=0, every=24, max_steps=9, log=tmp_path) == 9
    (log,) = (EpisodeLog.load(path) for path in find_logs([tmp_path]))
    names = log.header.actions
    # "select" is no action of this agent: it is not taken for a press.
    assert [names[action] for action in log.actions[3:6]] == ["left", "up", "up"]
    assert log.acted == (Acted(0, "policy"), Acted(3, "person"), Acted(6, "policy"))
    assert log.header.weights_sha256 == policy.weights_sha256
    assert verify(log) > 0
    assert any("you have the buttons" in text for text in eyes.captions)


def test_an_episode_of_the_run_is_taken_over_after_some_of_its_steps(trained, tmp_path):
    original = EpisodeLog.load(find_logs([trained])[0])
    eyes = _Eyes(keys=(*[None] * 12, "left", "left", "take"))  # a look at each of the twelve steps that are replayed
    policy, seen = load_policy(trained), []
    options = {"epsilon": 0.0, "speed": 0, "every": 24, "max_steps": 14, "log": tmp_path}
    assert watch(policy, eyes, continued=(original, 12), on_step=lambda _, log: seen.append(log), **options) == 14
    (log,) = (EpisodeLog.load(path) for path in find_logs([tmp_path]))
    # Twelve steps of the log, two of the person, and twelve of the policy: beyond the limit of twenty steps.
    assert log.steps == 26
    assert log.actions[:12].tolist() == original.actions[:12].tolist()
    assert [log.header.actions[action] for action in log.actions[12:14]] == ["left", "left"]
    # The weights that acted first are not those that act now.
    now = f"policy:{policy.weights_sha256[:12]}"
    assert log.acted == (Acted(0, "policy"), Acted(12, "person"), Acted(14, now))
    assert log.header.weights_sha256 == original.header.weights_sha256 != policy.weights_sha256
    assert log.header.global_step == original.header.global_step
    assert [each.steps for each in seen] == list(range(13, 27))
    assert verify(log) > 0


def test_an_episode_that_the_policy_cannot_play_is_not_taken_over(trained):
    original, policy = EpisodeLog.load(find_logs([trained])[0]), load_policy(trained)
    others = replace(original, header=replace(original.header, actions=original.header.actions[::-1]))
    with pytest.raises(EpisodeLogError, match="the policy has"):
        watch(policy, _Eyes(), epsilon=0.0, continued=(others, 1))
    other_steps = replace(original, actions=original.actions[::-1].copy())  # not those of the hashes in the log
    with pytest.raises(EpisodeLogError, match="not the recorded episode"):
        watch(policy, _Eyes(), epsilon=0.0, continued=(other_steps, 20))


def test_who_leaves_while_having_the_buttons_ends_it(trained):
    assert watch(load_policy(trained), _Eyes(keys=(None, "take", None, "quit")), epsilon=0.0, speed=0, every=24) == 1


def test_watching_takes_as_long_as_the_console_would(trained, monkeypatch):
    slept = []
    monkeypatch.setattr("time.sleep", slept.append)
    monkeypatch.setattr("time.monotonic", lambda: sum(slept))  # nothing but sleeping takes time
    eyes = _Eyes()
    watch(load_policy(trained), eyes, epsilon=0.0, speed=2.0, every=4, max_steps=5)
    # A picture every four frames at twice 59.7275 frames a second; the first one does not wait.
    assert sum(slept) == pytest.approx((len(eyes.pictures) - 1) * 4 / (2 * 59.7275), rel=1e-4)


def test_without_a_display_the_terminal_shows_it(trained, capsys):
    assert main([str(trained), "--speed", "0", "--steps", "2"]) == 0
    out = capsys.readouterr().out
    assert "▀" in out
    assert "weights of step 80" in out
    assert out.endswith("2 steps\n")


def test_with_a_display_a_window_shows_it(trained, capsys, monkeypatch):
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    monkeypatch.setenv("DISPLAY", ":0")
    assert main([str(trained), "--speed", "0", "--steps", "2"]) == 0
    assert capsys.readouterr().out == "2 steps\n"


def test_what_cannot_be_watched_ends_with_status_1(tmp_path, capsys):
    assert main([str(tmp_path)]) == 1
    assert "holds no online_params.pt" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        main([str(tmp_path), "--epsilon", "2"])
