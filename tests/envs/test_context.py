"""`ContextFeatures`: what stands where, and that it follows the game."""

import pytest
import torch
from tensordict import TensorDict

from pokered_rl.emulator import start_states
from pokered_rl.envs import ContextFeatures, MapMemory, make_env
from pokered_rl.game import ITEMS, MOVES, CartridgeProfile

RIGHT, UP, A = 4, 6, 1


@pytest.fixture
def read(overworld):
    """The features of the last of some images (action, bytes) by name."""

    def run(*steps: tuple[int, dict], context: ContextFeatures | None = None, **entries) -> dict[str, float]:
        context = context or ContextFeatures()
        for action, values in steps:
            td = TensorDict({"ram": overworld(**values)[None], "action": torch.tensor([action]), **entries}, [1])
            vector = context(td)["context"][0]
        return dict(zip(context.names, vector.tolist(), strict=True))

    return run


def test_names_are_distinct_and_as_many_as_features(overworld, batch):
    context = ContextFeatures()
    assert len(set(context.names)) == len(context.names)
    assert context(batch(overworld()))["context"].shape == (1, len(context.names))


def test_position_is_relative_to_the_map_and_to_the_world(read):
    features = read((0, {"wXCoord": 5, "wYCoord": 9}))
    # 5 of 20 columns, 9 of 18 lines; Pallet Town's corner is at (50, 234) of a world of 340 x 360 steps.
    assert features["x"] == 0.25
    assert features["y"] == 0.5
    assert features["global_x"] == pytest.approx(55 / 340)
    assert features["global_y"] == pytest.approx(243 / 360)
    assert features["outdoor"] == 1.0
    assert features["region_town"] == 1.0
    indoors = read((0, {"wCurMap": 37, "wCurMapTileset": 1}))
    # The house lies where its door does: (55, 239).
    assert indoors["global_x"] == pytest.approx(55 / 340)
    assert indoors["global_y"] == pytest.approx(239 / 360)
    assert indoors["outdoor"] == 0.0
    assert indoors["region_interior"] == 1.0


def test_the_number_of_the_map_is_in_its_bits(read):
    features = read((0, {"wCurMap": 0b10100101}))
    assert [features[f"map_bit_{i}"] for i in range(8)] == [1, 0, 1, 0, 0, 1, 0, 1]


def test_progress_is_read(read):
    flags = bytearray(320)
    flags[34 // 8] = 1 << 34 % 8  # GOT_STARTER
    features = read(
        (
            0,
            {
                "wObtainedBadges": 0b101,
                "wEventFlags": bytes(flags),
                "wNumBagItems": 1,
                "wBagItems": [ITEMS.id("BICYCLE"), 1],
                "wPokedexOwned": [0b111],
                "wPlayerMoney": [0x00, 0x09, 0x99],
                "wPartyCount": 1,
                "wNumHoFTeams": 0,
            },
        )
    )
    assert [features[f"badge_{i}"] for i in range(3)] == [1, 0, 1]
    assert features["story"] == pytest.approx(1 / len(ContextFeatures().profile.events))
    assert features["item_bicycle"] == 1.0
    assert features["item_town_map"] == 0.0
    assert features["bag"] == pytest.approx(1 / 20)
    assert features["pokedex_owned"] == pytest.approx(3 / 151)
    # log(1 + 999) / log(1,000,000) = 3 / 6.
    assert features["money"] == pytest.approx(0.5, abs=1e-6)
    assert features["party_size"] == pytest.approx(1 / 6)
    assert features["finished"] == 0.0


def test_the_events_of_the_story_are_there_by_name(read):
    flags = bytearray(320)
    for bit in (34, 119):  # GOT_STARTER, BEAT_BROCK
        flags[bit // 8] |= 1 << bit % 8
    events = {name: on for name, on in read((0, {"wEventFlags": bytes(flags)})).items() if name.startswith("event_")}
    assert {name for name, on in events.items() if on} == {"event_got_starter", "event_beat_brock"}
    # Trainers who are only in the way are no story.
    assert "event_beat_pewter_gym_trainer_0" not in events


@pytest.mark.parametrize(("name", "events", "size"), [("sprout", 47, 291), ("red", 186, 462)])
def test_the_size_is_what_the_docs_say(name, events, size):
    context = ContextFeatures(profile=CartridgeProfile.get(name))
    assert sum(each.startswith("event_") for each in context.names) == events
    assert len(context.names) == size
    assert f"{size} on {name.title()}" in ContextFeatures.__doc__


def _member(species: int, *, status: int = 0, types: tuple[int, int] = (0, 0), moves: dict[int, int]) -> bytes:
    """A record of the party; ``moves`` maps moves to their PP byte."""
    record = bytearray(44)
    record[0], record[4], record[0x21] = species, status, 7
    record[5:7] = bytes(types)
    record[8:12] = bytes(moves).ljust(4, b"\0")
    record[29:33] = bytes(moves.values()).ljust(4, b"\0")
    return bytes(record)


def _on(features: dict[str, float], prefix: str) -> dict[str, float]:
    return {name.removeprefix(prefix): value for name, value in features.items() if name.startswith(prefix) and value}


def test_types_status_and_pp_of_the_party(read):
    tackle, ember = (MOVES[MOVES.id(name)] for name in ("TACKLE", "EMBER"))
    assert (tackle.pp, ember.pp) == (35, 25)
    # Fire and flying; poisoned. TACKLE 14 of 35; EMBER with two PP-ups of 5 each: 7 of 25 + 2 * 5.
    first = _member(180, status=0b1000, types=(20, 2), moves={tackle.id: 14, ember.id: 0b10 << 6 | 7})
    # Water alone, asleep and burned: three turns of sleep are bits 0 and 1.
    second = _member(177, status=0b10011, types=(21, 21), moves={tackle.id: 35})
    party = {
        "wPartyCount": 2,
        "wPartySpecies": [180, 177, 255],
        "wPartyMons": first + second + _member(1, moves={1: 9}),
    }
    features = read((0, party))
    assert _on(features, "type_0_") == {"fire": 1, "flying": 1}
    assert _on(features, "type_1_") == {"water": 1}
    assert _on(features, "status_0_") == {"poisoned": 1}
    assert _on(features, "status_1_") == {"asleep": 1, "burned": 1}
    assert _on(features, "pp_0_") == pytest.approx({"0": 0.4, "1": 0.2})
    assert _on(features, "pp_1_") == {"0": 1}
    # Behind the party lies an old record.
    assert not any(_on(features, f"{kind}_2_") for kind in ("type", "status", "pp"))


def test_a_member_whose_record_is_not_written_yet_has_no_features(read):
    old = _member(177, status=8, types=(21, 21), moves={33: 5})
    features = read((0, {"wPartyCount": 1, "wPartySpecies": [180, 255], "wPartyMons": old}))
    assert not any(_on(features, f"{kind}_0_") for kind in ("type", "status", "pp"))


def test_the_starter_of_sprout_has_its_type_and_all_of_its_pp(sprout):
    env = make_env(sprout, start_states=start_states(sprout)["starter"])
    try:
        vector = env.reset()["context"][0]
        [names] = [t.names for t in env.transform if isinstance(t, ContextFeatures)]
        features = dict(zip(names, vector.tolist(), strict=True))
    finally:
        env.close()
    assert features["event_got_starter"] == 1
    assert sum(_on(features, "type_0_").values()) in (1, 2)
    assert set(_on(features, "pp_0_").values()) == {1}
    assert not _on(features, "status_0_")


def test_screen_and_battle_are_one_hot(read):
    features = read((0, {}))
    assert features["screen_overworld"] == 1.0
    assert features["battle_none"] == 1.0
    assert read((0, {"wIsInBattle": 2}))["battle_trainer"] == 1.0
    assert read((0, {"wIsInBattle": 1, "wBattleType": 2}))["battle_safari"] == 1.0
    assert sum(value for name, value in features.items() if name.startswith("screen_")) == 1.0


def test_the_last_action_and_what_it_did_are_there(read):
    first = read((RIGHT, {}))
    assert not any(value for name, value in first.items() if name.startswith(("action_", "outcome_")))
    facing_right = {"wSpritePlayerStateData1FacingDirection": 12}
    for values, outcome in (
        ({"wXCoord": 6, **facing_right}, "moved"),
        (facing_right, "turned"),
        ({"wCurMap": 12}, "changed_map"),
        ({"wFontLoaded": 1}, "opened_text"),
        ({"wTileMap": bytes([0x80] * 360)}, "screen_changed"),
        ({}, "nothing"),
    ):
        features = read((0, {}), (RIGHT, values))
        assert features["action_right"] == 1.0
        assert features[f"outcome_{outcome}"] == 1.0, outcome
        assert sum(value for name, value in features.items() if name.startswith("outcome_")) == 1.0
    # The outcome is that of the last step, not of all steps since the start.
    assert read((0, {}), (RIGHT, {"wXCoord": 6}), (RIGHT, {"wXCoord": 6}))["outcome_nothing"] == 1.0
    assert read((0, {"wFontLoaded": 1}), (A, {}))["outcome_closed_text"] == 1.0


def test_map_memory_is_summed_up(read):
    crop = torch.zeros(1, 2, 5, 5, dtype=torch.uint8)
    crop[0, 0, 2, 2] = 3  # the player's own tile, often visited
    crop[0, 0, 0:2, :] = 1  # the two lines above
    crop[0, 1, 0, 0] = 3
    crop[0, 1, 4, 4] = 2
    features = read((0, {}), map_memory=crop)
    assert features["memory_visits"] == 1.0
    assert features["memory_known_up"] == 1.0
    assert features["memory_known_down"] == 0.0
    # Left half: 2 columns of 5 lines, of which the upper two lines, 4 of 10.
    assert features["memory_known_left"] == pytest.approx(0.4)
    assert features["memory_passages"] == pytest.approx(1 / 5)
    assert features["memory_texts"] == pytest.approx(1 / 5)
    assert read((0, {}))["memory_visits"] == 0.0


def test_waiting_is_there_when_the_environment_reports_it(read):
    assert read((0, {}), wait_frames=torch.tensor([[60]], dtype=torch.int32))["wait"] == 0.5


def test_hp_alone_changes_nothing(overworld):
    """Never HP, neither ours nor the enemy's."""
    context = ContextFeatures()
    images = []
    for hp in (1, 20):
        party = bytearray(264)
        party[1:3] = hp.to_bytes(2, "big")
        party[0x21] = 5
        party[0x22:0x24] = (20).to_bytes(2, "big")
        values = {"wPartyCount": 1, "wPartyMons": bytes(party), "wIsInBattle": 1}
        values |= {"wEnemyMonHP": [0, hp], "wBattleMonHP": [0, hp]}
        images.append(overworld(**values))
    left, right = (context(TensorDict({"ram": image[None]}, [1]))["context"] for image in images)
    # The first call begins the episode; the outcome of the second, "nothing happened", is the only difference.
    names = [context.names[i] for i in (left != right)[0].nonzero().flatten().tolist()]
    assert names == ["outcome_nothing"]


def test_it_is_computed_anew_in_every_step(sprout, start):
    """Regression: the first version of this system computed the context at the reset and never again."""
    env = make_env(sprout, num_emulators=1, start_states=start)
    try:
        td = env.reset()
        seen = [td["context"]]
        for action in (5, 4, 7, 6, 3, 2, 5, 5):
            td["action"] = torch.tensor([action])
            td = env.step(td)["next"]
            assert not torch.equal(td["context"], seen[-1])
            seen.append(td["context"])
        [names] = [t.names for t in env.transform if isinstance(t, ContextFeatures)]
        changed = (torch.cat(seen).std(0) > 0).tolist()
        moved = {name for name, flag in zip(names, changed, strict=True) if flag}
        assert moved & {"x", "y"}
        assert any(name.startswith("screen_") for name in moved)
    finally:
        env.close()


def test_crops_of_another_size_are_taken(read):
    for radius in (2, 10):
        side = 2 * radius + 1
        crop = torch.ones(1, 2, side, side, dtype=torch.uint8)
        assert read((0, {}), map_memory=crop)["memory_known_down"] == pytest.approx(1.0)


def test_stands_behind_the_map_memory(overworld, batch):
    td = ContextFeatures()(MapMemory(radius=2)(batch(overworld())))
    names = ContextFeatures().names
    assert td["context"][0, names.index("memory_visits")] == pytest.approx(1 / 3)
