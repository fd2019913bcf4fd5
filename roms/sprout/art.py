"""Draw the map cells, people and objects of Sprout."""

from __future__ import annotations

from canvas import BLACK, DARK, LIGHT, WHITE, Canvas


def _cell(fill: int = WHITE) -> Canvas:
    return Canvas(16, 16, fill)


def ground() -> Canvas:
    return _cell().dots([(3, 4), (4, 3), (11, 12), (12, 11)], LIGHT)


def path() -> Canvas:
    return _cell(LIGHT).dots([(2, 3), (9, 1), (13, 7), (5, 10), (11, 13), (1, 14)], WHITE)


def flowers() -> Canvas:
    cell = ground()
    for x, y in ((3, 3), (11, 2), (6, 10), (12, 11)):
        cell.dots([(x - 1, y), (x + 1, y), (x, y - 1), (x, y + 1)], DARK).dot(x, y, WHITE)
        cell.dots([(x, y + 2), (x, y + 3)], LIGHT)
    return cell


def tall_grass() -> Canvas:
    cell = _cell()
    for ox, oy in ((0, 0), (8, 0), (0, 8), (8, 8)):
        cell.art(
            ox,
            oy,
            "\n".join(("   #    ", " # #  # ", " ##o# # ", " #oo#o##", "  #oo o#", "  #,o,# ", " ,,,,,, ", "        ")),
        )
    return cell


def tree() -> Canvas:
    cell = _cell().rect(6, 11, 4, 4, DARK, BLACK).disc(8, 6.5, 6.6, 5.6, DARK, BLACK)
    cell.disc(6.3, 5, 3.4, 2.8, LIGHT).dots([(5, 3), (6, 3), (5, 4)], WHITE)
    return cell.dots([(10, 8), (12, 6), (9, 10), (5, 9), (11, 4)], BLACK).line(4, 15, 11, 15, LIGHT)


def pine() -> Canvas:
    cell = _cell().rect(7, 13, 2, 3, BLACK)
    cell.where(lambda x, y: abs(x - 8) <= 1 + y * 0.5 and y < 14, BLACK)
    cell.where(lambda x, y: abs(x - 8) <= y * 0.5 and 1 < y < 13, DARK)
    return cell.where(lambda x, y: 0 <= 8 - x <= y * 0.5 - 1 and y < 12 and int(y) % 4 < 2, LIGHT)


def water() -> Canvas:
    cell = _cell(LIGHT)
    for x, y in ((1, 2), (9, 5), (3, 9), (11, 13)):
        cell.line(x, y, x + 3, y, WHITE).dots([(x - 1, y + 1), (x + 4, y + 1)], WHITE).line(
            x, y + 2, x + 3, y + 2, DARK
        )
    return cell


def fence() -> Canvas:
    cell = ground().rect(0, 5, 16, 2, LIGHT).rect(0, 10, 16, 2, LIGHT)
    cell.line(0, 4, 15, 4, BLACK).line(0, 7, 15, 7, BLACK).line(0, 9, 15, 9, BLACK).line(0, 12, 15, 12, BLACK)
    return cell.rect(2, 2, 4, 13, WHITE, BLACK).rect(10, 2, 4, 13, WHITE, BLACK)


def sign() -> Canvas:
    cell = ground().rect(7, 11, 2, 4, BLACK).rect(1, 2, 14, 9, WHITE, BLACK)
    return cell.line(4, 5, 11, 5, DARK).line(4, 7, 9, 7, DARK).rect(2, 9, 12, 1, LIGHT)


def ledge() -> Canvas:
    cell = ground().rect(0, 9, 16, 5, DARK).rect(0, 8, 16, 1, LIGHT).rect(0, 14, 16, 1, BLACK)
    return cell.dots([(x, 10 + x % 3) for x in range(1, 16, 3)], BLACK)


def roof() -> Canvas:
    cell = _cell(DARK)
    for y in range(0, 16, 4):
        cell.line(0, y, 15, y, BLACK)
        for x in range(y % 8 // 2, 16, 4):
            cell.line(x, y, x, y + 3, BLACK)
            cell.dot(x + 1, y + 1, LIGHT)
    return cell


def eaves() -> Canvas:
    return roof().rect(0, 9, 16, 7, WHITE).rect(0, 8, 16, 2, BLACK).rect(0, 10, 16, 1, LIGHT)


def wall() -> Canvas:
    return _cell().rect(0, 14, 16, 2, DARK).line(0, 13, 15, 13, BLACK).dots([(2, 4), (10, 8), (13, 3), (5, 10)], LIGHT)


def window() -> Canvas:
    return (
        wall()
        .rect(3, 2, 10, 9, LIGHT, BLACK)
        .line(8, 2, 8, 10, BLACK)
        .line(4, 6, 11, 6, BLACK)
        .dots([(5, 4), (10, 4)], WHITE)
    )


def door() -> Canvas:
    return wall().rect(2, 1, 12, 15, DARK, BLACK).rect(4, 3, 8, 4, LIGHT, BLACK).dots([(11, 10), (11, 11)], WHITE)


def plate(mark: str) -> Canvas:
    """Draw a wall with the sign of a house."""
    cell = wall().rect(1, 2, 14, 9, WHITE, BLACK)
    if mark == "heal":
        cell.rect(7, 3, 2, 7, BLACK).rect(4, 5, 8, 3, BLACK)
    elif mark == "shop":
        cell.disc(8, 6.5, 3.5, 3, LIGHT, BLACK).line(8, 4, 8, 8, BLACK)
    else:
        cell.art(4, 3, "#  ##  #\n## ## ##\n########\n#oooooo#\n########")
    return cell


def wood_floor() -> Canvas:
    cell = _cell()
    for y in (3, 7, 11, 15):
        cell.line(0, y, 15, y, LIGHT)
    return cell.line(5, 0, 5, 3, LIGHT).line(12, 4, 12, 7, LIGHT).line(3, 8, 3, 11, LIGHT).line(10, 12, 10, 15, LIGHT)


def inner_wall() -> Canvas:
    return (
        _cell(WHITE)
        .rect(0, 12, 16, 1, LIGHT)
        .rect(0, 13, 16, 2, DARK)
        .rect(0, 15, 16, 1, BLACK)
        .dots([(x, 4 + x % 8) for x in range(2, 16, 4)], LIGHT)
    )


def void() -> Canvas:
    return _cell(BLACK)


def mat() -> Canvas:
    cell = wood_floor().rect(0, 6, 16, 10, DARK, BLACK).rect(2, 8, 12, 6, LIGHT)
    return cell.dots([(4, 10), (7, 12), (10, 10), (12, 12)], WHITE)


def stairs(up: bool) -> Canvas:
    cell = _cell(BLACK)
    for i in range(4):
        y = 12 - 4 * i if up else 4 * i
        cell.rect(2 * i if up else 6 - 2 * i, y, 16 - 2 * i, 3, (WHITE, LIGHT, LIGHT, DARK)[i])
    return cell


def table() -> Canvas:
    return (
        wood_floor()
        .rect(0, 2, 16, 10, WHITE, BLACK)
        .rect(1, 9, 14, 3, LIGHT)
        .rect(1, 12, 2, 3, BLACK)
        .rect(13, 12, 2, 3, BLACK)
    )


def counter() -> Canvas:
    return (
        wood_floor()
        .rect(0, 2, 16, 7, WHITE)
        .rect(0, 9, 16, 6, LIGHT)
        .line(0, 2, 15, 2, BLACK)
        .line(0, 9, 15, 9, BLACK)
        .line(0, 15, 15, 15, BLACK)
    )


def shelf() -> Canvas:
    cell = _cell(LIGHT).rect(0, 0, 16, 16, WHITE, BLACK).rect(1, 7, 14, 2, BLACK).rect(1, 14, 14, 2, DARK)
    for x, shade in ((2, DARK), (4, LIGHT), (7, DARK), (9, BLACK), (12, DARK)):
        cell.rect(x, 2, 2, 5, shade).rect(15 - x, 9, 2, 5, shade)
    return cell


def bed_head() -> Canvas:
    return wood_floor().rect(1, 1, 14, 15, WHITE, BLACK).rect(3, 4, 10, 7, LIGHT, DARK).rect(1, 1, 14, 2, BLACK)


def bed_foot() -> Canvas:
    cell = wood_floor().rect(1, 0, 14, 14, DARK, BLACK).rect(2, 0, 12, 3, WHITE).rect(1, 12, 14, 3, BLACK)
    return cell.dots([(4, 5), (8, 7), (11, 5), (5, 9), (10, 9)], LIGHT)


def plant() -> Canvas:
    cell = wood_floor().rect(4, 10, 8, 5, LIGHT, BLACK).disc(8, 5.5, 5, 4.5, DARK, BLACK)
    return cell.line(8, 3, 8, 10, LIGHT).line(5, 4, 8, 7, LIGHT).line(11, 4, 8, 7, LIGHT)


def computer() -> Canvas:
    cell = wood_floor().rect(0, 9, 16, 6, DARK, BLACK).rect(2, 0, 12, 9, LIGHT, BLACK).rect(4, 2, 8, 5, WHITE, DARK)
    return cell.rect(3, 11, 9, 2, WHITE).dots([(13, 11), (13, 12)], BLACK).line(5, 4, 8, 4, BLACK)


def rug() -> Canvas:
    return _cell(LIGHT).dots([(x, y) for y in range(0, 16, 4) for x in range(y % 8 // 2, 16, 4)], DARK)


def machine() -> Canvas:
    cell = wood_floor().rect(0, 0, 16, 15, LIGHT, BLACK).rect(2, 2, 12, 6, WHITE, BLACK).rect(3, 10, 4, 3, DARK, BLACK)
    return cell.dots([(9, 11), (11, 11), (13, 11)], BLACK).art(4, 3, "   #    \n  # #  #\n#    ## ")


def statue() -> Canvas:
    cell = _cell().rect(2, 10, 12, 6, LIGHT, BLACK).disc(8, 5.5, 4, 4.5, DARK, BLACK)
    return cell.dots([(6, 5), (9, 5)], WHITE).line(4, 12, 11, 12, BLACK)


def rock() -> Canvas:
    cell = _cell(DARK).disc(8, 8, 6.5, 6.5, LIGHT, BLACK).disc(6.5, 6, 3, 2.5, WHITE)
    return cell.dots([(10, 10), (11, 9), (9, 12), (5, 11)], DARK)


def cave_floor() -> Canvas:
    return _cell().dots([(2, 5), (3, 5), (10, 3), (12, 11), (13, 11), (6, 13)], LIGHT)


def switch_plate() -> Canvas:
    return cave_floor().rect(2, 3, 12, 11, LIGHT, BLACK).rect(5, 6, 6, 5, WHITE, DARK)


def hole() -> Canvas:
    return cave_floor().disc(8, 8, 5.5, 5, BLACK, DARK)


def ladder() -> Canvas:
    cell = cave_floor().rect(3, 0, 2, 16, BLACK).rect(11, 0, 2, 16, BLACK)
    for y in (2, 6, 10, 14):
        cell.rect(4, y, 8, 2, DARK)
    return cell


def cave_mouth() -> Canvas:
    return rock().rect(1, 3, 14, 13, BLACK).disc(8, 5, 6, 4, BLACK)


def gap() -> Canvas:
    """Draw the entrance of the wood."""
    return _cell(BLACK).disc(8, 10, 5, 8, DARK).rect(4, 12, 8, 4, LIGHT).dots([(3, 2), (12, 3), (2, 6), (13, 7)], DARK)


def barrier() -> Canvas:
    return cave_floor().rect(1, 1, 4, 14, DARK, BLACK).rect(6, 1, 4, 14, DARK, BLACK).rect(11, 1, 4, 14, DARK, BLACK)


# --- people: 16x16, colour 0 is see-through; o and # are cloth and outline ---------------------------------------
_HEAD_DOWN = """
     ######
    #hhhhhh#
   #hhhhhhhh#
   #hhffffhh#
   #hffffffh#
   ##f#ff#f##
    #f#ff#f#
     #ffff#
"""
_HEAD_UP = """
     ######
    #hhhhhh#
   #hhhhhhhh#
   #hhhhhhhh#
   #hhhhhhhh#
   ##hhhhhh##
    #hhhhhh#
     #hhhh#
"""
_HEAD_LEFT = """
     ######
    #hhhhhh#
   #hhhhhhhh#
   #fffhhhhh#
   #ffffhhhh#
   #f#fffhh#
   #f#fffh#
    #ffff#
"""
_BODY = """
    ######
   #cccccc#
  #fcccccc f#
  #f#cccc#f#
   ##dddd##
    #d##d#
    #dd#dd#
     ## ##
"""


def _person(head: str, legs: str, palette: dict[str, int]) -> Canvas:
    cell = Canvas(16, 16)
    rows = [r for r in head.strip("\n").split("\n")] + [r for r in legs.strip("\n").split("\n")]
    for y, row in enumerate(rows):
        for x, char in enumerate(row):
            if char != " ":
                cell.dot(x, y, palette[char])
    return cell


_STAND = """
    ##cccc##
   #f#cccc#f#
   #f#cccc#f#
    ##cccc##
     #dddd#
     #d##d#
     #d##d#
      #  #
"""
_STAND_SIDE = """
     #cccc#
     #cffc#
     #cffc#
     #c##c#
     #dddd#
     #dddd#
     #dd#d#
      ####
"""
_WALK = """
    ##cccc##
   #f#cccc#f#
   ###cccc#f#
     #cccc##
     #dddd#
     #d##dd#
     ##  #d#
          #
"""
_WALK_SIDE = """
     #cccc#
    #fcffc#
    #fcfcf#
     #cccc#
    #dddddd#
   #dd#  #d#
   ###    #

"""


def person(hair: int, face: int, cloth: int, legs: int, walking: bool) -> list[Canvas]:
    """Return the poses down, up and left, then the walking ones of the player; right is left mirrored."""
    palette = {"#": 3, "h": hair, "f": face, "c": cloth, "d": legs}
    poses = [_person(h, b, palette) for h, b in ((_HEAD_DOWN, _STAND), (_HEAD_UP, _STAND), (_HEAD_LEFT, _STAND_SIDE))]
    if walking:
        poses += [_person(h, b, palette) for h, b in ((_HEAD_DOWN, _WALK), (_HEAD_UP, _WALK), (_HEAD_LEFT, _WALK_SIDE))]
    return poses


def ball() -> Canvas:
    """Draw an item on the ground, a seed pod."""
    cell = Canvas(16, 16).disc(8, 9, 4.6, 4.6, 1, 3).disc(6.5, 7.5, 1.6, 1.6, 2)
    return cell.line(3, 10, 12, 10, 3).line(8, 1, 8, 4, 3).line(8, 2, 11, 1, 3)


def boulder() -> Canvas:
    return (
        Canvas(16, 16).disc(8, 8, 6.5, 6.5, 2, 3).disc(6, 6, 3, 2.5, 1).dots([(10, 10), (11, 9), (9, 12), (5, 11)], 3)
    )


def stone_friend() -> Canvas:
    cell = Canvas(16, 16).rect(2, 11, 12, 5, 2, 3).disc(8, 6, 4, 4.5, 1, 3)
    return cell.dots([(6, 5), (9, 5)], 3).line(5, 1, 5, 3, 3).line(10, 1, 10, 3, 3)


#: objects that use a sprite
THINGS = {"BALL": ball, "BOULDER": boulder, "STATUE": stone_friend}


def logo() -> Canvas:
    """Draw the title, 128 x 24 pixels."""
    letters = {"S": "01110 10001 10000 01110 00001 10001 01110", "P": "11110 10001 10001 11110 10000 10000 10000",
               "R": "11110 10001 10001 11110 10100 10010 10001", "O": "01110 10001 10001 10001 10001 10001 01110",
               "U": "10001 10001 10001 10001 10001 10001 01110", "T": "11111 00100 00100 00100 00100 00100 00100"}  # fmt: skip
    board = Canvas(128, 24)
    for i, letter in enumerate("SPROUT"):
        for y, row in enumerate(letters[letter].split()):
            for x, bit in enumerate(row):
                if bit == "1":
                    board.rect(5 + i * 20 + x * 3, 2 + y * 3, 4, 4, BLACK)
    for i, letter in enumerate("SPROUT"):
        for y, row in enumerate(letters[letter].split()):
            for x, bit in enumerate(row):
                if bit == "1":
                    board.rect(6 + i * 20 + x * 3, 3 + y * 3, 2, 2, LIGHT if y > 3 else WHITE)
    return board


# Sprite colours go through OBP0 0xD0: 0 clear, 1 white, 2 light... 3 black (see main.c).
PEOPLE = {
    "HERO": person(2, 1, 1, 2, walking=True),
    "WOMAN": person(3, 1, 2, 1, walking=False),
    "ELDER": person(1, 1, 2, 2, walking=False),
    "KID": person(2, 1, 1, 3, walking=False),
    "SCHOLAR": person(2, 1, 1, 1, walking=False),
    "RIVAL": person(1, 1, 3, 2, walking=False),
    "CLERK": person(3, 1, 1, 3, walking=False),
    "LEADER": person(3, 1, 3, 1, walking=False),
}

#: map cell -> drawing
CELLS = {
    "ground": ground, "path": path, "flowers": flowers, "grass": tall_grass, "tree": tree, "pine": pine,
    "water": water, "fence": fence, "sign": sign, "ledge": ledge, "roof": roof, "eaves": eaves, "wall": wall,
    "window": window, "door": door, "plate_heal": lambda: plate("heal"), "plate_shop": lambda: plate("shop"),
    "plate_hall": lambda: plate("hall"), "floor": wood_floor, "inner_wall": inner_wall, "void": void, "mat": mat,
    "stairs_up": lambda: stairs(True), "stairs_down": lambda: stairs(False), "table": table, "counter": counter,
    "shelf": shelf, "bed_head": bed_head, "bed_foot": bed_foot, "plant": plant, "computer": computer, "rug": rug,
    "machine": machine, "statue": statue, "rock": rock, "cave_floor": cave_floor, "switch": switch_plate,
    "gap": gap, "hole": hole, "ladder": ladder, "cave_mouth": cave_mouth, "barrier": barrier,
}  # fmt: skip
