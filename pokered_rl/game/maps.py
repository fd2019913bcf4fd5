"""Maps: names and ids, sizes, kinds, and one coordinate system for the whole world."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import torch
from torch import Tensor

from pokered_rl.game._data import load_json
from pokered_rl.game.tables import NameTable

__all__ = ["GameMap", "GameMaps", "MapKind"]

_NUM_MAP_IDS = 256


class MapKind(IntEnum):
    """The type of place that a map is."""

    UNKNOWN = 0
    TOWN = 1
    ROUTE = 2
    INTERIOR = 3
    HEALING = 4
    SHOP = 5
    GYM = 6
    GATE = 7
    DUNGEON = 8
    LEAGUE = 9


@dataclass(frozen=True)
class GameMap:
    """One map; coordinates are player steps, with 0 in the top left corner.

    Attributes:
        id: Number in wCurMap.
        name: Name in the disassembly.
        width_steps: Width; 0 if unknown.
        height_steps: Height; 0 if unknown.
        tileset: Tileset id, -1 if unknown.
        outdoor: Whether the map belongs to the outdoor plane.
        kind: The type of place.
        global_origin: Column and line in the world, of the corner of an outdoor map, or of the door through which
            an indoor map is reached from outdoors. None if there is no such door.
        entrance: Outdoor map and the door's x and y in it, for indoor maps.
        connections: ``(direction, map id, offset in steps)`` of neighbours reached without a warp.
        warps: ``(x, y, destination map, destination warp counted from 1)``; map 255 is the last outdoor map.
        signs: ``(x, y)`` of signs.
    """

    id: int
    name: str
    width_steps: int
    height_steps: int
    tileset: int
    outdoor: bool
    kind: MapKind
    global_origin: tuple[int, int] | None
    entrance: tuple[int, int, int] | None
    connections: tuple[tuple[str, int, int], ...]
    warps: tuple[tuple[int, int, int, int], ...]
    signs: tuple[tuple[int, int], ...]


class GameMaps(NameTable[GameMap]):
    """The maps of a cartridge by id, ids by name, and batched lookups by id.

    Maps that are not in the table have their number as name, the kind ``UNKNOWN`` and no place in the world.

    Args:
        maps: The maps.
        global_size: Width and height of the outdoor plane in steps.

    Example:
        >>> from pokered_rl.game import CartridgeProfile
        >>> maps = CartridgeProfile.get("red").maps
        >>> maps.name(38), maps.id("OAKS_LAB"), maps[12].kind.name
        ('REDS_HOUSE_2F', 40, 'ROUTE')
    """

    def __init__(self, maps: tuple[GameMap, ...], global_size: tuple[int, int] = (0, 0)) -> None:
        super().__init__(maps)
        self.global_size = global_size
        self._kinds = torch.zeros(_NUM_MAP_IDS, dtype=torch.int64)
        self._outdoor = torch.zeros(_NUM_MAP_IDS, dtype=torch.bool)
        self._origin = torch.full((_NUM_MAP_IDS, 2), -1, dtype=torch.int64)
        self._placed = torch.zeros(_NUM_MAP_IDS, dtype=torch.bool)
        for item in maps:
            self._kinds[item.id] = item.kind
            self._outdoor[item.id] = item.outdoor
            if item.global_origin is not None:
                self._origin[item.id] = torch.tensor(item.global_origin)
                self._placed[item.id] = True

    @classmethod
    def load(cls, file: str, *, alike: GameMaps | None = None) -> GameMaps:
        """Return the maps of the package's ``data/<file>``.

        Args:
            file: Name of the JSON file.
            alike: Maps from which a map without a kind takes it, by id. None: by name and tileset.
        """
        table = load_json(file)
        names = {int(id): name for id, name in table.get("tilesets", {}).items()}
        width, height = table.get("global_size", (0, 0))
        return cls(tuple(_game_map(entry, names, alike) for entry in table["maps"]), (width, height))

    def kinds(self, map_id: Tensor) -> Tensor:
        """Return the ``MapKind`` of each id: int64, shape of ``map_id``."""
        return self._kinds.to(map_id.device)[map_id]

    def outdoor(self, map_id: Tensor) -> Tensor:
        """Return whether each id is an outdoor map: bool, shape of ``map_id``."""
        return self._outdoor.to(map_id.device)[map_id]

    def global_xy(self, map_id: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the place in the world: outdoors the player's tile, indoors the door of the building.

        Args:
            map_id: int64 ``[*]``.
            x: int64 ``[*]`` column in the map.
            y: int64 ``[*]`` line in the map.

        Returns:
            Global column and line, int64 ``[*]``, and whether the map has a place, bool ``[*]``. Without a place the
            coordinates are -1.
        """
        placed = self._placed.to(map_id.device)[map_id]
        origin = self._origin.to(map_id.device)[map_id]
        here = torch.stack((x, y), -1) * self._outdoor.to(map_id.device)[map_id].unsqueeze(-1)
        place = torch.where(placed.unsqueeze(-1), origin + here, -1)
        return place[..., 0], place[..., 1], placed


def _game_map(entry: dict[str, Any], tilesets: dict[int, str], alike: GameMaps | None) -> GameMap:
    if "kind" in entry:
        kind = MapKind[entry["kind"].upper()]
    elif alike is not None:
        kind = alike[entry["id"]].kind if entry["id"] in alike else MapKind.UNKNOWN
    else:
        kind = _kind(entry, str(entry.get("tileset") or tilesets.get(entry.get("tileset_id", -1), "")))
    entrance = entry.get("entrance")
    warps = tuple((w["x"], w["y"], w["dest_id"], w["dest_warp"]) for w in entry.get("warps", ()))
    place = entry if "global_x" in entry else (entrance or {})
    origin = (place["global_x"], place["global_y"]) if "global_x" in place else None
    return GameMap(
        id=entry["id"],
        name=entry["name"],
        width_steps=2 * entry["width"],
        height_steps=2 * entry["height"],
        tileset=entry.get("tileset_id", -1),
        outdoor=bool(entry.get("outdoor", False)),
        kind=kind,
        global_origin=origin,
        entrance=None if entrance is None else (entrance["map_id"], entrance["x"], entrance["y"]),
        connections=tuple((c["dir"], c["map_id"], 2 * c["offset_blocks"]) for c in entry.get("connections", ())),
        warps=warps,
        signs=tuple((s[0], s[1]) for s in entry.get("signs", ())),
    )


_LEAGUE = ("LORELEI", "BRUNO", "AGATHA", "LANCE", "CHAMPION", "HALL_OF_FAME")
_DUNGEON_NAMES = (
    "FOREST",
    "SAFARI_ZONE",
    "SS_ANNE",
    "POKEMON_TOWER",
    "POKEMON_MANSION",
    "SILPH_CO",
    "ROCKET_HIDEOUT",
    "POWER_PLANT",
    "CAVE",
    "TUNNEL",
    "VICTORY_ROAD",
)


def _kind(entry: dict[str, Any], tileset: str) -> MapKind:
    """Return the kind of a map from its name and tileset in the retail game."""
    name = entry["name"]
    if not tileset and not entry.get("warps"):
        return MapKind.UNKNOWN
    if entry.get("outdoor"):
        return MapKind.ROUTE if "ROUTE" in name else MapKind.TOWN
    for words, kind in (
        (_LEAGUE, MapKind.LEAGUE),
        (("GYM", "FIGHTING_DOJO"), MapKind.GYM),
        (("POKECENTER", "INDIGO_PLATEAU_LOBBY"), MapKind.HEALING),
        (("MART",), MapKind.SHOP),
        (("GATE", "UNDERGROUND_PATH", "REST_HOUSE"), MapKind.GATE),
        (("HOUSE",), MapKind.INTERIOR),
        (_DUNGEON_NAMES, MapKind.DUNGEON),
    ):
        if any(word in name for word in words):
            return kind
    return MapKind.DUNGEON if tileset in ("CAVERN", "FOREST", "CEMETERY") else MapKind.INTERIOR
