from pokered_rl.emulator import Emulator, boot, press_effects
from pokered_rl.game import BUTTONS


def test_every_direction_and_start_act_on_the_map_and_the_moment_is_put_back(sprout):
    with Emulator(sprout) as emulator:
        start = boot(emulator)
        emulator.load_state(start)
        before = emulator.ram_hash()
        acts = dict(zip(BUTTONS, press_effects(emulator), strict=True))
        assert emulator.ram_hash() == before
        # A makes the engine look at the tile in front (wTileInFrontOfPlayer); B and SELECT are for other screens.
        assert [name for name, effect in acts.items() if not effect] == ["B", "SELECT"]


def test_left_and_right_do_nothing_in_the_start_menu(sprout):
    with Emulator(sprout) as emulator:
        boot(emulator)
        emulator.press("start")
        emulator.tick(8)
        emulator.release("start")
        emulator.tick(40)
        acts = dict(zip(BUTTONS, press_effects(emulator), strict=True))
    assert not acts["LEFT"]
    assert not acts["RIGHT"]
    assert not acts["SELECT"]
    assert acts["DOWN"]
    assert acts["B"]
