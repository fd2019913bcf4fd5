"""`verify`: a whole folder, and logs of a real run's size."""

import json

import pytest
import torch

from pokered_rl.cli import main
from pokered_rl.emulator import Cartridge
from pokered_rl.envs import make_env
from pokered_rl.episodes import EpisodeLog, find_logs


@pytest.fixture
def verify(monkeypatch, capsys):
    monkeypatch.delenv("POKERED_ROM", raising=False)

    def run(*arguments):
        status = main(["verify", *map(str, arguments)])
        shown = capsys.readouterr()
        return status, shown.out, " ".join(shown.err.split())

    return run


def _play(folder, *, steps, episodes):
    torch.manual_seed(0)
    env = make_env(Cartridge.bundled(), num_emulators=episodes, max_episode_steps=steps, recorder={"folder": folder})
    env.rollout(steps)
    env.close()
    return find_logs([folder])


def test_good_logs_are_counted_and_a_bad_one_is_named(verify, tmp_path):
    paths = _play(tmp_path / "episode_logs", steps=30, episodes=3)
    status, out, _ = verify(tmp_path, "--workers", 1)
    assert status == 0
    assert "3 of 3 logs replay as they were played: 6 RAM hashes equal over 90 steps" in out  # at 0 and at 30 each
    log = EpisodeLog.load(paths[1])
    actions = log.actions.copy()
    actions[3] = (actions[3] + 2) % 8
    paths[1].unlink()
    wrong = log.__class__(**{**log.__dict__, "actions": actions}).save(paths[1].parent)
    paths[2].write_bytes(paths[2].read_bytes()[:-9])
    status, out, err = verify(tmp_path, "--workers", 1, "--json", tmp_path / "found.json")
    assert status == 1
    assert "1 of 3 logs" in out
    assert f"{wrong}: the replay is not the recorded episode: at step 4 " in err
    assert f"{paths[2]}: cut off" in err
    content = json.loads((tmp_path / "found.json").read_text())
    assert content["results"]["bad"] == 2
    assert {"command", "commit", "machine", "date", "samples"} <= set(content)
    assert verify(tmp_path / "gone")[0] == 1


@pytest.mark.long
def test_three_hundred_episodes_of_a_real_run_replay_with_all_hashes_equal(verify, tmp_path):
    overrides = ("run.name=proof", "run.total_episodes=300", "run.target_total_steps=10_000_000")
    limits = ("run.evaluation_episodes=0", "run.max_runtime_seconds=3000", "env.max_episode_steps=64")
    assert main(["train", "--config-name", "quickstart", f"run.folder={tmp_path}", *overrides, *limits]) == 0
    status, out, err = verify(tmp_path / "proof")
    assert status == 0, err
    assert int(out.split()[0]) >= 300


@pytest.mark.long
def test_two_thousand_real_steps_are_less_than_sixteen_kilobytes(tmp_path):
    # All reward terms of the default preset, RAM hashes every 100 steps, actions by a random policy: hard to compress.
    (path,) = _play(tmp_path, steps=2000, episodes=1)
    assert EpisodeLog.load(path).steps == 2000
    # The chain takes four bytes a step, which do not compress.
    assert path.stat().st_size < 8_000 + 4 * 2002
