"""Every field of every image of the real game, decoded equal to what is known about it."""

from typing import Any

import pytest
import torch
from torch import Tensor

from pokered_rl.game import (
    BUTTONS,
    FULL_LAYOUT,
    ITEMS,
    MOVES,
    SCREEN_RANGES,
    SPECIES,
    CartridgeProfile,
    GameState,
    RamLayout,
    ScreenKind,
    read_screen,
    screen_kind,
    state_ranges,
)

Images = dict[str, Tensor]
Facts = dict[str, dict[str, Any]]


def _number(ram: Tensor, label: str) -> int:
    """The value of one byte, or of a little-endian word."""
    return int.from_bytes(bytes(FULL_LAYOUT.read(ram, label).tolist()), "little")


def _hex(ram: Tensor, label: str, digits: int = 2) -> str:
    return f"{_number(ram, label):0{digits}x}"


def _party(ram: Tensor, state: GameState) -> list[dict[str, Any]]:
    return [
        {
            "sp": SPECIES.name(state.party_species[slot]),
            "lv": int(state.party_level[slot]),
            "hp": int(state.party_hp[slot]),
            "maxhp": int(state.party_max_hp[slot]),
            "status": int(state.party_status[slot]),
            "exp": int(state.party_exp[slot]),
            "moves": [MOVES.name(move) if move else "-" for move in state.party_moves[slot]],
            "pp": state.party_pp[slot].tolist(),
        }
        for slot in range(int(state.party_count))
    ]


def _facts(ram: Tensor) -> dict[str, Any]:
    """All that is known about an image, decoded by the public readers and named by the public tables."""
    state = GameState.from_ram(ram)
    profile = CartridgeProfile.get("red")
    seconds = int(state.play_time_seconds)
    hours, minutes = seconds // 3600, seconds // 60 % 60
    enemy = int(state.enemy_species)
    return {
        "map": [int(state.map_id), profile.maps.name(state.map_id)],
        "x": int(state.x),
        "y": int(state.y),
        "size_blocks": [_number(ram, "wCurMapWidth"), _number(ram, "wCurMapHeight")],
        "size_steps": [int(state.width_steps), int(state.height_steps)],
        "last_map": [int(state.last_map), profile.maps.name(state.last_map)],
        "warps": _number(ram, "wNumberOfWarps"),
        "sprites": _number(ram, "wNumSprites"),
        "party_count": int(state.party_count),
        "party": _party(ram, state),
        "badges": f"{int(state.badge_bits):08b}",
        "money": int(state.money),
        "coins": int(state.coins),
        "bag": [[ITEMS.name(item), int(n)] for item, n in state.bag_items[: int(state.bag_count)]],
        "owned": int(state.pokedex_owned),
        "seen": int(state.pokedex_seen),
        "events": [f"EVENT_{profile.events.name(bit)}" for bit in state.event_flags.nonzero().flatten()],
        "time": f"{hours}:{minutes:02}:{seconds % 60:02}.{int(state.play_time_frames):02}",
        "options": _hex(ram, "wOptions"),
        "hof_teams": int(state.hall_of_fame),
        "in_battle": int(state.in_battle),
        "battle_type": int(state.battle_type),
        "cur_opponent": int(state.opponent),
        "enemy": {
            "sp": SPECIES.name(enemy) if enemy else None,
            "lv": int(state.enemy_level),
            "hp": int(state.enemy_hp),
            "max": int(state.enemy_max_hp),
        },
        "ui": {
            "font": _number(ram, "wFontLoaded"),
            "walk": _number(ram, "wWalkCounter"),
            "textbox": _number(ram, "wTextBoxID"),
            "top": [_number(ram, "wTopMenuItemY"), _number(ram, "wTopMenuItemX")],
            "cur": _number(ram, "wCurrentMenuItem"),
            "max": _number(ram, "wMaxMenuItem"),
            "watched": _hex(ram, "wMenuWatchedKeys"),
            "listid": _number(ram, "wListMenuID"),
            "joyignore": _hex(ram, "wJoyIgnore"),
            "sf5": _hex(ram, "wStatusFlags5"),
            "sf4": _hex(ram, "wStatusFlags4"),
            "sf6": _hex(ram, "wStatusFlags6"),
            "simidx": _number(ram, "wSimulatedJoypadStatesIndex"),
            "npcscript": _number(ram, "wNPCMovementScriptPointerTableNum"),
            "hWY": _number(ram, "hWY"),
            "movflags": _hex(ram, "wMovementFlags"),
            "facing": 4 * int(state.facing),  # the byte in RAM
            "dir": _number(ram, "wPlayerDirection"),
            "autobg": _number(ram, "hAutoBGTransferEnabled"),
            "cursor": _hex(ram, "wMenuCursorLocation", 4),
        },
    }


def test_every_field_of_every_image_decodes_to_the_known_value(real_images: Images, real_facts: Facts) -> None:
    assert set(real_facts) <= set(real_images)
    for name, expected in real_facts.items():
        decoded = _facts(real_images[name])
        assert {key: decoded[key] for key in expected} == expected, name


def test_all_images_decoded_as_one_batch_equal_the_images_decoded_alone(real_images: Images) -> None:
    batch = torch.stack(list(real_images.values()))
    together = GameState.from_ram(batch)
    assert together.batch_size == torch.Size([len(real_images)])
    for index, ram in enumerate(real_images.values()):
        assert (together[index] == GameState.from_ram(ram)).all()


@pytest.mark.parametrize("ranges", [(*state_ranges(), *SCREEN_RANGES), state_ranges()])
def test_compact_layout_decodes_like_the_full_image(real_images: Images, ranges: tuple[tuple[int, int], ...]) -> None:
    layout = RamLayout.merged(ranges)
    batch = torch.stack(list(real_images.values()))
    columns = [FULL_LAYOUT.column(at) for start, stop in layout.ranges for at in range(start, stop)]
    assert (GameState.from_ram(batch[:, columns], layout) == GameState.from_ram(batch)).all()


#: What the images of ``expected.json`` show; those of ``screens.json`` say it themselves.
_OVERWORLD = {"kind": "OVERWORLD", "usable": list(BUTTONS), "ignored": False}
_SHOWN = {
    "celadon_party_menu": {"kind": "PARTY", "usable": ["A", "B", "UP", "DOWN"], "ignored": False},
    "lance_text_waiting": {"kind": "TEXT_WAITING", "usable": ["A", "B"], "ignored": False},
}
#: Two texts wait without an arrow: only the stack tells them from a text that is being printed.
_WITHOUT_STACK = {"lance_text_waiting": "TEXT_PRINTING", "battle_trainer_wants_to_fight": "BATTLE_BUSY"}


def _shown(name: str, screens: Facts) -> dict[str, Any]:
    return screens.get(name) or _SHOWN.get(name, _OVERWORLD)


def test_screen_of_every_image_is_what_it_shows(real_images: Images, real_screens: Facts) -> None:
    assert set(real_screens) <= set(real_images)
    for name, ram in real_images.items():
        found = read_screen(ram)
        usable = [button for button, acts in zip(BUTTONS, found.usable.tolist(), strict=True) if acts]
        decoded = {"kind": ScreenKind(int(found.kind)).name, "usable": usable, "ignored": bool(found.ignored)}
        assert decoded == _shown(name, real_screens), name


def test_screen_of_every_image_is_known_without_the_stack_too(real_images: Images, real_screens: Facts) -> None:
    ranges = tuple(r for r in SCREEN_RANGES if not 0xDF00 <= r[0] < 0xE000)
    layout = RamLayout(ranges)
    columns = [FULL_LAYOUT.column(at) for start, stop in ranges for at in range(start, stop)]
    for name, ram in real_images.items():
        kind = ScreenKind(int(screen_kind(ram[columns], layout))).name
        assert kind == _WITHOUT_STACK.get(name, _shown(name, real_screens)["kind"]), name


def test_screens_read_as_one_batch_equal_screens_read_alone(real_images: Images) -> None:
    batch = torch.stack(list(real_images.values()))
    together = read_screen(batch)
    for index, ram in enumerate(real_images.values()):
        for whole, single in zip(together, read_screen(ram), strict=True):
            assert torch.equal(whole[index], single)
