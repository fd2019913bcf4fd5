"""Write the package's tables of Sprout from the sources of the cartridge: ``export.py [FOLDER]``."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import creatures
import world

DATA = Path(__file__).resolve().parents[2] / "pokered_rl" / "game" / "data"
SOURCE = "roms/sprout/world.py and creatures.py, written by roms/sprout/export.py"
TYPES = {
    0: "NORMAL",
    2: "FLYING",
    3: "POISON",
    5: "ROCK",
    7: "BUG",
    0x14: "FIRE",
    0x15: "WATER",
    0x16: "GRASS",
    0x17: "ELECTRIC",
}
EVENT_BASE = 0xD747
#: the directions in the order of the headers in RAM
SIDES = ("north", "south", "west", "east")


def _size(entry: dict) -> tuple[int, int]:
    rows = [row for row in entry["cells"].split("\n") if row]
    return len(rows[0]) // 2, len(rows) // 2


def places() -> dict[str, tuple[int, int]]:
    """Return the global corner of every outdoor map, by its connections to the map with a fixed place."""
    by_name = {entry["name"]: entry for entry in world.MAPS}
    start = next(entry for entry in world.MAPS if "at" in entry)
    found, todo, done = {start["name"]: start["at"]}, [start["name"]], set()
    while todo:
        here = by_name[todo.pop()]
        x, y = found[here["name"]]
        width, height = _size(here)
        for side in SIDES:
            if side not in here:
                continue
            other, offset = here[side]
            w, h = _size(by_name[other])
            place = {"north": (x + 2 * offset, y - 2 * h), "south": (x + 2 * offset, y + 2 * height),
                     "west": (x - 2 * w, y + 2 * offset), "east": (x + 2 * width, y + 2 * offset)}[side]  # fmt: skip
            if found.setdefault(other, place) != place:
                raise SystemExit(f"export.py: {other} has two places, {found[other]} and {place}")
            if other not in todo and other not in done:
                todo.append(other)
        done.add(here["name"])
    return found


def maps() -> dict:
    by_name = {entry["name"]: entry for entry in world.MAPS}
    place = places()
    # The entrance from outdoors: the first door found, then doors found from those maps.
    entrance: dict[str, dict] = {}
    todo = [name for name in by_name if name in place]
    while todo:
        name = todo.pop(0)
        for x, y, other, _ in by_name[name].get("warps", []):
            if other == "LAST_MAP" or other in place or other in entrance:
                continue
            if name in place:
                gx, gy = place[name]
                entrance[other] = {
                    "map_id": by_name[name]["id"],
                    "x": x,
                    "y": y,
                    "global_x": gx + x,
                    "global_y": gy + y,
                }
            else:
                entrance[other] = {
                    **{k: v for k, v in entrance[name].items() if k != "via"},
                    "via": by_name[name]["id"],
                }
            todo.append(other)
    rows = []
    for entry in sorted(world.MAPS, key=lambda e: e["id"]):
        name = entry["name"]
        width, height = _size(entry)
        row = {
            "id": entry["id"], "name": name, "label": name.title().replace("_", ""), "kind": world.PLACES[name],
            "width": width, "height": height, "tileset": entry["tileset"], "tileset_id": world.TILESETS[entry["tileset"]][0],
            "connections": [
                {"dir": side, "map": entry[side][0], "map_id": by_name[entry[side][0]]["id"], "offset_blocks": entry[side][1]}
                for side in SIDES if side in entry
            ],
            "warps": [
                {"x": x, "y": y, "dest": other, "dest_id": 255 if other == "LAST_MAP" else by_name[other]["id"], "dest_warp": index + 1}
                for x, y, other, index in entry.get("warps", [])
            ],
            "signs": [[x, y] for x, y, _ in entry.get("signs", [])],
            "objects": [
                {"x": thing["x"], "y": thing["y"], "sprite": f"SPRITE_{thing['sprite']}", "movement": thing["move"].upper()}
                for thing in entry.get("objects", [])
            ],
            "outdoor": name in place,
        }  # fmt: skip
        if name in place:
            row["global_x"], row["global_y"] = place[name]
        elif name in entrance:
            row["entrance"] = entrance[name]
        rows.append(row)
    size = [max(place[n][axis] + 2 * _size(by_name[n])[axis] for n in place) + 20 for axis in (0, 1)]
    return {"source": SOURCE, "units": "width,height: blocks (1 block = 2x2 player steps = 32x32 px); x,y,global_*: player steps",
            "global_size": size, "last_map_id": 255, "maps": rows}  # fmt: skip


def tables() -> dict[str, dict]:
    events = {
        str(bit): {"name": f"EVENT_{name}", "address": f"0x{EVENT_BASE + bit // 8:04X}", "bit": bit % 8}
        for bit, name in enumerate(world.EVENTS)
    }
    return {
        "sprout_maps.json": maps(),
        "sprout_events.json": {
            "source": SOURCE, "base_address": "0xD747", "num_bits": 2560, "num_bytes": 320, "last_address": "0xD886",
            "rule": "bit i -> byte 0xD747 + i//8, bit i%8 (LSB = 0)", "events": events,
        },
        "sprout_items.json": {
            "source": SOURCE,
            "items": {str(n): {"name": name.replace(" ", "_"), "key_item": price == 0, "price": price}
                      for n, name, price in sorted(world.ITEMS.values())},
        },
        "sprout_species.json": {
            "source": SOURCE,
            "species": {str(n): {"name": data[0], "dex": i + 1, "types": [TYPES[t] for t in data[1]]}
                        for i, (n, data) in enumerate(creatures.SPECIES.items())},
        },
        "sprout_moves.json": {
            "source": SOURCE,
            "moves": {str(n): {"name": data[0].replace(" ", "_"), "type": TYPES[data[1]], "power": data[2], "pp": data[4]}
                      for n, data in sorted(creatures.MOVES.items())},
        },
        "sprout_trainers.json": {
            "source": SOURCE, "opponent_offset": 200,
            "classes": {"0": "NOBODY", **{str(n): name for n, (name, _) in sorted(creatures.CLASSES.items())}},
        },
        "sprout_milestones.json": {
            "source": SOURCE, "milestones": [{"name": name, **what} for name, what in world.MILESTONES],
        },
    }  # fmt: skip


def write(folder: Path) -> None:
    for name, table in tables().items():
        (folder / name).write_text(_text(table))


def _text(table: dict) -> str:
    """Format as JSON with a line for each entry of the long list."""
    lines = []
    for key, value in table.items():
        if isinstance(value, dict):
            body = ",\n".join(f"{json.dumps(k)}:{json.dumps(v, separators=(',', ':'))}" for k, v in value.items())
            lines.append(f"{json.dumps(key)}: {{\n{body}\n}}")
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            body = ",\n".join(json.dumps(v, separators=(",", ":")) for v in value)
            lines.append(f"{json.dumps(key)}: [\n{body}\n]")
        else:
            lines.append(f"{json.dumps(key)}: {json.dumps(value)}")
    return "{\n" + ",\n".join(lines) + "\n}\n"


if __name__ == "__main__":
    write(Path(sys.argv[1]) if len(sys.argv) > 1 else DATA)
