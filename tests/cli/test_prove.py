"""`prove`, `verify` of proofs, and `leaderboard`."""

import shutil

import pytest
import torch

from pokered_rl.cli import main
from pokered_rl.emulator import Cartridge
from pokered_rl.envs import make_env
from pokered_rl.episodes import EpisodeLog, find_logs
from pokered_rl.episodes.proof import Proof

GOAL = "map:HOME_1F"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run folder with an episode that comes down the stairs."""
    folder = tmp_path_factory.mktemp("runs") / "a<b>$x$"
    for seed in range(1, 30):
        torch.manual_seed(seed)
        recorder = {"folder": folder / "episode_logs", "run_name": "a<b>$x$\x1b[2J", "acting": "random"}
        env = make_env(Cartridge.bundled(), num_emulators=8, max_episode_steps=120, recorder=recorder)
        env.rollout(120)
        env.close()
        if any(EpisodeLog.load(path).milestones for path in find_logs([folder])):
            return folder
        shutil.rmtree(folder)
    raise AssertionError("no random episode comes down the stairs")


@pytest.fixture
def call(monkeypatch, capsys):
    monkeypatch.delenv("POKERED_ROM", raising=False)

    def run_command(*arguments):
        status = main([*map(str, arguments)])
        shown = capsys.readouterr()
        return status, shown.out, shown.err

    return run_command


def test_proof_of_a_run_is_written_verified_and_listed(run, call, tmp_path):
    out = tmp_path / "proofs" / "down.proof"
    out.parent.mkdir()
    status, shown, _ = call("prove", run, "--milestone", GOAL, "--out", out)
    assert status == 0
    assert f"verified: {GOAL} on SPROUT" in shown
    proof = Proof.load(out)
    status, shown, _ = call("verify", out)
    assert status == 0
    assert f"random {proof.steps - proof.legs[0].steps}" in shown
    assert "helpers: waits while the game ignores input" in shown
    forged = bytearray(out.read_bytes())
    forged[-1] ^= 1
    (out.parent / "forged.proof").write_bytes(forged)
    status, _, err = call("verify", out.parent / "forged.proof")
    assert (status, err.startswith("NOT VERIFIED: ")) == (1, True)
    status, shown, _ = call("leaderboard", out.parent, "--out", tmp_path / "page.html")
    assert (status, "1 of 2 proofs verified" in shown) == (0, True)
    page = (tmp_path / "page.html").read_text()
    assert f"<td>{GOAL}</td>" in page
    assert "a&lt;b&gt;$x$" in page
    assert "\x1b" not in page
    assert "forged.proof" in page


def test_what_cannot_be_proved_ends_in_one_line(run, call, tmp_path):
    status, _, err = call("prove", run, "--milestone", "hall_of_fame", "--out", tmp_path / "a.proof")
    assert (status, err.count("\n")) == (1, 1)
    assert "reached were map:HOME_1F" in err
    assert not (tmp_path / "a.proof").exists()
    for command in (("verify", tmp_path / "gone.proof"), ("leaderboard", tmp_path, "--out", tmp_path / "b.html")):
        status, _, err = call(*command)
        assert (status, err.count("\n")) == (1, 1)
