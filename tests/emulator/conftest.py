"""An emulator at the playable start, and a machine without ROMs."""

import shutil

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
    monkeypatch.setattr("pokered_rl.emulator.cartridge._CHECKOUT", _without_roms(tmp_path))


def _without_roms(tmp_path):
    """A checkout whose only ROM is the bundled one."""
    from pokered_rl.emulator import cartridge

    checkout = tmp_path / "checkout"
    (checkout / "roms").mkdir(parents=True)
    shutil.copy(cartridge._CHECKOUT / "roms" / "sprout.gb", checkout / "roms" / "sprout.gb")
    return checkout
