"""Tables of the twelve species of Sprout, and their drawings.

Species, moves and items carry numbers that also exist in the retail game's tables, with like meaning (a move that hits
for 40 there hits for 40 here), so that a reader that looks them up finds something sensible. Names and looks are ours.
"""

from __future__ import annotations

from collections.abc import Callable

from canvas import BLACK, DARK, LIGHT, WHITE, Canvas

NORMAL, FLYING, POISON, ROCK, BUG, FIRE, WATER, GRASS, ELECTRIC = 0, 2, 3, 5, 7, 0x14, 0x15, 0x16, 0x17

#: attacker, defender, tenths
MATCHUPS = [
    (WATER, FIRE, 20), (FIRE, GRASS, 20), (GRASS, WATER, 20), (ELECTRIC, WATER, 20), (ELECTRIC, FLYING, 20),
    (WATER, ROCK, 20), (GRASS, ROCK, 20), (FIRE, BUG, 20), (FLYING, BUG, 20), (ROCK, FLYING, 20), (ROCK, FIRE, 20),
    (FLYING, GRASS, 20), (BUG, GRASS, 20), (POISON, GRASS, 20), (ROCK, BUG, 20),
    (FIRE, WATER, 5), (WATER, GRASS, 5), (GRASS, FIRE, 5), (FIRE, FIRE, 5), (WATER, WATER, 5), (GRASS, GRASS, 5),
    (ELECTRIC, ELECTRIC, 5), (ELECTRIC, GRASS, 5), (FIRE, ROCK, 5), (NORMAL, ROCK, 5), (FLYING, ROCK, 5),
    (FLYING, ELECTRIC, 5), (BUG, FIRE, 5), (BUG, FLYING, 5), (GRASS, FLYING, 5), (GRASS, BUG, 5), (POISON, ROCK, 5),
]  # fmt: skip

#: effects a move may have besides damage
NONE, LOWER_ATTACK, LOWER_DEFENSE, BURN, PARALYZE, POISONING, SLEEP, FIRST, COPY = range(9)

#: number: name, type, power, accuracy (percent), PP, effect
MOVES = {
    33: ("BUMP", NORMAL, 35, 95, 35, NONE), 10: ("CLAWS", NORMAL, 40, 100, 35, NONE),
    45: ("HOWL", NORMAL, 0, 100, 40, LOWER_ATTACK), 39: ("GRIN", NORMAL, 0, 100, 30, LOWER_DEFENSE),
    52: ("HOT PUFF", FIRE, 40, 100, 25, BURN), 55: ("SQUIRT", WATER, 40, 100, 25, NONE),
    22: ("LEAF FLICK", GRASS, 35, 100, 10, NONE), 84: ("ZAP", ELECTRIC, 40, 100, 30, PARALYZE),
    88: ("STONE TOSS", ROCK, 50, 65, 15, NONE), 64: ("BEAK JAB", FLYING, 35, 100, 35, NONE),
    40: ("PRICKLE", POISON, 15, 100, 35, POISONING), 79: ("DOZE DUST", GRASS, 0, 75, 15, SLEEP),
    98: ("DASH", NORMAL, 40, 100, 30, FIRST), 36: ("FULL TILT", NORMAL, 90, 85, 20, NONE),
    53: ("BLAZE", FIRE, 95, 100, 15, BURN), 57: ("TIDE", WATER, 95, 100, 15, NONE),
    75: ("LEAF GALE", GRASS, 55, 95, 25, NONE), 85: ("BIG BOLT", ELECTRIC, 95, 100, 15, PARALYZE),
    17: ("WING CLAP", FLYING, 35, 100, 35, NONE), 141: ("NIBBLE", BUG, 20, 100, 15, NONE),
    102: ("MIRROR ME", NORMAL, 0, 100, 10, COPY),
}  # fmt: skip

#: number: name, types, (HP, attack, defense, speed, special), catch rate, base experience, moves by level. Experience is
#: generous, so that agents spend few steps on training.
#: The book lists them in this order.
SPECIES = {
    0x99: ("LEAFLING", (GRASS, GRASS), (45, 49, 49, 45, 65), 45, 128, ((1, 33), (3, 45), (7, 22), (13, 79), (20, 75))),
    0xB0: ("EMBERKIT", (FIRE, FIRE), (39, 52, 43, 65, 50), 45, 130, ((1, 10), (3, 45), (7, 52), (14, 98), (22, 53))),
    0xB1: ("PUDDLIN", (WATER, WATER), (44, 48, 65, 43, 50), 45, 132, ((1, 33), (3, 39), (7, 55), (14, 36), (22, 57))),
    0xA5: ("FLUFFKIN", (NORMAL, NORMAL), (30, 56, 35, 72, 25), 255, 114, ((1, 33), (4, 39), (9, 98), (16, 36))),
    0x24: ("PIPWING", (NORMAL, FLYING), (40, 45, 40, 56, 35), 255, 110, ((1, 33), (5, 64), (12, 98), (18, 17))),
    0x7B: ("BUZZLET", (BUG, POISON), (40, 35, 30, 50, 20), 255, 106, ((1, 40), (4, 141), (9, 39), (15, 98))),
    0x6D: ("MOSSHELL", (BUG, GRASS), (35, 55, 65, 25, 55), 190, 140, ((1, 10), (6, 141), (10, 22), (16, 79))),
    0x54: ("SPARKIT", (ELECTRIC, ELECTRIC), (35, 55, 30, 90, 50), 190, 164, ((1, 84), (5, 45), (11, 98), (20, 85))),
    0xA9: ("PEBBLOR", (ROCK, ROCK), (40, 80, 100, 20, 30), 255, 172, ((1, 33), (6, 39), (10, 88), (18, 36))),
    0x6B: ("DUSKMOTH", (BUG, FLYING), (45, 45, 40, 70, 60), 190, 148, ((1, 141), (8, 17), (13, 79), (16, 102), (19, 98))),
    0x85: ("BRINEEL", (WATER, WATER), (50, 60, 45, 60, 60), 160, 180, ((1, 33), (8, 55), (15, 98), (24, 57))),
    0x4A: ("CROWNIX", (FIRE, FLYING), (80, 70, 70, 80, 95), 25, 255, ((1, 64), (10, 52), (20, 17), (26, 53))),
}  # fmt: skip

#: name: level, name of what it becomes after a battle in which it gained a level
EVOLUTIONS = {"PUDDLIN": (16, "BRINEEL"), "BUZZLET": (12, "DUSKMOTH")}

#: class number: name, money for each level of the last creature
CLASSES = {
    25: ("RIVAL", 20), 1: ("KID", 12), 2: ("NETTER", 10), 9: ("HIKER", 25), 28: ("SCHOLAR", 22),
    34: ("LEADER", 80), 35: ("LEADER", 90), 47: ("CHAMPION", 99),
}  # fmt: skip

#: name: class, then (level, species name) in order of appearance; "STARTER" is what beats the player's
TRAINERS = {
    "RIVAL_LAB": (25, [(5, "COUNTER")]),
    "RIVAL_PATH": (25, [(13, "PIPWING"), (15, "COUNTER")]),
    "KID_LANE": (1, [(6, "FLUFFKIN")]),
    "NETTER_WOOD": (2, [(7, "BUZZLET"), (7, "MOSSHELL")]),
    "NETTER_WOOD_2": (2, [(8, "BUZZLET"), (8, "BUZZLET")]),
    "HALL_KID": (1, [(10, "PEBBLOR")]),
    "LEADER_STONE": (34, [(11, "PEBBLOR"), (13, "PEBBLOR")]),
    "HIKER_PATH": (9, [(12, "PEBBLOR"), (12, "FLUFFKIN")]),
    "HIKER_CAVE": (9, [(15, "PEBBLOR"), (16, "PEBBLOR")]),
    "SCHOLAR_CAVE": (28, [(17, "DUSKMOTH")]),
    "HALL_SCHOLAR": (28, [(18, "SPARKIT")]),
    "LEADER_TIDE": (35, [(18, "BRINEEL"), (20, "SPARKIT")]),
    "CHAMPION": (47, [(20, "DUSKMOTH"), (20, "MOSSHELL"), (23, "CROWNIX")]),
}  # fmt: skip

#: name: encounter rate of 256, ten (level, species) from the likeliest to the rarest
WILD = {
    "LANE": (25, [(3, "FLUFFKIN"), (3, "PIPWING"), (2, "FLUFFKIN"), (2, "PIPWING"), (3, "BUZZLET"), (4, "FLUFFKIN"),
                  (4, "PIPWING"), (4, "BUZZLET"), (5, "PIPWING"), (5, "SPARKIT")]),
    "WOOD": (20, [(5, "BUZZLET"), (6, "BUZZLET"), (5, "MOSSHELL"), (6, "PIPWING"), (6, "MOSSHELL"), (7, "BUZZLET"),
                  (7, "MOSSHELL"), (7, "DUSKMOTH"), (8, "SPARKIT"), (8, "SPARKIT")]),
    "PATH": (22, [(10, "FLUFFKIN"), (10, "PIPWING"), (11, "MOSSHELL"), (11, "PIPWING"), (12, "BUZZLET"), (12, "SPARKIT"),
                  (12, "FLUFFKIN"), (13, "BRINEEL"), (13, "SPARKIT"), (14, "BRINEEL")]),
    "CAVE": (12, [(13, "PEBBLOR"), (14, "DUSKMOTH"), (14, "PEBBLOR"), (15, "DUSKMOTH"), (15, "PEBBLOR"), (16, "PEBBLOR"),
                  (16, "DUSKMOTH"), (17, "BRINEEL"), (18, "BRINEEL"), (20, "CROWNIX")]),
}  # fmt: skip

# --------------------------------------------------------------------------------------------- looks
# Drawn on a board of 48 x 48, facing left; ``front`` is false for the smaller view from behind.


def _eyes(c: Canvas, front: bool, *points: tuple[int, int]) -> None:
    if front:
        for x, y in points:
            c.rect(x, y, 3, 4, BLACK).dot(x, y, WHITE)


def leafling(c: Canvas, front: bool) -> None:
    c.disc(24, 34, 13, 11, LIGHT, BLACK).disc(24, 27, 10, 9, WHITE, BLACK)
    c.poly([(24, 18), (12, 4), (22, 6), (26, 12)], DARK, BLACK).poly(
        [(25, 18), (38, 5), (36, 14), (28, 19)], LIGHT, BLACK
    )
    c.disc(16, 44, 4, 2, DARK, BLACK).disc(32, 44, 4, 2, DARK, BLACK)
    _eyes(c, front, (18, 25), (26, 25))
    if front:
        c.line(21, 32, 25, 32, BLACK)


def emberkit(c: Canvas, front: bool) -> None:
    c.poly([(34, 36), (46, 22), (44, 10), (38, 20), (34, 16)], LIGHT, BLACK)
    c.disc(25, 36, 11, 9, DARK, BLACK)
    c.poly([(12, 20), (11, 6), (20, 13)], DARK, BLACK).poly([(26, 13), (35, 6), (33, 20)], DARK, BLACK)
    c.disc(22, 22, 11, 9, WHITE, BLACK).disc(18, 45, 4, 2, BLACK).disc(31, 45, 4, 2, BLACK)
    c.poly([(22, 10), (18, 2), (24, 5), (27, 1), (27, 11)], LIGHT, BLACK)
    _eyes(c, front, (15, 21), (25, 21))
    if front:
        c.dots([(20, 26), (21, 26), (22, 26), (21, 27)], BLACK).rect(20, 33, 8, 8, WHITE)


def puddlin(c: Canvas, front: bool) -> None:
    c.poly([(24, 2), (34, 18), (14, 18)], LIGHT, BLACK).disc(24, 28, 15, 15, LIGHT, BLACK)
    c.disc(19, 22, 4, 4, WHITE)
    c.disc(24, 37, 8, 6, WHITE)
    c.poly([(8, 28), (2, 36), (10, 35)], DARK, BLACK).poly([(40, 28), (46, 36), (38, 35)], DARK, BLACK)
    c.disc(17, 45, 5, 2, DARK, BLACK).disc(31, 45, 5, 2, DARK, BLACK)
    _eyes(c, front, (16, 26), (28, 26))
    if front:
        c.line(20, 33, 27, 33, BLACK).line(21, 34, 26, 34, BLACK)


def fluffkin(c: Canvas, front: bool) -> None:
    c.disc(17, 10, 3, 8, LIGHT, BLACK).disc(31, 10, 3, 8, LIGHT, BLACK)
    for x, y in ((12, 30), (36, 30), (16, 20), (32, 20), (16, 39), (32, 39), (24, 42)):
        c.disc(x, y, 6, 6, WHITE, BLACK)
    c.disc(24, 30, 12, 12, WHITE).dots([(14, 34), (33, 36), (20, 40), (28, 42), (35, 27)], LIGHT)
    _eyes(c, front, (18, 26), (27, 26))
    if front:
        c.rect(22, 31, 4, 2, BLACK).line(24, 33, 24, 35, BLACK)


def pipwing(c: Canvas, front: bool) -> None:
    c.poly([(30, 26), (47, 16), (44, 30), (32, 36)], DARK, BLACK)
    c.disc(24, 28, 12, 13, WHITE, BLACK).disc(20, 16, 8, 8, LIGHT, BLACK)
    c.poly([(30, 24), (42, 32), (30, 38), (24, 32)], DARK, BLACK)
    if front:
        c.poly([(13, 16), (4, 19), (13, 21)], WHITE, BLACK)
    c.poly([(20, 8), (24, 1), (25, 9)], DARK, BLACK)
    c.line(20, 41, 18, 46, BLACK).line(28, 41, 30, 46, BLACK).line(15, 46, 20, 46, BLACK).line(28, 46, 33, 46, BLACK)
    _eyes(c, front, (16, 13))


def buzzlet(c: Canvas, front: bool) -> None:
    c.disc(30, 12, 6, 10, WHITE, BLACK).disc(40, 16, 6, 9, WHITE, BLACK)
    c.disc(32, 32, 12, 10, LIGHT, BLACK)
    for x in (28, 34, 40):
        c.rect(x, 23, 3, 19, BLACK)
    c.disc(15, 28, 9, 9, WHITE, BLACK).line(12, 18, 7, 9, BLACK).line(17, 18, 18, 8, BLACK)
    c.disc(7, 9, 1.5, 1.5, BLACK).disc(18, 8, 1.5, 1.5, BLACK).poly([(43, 30), (47, 33), (43, 36)], BLACK, BLACK)
    _eyes(c, front, (9, 26), (16, 26))


def mosshell(c: Canvas, front: bool) -> None:
    c.disc(28, 26, 17, 17, DARK, BLACK).disc(28, 26, 11, 11, LIGHT, BLACK).disc(28, 26, 5, 5, WHITE, BLACK)
    c.disc(10, 34, 7, 7, WHITE, BLACK).rect(8, 41, 34, 3, BLACK)
    for x in (14, 24, 34):
        c.rect(x, 42, 5, 4, LIGHT, BLACK)
    c.poly([(24, 9), (20, 1), (28, 5), (33, 0), (33, 9)], LIGHT, BLACK)
    _eyes(c, front, (5, 32), (11, 32))


def sparkit(c: Canvas, front: bool) -> None:
    c.poly([(24, 3), (29, 13), (38, 8), (37, 18), (46, 21), (39, 28), (45, 36), (35, 37), (33, 45), (24, 40), (15, 45),
            (13, 37), (3, 36), (9, 28), (2, 21), (11, 18), (10, 8), (19, 13)], DARK, BLACK)  # fmt: skip
    c.disc(24, 26, 11, 11, WHITE, BLACK).line(24, 15, 21, 8, BLACK).line(21, 8, 26, 8, BLACK).line(26, 8, 24, 2, BLACK)
    c.disc(18, 44, 3, 2, BLACK).disc(30, 44, 3, 2, BLACK)
    _eyes(c, front, (18, 22), (27, 22))
    if front:
        c.poly([(20, 30), (28, 30), (24, 34)], LIGHT, BLACK)


def pebblor(c: Canvas, front: bool) -> None:
    c.poly([(24, 6), (38, 12), (44, 28), (38, 42), (12, 43), (4, 30), (10, 13)], LIGHT, BLACK)
    c.poly([(24, 6), (38, 12), (30, 20), (20, 16)], WHITE, BLACK).poly(
        [(38, 12), (44, 28), (34, 30), (30, 20)], DARK, BLACK
    )
    c.disc(6, 36, 5, 5, DARK, BLACK).disc(42, 38, 5, 5, DARK, BLACK)
    _eyes(c, front, (15, 25), (25, 25))
    if front:
        c.rect(13, 23, 6, 2, BLACK).rect(24, 23, 6, 2, BLACK).line(18, 35, 27, 33, BLACK)


def duskmoth(c: Canvas, front: bool) -> None:
    c.poly([(24, 22), (6, 4), (1, 20), (10, 30)], DARK, BLACK).poly(
        [(24, 22), (42, 4), (47, 20), (38, 30)], DARK, BLACK
    )
    c.poly([(22, 28), (8, 32), (12, 45)], LIGHT, BLACK).poly([(26, 28), (40, 32), (36, 45)], LIGHT, BLACK)
    c.disc(9, 17, 3, 3, WHITE, BLACK).disc(39, 17, 3, 3, WHITE, BLACK)
    c.disc(24, 30, 5, 12, WHITE, BLACK).disc(24, 17, 7, 6, WHITE, BLACK)
    c.line(21, 11, 16, 3, BLACK).line(27, 11, 32, 3, BLACK)
    _eyes(c, front, (19, 15), (27, 15))


def brineel(c: Canvas, front: bool) -> None:
    c.disc(30, 38, 15, 7, DARK, BLACK).disc(30, 37, 8, 3, WHITE, BLACK)
    c.poly([(44, 36), (47, 24), (40, 30)], LIGHT, BLACK).disc(16, 28, 7, 14, DARK, BLACK).disc(
        14, 14, 10, 9, LIGHT, BLACK
    )
    c.poly([(14, 6), (22, 0), (24, 12)], DARK, BLACK).disc(15, 32, 4, 8, WHITE)
    _eyes(c, front, (8, 12), (15, 12))
    if front:
        c.line(8, 19, 16, 19, BLACK).dots([(9, 20), (12, 20), (15, 20)], BLACK)


def crownix(c: Canvas, front: bool) -> None:
    c.poly([(22, 24), (2, 8), (4, 26), (14, 36)], LIGHT, BLACK).poly(
        [(28, 24), (46, 6), (46, 26), (34, 36)], LIGHT, BLACK
    )
    c.poly([(26, 38), (40, 46), (30, 47), (20, 46)], LIGHT, BLACK).disc(25, 31, 10, 12, DARK, BLACK)
    c.disc(22, 16, 8, 8, WHITE, BLACK).poly(
        [(15, 9), (13, 0), (19, 5), (23, 0), (26, 5), (31, 1), (29, 11)], LIGHT, BLACK
    )
    if front:
        c.poly([(15, 17), (7, 21), (16, 22)], DARK, BLACK).disc(25, 33, 5, 6, WHITE)
    _eyes(c, front, (18, 14))


LOOKS: dict[str, Callable[[Canvas, bool], None]] = {
    "LEAFLING": leafling, "EMBERKIT": emberkit, "PUDDLIN": puddlin, "FLUFFKIN": fluffkin, "PIPWING": pipwing,
    "BUZZLET": buzzlet, "MOSSHELL": mosshell, "SPARKIT": sparkit, "PEBBLOR": pebblor, "DUSKMOTH": duskmoth,
    "BRINEEL": brineel, "CROWNIX": crownix,
}  # fmt: skip


def front(name: str) -> Canvas:
    board = Canvas(48, 48)
    LOOKS[name](board, True)
    return board


def back(name: str) -> Canvas:
    """Draw the view from behind at half the size, mirrored; the cartridge doubles every pixel."""
    board = Canvas(48, 48)
    LOOKS[name](board, False)
    small = Canvas(24, 24)
    for y in range(24):
        for x in range(24):
            four = [board.rows[2 * y + j][2 * x + i] for j in (0, 1) for i in (0, 1)]
            small.rows[y][23 - x] = max(four) if four.count(BLACK) >= 2 else sorted(four)[1]
    return small
