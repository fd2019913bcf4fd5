from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from pokered_rl.envs.ram_frame import RamFrame
from pokered_rl.game import (
    FULL_LAYOUT,
    RAM_MAP,
    CartridgeProfile,
    GameState,
    RamLayout,
    state_ranges,
)
from pokered_rl.game.state import STATE_FIELDS

Build = Callable[..., Tensor]


def _random_ram(*batch: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (*batch, FULL_LAYOUT.size), dtype=torch.uint8, generator=generator)


def test_numbers_of_several_bytes_are_high_byte_first(blank_ram: Build) -> None:
    ram = blank_ram(
        wPartyCount=1,
        wPartyMon1HP=[0x01, 0x2C],  # 256 + 44 = 300
        wPartyMon1MaxHP=[0x02, 0x00],  # 512
        wPartyMon1Exp=[0x0F, 0x42, 0x40],  # 1,000,000
        wEnemyMonHP=[0x00, 0xFF],
        wEnemyMonMaxHP=[0x01, 0x00],
    )
    state = GameState.from_ram(ram)
    assert state.party_hp.tolist() == [300, 0, 0, 0, 0, 0]
    assert state.party_max_hp.tolist() == [512, 0, 0, 0, 0, 0]
    assert state.party_exp.tolist() == [1_000_000, 0, 0, 0, 0, 0]
    assert (int(state.enemy_hp), int(state.enemy_max_hp)) == (255, 256)


def test_badges_are_not_the_options(blank_ram: Build) -> None:
    # wOptions D355 stands right before wObtainedBadges D356; text speed 3 once paid for two badges.
    state = GameState.from_ram(blank_ram(wOptions=0x03, wObtainedBadges=0x81))
    assert int(state.badge_bits) == 0x81
    assert int(GameState.from_ram(blank_ram(wOptions=0xFF)).badge_bits) == 0


def test_champion_is_not_the_party_count(blank_ram: Build) -> None:
    assert int(GameState.from_ram(blank_ram(wPartyCount=6)).hall_of_fame) == 0
    assert int(GameState.from_ram(blank_ram(wNumHoFTeams=2)).hall_of_fame) == 2


def test_battle_result_is_not_the_opponent(blank_ram: Build) -> None:
    state = GameState.from_ram(blank_ram(wCurOpponent=225, wBattleResult=1))
    assert (int(state.battle_result), int(state.opponent)) == (1, 225)
    assert int(GameState.from_ram(blank_ram(wCurOpponent=225)).battle_result) == 0


def test_bag_starts_behind_its_count(blank_ram: Build) -> None:
    # D31D count, D31E first item: two potions (20) and five balls (4), then the terminator.
    state = GameState.from_ram(blank_ram(wNumBagItems=[2, 20, 2, 4, 5, 0xFF, 9]))
    assert int(state.bag_count) == 2
    assert state.bag_items[:3].tolist() == [[20, 2], [4, 5], [0, 0]]
    assert int(state.bag_items.sum()) == 20 + 2 + 4 + 5


def test_level_is_not_its_stale_copy(blank_ram: Build) -> None:
    # +3 is the level when the Pokémon was last in a box, +0x21 the level.
    state = GameState.from_ram(blank_ram(wPartyCount=1, wPartyMon1BoxLevel=5, wPartyMon1Level=37))
    assert state.party_level.tolist() == [37, 0, 0, 0, 0, 0]


def test_slots_beyond_the_count_are_zero_whatever_the_bytes_say() -> None:
    ram = torch.full((FULL_LAYOUT.size,), 0xFF, dtype=torch.uint8)
    ram[FULL_LAYOUT.column(RAM_MAP["wPartyCount"].address)] = 2
    ram[FULL_LAYOUT.column(RAM_MAP["wNumBagItems"].address)] = 1
    state = GameState.from_ram(ram)
    for name in ("species", "level", "hp", "max_hp", "status", "exp", "moves", "pp"):
        value = getattr(state, f"party_{name}")
        assert (value[:2] > 0).all(), name
        assert (value[2:] == 0).all(), name
    assert state.bag_items[0].tolist() == [255, 255]
    assert not state.bag_items[1:].any()


def test_counts_above_what_the_game_has_room_for_are_clipped() -> None:
    state = GameState.from_ram(torch.full((FULL_LAYOUT.size,), 0xFF, dtype=torch.uint8))
    assert int(state.party_count) == 6
    assert int(state.bag_count) == 20
    assert int(state.money) == 999_999
    assert int(state.coins) == 9_999
    assert int(state.pokedex_owned) == 151
    assert int(state.pokedex_seen) == 151


def test_hp_above_the_maximum_is_reported_as_it_stands(blank_ram: Build) -> None:
    state = GameState.from_ram(blank_ram(wPartyCount=1, wPartyMon1HP=[10, 255], wPartyMon1MaxHP=[1, 15]))
    assert (int(state.party_hp[0]), int(state.party_max_hp[0])) == (2815, 271)


def test_pp_leaves_the_pp_up_bits_out(blank_ram: Build) -> None:
    # 0xC0 | 35: three PP-ups, 35 left
    assert GameState.from_ram(blank_ram(wPartyCount=1, wPartyMon1PP=[0xC0 | 35, 5, 0, 0])).party_pp[0].tolist() == [
        35,
        5,
        0,
        0,
    ]


def test_lost_battle_shows_as_the_raw_byte(blank_ram: Build) -> None:
    assert int(GameState.from_ram(blank_ram(wIsInBattle=0xFF)).in_battle) == 255


def test_play_time_is_the_clock_of_the_current_disassembly(blank_ram: Build) -> None:
    # Hours DA41, "maxed" DA42, minutes DA43, seconds DA44, frames DA45: 2 h 3 min 4 s.
    state = GameState.from_ram(blank_ram(wPlayTimeHours=[2, 0, 3, 4, 59]))
    assert int(state.play_time_seconds) == 2 * 3600 + 3 * 60 + 4
    assert int(state.play_time_frames) == 59


def test_tileset_leaves_the_flag_of_special_warps_out(blank_ram: Build) -> None:
    assert int(GameState.from_ram(blank_ram(wCurMapTileset=0x80 | 23)).tileset) == 23


def test_event_flags_stand_by_bit_number(blank_ram: Build) -> None:
    events = CartridgeProfile.get("red").events
    # GOT_STARTER is bit 34: byte 34 // 8 = 4, bit 2. The last flag is bit 7 of D886.
    ram = blank_ram(bytes_at={0xD747 + 4: 1 << 2, 0xD886: 0x80})
    flags = GameState.from_ram(ram).event_flags
    assert flags.dtype == torch.bool
    assert flags.nonzero().flatten().tolist() == [events.bit("EVENT_GOT_STARTER"), 2559]


def test_pokedex_counts_species(blank_ram: Build) -> None:
    state = GameState.from_ram(blank_ram(wPokedexOwned=[0b101] + [0] * 17 + [0x40], wPokedexSeen=[0xFF] * 2))
    assert (int(state.pokedex_owned), int(state.pokedex_seen)) == (3, 16)


def test_batch_of_any_shape_decodes_like_its_rows() -> None:
    ram = _random_ram(64)
    whole = GameState.from_ram(ram)
    assert whole.batch_size == torch.Size([64])
    folded = GameState.from_ram(ram.view(4, 2, 8, -1))
    assert folded.batch_size == torch.Size([4, 2, 8])
    assert (folded.reshape(64) == whole).all()
    for row in (0, 17, 63):
        assert (GameState.from_ram(ram[row]) == whole[row]).all()
        assert (GameState.from_ram(ram[row : row + 1])[0] == whole[row]).all()


def test_compact_layout_and_strided_input_decode_like_the_full_image() -> None:
    ram = _random_ram(5, seed=1)
    layout = RamLayout(state_ranges())
    compact = torch.cat([ram[:, FULL_LAYOUT.slice(start, stop - start)] for start, stop in layout.ranges], -1)
    assert compact.shape[-1] == layout.size
    assert (GameState.from_ram(compact, layout) == GameState.from_ram(ram)).all()
    strided = ram.t().contiguous().t()
    assert (GameState.from_ram(strided) == GameState.from_ram(ram)).all()


def test_chosen_fields_alone_are_decoded_and_read_only_what_they_need() -> None:
    ram = _random_ram(3, seed=2)
    fields = ("party_hp", "x")
    layout = RamLayout(state_ranges(fields))
    # x, the party's count, and two bytes in each of the six party records
    assert layout.size == 1 + 1 + 12
    compact = torch.cat([ram[:, FULL_LAYOUT.slice(start, stop - start)] for start, stop in layout.ranges], -1)
    state = GameState.from_ram(compact, layout, fields=fields)
    whole = GameState.from_ram(ram)
    assert torch.equal(state.party_hp, whole.party_hp)
    assert torch.equal(state.x, whole.x)
    assert state.money is None
    assert state.party_count is None


@pytest.mark.parametrize("name", STATE_FIELDS)
def test_each_field_alone_equals_the_field_among_all(name: str) -> None:
    ram = _random_ram(2, seed=3)
    assert torch.equal(getattr(GameState.from_ram(ram, fields=(name,)), name), getattr(GameState.from_ram(ram), name))


def test_unknown_field_and_missing_bytes_are_named() -> None:
    with pytest.raises(KeyError, match="karma"):
        GameState.from_ram(_random_ram(1), fields=("karma",))
    layout = RamLayout.of("wCurMap")
    with pytest.raises(KeyError, match="D361"):
        GameState.from_ram(torch.zeros(1, layout.size, dtype=torch.uint8), layout, fields=("y",))


def test_decoding_leaves_the_ram_alone() -> None:
    ram = _random_ram(2, seed=4)
    before = ram.clone()
    GameState.from_ram(ram)
    assert torch.equal(ram, before)


@pytest.mark.parametrize(("byte", "facing"), [(0, 0), (4, 1), (8, 2), (12, 3)])
def test_facing_is_numbered_down_up_left_right(blank_ram: Build, byte: int, facing: int) -> None:
    # wSpritePlayerStateData1FacingDirection: 0 down, 4 up, 8 left, 12 right.
    ram = blank_ram(wSpritePlayerStateData1FacingDirection=byte)
    assert int(GameState.from_ram(ram).facing) == facing
    assert RamFrame(ram, FULL_LAYOUT).facing.tolist() == [facing]
