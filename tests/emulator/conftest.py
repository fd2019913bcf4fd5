"""An emulator at the playable start, and a machine without ROMs."""

import pytest
import torch

from pokered_rl.emulator import Cartridge, Emulator, SaveState

torch.set_num_threads(1)


@pytest.fixture
def emulator(sprout: Cartridge, start: SaveState):
    with Emulator(sprout) as emulator:
        emulator.load_state(start)
        yield emulator


@pytest.fixture
def bare_environment(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    """No ROM named by a variable, none in the working directory, none in the checkout."""
    monkeypatch.delenv("POKERED_ROM", raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("pokered_rl.emulator.cartridge._FOLDERS", ())
