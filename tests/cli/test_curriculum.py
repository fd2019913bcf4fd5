"""`curriculum`: table, map and export of an archive."""

import pytest
import torch

from pokered_rl.cli import main
from pokered_rl.emulator import Cartridge, SaveState
from pokered_rl.envs import ArchiveStates, StateArchive, make_env
from pokered_rl.training.config import Config
from pokered_rl.training.run_folder import RunFolder


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.delenv("POKERED_ROM", raising=False)
    folder = RunFolder(tmp_path / "run")
    folder.path.mkdir()
    folder.write_config(Config())
    torch.manual_seed(0)
    archive = StateArchive(folder=folder.curriculum)
    env = make_env(Cartridge.bundled(), num_emulators=2, seed=0, extra_transforms=[ArchiveStates(archive)])
    env.rollout(30)
    env.reset()  # the episodes from power-on have ended where they are
    env.close()
    return folder.path


def test_table_map_and_export(run, tmp_path, capsys):
    picture, states = tmp_path / "cells.png", tmp_path / "states"
    assert main(["curriculum", str(run), "--map", str(picture), "--export", str(states), "--best", "1"]) == 0
    shown = capsys.readouterr().out
    assert "1 level" in shown
    assert "100%" in shown, "all episodes from power-on ended in this set"
    assert picture.read_bytes().startswith(b"\x89PNG")
    [path] = states.iterdir()
    assert SaveState.load(path).cartridge_sha1 == Cartridge.bundled().sha1


def test_run_without_an_archive_is_named(tmp_path, capsys):
    assert main(["curriculum", str(tmp_path)]) == 1
    assert f"no archive of states in {tmp_path}/curriculum" in capsys.readouterr().err
