import torch

from pokered_rl.game import FULL_LAYOUT, RAM_MAP, RamLayout
from pokered_rl.game.effects import effect_columns


def _counts(address: int) -> bool:
    return bool(effect_columns()[FULL_LAYOUT.column(address)])


def test_timers_random_bytes_and_joypad_are_no_effects():
    for label in ("hFrameCounter", "hRandomAdd", "hRandomSub", "hJoyInput", "hJoyHeld", "hJoy7", "wPlayTimeSeconds"):
        assert not _counts(RAM_MAP[label].address), label
    assert not _counts(0xDFFD)  # a return address
    assert not _counts(RAM_MAP["wPlayerName"].address)  # START on an empty name writes its terminator
    assert not _counts(0xC300)  # a bouncing icon; where people stand is in wSpriteStateData1
    assert _counts(RAM_MAP["wSpriteStateData1"].address)


def test_menus_text_and_what_is_owned_are_effects():
    for label in ("wCurrentMenuItem", "wTileMap", "wOptions", "wPlayerMoney", "wXCoord", "wEnemyMonHP", "wBoxMons"):
        assert _counts(RAM_MAP[label].address), label


def test_only_the_two_tiles_of_the_blinking_arrow_are_left_out_of_the_screen():
    columns = effect_columns()[FULL_LAYOUT.slice(0xC3A0, 360)]
    assert (~columns).nonzero().squeeze(-1).tolist() == [20 * 11 + 18, 20 * 16 + 18]


def test_a_layout_of_a_few_bytes_gets_as_many_columns():
    layout = RamLayout(((0xD35E, 0xD360), (0xFFD3, 0xFFD4)))
    assert torch.equal(effect_columns(layout), torch.tensor([True, True, False]))
