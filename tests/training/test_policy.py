import dataclasses
import runpy
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from pokered_rl.data import from_episode_logs
from pokered_rl.emulator import Cartridge
from pokered_rl.episodes import EpisodeLog, find_logs
from pokered_rl.errors import CheckpointError, ConfigError
from pokered_rl.training import load_policy
from pokered_rl.training.checkpoint import load_tensors, save_tensors, sha256_of


def _newest_checkpoint(run):
    return sorted((run / "checkpoints").iterdir())[-1]


@pytest.mark.parametrize("source", ["run", "file", "checkpoint", "state"])
def test_agent_of_a_run_is_found_from_every_place_that_holds_weights(finished, source):
    path = {
        "run": finished,
        "file": finished / "online_params.pt",
        "checkpoint": _newest_checkpoint(finished),
        "state": _newest_checkpoint(finished) / "state.pt",
    }[source]
    policy = load_policy(path)
    published = load_tensors(finished / "online_params.pt")
    assert (policy.steps, policy.updates) == (published["steps"], published["updates"])
    # The last checkpoint was written with the weights that were then published.
    weights = policy.network.state_dict()
    assert weights.keys() == published["params"].keys()
    assert all(torch.equal(weights[name], value) for name, value in published["params"].items())


def test_agent_plays_in_the_environment_of_its_run(finished):
    policy = load_policy(finished)
    env = policy.make_env(num_emulators=2, seed=3)
    try:
        played = env.rollout(5, policy.policy)
    finally:
        env.close()
    assert played.shape == (2, 5)
    assert list(env.base_env.actions.names) == policy.config.env.actions
    assert not (finished / "episode_logs" / "new").exists()
    # Greedy without exploration: the action with the highest value among the allowed ones.
    allowed = played["action_value"].masked_fill(~played["action_mask"], -torch.inf)
    assert torch.equal(played["action"], allowed.argmax(-1))
    # The recurrent state is carried from step to step.
    key = policy.network.state_keys[0]
    assert torch.equal(played[key][:, 1], played["next", key][:, 0])
    assert played[key][:, 1].abs().sum() > 0


def test_changes_reach_the_environment(finished):
    env = load_policy(finished).make_env(game_fields=("map_id",), max_wait_frames=7)
    try:
        assert env.base_env.max_wait_frames == 7
        assert ("game", "map_id") in env.reset().keys(True)
    finally:
        env.close()


def test_logs_of_the_run_show_the_network_what_it_saw(finished, tmp_path):
    policy = load_policy(finished)
    env = policy.make_env(recorder={"folder": tmp_path}, max_episode_steps=12)
    live = env.rollout(12, policy.policy)[0]
    env.close()
    (steps,) = from_episode_logs(tmp_path, transforms=policy.make_transforms)
    for key in (*policy.network.observation_keys, "action_mask", "action", ("next", "reward")):
        assert torch.equal(steps[key], live[key]), key


def test_videos_show_what_the_network_thought(finished, monkeypatch, capsys):
    script = Path(__file__).parents[2] / "examples" / "render_episodes.py"
    look = ("--last", "1", "--to", "2", "--fps", "15", "--workers", "1")

    def render():
        monkeypatch.setattr(sys, "argv", ["render", str(finished), *look, "--values", str(finished)])
        with pytest.raises(SystemExit) as ended:
            runpy.run_path(str(script), run_name="__main__")
        assert ended.value.code == 0
        return " ".join(capsys.readouterr().err.split())

    assert "RAM hashes equal" in render()
    assert "skipped" in render()
    tree = load_tensors(finished / "online_params.pt")
    save_tensors(finished / "online_params.pt", tree | {"steps": 1})
    assert "RAM hashes equal" in render(), "other weights give another video"


def test_network_is_not_asked_about_buttons_that_it_does_not_know(finished):
    log = EpisodeLog.load(find_logs([finished])[0])
    policy = load_policy(finished)
    assert policy.action_values(log).shape == (log.steps, 6)
    fewer = dataclasses.replace(
        log, header=dataclasses.replace(log.header, actions=("a", "up")), actions=log.actions % 2
    )
    with pytest.raises(ConfigError, match=r"played with the actions a, up; the network in .* knows a, b, right"):
        policy.action_values(fewer)


@pytest.mark.parametrize("screen", ["half", "full"])
def test_network_is_shown_pictures_of_the_size_it_learned_from(runs, train, screen):
    assert train(f"env.screen={screen}", "run.target_total_steps=80") == 0
    policy = load_policy(runs / "a")
    log = EpisodeLog.load(find_logs([runs / "a"])[0])
    values = policy.action_values(log)
    assert values.shape == (log.steps, 6)
    assert np.ptp(values) > 0


def test_weights_and_hash_are_of_one_file_though_it_is_replaced_meanwhile(finished, monkeypatch):
    plain = load_tensors
    waiting = [1, 2]

    def replaced_meanwhile(path):
        tree = plain(path)
        if waiting:
            save_tensors(path, tree | {"steps": waiting.pop(0)})
        return tree

    monkeypatch.setattr("pokered_rl.training.policy.load_tensors", replaced_meanwhile)
    policy = load_policy(finished)
    assert policy.steps == 2
    assert policy.weights_sha256 == sha256_of(finished / "online_params.pt")


def test_newer_weights_are_taken_up_when_the_file_is_replaced(finished):
    policy = load_policy(finished)
    assert not policy.reload()
    tree = load_tensors(finished / "online_params.pt")
    tree["params"] = {name: torch.zeros_like(value) for name, value in tree["params"].items()}
    save_tensors(finished / "online_params.pt", tree | {"steps": 12345})
    assert policy.reload()
    assert policy.steps == 12345
    assert all(not value.any() for value in policy.policy.network.state_dict().values())
    assert not policy.reload()


def test_weights_copied_without_their_config_say_what_is_missing(finished, tmp_path):
    copy = shutil.copy(finished / "online_params.pt", tmp_path)
    with pytest.raises(CheckpointError, match=r"no .*config\.yaml.*copy the run's config\.yaml beside them"):
        load_policy(copy)
    shutil.copy(finished / "config.yaml", tmp_path)
    assert load_policy(copy).steps == 200


@pytest.mark.parametrize("what", ["nothing", "empty", "damaged", "other network", "other context", "broken config"])
def test_what_cannot_be_loaded_is_named(finished, tmp_path, what):
    source, words = finished, "online_params.pt"
    if what == "nothing":
        source, words = tmp_path / "gone", "there is no .*gone; give a run folder"
    elif what == "empty":
        source, words = tmp_path, "holds no online_params.pt"
    elif what == "damaged":
        file = finished / "online_params.pt"
        file.write_bytes(file.read_bytes()[:1000])
    elif what == "other network":
        config = (finished / "config.yaml").read_text()
        (finished / "config.yaml").write_text(config.replace("hidden_size: 16", "hidden_size: 24"))
        words = "do not fit the network of its config.yaml: core.lstm.weight_ih_l0 has the shape"
    elif what == "other context":
        tree = torch.load(finished / "online_params.pt", weights_only=True)
        key = next(name for name in tree["params"] if name.endswith("encoders.vector.layers.0.weight"))
        tree["params"][key] = tree["params"][key][:, 3:].clone()
        torch.save(tree, finished / "online_params.pt")
        words = "other context features"
    else:
        (finished / "config.yaml").write_text("run: {")
        words = "config.yaml cannot be read"
    with pytest.raises(CheckpointError, match=words):
        load_policy(source)


def test_agent_of_another_cartridge_is_refused(finished):
    other = dataclasses.replace(Cartridge.bundled(), sha1="0" * 40)
    with pytest.raises(ConfigError, match="was played on another cartridge"):
        load_policy(finished, cartridge=other)
