"""Every reward term on cases worked out by hand."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from tensordict import TensorDict

from pokered_rl.envs import RewardTerms
from pokered_rl.envs.ram_frame import RamFrame
from pokered_rl.envs.rewards import REWARD_TERMS, Goals, Novelty, RewardStep
from pokered_rl.envs.tile_memory import TileTracker
from pokered_rl.errors import ConfigError
from pokered_rl.game import FULL_LAYOUT, ITEMS
from pokered_rl.game.tables import LEADER_CLASSES


@pytest.fixture
def play(overworld):
    """Runs a term (weight 1) over images of one emulator, the first being the start; returns each step's value."""

    def run(name: str, *frames: dict, renewing_events: tuple[int, ...] = (), **options) -> list[float]:
        term = REWARD_TERMS[name](weight=1.0, **options)
        tiles = TileTracker(num_emulators=1, renewing_events=renewing_events)
        term.prepare(1)
        values, before, starting = [], None, np.ones(1, bool)
        for values_of in frames:
            now = RamFrame(overworld(**values_of)[None], FULL_LAYOUT, before)
            if before is None:
                tiles.start(now, starting)
                term.begin(now, starting)
            else:
                tiles.advance(now)
                step = RewardStep(now=now, before=before, action=None, tiles=tiles)
                values.append(float(np.asarray(term.evaluate(step))[0]))
            before = now
        return values

    return run


def at(x: int, y: int, **values) -> dict:
    return {"wXCoord": x, "wYCoord": y, **values}


def party(*members: tuple[int, int, int], listed: int = 0) -> dict:
    """A party of (level, HP, maximal HP), with ``listed`` more whose records are not written yet."""
    data = bytearray(264)
    for slot, (level, hp, most) in enumerate(members):
        record = slot * 44
        data[record] = 36
        data[record + 1 : record + 3] = hp.to_bytes(2, "big")
        data[record + 0x21] = level
        data[record + 0x22 : record + 0x24] = most.to_bytes(2, "big")
    species = bytes([36] * len(members) + [84] * listed + [255]).ljust(7, b"\0")
    return {"wPartyCount": len(members) + listed, "wPartySpecies": species, "wPartyMons": bytes(data)}


def stored(*members: tuple[int, int, int], left: tuple[int, int, int]) -> dict:
    """A party from which one was stored, whose place still holds the record that was last, and one just caught."""
    return {
        "wPartyCount": len(members) + 1,
        "wPartyMons": party(*members, left)["wPartyMons"],
        "wPartySpecies": party(*members, listed=1)["wPartySpecies"],
    }


def bag(*items: str) -> dict:
    return {"wNumBagItems": len(items), "wBagItems": bytes(b for name in items for b in (ITEMS.id(name), 1))}


def event(bit: int) -> dict:
    flags = bytearray(320)
    flags[bit // 8] = 1 << bit % 8
    return {"wEventFlags": bytes(flags)}


def foe(hp: int, most: int = 20, **values) -> dict:
    return {"wEnemyMonHP": hp.to_bytes(2, "big"), "wEnemyMonMaxHP": most.to_bytes(2, "big"), **values}


WILD = {"wIsInBattle": 1, "wEnemyMonSpecies": 36}
TRAINER = {"wIsInBattle": 2, "wTrainerClass": 1, "wTrainerNo": 2}


def test_new_tiles(play):
    plain = {"neighbour": 0.0, "distance": 0.0}
    assert play("new_tiles", at(5, 6), at(6, 6), at(5, 6), at(6, 6), at(7, 6), **plain) == [1, 0, 0, 1]
    # At (6, 6) three of four neighbours are unknown; one step from the entry: 1 + 0.4 * 3/4 + 0.5 * 1/11.
    [value] = play("new_tiles", at(5, 6), at(6, 6), neighbour=0.4, distance=0.5)
    assert value == pytest.approx(1 + 0.3 + 0.5 / 11)
    # In the corner (0, 0), come from (1, 0): only (0, 1) is on the map and unknown.
    [value] = play("new_tiles", at(1, 0), at(0, 0), neighbour=0.4, distance=0.0)
    assert value == pytest.approx(1 + 0.4 / 4)


def test_an_event_of_the_story_makes_tiles_new_again_and_maps_not(play):
    walk = [at(5, 6), at(6, 6), at(5, 6, **event(7)), at(6, 6, **event(7)), at(5, 6), at(6, 6, **event(7))]
    plain = {"neighbour": 0.0, "distance": 0.0, "renewing_events": (7, 1000)}
    assert play("new_tiles", *walk, **plain) == [1, 1, 1, 0, 0], "once, also when the flag goes off and on"
    assert play("new_tiles", at(5, 6, **event(7)), at(6, 6), at(5, 6, **event(7)), **plain) == [1, 0], "it was set"
    assert play("new_tiles", at(5, 6), at(6, 6), at(5, 6, **event(8)), **plain) == [1, 0], "another event"
    house = [{}, {"wCurMap": 12}, {"wCurMap": 0, **event(7)}, {"wCurMap": 12, **event(7)}]
    assert play("new_maps", *house, renewing_events=(7,)) == [1, 0, 0]


def test_new_maps(play):
    assert play("new_maps", {}, {"wCurMap": 12}, {"wCurMap": 0}, {"wCurMap": 12}, {"wCurMap": 1}) == [1, 0, 0, 1]
    assert play("new_maps", {}, at(6, 6), at(7, 6)) == [0, 0]


def test_frontier(play):
    # On map 0, outdoors, by steps from (5, 6): 1, 2, back to 1, 3.
    assert play("frontier", at(5, 6), at(6, 6), at(7, 6), at(6, 6), at(8, 6)) == [1, 1, 0, 1]
    # Route 1 lies at global (50, 198), Pallet Town at (50, 234): from (5, 0) to (5, 35) of the route it is one step.
    assert play("frontier", at(5, 0), at(5, 35, wCurMap=12, wCurrentMapHeight2=36)) == [1]


def test_frontier_of_an_emulator_does_not_depend_on_the_others(overworld):
    """At the northern edge the coordinate is 255 for an instant: no tile, whoever else arrives at one."""
    term, tiles, both = REWARD_TERMS["frontier"](weight=1.0), TileTracker(num_emulators=2), np.ones(2, bool)
    term.prepare(2)
    before = RamFrame(torch.stack([overworld(**at(5, 6))] * 2), FULL_LAYOUT)
    tiles.start(before, both)
    term.begin(before, both)
    now = RamFrame(torch.stack([overworld(**at(5, 255)), overworld(**at(5, 8))]), FULL_LAYOUT, before)
    tiles.advance(now)
    step = RewardStep(now=now, before=before, action=None, tiles=tiles)
    assert term.evaluate(step).tolist() == [0, 2]


def test_screen_novelty(play):
    def view(tile: int) -> dict:
        return {"wTileMap": bytes([tile] * 360)}

    assert play("screen_novelty", view(1), view(2), view(1), view(2), view(3)) == [1, 0, 0, 1]
    # A letter on the map is no other view, nor does a battle show new ones.
    letters = {"wTileMap": bytes([1] * 200 + [0x80] * 160)}
    other = {"wTileMap": bytes([1] * 200 + [0x90] * 160)}
    assert play("screen_novelty", letters, other) == [0]
    assert play("screen_novelty", view(1), {**view(9), "wIsInBattle": 1}) == [0]


def test_novelty(play):
    # Cells of 3 x 3 tiles: (3..5, 6..8) is the start, (6, 6) the next; each pays once, standing still nothing.
    walk = [at(5, 6), at(5, 6), at(6, 6), at(7, 7), at(5, 6), at(6, 6)]
    assert play("novelty", *walk) == [0, 1, 0, 0, 0]
    assert play("novelty", *walk, tile_size=1) == [0, 1, 1, 0, 0]
    # The same tile of another map is another cell; while no map is loaded there is none.
    assert play("novelty", {}, {"wCurMap": 12}, {"wCurMap": 1, "wCurrentMapWidth2": 0}) == [1, 0]


def _novelty(overworld) -> tuple[RewardTerms, Callable[..., list[float]]]:
    transform = RewardTerms(terms=[Novelty(weight=1.0)])

    def episode(*columns: tuple[int, ...], reward: RewardTerms = transform) -> list[float]:
        """An episode in which each emulator walks through its columns; returns what each was paid."""
        frames = [torch.stack([overworld(wXCoord=x) for x in each]) for each in zip(*columns, strict=True)]
        n = len(columns)
        total = torch.zeros(n, 1)
        for k, ram in enumerate(frames):
            init = torch.full((n, 1), k == 0)
            total += reward(TensorDict({"ram": ram, "is_init": init}, [n]))["reward"]
        return total.flatten().tolist()

    return transform, episode


def test_novelty_counts_over_the_run_and_for_all_emulators(overworld):
    _, episode = _novelty(overworld)
    # Both emulators start in cell 1 and enter cell 2: 1 and 1 / sqrt(2); the next episode 1 / sqrt(3) and 1 / sqrt(4).
    assert episode((5, 6), (5, 6)) == pytest.approx([1, 2**-0.5])
    assert episode((5, 6), (5, 6)) == pytest.approx([3**-0.5, 0.5])
    # Nobody was in cell 3.
    assert episode((6, 9), (6, 6)) == pytest.approx([1, 0])


def test_novelty_continues_with_its_counts_after_a_restart(overworld):
    transform, episode = _novelty(overworld)
    episode((5, 6), (5, 6))
    restored, _ = _novelty(overworld)
    restored.load_state_dict(transform.state_dict())
    walks = ((5, 6, 9), (5, 6, 6))
    assert episode(*walks, reward=restored) == episode(*walks) == pytest.approx([3**-0.5 + 1, 0.5])


def test_cells_of_less_than_a_tile_are_refused():
    with pytest.raises(ConfigError, match="tile_size"):
        Novelty(tile_size=0)


def test_badges(play):
    assert play("badges", {}, {"wObtainedBadges": 0b1}, {"wObtainedBadges": 0b111}) == [1, 2]
    assert play("badges", {"wObtainedBadges": 1}, {"wObtainedBadges": 0}, {"wObtainedBadges": 2}) == [0, 0]


def test_events(play):
    assert play("events", {}, event(34), {}, event(34)) == [1, 0, 0]  # GOT_STARTER, once
    assert play("events", {}, event(34), event(36), flags={"GOT_STARTER": 7.0}) == [7, 1]
    assert play("events", {}, event(2550)) == [0]  # a bit without a name


def test_pokedex_owned(play):
    assert play("pokedex_owned", {}, {"wPokedexOwned": [0b101]}, {"wPokedexOwned": [0b1]}) == [2, 0]
    assert play("pokedex_owned", {"wPokedexOwned": [1]}, {"wPokedexOwned": [1, 1]}) == [1]


def test_pokedex_seen(play):
    assert play("pokedex_seen", {}, {"wPokedexSeen": [0b11]}, {"wPokedexSeen": [0b111]}) == [2, 1]
    assert play("pokedex_seen", {"wPokedexSeen": [3]}, {"wPokedexSeen": [3]}) == [0]


def test_levels(play):
    assert play("levels", party((5, 9, 9)), party((7, 9, 9)), party((6, 9, 9)), party((8, 9, 9))) == [2, 0, 1]
    # Above a sum of 22 a level pays a quarter: from 20 to 30 it is 2 + 8 / 4.
    assert play("levels", party((20, 9, 9)), party((20, 9, 9), (10, 9, 9))) == [4]


def test_levels_of_a_record_that_is_not_written_yet_do_not_count(play):
    """After a catch the game lists the species, asks for a nickname, and writes the record then."""
    one, two = (6, 9, 9), (5, 9, 9)
    assert play("levels", party(one, two), party(one), stored(one, left=two), party(one, (4, 9, 9))) == [0, 0, 0]
    # A record of the right species that lay there would be the creature itself, as far as one can tell.
    assert play("levels", party(one), party(one, listed=1), party(one, (4, 9, 9))) == [0, 4]


def test_items(play):
    assert play("items", {}, bag("POTION"), {}, bag("POTION", "ANTIDOTE")) == [1, 0, 1]
    assert play("items", {}, bag("BICYCLE")) == [0]


def test_key_items(play):
    assert play("key_items", {}, bag("BICYCLE", "POTION"), {}, bag("BICYCLE")) == [1, 0, 0]
    assert play("key_items", bag("BICYCLE"), bag("BICYCLE", "TOWN_MAP")) == [1]


def test_champion(play):
    assert play("champion", {}, {"wNumHoFTeams": 1}, {"wNumHoFTeams": 1}) == [1, 0]
    assert play("champion", {"wNumHoFTeams": 2}, {"wNumHoFTeams": 2}) == [0]


def test_battle_outcome_pays_an_opponent_once(play):
    fight = {**WILD, **foe(5)}
    won = {**foe(0), "wEnemyMonSpecies": 36}
    # Won, met again and won again: the second time pays nothing.
    assert play("battle_outcome", {}, fight, won, fight, won) == [0, 1, 0, 0]
    # Run from: the enemy still stands.
    assert play("battle_outcome", {}, fight, {**foe(5), "wBattleResult": 2}) == [0, 0]


def test_battle_outcome_pays_by_tier_and_takes_for_a_defeat(play):
    leader = {"wIsInBattle": 2, "wTrainerClass": LEADER_CLASSES[0], **foe(1)}
    assert play("battle_outcome", {}, {**TRAINER, **foe(1)}, foe(0), trainer=5.0) == [0, 5]
    assert play("battle_outcome", {}, leader, foe(0), gym=20.0) == [0, 20]
    assert play("battle_outcome", {}, leader, {**leader, "wIsInBattle": 255}, {}, lost=2.0) == [0, -2, 0]


DOWN, UP = party((5, 0, 20), (7, 0, 30)), party((5, 20, 20), (7, 30, 30))


def test_a_black_out_within_one_step_is_a_battle_lost_and_no_escape(play):
    """The retail game clears wIsInBattle and wBattleResult while it ignores the buttons, and heals."""
    fight, fainted = {**WILD, **foe(3), **UP}, {**WILD, **foe(3), **DOWN, "wBattleResult": 1}
    home = {**foe(3), **UP}
    assert play("battle_outcome", UP, fight, fainted, home, lost=2.0) == [0, 0, -2]
    assert play("escape", UP, fight, fainted, home) == [0, 0, 0]
    assert play("blackout", UP, fight, fainted, home, home) == [0, 0, -1, 0]


def test_a_lost_battle_without_a_black_out_is_lost_once(play):
    """The first battle against the rival: the party is healed by a script, texts later."""
    fight, fainted = {**TRAINER, **foe(3), **UP}, {**TRAINER, **foe(3), **DOWN, "wBattleResult": 1}
    over = {**foe(3), **DOWN, "wBattleResult": 1}
    healed = {**over, **UP}
    assert play("battle_outcome", UP, fight, fainted, over, over, healed, lost=2.0) == [0, 0, -2, 0, 0]
    assert play("blackout", UP, fight, fainted, over, over, healed) == [0, 0, 0, 0, -1]
    assert play("escape", UP, fight, fainted, over, over, healed) == [0] * 5


def test_an_escape_after_one_has_fainted_is_no_defeat(play):
    """A single faint leaves wBattleResult at 1."""
    half = party((5, 0, 20), (7, 30, 30))
    fight, gone = {**WILD, **foe(3), **half, "wBattleResult": 1}, {**foe(3), **half, "wBattleResult": 1}
    assert play("battle_outcome", UP, fight, gone, lost=2.0) == [0, 0]
    assert play("escape", UP, fight, gone) == [0, -1]
    assert play("blackout", UP, fight, gone, {**gone, **UP}) == [0, 0, 0]


def test_battle_damage(play):
    # Of 20 HP: 15 left is a quarter, 5 left another half; healing back to 20 and down to 10 pays nothing.
    battle = [{**WILD, **foe(hp)} for hp in (20, 15, 5, 20, 10)]
    assert play("battle_damage", {}, *battle) == pytest.approx([0, 0.25, 0.5, 0, 0])
    # What the last battle left behind is no damage: the enemy has to have been there for a step.
    stale = {**foe(0), "wEnemyMonSpecies": 36}
    assert play("battle_damage", stale, {**WILD, **foe(0)}, {**WILD, **foe(20, 40)}, {**WILD, **foe(10, 40)}) == [
        0,
        0,
        0.75,
    ]


def test_battle_damage_pays_nothing_before_the_enemy_is_sent_out(play):
    """The game sets wIsInBattle to 2 during the trainer's words, while the enemy's fields are of the last battle."""
    words = {**TRAINER, **foe(0, 33), "wEnemyMonPartyPos": 0xFF}
    sent = {**TRAINER, **foe(33, 33), "wEnemyMonPartyPos": 0}
    hit = {**TRAINER, **foe(11, 33), "wEnemyMonPartyPos": 0}
    assert play("battle_damage", words, words, words, sent, hit) == pytest.approx([0, 0, 0, 2 / 3])
    # A wild enemy is loaded with wIsInBattle; its position is that of the last trainer.
    assert play("battle_damage", {}, *({**WILD, **foe(hp), "wEnemyMonPartyPos": 0xFF} for hp in (20, 10))) == [0, 0.5]


@pytest.mark.parametrize("kind", [WILD, TRAINER], ids=["wild", "trainer"])
def test_an_enemy_that_transforms_is_paid_once(play, kind):
    """Transform changes wEnemyMonSpecies, not its HP."""
    other = {**kind, "wEnemyMonSpecies": 84}
    fight = [{**kind, **foe(20)}, {**kind, **foe(10)}, {**other, **foe(10)}, {**other, **foe(10)}, {**other, **foe(0)}]
    assert play("battle_damage", {}, *fight) == pytest.approx([0, 0.5, 0, 0, 0.5])
    again = [*fight, foe(0), {**kind, **foe(20)}, {**kind, **foe(0)}, foe(0)]
    tiers = {"wild": 1.0, "trainer": 1.0}
    assert play("battle_outcome", {}, *again, **tiers) == [0, 0, 0, 0, 0, 1, 0, 0, 0]


def test_evolution_between_the_last_text_and_the_end_of_the_battle_pays_nothing_of_its_own(play):
    won = {**TRAINER, **foe(0), **UP}
    evolved = {**won, "wPartySpecies": bytes([37, 255]).ljust(7, b"\0")}
    over = {**evolved, "wIsInBattle": 0}
    assert play("battle_damage", {**TRAINER, **foe(20), **UP}, won, evolved, evolved, over) == [1, 0, 0, 0]
    assert play("battle_outcome", won, evolved, evolved, over, over, trainer=5.0) == [0, 0, 5, 0]


def test_a_no_op_on_an_image_of_the_real_game_pays_no_battle_damage():
    folder = os.environ.get("POKERED_REAL_RAM")
    if folder is None:
        pytest.skip("POKERED_REAL_RAM is not set: no RAM images of the real game")
    paths = sorted(Path(folder).glob("*.bin"))
    assert any(path.stem == "battle_trainer_wants_to_fight" for path in paths)
    ram = torch.stack([torch.frombuffer(bytearray(path.read_bytes()), dtype=torch.uint8) for path in paths])
    terms = [cls(weight=1.0) for name, cls in REWARD_TERMS.items() if name not in ("steps", "idle", "goals")]
    reward = RewardTerms(terms=terms)
    reward(TensorDict({"ram": ram}, [len(paths)]))
    paid = reward(TensorDict({"ram": ram.clone()}, [len(paths)]))["reward_terms"]
    # Only low_health costs in a step in which nothing happens.
    assert {name for name, values in paid.items() if values.any()} <= {"low_health"}


def test_escape(play):
    fight = {**WILD, **foe(5)}
    assert play("escape", {}, fight, {**foe(5), "wBattleResult": 2}, {}) == [0, -1, 0]
    assert play("escape", {}, fight, foe(0)) == [0, 0]
    assert play("escape", {}, fight, {**foe(5), "wCapturedMonSpecies": 36}) == [0, 0]
    # The retail game has forgotten what was caught when the battle is over.
    caught = {**fight, "wCapturedMonSpecies": 36}
    assert play("escape", {}, fight, caught, {**foe(5), "wBattleResult": 2}) == [0, 0, 0]


def test_blackout(play):
    # Of poison, far from any battle; and in a battle whose end a step shows.
    assert play("blackout", UP, DOWN, DOWN, UP, UP) == [0, 0, -1, 0]
    assert play("blackout", {**WILD, **DOWN}, {**DOWN, "wIsInBattle": 255}, {**UP, "wIsInBattle": 255}, UP) == [
        0,
        -1,
        0,
    ]
    # Healing the hurt, and the first creature of all, whose HP are written after its name, are none.
    assert play("blackout", party((5, 1, 20), (7, 0, 30)), UP) == [0]
    assert play("blackout", {}, party(listed=1), party((5, 20, 20))) == [0, 0]


def test_low_health(play):
    # 3 of 20 HP are half of the threshold of 0.3: it costs 0.5; a healthy party costs nothing.
    assert play("low_health", party((5, 20, 20)), party((5, 3, 20))) == pytest.approx([-0.5])
    assert play("low_health", party((5, 0, 20)), {**party((5, 0, 20)), "wIsInBattle": 1}, party((5, 0, 20))) == [0, -1]
    assert play("low_health", {}, {}) == [0]


def facing(way: int, *sprites: tuple[int, int], text: int = 1, **values) -> dict:
    """At (5, 6), facing ``way`` (4 up), with persons on the given tiles and a text open."""
    pictures, places = bytearray(256), bytearray(256)
    pictures[0] = 1  # the player
    pictures[9] = way
    for slot, (x, y) in enumerate(sprites, 1):
        pictures[16 * slot] = 1
        places[16 * slot + 4], places[16 * slot + 5] = y + 4, x + 4
    entries = {"wSpriteStateData1": bytes(pictures), "wSpriteStateData2": bytes(places), "wFontLoaded": text}
    return {**entries, **values}


def test_talks(play):
    quiet, text = (facing(4, (5, 5), (4, 6), text=on) for on in (0, 1))
    left, left_text = (facing(8, (5, 5), (4, 6), text=on) for on in (0, 1))
    # Two persons, each paid once; a person behind a counter, two tiles away, counts.
    assert play("talks", quiet, text, text, quiet, text, left, left_text, quiet) == [1, 0, 0, 0, 0, 1, 0]
    assert play("talks", facing(4, (5, 4), text=0), facing(4, (5, 4))) == [1]
    # A sign is nobody, nor does a person in the back, or one who is met while walking, count.
    assert play("talks", facing(4, text=0), facing(4)) == [0]
    assert play("talks", facing(4, (5, 7), text=0), facing(4, (5, 7))) == [0]
    assert play("talks", facing(4, (5, 5), text=0, wXCoord=6), facing(4, (5, 5))) == [0]


def test_the_start_menu_in_front_of_a_person_is_no_talk(overworld, start_menu):
    person = facing(4, (5, 5))
    before = overworld(**{**person, "wFontLoaded": 0})
    for name in ("talks", "signs"):
        term, tiles = REWARD_TERMS[name](weight=1.0), TileTracker(num_emulators=1)
        term.prepare(1)
        first = RamFrame(before[None], FULL_LAYOUT)
        now = RamFrame(start_menu(**person)[None], FULL_LAYOUT, first)
        assert term.evaluate(RewardStep(now=now, before=first, action=None, tiles=tiles)).tolist() == [0]


def test_signs(play):
    quiet, text, left, left_text = (facing(way, text=on) for way in (4, 8) for on in (0, 1))
    assert play("signs", quiet, text, quiet, text, left, left_text) == [1, 0, 0, 0, 1]
    assert play("signs", facing(4, (5, 5), text=0), facing(4, (5, 5))) == [0]


def test_warps(play):
    def place(map_id: int, warp: int, warped_from: int) -> dict:
        return {"wCurMap": map_id, "wWarpedFromWhichWarp": warp, "wWarpedFromWhichMap": warped_from}

    outside, house, back = place(0, 0, 0), place(37, 1, 0), place(0, 0, 37)
    assert play("warps", outside, house, house, back, house, back) == [1, 0, 1, 0, 0]
    # Over an outdoor edge, and to where one wakes up, no warp is used.
    assert play("warps", house, place(12, 1, 0), place(0, 1, 0)) == [0, 0]


def test_hidden_items(play):
    found = {"wObtainedHiddenItemsFlags": [0b101], "wObtainedHiddenCoinsFlags": [0, 1]}
    assert play("hidden_items", {}, {"wObtainedHiddenItemsFlags": [1]}, found, {}, found) == [1, 2, 0, 0]
    assert play("hidden_items", found, found) == [0]


def test_field_moves(play):
    surfing, strong, dark = {"wWalkBikeSurfState": 2}, {"wStatusFlags1": 1}, {"wMapPalOffset": 6}
    # Each move once on a map, on the next map again; a bicycle, and light because the cave was left, are none.
    assert play("field_moves", {}, surfing, {}, surfing, {}, strong, dark, {}) == [1, 0, 0, 0, 1, 0, 1]
    there = {"wCurMap": 12}
    assert play("field_moves", {}, surfing, there, {**there, **surfing}) == [1, 0, 1]
    assert play("field_moves", {}, {"wWalkBikeSurfState": 1}, dark, there) == [0, 0, 0]


def test_field_moves_pay_for_a_tree_that_is_cut_once(play):
    # The tile in front of a player who looks up is (8, 7).
    tree = bytes([0] * 148 + [0x3D]).ljust(360, b"\0")
    up = {"wSpritePlayerStateData1FacingDirection": 4}
    before, gone, busy = {**up, "wTileMap": tree}, up, {**up, "wStatusFlags5": 0x80}
    # Grown again, as after the map was left, and cut again: nothing.
    assert play("field_moves", before, busy, gone, before, busy, gone) == [0, 1, 0, 0, 0]
    # Turning round, walking on and another map lead away from a tree without cutting it.
    for away in ({}, {**up, "wXCoord": 7}, {**up, "wCurMap": 12}):
        assert play("field_moves", before, away, before) == [0, 0]
    # In a gym the tree is another tile.
    assert play("field_moves", {**before, "wCurMapTileset": 7}, {**gone, "wCurMapTileset": 7}) == [0]


def test_defeats_of_ordinary_trainers_can_count_less(play):
    story, trainer = event(119), event(114)  # BEAT_BROCK, BEAT_PEWTER_GYM_TRAINER_0
    assert play("events", {}, story, trainer, trainers=0.25) == [1, 0.25]
    assert play("events", {}, trainer) == [1]


def test_events_without_which_the_game_can_be_finished_can_count_less(play):
    # BEAT_BROCK, GOT_STARTER and BEAT_LORELEIS_ROOM_TRAINER_0 are required, GOT_TOWN_MAP (24) is not.
    for required in (119, 34, 2273):
        assert play("events", {}, event(required), optional=0.5, trainers=0.25) == [1]
    assert play("events", {}, event(24), event(114), optional=0.5, trainers=0.25) == [0.5, 0.25]
    assert play("events", {}, event(24), event(114), optional=0.0) == [0, 0]


def test_steps(play):
    assert play("steps", {}, {}, at(6, 6)) == [-1, -1]
    assert play("steps", {}, {"wIsInBattle": 1}) == [-1]


def test_idle(play):
    assert play("idle", {}, {}, {}, {}, patience=2) == [0, 0, -1]
    # Turning around, or a cursor that moves, ends it.
    assert play("idle", {}, {}, {"wSpritePlayerStateData1FacingDirection": 4}, {}, {}, patience=1) == [0, 0, 0, 0]
    cursor = {"wTileMap": bytes([0x7F] * 40 + [0xED] + [0] * 319)}
    assert play("idle", {}, cursor, {}, cursor, patience=0) == [0, 0, 0]


def test_idle_counts_texts_that_open_again_and_again_on_one_tile(play):
    text, battle, hit = {"wTileMap": 0x80}, {"wIsInBattle": 1}, {"wIsInBattle": 1, "wEnemyMonHP": 2}
    assert play("idle", {}, text, {}, text, {}, stay=2) == [0, 0, -1, -1]
    assert play("idle", {}, text, {}, {"wXCoord": 4}, {"wXCoord": 4, **text}, stay=2) == [0, 0, 0, 0]
    assert play("idle", {}, text, battle, battle, battle, stay=2) == [0, 0, -1, -1]
    assert play("idle", {}, text, battle, hit, hit, stay=2, patience=9) == [0, 0, 0, 0]


def test_revisit(play):
    # Arrivals at (5, 6): the start, then a second and third time; at (6, 6) a first and second time. Cap 4.
    walk = [at(5, 6), at(6, 6), at(5, 6), at(6, 6), at(5, 6)]
    assert play("revisit", *walk, cap=4) == [0, -0.25, -0.25, -0.5]
    assert play("revisit", at(5, 6), at(5, 6)) == [0]


def test_map_stay(play):
    assert play("map_stay", at(5, 6), at(5, 6), at(5, 6), at(6, 6), at(5, 6), patience=1) == [0, -1, 0, 0]
    assert play("map_stay", {}, {}, {"wCurMap": 12}, {"wCurMap": 12}, patience=1) == [0, 0, 0]


def test_healing(play):
    hurt, well = party((5, 5, 20)), party((5, 20, 20))
    assert play("healing", hurt, well, hurt, well, hurt, well, budget=2.0) == [0.75, 0, 0.75, 0, 0.5]
    # Nor is what a battle leaves: the party's HP are written at its end, and a new level raises them.
    assert play("healing", {**hurt, "wIsInBattle": 1}, well) == [0]
    # A healthy creature that joins is no healing.
    assert play("healing", hurt, party((5, 5, 20), (5, 20, 20))) == [0]


def test_money(play):
    def money(*digits: int) -> dict:
        return {"wPlayerMoney": list(digits)}

    # 99 -> log10(100) = 2; 999 -> 3.
    assert play("money", {}, money(0, 0, 0x99), money(0, 9, 0x99), money(0, 0, 0)) == pytest.approx([2, 1, 0])
    assert play("money", money(0, 0, 9), money(0, 0, 0), money(0, 0, 9)) == [0, 0]


def test_goals(play):
    goals = [
        {"name": "route", "map": "ROUTE_1", "value": 2.0},
        {"name": "corner", "region": ["PALLET_TOWN", 0, 0, 2, 2], "after": "route"},
        {"name": "starter", "event": "GOT_STARTER", "value": 4.0},
        {"name": "one badge", "badges": 1, "value": 8.0},
        {"name": "strong", "level": 10, "value": 16.0},
    ]
    # The corner counts only after the route; each goal pays once.
    walk = [at(5, 6), at(1, 1), at(5, 6, wCurMap=12), at(1, 1), at(1, 1)]
    assert play("goals", *walk, goals=goals) == [0, 2, 1, 0]
    assert play("goals", {}, event(34), {"wObtainedBadges": 4}, party((10, 1, 1)), {}, goals=goals) == [4, 8, 16, 0]
    assert play("goals", event(34), event(34), goals=goals) == [0]  # was reached when the episode began


@pytest.mark.parametrize(
    ("goal", "message"),
    [
        ({"map": "ROUTE_1"}, "name"),
        ({"name": "x"}, "exactly one"),
        ({"name": "x", "map": "ROUTE_1", "badges": 1}, "exactly one"),
        ({"name": "x", "map": "NOWHERE"}, "NOWHERE"),
        ({"name": "x", "event": "NOTHING"}, "NOTHING"),
        ({"name": "x", "place": "ROUTE_1"}, "place"),
        ({"name": "x", "region": ["ROUTE_1", 1]}, "left, top"),
        ({"name": "x", "badges": 1, "after": "y"}, "no goal"),
    ],
)
def test_malformed_goals_are_refused(goal, message):
    with pytest.raises(ConfigError, match=message):
        Goals(goals=[goal])


def test_goals_of_one_name_are_refused():
    with pytest.raises(ConfigError, match="distinct"):
        Goals(goals=[{"name": "x", "badges": 1}, {"name": "x", "badges": 2}])


def test_unknown_events_are_refused():
    with pytest.raises(ConfigError, match="NO_SUCH"):
        REWARD_TERMS["events"](flags={"NO_SUCH": 1.0})


def test_every_term_has_a_test_here():
    tested = {name.removeprefix("test_") for name in globals() if name.startswith("test_")}
    missing = [name for name in REWARD_TERMS if not any(test.startswith(name) for test in tested)]
    assert not missing


def test_every_term_is_worked_out_by_hand_at_least_twice():
    source = Path(__file__).read_text()
    few = {name: count for name in REWARD_TERMS if (count := source.count(f'play("{name}", ')) < 2}
    assert not few


def test_images_of_this_file_are_full(overworld):
    assert overworld().shape == torch.Size([FULL_LAYOUT.size])
