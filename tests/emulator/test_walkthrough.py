import numpy as np
import pytest
import torch

from pokered_rl.emulator import Cartridge, Emulator, SaveState, start_states
from pokered_rl.emulator import walkthrough as module
from pokered_rl.emulator.walkthrough import CACHE_VARIABLE
from pokered_rl.envs import PokemonRedEnv
from pokered_rl.errors import CartridgeError, EpisodeLogError
from pokered_rl.game import FULL_LAYOUT, GameState, Milestones, ScreenKind, read_screen


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("cache")
        patch.setenv(CACHE_VARIABLE, str(folder))
        yield folder


@pytest.fixture(scope="module")
def states(cache):
    return start_states("sprout")


@pytest.fixture
def no_emulator(monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("an emulator was started")

    monkeypatch.setattr(module, "Emulator", refuse)


def test_every_milestone_has_a_state_outside_the_repository_in_the_order_of_the_story(sprout, cache, states):
    assert tuple(states) == sprout.profile.milestones.names
    assert all(cache in file.parents for file in states.values())


def test_each_state_stands_on_a_map_behind_its_milestone_and_those_before(sprout, states):
    reached = torch.zeros(len(states), dtype=torch.bool)
    with Emulator(sprout) as emulator:
        for number, (name, file) in enumerate(states.items()):
            state = SaveState.load(file)
            assert state.cartridge_sha1 == sprout.sha1
            emulator.load_state(state)
            ram = torch.from_numpy(emulator.ram())
            screen = read_screen(ram)
            assert screen.kind == ScreenKind.OVERWORLD, name
            assert not screen.ignored, name
            # milestones on maps hold only there: what counts is that each held at some state up to its own
            reached |= sprout.profile.milestones.reached(GameState.from_ram(ram, FULL_LAYOUT, fields=Milestones.FIELDS))
            assert reached[number], name
            assert len(np.unique(emulator.pixels())) > 1, f"{name} has no picture"


def test_an_environment_draws_its_episodes_from_them_by_name(states):
    env = PokemonRedEnv(num_emulators=2, start_states={states["cave"]: 3.0, states["plates"]: 1.0}, seed=0)
    try:
        env.reset()
        assert {entry.name: entry.weight for entry in env.start_states} == {"cave": 3.0, "plates": 1.0}
        assert {env.start(index).name for index in range(2)} <= {"cave", "plates"}
    finally:
        env.close()


def test_second_call_finds_the_files_and_a_damaged_one_is_made_again(states, no_emulator):
    assert start_states("sprout") == states
    file = states["book"]
    whole = file.read_bytes()
    file.write_bytes(whole[:-9])
    with pytest.raises(AssertionError, match="an emulator was started"):
        start_states("sprout")
    file.write_bytes(whole)


def test_cartridges_without_a_walkthrough_say_what_to_do(sprout, tmp_path):
    other = tmp_path / "other.gb"
    data = bytearray(sprout.rom())
    data[0x7FFF] ^= 1  # free room; the global checksum is set right again
    data[0x14E:0x150] = b"\0\0"
    data[0x14E:0x150] = (sum(data) & 0xFFFF).to_bytes(2, "big")
    other.write_bytes(data)
    with pytest.raises(CartridgeError, match=r"was recorded on SHA-1 \w{40}, not on .*other.gb.*record_walkthrough.py"):
        start_states(other)
    data[0x134:0x13A] = b"SPRIUT"
    data[0x14D] = _header_checksum(data)
    other.write_bytes(data)
    with pytest.raises(CartridgeError, match=r"no walkthrough of .*other.gb.*only of Sprout.*your_rom.md"):
        start_states(Cartridge.find(other, allow_unknown=True))


def _header_checksum(data):
    total = 0
    for byte in data[0x134:0x14D]:
        total = (total - byte - 1) & 0xFF
    return total


def test_a_replay_that_comes_out_otherwise_is_an_error_and_leaves_nothing(monkeypatch, tmp_path):
    recording = module._recording()
    first, *rest = recording["milestones"]
    changed = {**recording, "milestones": [{**first, "ram_sha256": "0" * 64}, *rest]}
    monkeypatch.setattr(module, "_recording", lambda: changed)
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path))
    with pytest.raises(EpisodeLogError, match=r"does not replay with PyBoy [\d.]+: RAM differs at 'leave_home'"):
        start_states("sprout")
    assert not list(tmp_path.rglob("*.state"))
