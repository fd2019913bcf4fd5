"""The bundled cartridge and its playable start, booted once for all tests of a process."""

import pytest

from pokered_rl.emulator import Cartridge, Emulator, SaveState, boot


@pytest.fixture(scope="session")
def sprout() -> Cartridge:
    return Cartridge.bundled()


@pytest.fixture(scope="session")
def start(sprout: Cartridge) -> SaveState:
    """Where the player can first walk."""
    with Emulator(sprout) as emulator:
        return boot(emulator)
