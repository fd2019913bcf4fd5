from collections.abc import Iterator

import pytest
import torch

from pokered_rl.game import (
    ITEMS,
    MOVES,
    SPECIES,
    TRAINERS,
    CartridgeProfile,
    EventTable,
    GameMaps,
    GameState,
    MapKind,
    Milestone,
    Milestones,
)
from pokered_rl.game.state_fields import NUM_SPECIES
from pokered_rl.game.tables import ELITE_CLASSES, LEADER_CLASSES

RED = CartridgeProfile.get("red")


@pytest.mark.parametrize(
    ("table", "id", "name"),
    [
        (ITEMS, 4, "POKE_BALL"),
        (ITEMS, 196, "HM_CUT"),
        (SPECIES, 153, "BULBASAUR"),
        (MOVES, 33, "TACKLE"),
        (TRAINERS, 34, "BROCK"),
        (RED.maps, 40, "OAKS_LAB"),
    ],
)
def test_names_are_found_both_ways(table, id: int, name: str) -> None:
    assert table.name(id) == name
    assert table.id(name) == id
    assert id in table
    assert name in table
    assert table[id].name == name


@pytest.mark.parametrize("table", [ITEMS, SPECIES, MOVES, TRAINERS, RED.maps])
def test_names_are_unique_and_strangers_are_called_by_number(table) -> None:
    assert len(set(table.names)) == len(table) == len({entry.id for entry in table})
    assert table.name(254) == "254"
    assert table.name(torch.tensor(254)) == "254"
    with pytest.raises(KeyError, match="NOBODY_AT_ALL"):
        table.id("NOBODY_AT_ALL")


def test_every_pokedex_number_belongs_to_one_species() -> None:
    numbers = [species.dex for species in SPECIES if species.dex]
    assert sorted(numbers) == list(range(1, NUM_SPECIES + 1))
    assert SPECIES[SPECIES.id("BULBASAUR")].dex == 1
    assert SPECIES[SPECIES.id("MEW")].dex == 151


def test_key_items_are_those_that_the_story_needs() -> None:
    names = {ITEMS.name(item) for item in RED.key_items}
    assert {"OAKS_PARCEL", "S_S_TICKET", "SILPH_SCOPE", "POKE_FLUTE", "HM_SURF", "BICYCLE"} <= names
    assert not {"POTION", "POKE_BALL", "NUGGET", "TM_THUNDERBOLT"} & names


def test_leaders_and_elite_are_named() -> None:
    assert len(LEADER_CLASSES) == 8
    assert [TRAINERS.name(id) for id in ELITE_CLASSES] == ["LORELEI", "BRUNO", "AGATHA", "LANCE", "RIVAL3"]


def test_event_names_work_with_and_without_their_prefix() -> None:
    assert RED.events.bit("GOT_STARTER") == RED.events.bit("EVENT_GOT_STARTER") == 34
    assert RED.events.name(34) == "GOT_STARTER"
    assert "EVENT_GOT_STARTER" in RED.events
    assert 34 in RED.events
    assert 35 in RED.events
    assert RED.events.name(2559) == "2559"
    assert len(RED.events) == 507 == len(RED.events.names)
    assert list(RED.events) == sorted(RED.events)
    assert max(RED.events) < 2560


def test_event_table_takes_the_long_form_of_its_file() -> None:
    table = EventTable({3: "EVENT_SEEN", 1: "HEARD"})
    assert list(table) == [1, 3]
    assert table.names == ("HEARD", "SEEN")


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("PALLET_TOWN", MapKind.TOWN),
        ("ROUTE_1", MapKind.ROUTE),
        ("REDS_HOUSE_2F", MapKind.INTERIOR),
        ("OAKS_LAB", MapKind.INTERIOR),
        ("VIRIDIAN_POKECENTER", MapKind.HEALING),
        ("INDIGO_PLATEAU_LOBBY", MapKind.HEALING),
        ("PEWTER_MART", MapKind.SHOP),
        ("PEWTER_GYM", MapKind.GYM),
        ("ROUTE_22_GATE", MapKind.GATE),
        ("VIRIDIAN_FOREST", MapKind.DUNGEON),
        ("VIRIDIAN_FOREST_SOUTH_GATE", MapKind.GATE),
        ("MT_MOON_B1F", MapKind.DUNGEON),
        ("DIGLETTS_CAVE_ROUTE_2", MapKind.DUNGEON),
        ("SS_ANNE_1F_ROOMS", MapKind.DUNGEON),
        ("SILPH_CO_5F", MapKind.DUNGEON),
        ("CELADON_MANSION_1F", MapKind.INTERIOR),
        ("ROUTE_16_FLY_HOUSE", MapKind.INTERIOR),
        ("AGATHAS_ROOM", MapKind.LEAGUE),
        ("UNUSED_MAP_0B", MapKind.UNKNOWN),
    ],
)
def test_kind_of_map(name: str, kind: MapKind) -> None:
    assert RED.maps[RED.maps.id(name)].kind is kind
    assert int(RED.maps.kinds(torch.tensor(RED.maps.id(name)))) == kind


def test_there_are_36_outdoor_maps_and_their_edges_fit() -> None:
    outdoor = [entry for entry in RED.maps if entry.outdoor]
    assert len(outdoor) == 36
    width, height = RED.maps.global_size
    for entry in outdoor:
        assert entry.global_origin is not None
        x, y = entry.global_origin
        assert 0 <= x <= width - entry.width_steps
        assert 0 <= y <= height - entry.height_steps
        for direction, neighbour_id, offset in entry.connections:
            neighbour = RED.maps[neighbour_id]
            expected = {
                "north": (x + offset, y - neighbour.height_steps),
                "south": (x + offset, y + entry.height_steps),
                "west": (x - neighbour.width_steps, y + offset),
                "east": (x + entry.width_steps, y + offset),
            }[direction]
            assert neighbour.global_origin == expected, (entry.name, direction)


def test_every_warp_leads_to_a_map_of_the_table() -> None:
    for entry in RED.maps:
        for x, y, map_id, warp in entry.warps:
            assert 0 <= x < entry.width_steps
            assert 0 <= y < entry.height_steps
            assert map_id == 255 or (map_id in RED.maps and warp >= 1), entry.name


def _edge_crossings() -> Iterator[tuple[int, int, int, int, int, int]]:
    """Every step over an edge of an outdoor map, ``(map, x, y)`` before and after it."""
    for entry in RED.maps:
        for direction, neighbour_id, offset in entry.connections:
            neighbour = RED.maps[neighbour_id]
            if direction in ("north", "south"):
                y, there = (0, neighbour.height_steps - 1) if direction == "north" else (entry.height_steps - 1, 0)
                for x in range(max(0, offset), min(entry.width_steps, offset + neighbour.width_steps)):
                    yield entry.id, x, y, neighbour_id, x - offset, there
            else:
                x, there = (0, neighbour.width_steps - 1) if direction == "west" else (entry.width_steps - 1, 0)
                for y in range(max(0, offset), min(entry.height_steps, offset + neighbour.height_steps)):
                    yield entry.id, x, y, neighbour_id, there, y - offset


def test_every_step_over_an_edge_is_one_step_in_the_world() -> None:
    # In 75,776 logged steps of the retail game all 56 edge crossings had this distance.
    steps = torch.tensor(list(_edge_crossings()))  # [N, 6]
    assert {(int(here), int(there)) for here, there in steps[:, [0, 3]]} == {
        (entry.id, neighbour) for entry in RED.maps for _, neighbour, _ in entry.connections
    }
    x, y, placed = RED.maps.global_xy(*steps[:, :3].unbind(1))
    next_x, next_y, next_placed = RED.maps.global_xy(*steps[:, 3:].unbind(1))
    assert bool((placed & next_placed).all())
    assert ((next_x - x).abs() + (next_y - y).abs()).unique().tolist() == [1]


def test_crossing_from_pallet_town_to_route_1() -> None:
    # Pallet Town (10 x 9 blocks) lies south of Route 1 (18 blocks high, offset 0): (10, 0) is below (10, 35).
    pallet, route = RED.maps.id("PALLET_TOWN"), RED.maps.id("ROUTE_1")
    assert (pallet, 10, 0, route, 10, 35) in set(_edge_crossings())


#: Warps of the retail tables that lead nowhere by the tables alone: a script chooses where Route 22's gate leads in the
#: north and where the elevator stops, and one tile of Silph Co. is left over.
_SCRIPTED_WARPS = {("ROUTE_22_GATE", 3), ("SILPH_CO_11F", 2), ("SILPH_CO_ELEVATOR", 0), ("SILPH_CO_ELEVATOR", 1)}


def test_every_warp_leads_to_a_warp_and_out_of_a_building_to_its_own_door() -> None:
    astray = set()
    for entry in RED.maps:
        for index, (_, _, map_id, warp) in enumerate(entry.warps):
            outside = map_id == 255
            if outside and entry.entrance is None:
                astray.add((entry.name, index))
                continue
            there = RED.maps[entry.entrance[0] if outside and entry.entrance else map_id].warps
            if warp > len(there) or (outside and there[warp - 1][2] != entry.id):
                astray.add((entry.name, index))
    assert astray == _SCRIPTED_WARPS


def test_underground_path_of_route_7_leads_out_at_its_fifth_warp() -> None:
    # pret/pokered, data/maps/objects/UndergroundPathRoute7.asm: LAST_MAP, 5 (that of ...Route7Copy is 6).
    path = RED.maps[RED.maps.id("UNDERGROUND_PATH_ROUTE_7")]
    assert [warp for _, _, map_id, warp in path.warps if map_id == 255] == [5, 5]


def test_indoors_the_place_is_the_door() -> None:
    # The door of Red's house is at (5, 5) in Pallet Town, whose corner is at (50, 234).
    maps = torch.tensor([RED.maps.id("REDS_HOUSE_1F"), RED.maps.id("REDS_HOUSE_2F")])
    x, y, placed = RED.maps.global_xy(maps, torch.tensor([3, 7]), torch.tensor([6, 1]))
    assert placed.all()
    assert x.tolist() == [55, 55]
    assert y.tolist() == [239, 239]
    house = RED.maps[37]
    assert house.entrance == (0, 5, 5)
    assert house.global_origin == (55, 239)


def test_maps_that_nobody_knows_have_a_number_and_no_place() -> None:
    x, y, placed = RED.maps.global_xy(torch.tensor([11, 255]), torch.tensor([1, 1]), torch.tensor([2, 2]))
    assert not placed.any()
    assert x.tolist() == y.tolist() == [-1, -1]
    empty = GameMaps(())
    assert len(empty) == 0
    assert empty.name(3) == "3"
    assert int(empty.kinds(torch.tensor(3))) == MapKind.UNKNOWN
    assert not bool(empty.outdoor(torch.tensor(3)))


def _state(map_id: int, *, badges: int = 0, teams: int = 0, events: tuple[int, ...] = ()) -> GameState:
    flags = torch.zeros(2560, dtype=torch.bool)
    flags[list(events)] = True
    return GameState(
        map_id=torch.tensor(map_id),
        badge_bits=torch.tensor(badges),
        hall_of_fame=torch.tensor(teams),
        event_flags=flags,
        batch_size=[],
    )


def test_milestone_is_reached_by_any_of_its_conditions() -> None:
    milestones = Milestones(
        (
            Milestone("here", maps=(3, 5)),
            Milestone("flag", events=(7, 9)),
            Milestone("badge", badges=(2,)),
            Milestone("fame", hall_of_fame=True),
            Milestone("either", events=(9,), maps=(1,)),
        )
    )
    for state, expected in (
        (_state(5), ["here"]),
        (_state(1, events=(7,)), ["flag", "either"]),
        (_state(0, events=(9,)), ["flag", "either"]),
        (_state(0, badges=0b100), ["badge"]),
        (_state(0, badges=0b11011, teams=1), ["fame"]),
    ):
        reached = milestones.reached(state)
        assert [name for name, hit in zip(milestones.names, reached, strict=True) if hit] == expected


def test_milestones_of_a_batch_are_those_of_its_rows() -> None:
    states = [_state(0), _state(12, events=(34,)), _state(2, badges=1)]
    together = RED.milestones.reached(torch.stack(states))
    assert together.shape == (3, len(RED.milestones))
    for row, state in zip(together, states, strict=True):
        assert torch.equal(row, RED.milestones.reached(state))
    assert together[1].nonzero().flatten().tolist() == [
        RED.milestones.names.index("starter"),
        RED.milestones.names.index("route_1"),
    ]


def test_story_of_red_starts_at_home_and_ends_in_the_hall_of_fame() -> None:
    names = RED.milestones.names
    assert len(set(names)) == len(names)
    assert names[0] == "leave_home"
    assert names[-1] == "hall_of_fame"
    assert sum(name.startswith("badge_") for name in names) == 8


def test_blue_has_the_tables_of_red_under_its_own_name() -> None:
    blue = CartridgeProfile.get("blue")
    assert blue.title == "POKEMON BLUE"
    assert blue.sha1 != RED.sha1
    assert blue.maps.names == RED.maps.names
    assert blue.stack_words


@pytest.mark.parametrize("name", ["unknown", "crystal dust"])
def test_hacks_get_the_tables_of_red_but_not_its_return_addresses(name: str) -> None:
    profile = CartridgeProfile.get(name)
    assert profile.maps.names == RED.maps.names
    assert profile.sha1 is None
    assert not profile.stack_words


def test_profile_is_made_once() -> None:
    assert CartridgeProfile.get("red") is RED


def test_sprout_brings_its_own_names() -> None:
    sprout = CartridgeProfile.get("sprout")
    assert sprout.title == "SPROUT"
    assert sprout.stack_words
    assert sprout.maps.names != RED.maps.names
    assert isinstance(sprout.maps.name(38), str)
    assert len(sprout.milestones) == len(set(sprout.milestones.names))
