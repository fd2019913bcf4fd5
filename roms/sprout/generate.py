"""Write headers and data banks for the build from world.py, creatures.py, art.py, font.py and ram.py."""

from __future__ import annotations

import sys
from pathlib import Path

import creatures
import ram
import world
from art import CELLS, PEOPLE, THINGS, logo
from font import encode, one_bit_tiles

PROMPT, NAME, STRING, NUMBER = 0x58, 0x54, 0x59, 0x5A
NEXT_LINE, PARAGRAPH, CONTINUE, DONE, END, PLAYER, RIVAL = 0x4F, 0x51, 0x55, 0x57, 0x50, 0x52, 0x53
LAST_MAP = 0xFF
BANK_START = 0x4000
DIRECTIONS = {"north": 8, "south": 4, "west": 2, "east": 1}
FACING = {"down": 0, "up": 4, "left": 8, "right": 12}
KINDS = {"text": 0, "script": 1, "item": 2, "trainer": 3}
TEXT_WIDTH = 18


#: what a text may hold besides letters: (written so, code, letters it may take)
TOKENS = (("{P}", PLAYER, 7), ("{R}", RIVAL, 7), ("{N}", NAME, 11), ("{S}", STRING, 11), ("{#}", NUMBER, 4))


def wrap(text: str) -> bytes:
    """Encode a text for boxes of two lines; a third line scrolls, ``|`` clears the box, a last ``^`` waits for A."""
    out = bytearray()
    end = DONE
    if text.endswith("^"):
        text, end = text[:-1], PROMPT

    def shown(line: str) -> int:
        return len(line) + sum(line.count(token) * (room - len(token)) for token, _, room in TOKENS)

    for number, paragraph in enumerate(text.split("|")):
        if number:
            out.append(PARAGRAPH)
        lines: list[str] = []
        for forced in paragraph.split("\n"):
            line = ""
            for word in forced.split():
                if line and shown(line + " " + word) > TEXT_WIDTH:
                    lines.append(line)
                    line = word
                else:
                    line = line + " " + word if line else word
            lines.append(line)
        for i, line in enumerate(lines):
            if i:
                out.append(NEXT_LINE if i == 1 else CONTINUE)
            while line:
                for token, code, _ in TOKENS:
                    if line.startswith(token):
                        out.append(code)
                        line = line[len(token) :]
                        break
                else:
                    out += encode(line[0])
                    line = line[1:]
    out.append(end)
    return bytes(out)


def fixed(text: str, size: int) -> bytes:
    """Encode a name in a field of ``size`` bytes, padded with 0x50."""
    assert len(text) < size, text
    return encode(text).ljust(size, bytes([END]))


def bcd(value: int) -> bytes:
    return bytes.fromhex(f"{value:06d}")


def creature_tables(bank: Bank) -> list[str]:
    """Add species, moves, matchups, trainers, wild encounters and experience as records of fixed size."""
    pictures = {}
    for name in creatures.LOOKS:
        pictures[name] = (bank.add(f"front {name}", b"".join(creatures.front(name).tiles())),
                          bank.add(f"back {name}", b"".join(creatures.back(name).tiles())))  # fmt: skip
    numbers = {data[0]: number for number, data in creatures.SPECIES.items()}
    bank.add("SPECIES_TABLE", bytes(36 * len(creatures.SPECIES)))
    moves = b"".join(
        bytes([number]) + fixed(name, 12) + bytes([kind, power, accuracy * 255 // 100, pp, effect])
        for number, (name, kind, power, accuracy, pp, effect) in creatures.MOVES.items()
    )
    bank.add("MOVE_TABLE", moves + b"\xff")
    items = b"".join(bytes([number]) + fixed(name, 13) + bcd(price) + bytes([1 if price == 0 else 0])
                     for number, name, price in world.ITEMS.values())  # fmt: skip
    bank.add("ITEM_TABLE", items + b"\xff")
    evolutions = b"".join(
        bytes([numbers[name], level, numbers[into]]) for name, (level, into) in creatures.EVOLUTIONS.items()
    )
    bank.add("EVOLUTION_TABLE", evolutions + b"\xff")
    bank.add("MATCHUP_TABLE", b"".join(bytes(row) for row in creatures.MATCHUPS) + b"\xff")
    bank.add(
        "CLASS_TABLE",
        b"".join(bytes([n]) + fixed(name, 11) + bytes([money]) for n, (name, money) in creatures.CLASSES.items())
        + b"\xff",
    )
    trainers, counts = bytearray(), {}
    lines = []
    for i, (name, (kind, team)) in enumerate(creatures.TRAINERS.items()):
        counts[kind] = counts.get(kind, 0) + 1
        slots = [(level, 0 if who == "COUNTER" else numbers[who]) for level, who in team]
        trainers += bytes([kind, counts[kind], len(team)]) + b"".join(bytes(s) for s in (slots + [(0, 0)] * 3)[:3])
        lines.append(f"#define TRAINER_{name} {i}")
    bank.add("TRAINER_TABLE", bytes(trainers))
    for i, (name, (rate, slots)) in enumerate(creatures.WILD.items()):
        bank.add(f"WILD_{name}", bytes([rate]) + b"".join(bytes([level, numbers[who]]) for level, who in slots))
        lines.append(f"#define WILD_INDEX_{name} {i + 1}")
    bank.add("EXP_TABLE", b"".join((level**3).to_bytes(3, "big") for level in range(101)))
    table = bytearray()
    for number, (name, kinds, stats, rate, experience, learns) in creatures.SPECIES.items():
        front, back = ((BANK_START + at).to_bytes(2, "little") for at in pictures[name])
        record = bytes([number]) + fixed(name, 11) + bytes(kinds) + bytes(stats) + bytes([rate, experience])
        record += front + back + b"".join(bytes(row) for row in learns)
        table += record.ljust(36, b"\0")
    at = bank.names["SPECIES_TABLE"]
    bank.blobs[at : at + len(table)] = table
    lines += [f"#define SPECIES_COUNT {len(creatures.SPECIES)}", f"#define TRAINER_COUNT {len(creatures.TRAINERS)}"]
    lines += [f"#define SPECIES_{data[0]} {number}" for number, data in creatures.SPECIES.items()]
    return lines


class Bank:
    """Bytes of one data bank; code may follow them."""

    def __init__(self, number: int) -> None:
        self.number, self.blobs, self.names = number, bytearray(), {}

    def add(self, name: str, data: bytes) -> int:
        self.names[name] = len(self.blobs)
        self.blobs += data
        return self.names[name]


class Tileset:
    """Cells drawn once, tiles and blocks shared where they are alike."""

    def __init__(self, name: str) -> None:
        self.id, self.cells = world.TILESETS[name]
        self.tiles: list[bytes] = []
        self.keys: dict[tuple[bytes, bool], int] = {}
        self.blocks: dict[bytes, int] = {}
        self.quads: dict[str, tuple[int, ...]] = {}
        self.walkable: set[int] = set()
        for char, (drawing, attributes) in self.cells.items():
            walk = "walk" in attributes.split()
            quad = tuple(self.tile(tile, walk) for tile in CELLS[drawing]().tiles())
            self.quads[char] = quad
            if walk:
                self.walkable.add(quad[2])
        for char, (_, attributes) in self.cells.items():
            if "walk" not in attributes.split():
                assert self.quads[char][2] not in self.walkable, char
        assert len(self.tiles) <= 0x60, f"{name}: {len(self.tiles)} tiles"

    def tile(self, pixels: bytes, walk: bool) -> int:
        # The bottom-left tile of a step decides whether it can be walked on: like tiles of walkable and solid
        # cells must stay two tiles.
        key = (pixels, walk)
        if key not in self.keys:
            self.keys[key] = len(self.tiles)
            self.tiles.append(pixels)
        return self.keys[key]

    def with_attribute(self, attribute: str) -> list[int]:
        return sorted({self.quads[c][2] for c, (_, a) in self.cells.items() if attribute in a.split()})

    def block(self, cells: tuple[str, str, str, str]) -> int:
        a, b, c, d = (self.quads[x] for x in cells)
        data = bytes(a[:2] + b[:2] + a[2:] + b[2:] + c[:2] + d[:2] + c[2:] + d[2:])
        return self.blocks.setdefault(data, len(self.blocks))


def rows_of(entry: dict) -> list[str]:
    rows = [row for row in entry["cells"].split("\n") if row]
    assert len({len(r) for r in rows}) == 1, (entry["name"], {len(r) for r in rows})
    assert len(rows) % 2 == 0, entry["name"]
    assert len(rows[0]) % 2 == 0, entry["name"]
    return rows


def main() -> None:
    build = Path(sys.argv[1])
    ram.check()
    (build / "ram.h").write_text(ram.header())
    (build / "ram.inc").write_text(ram.include())

    by_name = {entry["name"]: entry for entry in world.MAPS}
    toggles: list[str] = []
    toggle_events: list[int] = []
    texts: list[tuple[str, bytes]] = [(name, wrap(text)) for name, text in world.TEXTS.items()]

    def text_id(text: str) -> int:
        data = wrap(text)
        for i, (_, known) in enumerate(texts):
            if known == data:
                return i
        texts.append(("", data))
        return len(texts) - 1

    def action(entry: dict) -> tuple[int, int]:
        if "text" in entry:
            return KINDS["text"], text_id(entry["text"])
        if "script" in entry:
            return KINDS["script"], world.SCRIPTS.index(entry["script"])
        if "item" in entry:
            return KINDS["item"], world.ITEMS[entry["item"]][0]
        if "trainer" in entry:
            return KINDS["trainer"], [*creatures.TRAINERS].index(entry["trainer"])
        raise SystemExit(f"generate.py: nothing to do for {entry}")

    story = [
        (world.EVENTS.index(done), text_id(before), text_id(after), world.SCRIPTS.index(script) if script else 0xFF)
        for done, before, after, script in (world.TRAINERS[name] for name in creatures.TRAINERS)
    ]
    sets = {name: Tileset(name) for name in world.TILESETS}
    sprites = [*PEOPLE, *THINGS]
    data = Bank(2)
    headers: list[tuple[int, bytearray, bytes]] = []
    for entry in world.MAPS:
        tileset, rows = sets[entry["tileset"]], rows_of(entry)
        height, width = len(rows) // 2, len(rows[0]) // 2
        blocks = bytes(
            tileset.block(
                (rows[2 * y][2 * x], rows[2 * y][2 * x + 1], rows[2 * y + 1][2 * x], rows[2 * y + 1][2 * x + 1])
            )
            for y in range(height)
            for x in range(width)
        )
        wild = [*creatures.WILD].index(entry["wild"]) + 1 if "wild" in entry else 0
        border = tileset.block((entry["border"],) * 4)
        out = bytearray([tileset.id, height, width, border, entry.get("dark", 0), wild])
        sides = [(bit, *entry[side]) for side, bit in DIRECTIONS.items() if side in entry]
        out.append(len(sides))
        for bit, other, offset in sides:
            out += bytes([bit, by_name[other]["id"], offset & 0xFF])
        out.append(len(entry.get("warps", [])))
        for x, y, other, index in entry.get("warps", []):
            out += bytes([y, x, index, LAST_MAP if other == "LAST_MAP" else by_name[other]["id"]])
        for key in ("signs", "hidden"):
            out.append(len(entry.get(key, [])))
            for x, y, what in entry.get(key, []):
                out += bytes([y, x, *action({"text": what} if isinstance(what, str) else what)])
        objects = entry.get("objects", [])
        out.append(len(objects))
        for thing in objects:
            toggle = 0xFF
            if "toggle" in thing:
                toggle = len(toggles)
                toggles.append(thing["toggle"])
                toggle_events.append(world.EVENTS.index(thing["event"]) if "event" in thing else 0xFF)
            out += bytes([sprites.index(thing["sprite"]), thing["y"], thing["x"], 0xFE if thing["move"] == "walk" else 0xFF,
                          FACING[thing.get("face", "down")], *action(thing), toggle])  # fmt: skip
        headers.append((entry["id"], out, blocks))

    graphics, beasts = Bank(4), Bank(3)
    for name, tileset in sets.items():
        data.add(f"BLOCKS_{name}", b"".join(tileset.blocks))
        graphics.add(f"TILES_{name}", b"".join(tileset.tiles))
        assert len(tileset.blocks) <= 256
    letters = one_bit_tiles()
    graphics.add("FONT", b"".join(letters.get(code, bytes(8)) for code in range(0x60, 0x100)))
    for name, poses in PEOPLE.items():
        graphics.add(f"SPRITE_{name}", b"".join(t for pose in poses for t in pose.tiles()))
    for name, draw in THINGS.items():
        graphics.add(f"SPRITE_{name}", b"".join(draw().tiles()) * 3)
    graphics.add("TITLE_TILES", b"".join(logo().tiles()))
    creature_lines = creature_tables(beasts)
    creature_lines.append(
        f"#define TITLE_PICTURE 0x{BANK_START + beasts.names['front LEAFLING']:04X}\n#define TITLE_SIZE {16 * len(logo().tiles())}"
    )

    # Addresses are known only when everything is in: lay the tables out once with zeros, then fill them in.
    text_at = {}
    for i, (_, body) in enumerate(texts):
        text_at[i] = data.add(f"text {i}", body)
    header_at = {}
    for map_id, out, blocks in headers:
        header_at[map_id] = (data.add(f"map {map_id}", bytes(2) + bytes(out)), data.add(f"blocks {map_id}", blocks))
    data.add("TEXT_TABLE", bytes(2 * len(texts)))
    data.add("MAP_TABLE", bytes(3 * len(headers) + 1))

    def patch(where: int, value: int) -> None:
        data.blobs[where : where + 2] = value.to_bytes(2, "little")

    for i, at in text_at.items():
        patch(data.names["TEXT_TABLE"] + 2 * i, BANK_START + at)
    for i, (map_id, _, _) in enumerate(headers):
        at, blocks_at = header_at[map_id]
        patch(at, BANK_START + blocks_at)
        row = data.names["MAP_TABLE"] + 3 * i
        data.blobs[row] = map_id
        patch(row + 1, BANK_START + at)
    data.blobs[data.names["MAP_TABLE"] + 3 * len(headers)] = LAST_MAP

    for bank in (data, beasts, graphics):
        (build / f"bank{bank.number}.bin").write_bytes(bank.blobs)
        (build / f"bank{bank.number}.end").write_text(f"0x{bank.number}{BANK_START + len(bank.blobs):04X}")

    lines = ["/* made by generate.py */", "#define DATA_BANK 2", "#define GRAPHICS_BANK 4", "#define BEAST_BANK 3"]
    for bank in (data, beasts, graphics):
        for name, at in bank.names.items():
            if " " not in name:
                lines.append(f"#define {name} 0x{BANK_START + at:04X}")
    lines += creature_lines
    for i, (name, _) in enumerate(texts):
        if name:
            lines.append(f"#define TEXT_{name} {i}")
    for i, name in enumerate(world.SCRIPTS):
        lines.append(f"#define SCRIPT_{name} {i}")
    for i, name in enumerate(world.EVENTS):
        lines.append(f"#define EVENT_{name} {i}")
    for name, (number, _, _) in world.ITEMS.items():
        lines.append(f"#define ITEM_{name} {number}")
    for i, name in enumerate(toggles):
        lines.append(f"#define TOGGLE_{name} {i}")
    for i, name in enumerate(sprites):
        lines.append(f"#define SPRITE_ID_{name} {i}")
    for entry in world.MAPS:
        lines.append(f"#define MAP_{entry['name']} {entry['id']}")
    # tilesets: tiles address, count, blocks, and the lists that the walking code asks
    lines.append(f"#define TILESET_COUNT {len(sets)}")
    table, tail = [], []
    for name, tileset in sets.items():
        table.append(f"    {{{tileset.id}, TILES_{name}, {len(tileset.tiles) * 16}, BLOCKS_{name}, walkable_{name}, doors_{name}, "
                     f"{(tileset.with_attribute('grass') or [0xFF])[0]}, {(tileset.with_attribute('water') or [0xFF])[0]}, "
                     f"{(tileset.with_attribute('ledge') or [0xFF])[0]}, {(tileset.with_attribute('over') or [0xFF])[0]}}},")  # fmt: skip
        for label, tiles in (("walkable", sorted(tileset.walkable)), ("doors", tileset.with_attribute("door"))):
            tail.append(f"static const uint8_t {label}_{name}[] = {{{', '.join(str(t) for t in [*tiles, 255])}}};")
    (build / "tilesets.h").write_text("/* made by generate.py */\n" + "\n".join(tail) + "\nconst tileset_t tilesets[] = {\n" + "\n".join(table) + "\n};\n"
        + f"const uint16_t wild_tables[] = {{{', '.join('WILD_' + name for name in creatures.WILD)}}};\n"
        + f"const uint16_t sprite_tiles[] = {{{', '.join('SPRITE_' + s for s in sprites)}}};\n")  # fmt: skip
    rows = ["/* made by generate.py */"]
    for label, column in (("event", 0), ("before", 1), ("after", 2), ("script", 3)):
        rows.append(f"static const uint8_t trainer_{label}[] = {{{', '.join(str(row[column]) for row in story)}}};")
    rows.append(f"static const uint8_t toggle_event[] = {{{', '.join(str(e) for e in toggle_events)}}};")
    (build / "story.h").write_text("\n".join(rows) + "\n")
    (build / "data.h").write_text("\n".join(lines) + "\n")
    print(f"texts {len(texts)}, data {len(data.blobs)}, creatures {len(beasts.blobs)}, graphics {len(graphics.blobs)}, "
          + ", ".join(f"{n}: {len(s.tiles)} tiles {len(s.blocks)} blocks" for n, s in sets.items()))  # fmt: skip


if __name__ == "__main__":
    main()
