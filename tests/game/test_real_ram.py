"""Every field of every image of the real game, decoded equal to what is known about it."""

from math import isqrt
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
    screen_lines,
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


#: What the game itself has written on the screen of images that ``expected.json`` lacks, and what it says of them:
#: own level, HP and highest HP, enemy, its level; ``None`` where nothing is written.
_WRITTEN: dict[str, tuple[list[str], dict[str, Any]]] = {
    "battle_menu_left_wild": (
        ["RATTATA", "2", "6", "23/ 23", "▶FIGHT"],
        {"level": 6, "hp": 23, "max": 23, "enemy": "RATTATA", "enemy_level": 2, "in_battle": 1},
    ),
    "battle_menu_left_trainer": (
        ["WEEDLE", "9", "10", "32/ 32", "▶FIGHT"],
        {"level": 10, "hp": 32, "max": 32, "enemy": "WEEDLE", "enemy_level": 9, "in_battle": 2},
    ),
    "battle_menu_right": (
        ["PIDGEY", "3", "6", "22/ 22", "▶RUN"],
        {"level": 6, "hp": 22, "max": 22, "enemy": "PIDGEY", "enemy_level": 3, "in_battle": 1},
    ),
    "battle_move_list": (
        ["RATTATA", "3", "CHARMANDER", "8", "3/ 24", "NORMAL", "SCRATCH", "▶GROWL", "40/40"],
        {
            "level": 8,
            "hp": 3,
            "max": 24,
            "enemy": "RATTATA",
            "enemy_level": 3,
            "in_battle": 1,
            "species": "CHARMANDER",
            "moves": ["SCRATCH", "GROWL"],
            "second_pp": 40,
        },
    ),
    # OPP_ID_OFFSET 200 + BROCK 34; the enemy's fields are those of the battle before (wEnemyMonPartyPos is 0xFF).
    "battle_trainer_wants_to_fight": (
        ["BROCK wants", "to fight!"],
        {"map": "PEWTER_GYM", "opponent": 234, "in_battle": 2},
    ),
    # wOptions: text speed FAST 1, bit 7 BATTLE ANIMATION OFF, bit 6 BATTLE STYLE SET.
    "title_options": (["▷FAST", "▷OFF", "▷SHIFT"], {"options": 0x81, "party_count": 0}),
    "title_menu": (["▶NEW GAME", "OPTION"], {"party_count": 0, "money": 0}),
}
#: Images without letters: the stairs of the table of warps, and the starter of level 5 in the professor's lab.
_SEEN: dict[str, dict[str, Any]] = {
    "title_screen": {"party_count": 0, "map": "PALLET_TOWN", "in_battle": 0},
    "transition_stairs": {"party_count": 0, "map": "REDS_HOUSE_1F", "place": (7, 1), "money": 3000},
    "scripted_movement": {"level": 5, "species": "SQUIRTLE", "exp": 135, "map": "OAKS_LAB", "money": 3000},
}


def _decoded(ram: Tensor) -> dict[str, Any]:
    state = GameState.from_ram(ram)
    found = {
        "party_count": int(state.party_count),
        "map": CartridgeProfile.get("red").maps.name(state.map_id),
        "place": (int(state.x), int(state.y)),
        "money": int(state.money),
        "in_battle": int(state.in_battle),
        "opponent": int(state.opponent),
        "options": _number(ram, "wOptions"),
        "enemy": SPECIES.name(state.enemy_species),
        "enemy_level": int(state.enemy_level),
    }
    if found["party_count"]:
        first = _party(ram, state)[0]
        found |= {"species": first["sp"], "level": first["lv"], "hp": first["hp"], "max": first["maxhp"]}
        found |= {"moves": [move for move in first["moves"] if move != "-"], "second_pp": first["pp"][1]}
        found["exp"] = first["exp"]
    return found


def test_every_other_image_decodes_to_what_its_screen_says(real_images: Images, real_facts: Facts) -> None:
    assert set(_WRITTEN) | set(_SEEN) | set(real_facts) == set(real_images)
    for name, (words, expected) in _WRITTEN.items():
        text = "\n".join(screen_lines(real_images[name]))
        assert all(word in text for word in words), name
        decoded = _decoded(real_images[name])
        assert {key: decoded[key] for key in expected} == expected, name
    for name, expected in _SEEN.items():
        decoded = _decoded(real_images[name])
        assert {key: decoded[key] for key in expected} == expected, name


#: Base HP and growth (data/pokemon/base_stats of the disassembly) of the species in the images' parties and battles.
_BASE_HP = {
    "BULBASAUR": 45, "VENUSAUR": 80, "CHARMANDER": 39, "SQUIRTLE": 44, "WARTORTLE": 59, "BLASTOISE": 79, "PIDGEY": 40,
    "PIKACHU": 35, "ODDISH": 45, "EKANS": 35, "MANKEY": 40, "EEVEE": 55, "LAPRAS": 130, "RATTATA": 30, "WEEDLE": 40,
    "SANDSHREW": 50,
}  # fmt: skip
#: Somebody gave its members HP and PP that they cannot have.
_EDITED = "lance_text_waiting"
_SLOW, _FAST = ("LAPRAS",), ("PIKACHU", "EKANS", "MANKEY", "EEVEE")


def _max_hp(species: str, level: int, dv: int, stat_exp: int) -> int:
    """CalcStat (home/move_mon.asm)."""
    root = min(255, isqrt(max(stat_exp - 1, 0)) + (stat_exp > 0))
    return ((_BASE_HP[species] + dv) * 2 + root // 4) * level // 100 + level + 10


def _exp_at(species: str, level: int) -> int:
    """GrowthRateTable (data/growth_rates.asm): slow, medium fast, medium slow."""
    if species in _SLOW:
        return 5 * level**3 // 4
    return level**3 if species in _FAST else 6 * level**3 // 5 - 15 * level**2 + 100 * level - 140


def test_decoded_values_of_every_image_obey_the_laws_of_the_game(real_images: Images, real_facts: Facts) -> None:
    maps, members, enemies = CartridgeProfile.get("red").maps, 0, 0
    for name, ram in real_images.items():
        state = GameState.from_ram(ram)
        here = maps[int(state.map_id)]
        if not name.startswith("title"):  # no game is loaded
            assert (int(state.width_steps), int(state.height_steps)) == (here.width_steps, here.height_steps), name
            assert _number(ram, "wNumberOfWarps") == len(here.warps), name
            assert 0 <= int(state.x) < here.width_steps, name
            assert 0 <= int(state.y) < here.height_steps, name
        assert int(state.pokedex_owned) <= int(state.pokedex_seen) <= 151, name
        records = FULL_LAYOUT.read(ram, "wPartyMons").reshape(-1, 44).to(torch.int64)
        for slot, each in enumerate(_party(ram, state)):
            members += 1
            record, at = records[slot], f"{name}, {each['sp']}"
            dvs, stat_exp = int(record[27] << 8 | record[28]), int(record[17] << 8 | record[18])
            # The DV of HP are the lowest bits of the other four.
            dv = sum((dvs >> 4 * place & 1) << place for place in range(4))
            if name in real_facts:  # the DV of some of these were edited after their stats had been computed
                lowest, highest = _max_hp(each["sp"], each["lv"], 0, 0), _max_hp(each["sp"], each["lv"], 15, stat_exp)
            else:  # stats are computed anew at a new level only; the stat experience of later fights waits until then
                lowest, highest = (_max_hp(each["sp"], each["lv"], dv, exp) for exp in (0, stat_exp))
            assert lowest <= each["maxhp"] <= highest, at
            assert _exp_at(each["sp"], each["lv"]) <= each["exp"] < _exp_at(each["sp"], each["lv"] + 1), at
            if name == _EDITED:
                continue
            assert 0 <= each["hp"] <= each["maxhp"], at
            for move, pp in zip(each["moves"], each["pp"], strict=True):
                if move == "-":
                    assert pp == 0, at
                else:  # a PP-up adds a fifth, three at most
                    assert pp <= min(63, MOVES[MOVES.id(move)].pp * 8 // 5), at
        if int(state.in_battle) and int(state.enemy_level):
            enemy = SPECIES.name(state.enemy_species)
            # Trainers' have the DV 9 8 8 8 (engine/battle/core.asm), which makes 8 of HP.
            dvs = range(16) if int(state.in_battle) == 1 else (8,)
            assert int(state.enemy_max_hp) in {_max_hp(enemy, int(state.enemy_level), dv, 0) for dv in dvs}, name
            assert 0 <= int(state.enemy_hp) <= int(state.enemy_max_hp), name
            enemies += 1
    assert (members, enemies) == (35, 5)


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
