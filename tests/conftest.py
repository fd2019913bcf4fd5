"""The bundled cartridge, its playable start and a small trained run, made once for all tests of a process."""

from pathlib import Path

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


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of 80 steps on Sprout with episodes of 20; it is shared, so copy it before changing it."""
    from pokered_rl.training.main import main

    folder = tmp_path_factory.mktemp("runs")
    changes = ("run.name=a", "run.target_total_steps=80", "run.evaluation_episodes=0", "env.max_episode_steps=20")
    small = ("collector.backend=inline", "collector.emulators_per_worker=2", "replay.capacity_transitions=3000")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("POKERED_ROM", raising=False)
        assert main(["--config-name", "quickstart", f"run.folder={folder}", *changes, *small]) == 0
    return folder / "a"
