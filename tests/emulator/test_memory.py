import numpy as np
import pytest

from pokered_rl.emulator.readers import RamReader
from pokered_rl.game.ram_map import FULL_LAYOUT, RamLayout

FEW = RamLayout(((0xC3A0, 0xC508), (0xD35E, 0xD363), (0xFFB0, 0xFFB6)))
# Nine ranges: more than are copied one by one.
MANY = RamLayout((*((0xC000 + 0x300 * k, 0xC003 + 0x301 * k) for k in range(9)), (0xFF80, 0xFF8A)))


def expected_bytes(emulator, layout):
    memory = emulator._pyboy.memory
    return [memory[address] for start, stop in layout.ranges for address in range(start, stop)]


@pytest.mark.parametrize("layout", [FULL_LAYOUT, FEW, MANY], ids=["full", "few", "many"])
@pytest.mark.parametrize("direct", [True, False], ids=["direct", "fallback"])
def test_every_layout_reads_the_bytes_of_its_addresses(emulator, layout, direct):
    reader = RamReader(emulator._pyboy, direct=direct)
    assert reader.direct is direct
    for _ in range(3):
        emulator.tick(40)
        out = np.empty(layout.size, dtype=np.uint8)
        reader.read_into(layout, out)
        assert out.tolist() == expected_bytes(emulator, layout)


def test_direct_view_survives_loading_a_state(emulator, start):
    reader = RamReader(emulator._pyboy)
    emulator.press("down")
    emulator.tick(60)
    emulator.load_state(start)
    out = np.empty(FULL_LAYOUT.size, dtype=np.uint8)
    reader.read_into(FULL_LAYOUT, out)
    assert out.tolist() == expected_bytes(emulator, FULL_LAYOUT)


def test_emulators_in_one_process_do_not_read_each_other(sprout):
    from pokered_rl.emulator import Emulator

    emulators = [Emulator(sprout) for _ in range(4)]
    for index, emulator in enumerate(emulators):
        emulator._pyboy.memory[0xC123] = 100 + index
    assert [int(emulator.ram()[0x123]) for emulator in emulators] == [100, 101, 102, 103]
    for emulator in emulators:
        emulator.close()


def test_looking_for_the_buffer_changes_no_ram(emulator):
    before = emulator.ram()
    RamReader(emulator._pyboy)
    assert (emulator.ram() == before).all()


def test_returned_ram_is_a_copy(emulator):
    ram = emulator.ram()
    kept = ram.copy()
    emulator.press("down")
    emulator.tick(60)
    assert (ram == kept).all()
    assert (emulator.ram() != kept).any()
