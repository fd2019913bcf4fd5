"""The maps of Sprout as text: a character is a step (2x2 tiles); tables list what stands there.

Texts: ``|`` begins a new box, words wrap by themselves, ``{P}`` is the player, ``{R}`` the rival.
"""

from __future__ import annotations

#: char -> (drawing, attributes); attributes: "walk", "door" (warps at once), "grass", "over" (talk across)
OUTDOOR = {
    ".": ("ground", "walk"), ",": ("path", "walk"), ":": ("flowers", "walk"), "w": ("grass", "walk grass"),
    "T": ("tree", ""), "P": ("pine", ""), "~": ("water", "water"), "=": ("fence", ""), "!": ("sign", ""),
    "_": ("ledge", "ledge"), "R": ("roof", ""), "E": ("eaves", ""), "W": ("wall", ""), "O": ("window", ""),
    "D": ("door", "walk door"), "H": ("plate_heal", ""), "S": ("plate_shop", ""), "G": ("plate_hall", ""),
    "#": ("rock", ""), "C": ("cave_mouth", "walk door"), "F": ("gap", "walk door"),
}  # fmt: skip
INDOOR = {
    ".": ("floor", "walk"), "#": ("inner_wall", ""), " ": ("void", ""), "m": ("mat", "walk"),
    "<": ("stairs_up", "walk door"), ">": ("stairs_down", "walk door"), "t": ("table", ""), "k": ("counter", "over"),
    "b": ("shelf", ""), "B": ("bed_head", ""), "F": ("bed_foot", ""), "p": ("plant", ""), "c": ("computer", ""),
    "r": ("rug", "walk"), "M": ("machine", ""), "S": ("statue", ""),
}  # fmt: skip

FOREST = {
    ".": ("ground", "walk"), ",": ("path", "walk"), "w": ("grass", "walk grass"), "P": ("pine", ""), "!": ("sign", ""),
    "f": ("path", "walk"),
}  # fmt: skip
CAVE = {
    ".": ("cave_floor", "walk"), "#": ("rock", ""), "H": ("ladder", "walk door"), "o": ("switch", "walk"),
    "!": ("sign", ""), "e": ("cave_floor", "walk"),
}  # fmt: skip

#: name -> (tileset id, cells); ids 0 (outdoor), 3 (forest), 17 (cave) mean the same in the original
TILESETS = {"OUTDOOR": (0, OUTDOOR), "HOUSE": (1, INDOOR), "FOREST": (3, FOREST), "CAVE": (17, CAVE)}

MAPS = [
    {
        "name": "MOSSBY", "id": 0, "tileset": "OUTDOOR", "border": "T", "at": (60, 160),
        "north": ("PEBBLE_LANE", 0),
        "cells": """
TTTTTTTT,,TTTTTTTTTT
T.......,,.........T
T.RRRR..,,..RRRR...T
T.EEEE..,,..EEEE...T
T.ODWO..,,..WWDO...T
T..,....,,....,....T
T.!,,,,,,,,,,,,.!..T
T.......,,.........T
T.::::..,,.RRRRRR..T
T.::::..,,.RRRRRR..T
T.......,,.EEEEEE..T
T.=====.,,.OWDWOW..T
T.......,,,,,,..!..T
T..~~~~~........!..T
T..~~~~~..::..::...T
T..~~~~~..::..::...T
T..................T
TTTTTTTTTTTTTTTTTTTT
""",
        "warps": [(3, 4, "HOME_1F", 0), (14, 4, "OTTIS_HOUSE", 0), (13, 11, "LAB", 0)],
        "signs": [
            (2, 6, "{P}'s house. The gate squeaks."),
            (16, 6, "Otti's house. Seeds and bulbs, planted with love."),
            (16, 13, {"script": "OLD_STONE"}),
            (16, 12, "MOSSBY|Where the first green shows."),
        ],
        "objects": [
            {"x": 6, "y": 7, "sprite": "WOMAN", "move": "walk", "script": "OTTI"},
            {"x": 9, "y": 13, "sprite": "KID", "move": "stay", "face": "down",
             "text": "Tall grass rustles on its own. Something lives in it!|Press START and your pockets open up. "
                     "I tell everybody."},
        ],
    },
    {
        "name": "BRINDLE", "id": 1, "tileset": "OUTDOOR", "border": "T",
        "south": ("PEBBLE_LANE", 1), "east": ("REED_PATH", 2),
        "cells": """
TTTTTTTTTTTTTTTTTTTTTTTT
T......................T
T..RRRRR.....RRRRRR....T
T..RRRRR.....RRRRRR....T
T..EEEEE.....EEEEEE....T
T..OHDWO.....OWGDWO....T
T....,..........,......T
T....,,,,,,,,,,,,......T
T.!.......,,...!.......T
T..::.....,,...........T
T..::...,,,,,,,,,,,,,,,,
T.......,,,,,,,,,,,,,,,,
T..RRRR...,,..RRRR.....T
T..RRRR...,,..RRRR..::.T
T..EEEE...,,..EEEE..::.T
T..OSDO...,,..WDOW.....T
T....,,,,,,,,,,....TFTTT
T.!.......,,...........T
T~~~~.....,,......TTTTTT
TTTTTTTTTT,,TTTTTTTTTTTT
""",
        "warps": [(5, 5, "BRINDLE_HEAL", 0), (16, 5, "STONE_HALL", 0), (5, 15, "BRINDLE_SHOP", 0),
                  (15, 15, "BRINDLE_HOUSE", 0), (20, 16, "TANGLEWOOD", 2)],
        "signs": [
            (2, 8, "HEALING HOUSE|Rest for tired friends."),
            (15, 8, "STONE HALL|Leader: GRETA. Hard as rock, mostly."),
            (2, 17, "BRINDLE|The town with two wells and no bucket."),
        ],
        "objects": [
            {"x": 12, "y": 9, "sprite": "KID", "move": "walk",
             "text": "East lies REED PATH. The keeper of the gate wants to see a pass."},
            {"x": 18, "y": 12, "sprite": "ELDER", "move": "walk",
             "text": "The lane in the south goes down over ledges. Nobody climbs up that way."},
        ],
    },
    {
        "name": "HIGHMERE", "id": 2, "tileset": "OUTDOOR", "border": "#",
        "west": ("REED_PATH", 4),
        "cells": """
####################
##C######RRRRRR#####
#........RRRRRR....#
#........EEEEEE....#
#........OWGDWO....#
#...........,......#
#..!........,...!..#
#..,,,,,,,,,,,,,...#
#..,..RRRR..,..RRR.#
#..,..RRRR..,..RRR.#
...,..EEEE..,..EEE.#
...,..OHDO..,..GDW.#
#..,,,,,,,,,,,,,,..#
#......::....::....#
#..~~~~~..::..~~~..#
#..~~~~~..::..~~~..#
#..................#
####################
""",
        "warps": [(2, 1, "CAVE_1F", 3), (12, 4, "SUMMIT_HALL", 0), (8, 11, "HIGHMERE_HEAL", 0), (16, 11, "TIDE_HALL", 0)],
        "signs": [
            (3, 6, "HIGHMERE|A lake near the sky."),
            (16, 6, "TIDE HALL: south.|SUMMIT HALL: here. Two badges open it."),
        ],
        "objects": [
            {"x": 12, "y": 5, "sprite": "CLERK", "move": "stay", "face": "down", "script": "SUMMIT_GUARD",
             "toggle": "SUMMIT_GUARD"},
            {"x": 6, "y": 13, "sprite": "WOMAN", "move": "walk",
             "text": "West of here a ledge leads back to REED PATH. Down is easy."},
        ],
    },
    {
        "name": "PEBBLE_LANE", "id": 12, "tileset": "OUTDOOR", "border": "T", "wild": "LANE",
        "south": ("MOSSBY", 0), "north": ("BRINDLE", -1),
        "cells": """
TTTTTTTT,,TTTTTTTTTT
TT......,,......TTTT
TT______________TTTT
TT..!...,,......TFTT
T....wwww..wwww...TT
T....wwww..wwww...TT
T_____..____......TT
T.......,,........TT
TTTTTT..,,..TTTTTTTT
TTTTTT..,,..TTTTTTTT
T.......,,.......TTT
T..wwwww,,..~~~~.TTT
T..wwwww,,..~~~~.TTT
T..wwwww,,..~~~~...T
T..wwwww,,..~~~~...T
T.......,,.........T
T__...__,,_________T
T.......,,.........T
T.TTTT..,,..TTTTT..T
T.TTTT..,,..TTTTT..T
T.......,,.........T
T.wwww..,,..wwwww..T
T.wwww..,,..wwwww..T
T.wwww..,,..wwwww..T
T..........wwwwww..T
T____...____....___T
T.......,,.........T
T.:::...,,...TTTT..T
T.:::...,,...TTTT..T
T.......,,......TTTT
T.......,,......TTTT
T.wwwwwwwwwwww...TTT
T.wwwwwwwwwwww...TTT
T.......,,........TT
TTTT..!.,,.......TTT
TTTTTTTT,,TTTTTTTTTT
""",
        "warps": [(17, 3, "TANGLEWOOD", 0)],
        "signs": [
            (6, 34, "PEBBLE LANE|South: MOSSBY\nNorth: BRINDLE"),
            (4, 3, "The ledges ahead lead down only. To BRINDLE through TANGLEWOOD."),
        ],
        "objects": [
            {"x": 16, "y": 13, "sprite": "BALL", "move": "stay", "script": "POUCH", "toggle": "POUCH"},
            {"x": 17, "y": 4, "sprite": "ELDER", "move": "stay", "face": "down", "toggle": "WOOD_GUARD",
             "text": "Into the wood, all alone? Nobody goes without a friend of their own. Ask in the lab at MOSSBY."},
            {"x": 11, "y": 10, "sprite": "KID", "move": "stay", "face": "left", "trainer": "KID_LANE"},
            {"x": 2, "y": 18, "sprite": "BALL", "move": "stay", "item": "DEW_DROP", "toggle": "LANE_DROP",
             "event": "FOUND_LANE_DROP"},
        ],
    },
    {
        "name": "REED_PATH", "id": 13, "tileset": "OUTDOOR", "border": "T", "wild": "PATH",
        "west": ("BRINDLE", -2), "east": ("HIGHMERE", -4),
        "cells": """
TTTTTTTTTTTTTTTTTTTTTT########TTTTTTTTTT
T~~~~~~~~~~~....TT....###C####..T......T
T~~~~~~~~~~~....TT..............T.......
T..............!TT..............T.......
T...wwwwww......TT....wwwwww....T______T
T...wwwwww....RRRRRR..wwwwww...........T
,,,,,,wwwwww..EEEEEE..wwwwww...........T
,,,,,,,,,,,,,,WDOWDW,,,,,,,,,,,,,,,....T
T....,,,,,,,,,,,==,,,,,................T
T.::............==.....wwwwwwww........T
T.::............==.....wwwwwwww........T
T...............==..........~~~~~~.....T
T....wwwwwwww...==..........~~~~~~.....T
T....wwwwwwww...==..........~~~~~~.....T
T...............==.....................T
TTTTTTTTTTTTTTTTTTTTTTTTTTTTTTTTTTTTTTTT
""",
        "warps": [(15, 7, "GATEHOUSE", 0), (18, 7, "GATEHOUSE", 2), (25, 1, "CAVE_1F", 0)],
        "signs": [(15, 3, "GATEHOUSE|Passes are checked. Always.")],
        "objects": [
            {"x": 15, "y": 11, "sprite": "RIVAL", "move": "stay", "face": "up", "trainer": "RIVAL_PATH",
             "toggle": "RIVAL_PATH"},
            {"x": 25, "y": 6, "sprite": "ELDER", "move": "stay", "face": "up", "trainer": "HIKER_PATH"},
            {"x": 36, "y": 10, "sprite": "BALL", "move": "stay", "item": "HONEY_JAR", "toggle": "PATH_HONEY",
             "event": "FOUND_PATH_HONEY"},
        ],
    },
    {
        "name": "HOME_1F", "id": 37, "tileset": "HOUSE", "border": " ",
        "cells": """
##########
<..bb..p.p
..........
....tttt..
....tttt..
..........
p........p
......mm..
""",
        "warps": [(6, 7, "LAST_MAP", 0), (7, 7, "LAST_MAP", 0), (0, 1, "HOME_2F", 0)],
        "objects": [{"x": 3, "y": 4, "sprite": "ELDER", "move": "stay", "face": "right", "script": "GRANDMA"}],
        "hidden": [
            (3, 1, "A book on beetles, and a pressed clover."),
            (4, 1, "Cook books. One page is stuck to the next."),
        ],
    },
    {
        "name": "HOME_2F", "id": 38, "tileset": "HOUSE", "border": " ",
        "cells": """
##########
>..bb..cbB
.........F
..........
..tt..rr..
..tt..rr..
..........
p........p
""",
        "warps": [(0, 1, "HOME_1F", 2)],
        "hidden": [
            (7, 1, {"script": "ITEM_PC"}),
            (3, 1, "Adventure stories. Every one begins with getting out of bed."),
            (4, 1, "The same stories again. Somebody read them to pieces."),
            (8, 1, "A row of smooth stones, each with a name."),
        ],
    },
    {
        "name": "OTTIS_HOUSE", "id": 39, "tileset": "HOUSE", "border": " ",
        "cells": """
########
pbb..bbp
........
p..tt..p
...tt...
p......p
........
..mm....
""",
        "warps": [(2, 7, "LAST_MAP", 1), (3, 7, "LAST_MAP", 1)],
        "hidden": [
            (1, 1, "Drawers full of seeds. Sorted by colour, not by name."),
            (6, 1, "A note: Bulbs sleep in winter. So do I."),
        ],
    },
    {
        "name": "LAB", "id": 40, "tileset": "HOUSE", "border": " ",
        "cells": """
##########
bbb.MM.bbb
..........
..........
....ttt...
..........
..........
bbb....bbb
..........
..........
p........p
....mm....
""",
        "warps": [(4, 11, "LAST_MAP", 2), (5, 11, "LAST_MAP", 2)],
        "objects": [
            {"x": 5, "y": 2, "sprite": "SCHOLAR", "move": "stay", "face": "down", "script": "SCHOLAR"},
            {"x": 8, "y": 5, "sprite": "RIVAL", "move": "stay", "face": "left", "script": "RIVAL", "toggle": "LAB_RIVAL"},
            {"x": 4, "y": 4, "sprite": "BALL", "move": "stay", "script": "STARTER_LEAF", "toggle": "STARTER_LEAF"},
            {"x": 5, "y": 4, "sprite": "BALL", "move": "stay", "script": "STARTER_EMBER", "toggle": "STARTER_EMBER"},
            {"x": 6, "y": 4, "sprite": "BALL", "move": "stay", "script": "STARTER_PUDDLE", "toggle": "STARTER_PUDDLE"},
            {"x": 2, "y": 9, "sprite": "KID", "move": "walk",
             "text": "A leaf beats a wave, a wave beats a flame, a flame beats a leaf. I made a song of it."},
        ],
        "hidden": [
            (4, 1, "The machine draws a line that goes up and down. It looks content."),
            (0, 7, "Shelf after shelf of drawings of eggs."),
            (9, 7, "A thin book: Friends, and how to catch them."),
        ],
    },
    {
        "name": "BRINDLE_HEAL", "id": 41, "tileset": "HOUSE", "border": " ",
        "cells": """
########
M..bb..M
........
kkkkkkkk
.......c
p.......
........
..mm....
""",
        "warps": [(2, 7, "LAST_MAP", 0), (3, 7, "LAST_MAP", 0)],
        "objects": [
            {"x": 3, "y": 2, "sprite": "WOMAN", "move": "stay", "face": "down", "script": "HEALER"},
            {"x": 6, "y": 6, "sprite": "ELDER", "move": "walk",
             "text": "If all your friends are out, you wake up where they were healed last. With half the coins."},
        ],
        "hidden": [(7, 4, {"script": "BOX"})],
    },
    {
        "name": "BRINDLE_SHOP", "id": 42, "tileset": "HOUSE", "border": " ",
        "cells": """
########
bb.bb.bb
........
kkkk.bb.
........
.bb..bb.
........
..mm....
""",
        "warps": [(2, 7, "LAST_MAP", 2), (3, 7, "LAST_MAP", 2)],
        "objects": [
            {"x": 2, "y": 2, "sprite": "CLERK", "move": "stay", "face": "down", "script": "CLERK"},
            {"x": 6, "y": 6, "sprite": "KID", "move": "stay", "face": "up",
             "text": "A net works best on somebody tired. Or asleep."},
        ],
    },
    {
        "name": "BRINDLE_HOUSE", "id": 43, "tileset": "HOUSE", "border": " ",
        "cells": """
########
bb....pp
........
..ttt...
..ttt...
........
p......p
..mm....
""",
        "warps": [(2, 7, "LAST_MAP", 3), (3, 7, "LAST_MAP", 3)],
        "objects": [{"x": 5, "y": 3, "sprite": "ELDER", "move": "stay", "face": "left", "script": "LAMPLIGHTER"}],
        "hidden": [(0, 1, "Books about the cave. Every page is black.")],
    },
    {
        "name": "STONE_HALL", "id": 45, "tileset": "HOUSE", "border": " ",
        "cells": """
##########
S...rr...S
....rr....
SS..rr..SS
....rr....
.SS.rr.SS.
....rr....
....rr....
S...rr...S
....rr....
....rr....
....mm....
""",
        "warps": [(4, 11, "LAST_MAP", 1), (5, 11, "LAST_MAP", 1)],
        "objects": [
            {"x": 4, "y": 2, "sprite": "LEADER", "move": "stay", "face": "down", "trainer": "LEADER_STONE"},
            {"x": 2, "y": 6, "sprite": "KID", "move": "stay", "face": "right", "trainer": "HALL_KID"},
        ],
    },
    {
        "name": "GATEHOUSE", "id": 49, "tileset": "HOUSE", "border": " ",
        "cells": """
##########
b...##...b
....##....
..........
....##....
.mm.##.mm.
""",
        "warps": [(1, 5, "REED_PATH", 0), (2, 5, "REED_PATH", 0), (7, 5, "REED_PATH", 1), (8, 5, "REED_PATH", 1)],
        "objects": [{"x": 4, "y": 3, "sprite": "CLERK", "move": "stay", "face": "left", "script": "KEEPER", "toggle": "KEEPER"}],
    },
    {
        "name": "TANGLEWOOD", "id": 51, "tileset": "FOREST", "border": "P", "wild": "WOOD",
        "cells": """
PPPPffPPPPPPPPPPPPPP
P...,,....P........P
P.P.PPPPP.P.PPPPPP.P
P.P.....P.P.P....P.P
P.PPPPP.P.P.P.PP.P.P
P.....P.P...P.P..P.P
PPPPP.P.PPPPP.P.PP.P
P...P.P.......P....P
P.P.P.PPPPPPP.PPPP.P
P.P...PwwwwwP....P.P
P.PPPPPwwwwwPPPP.P.P
P.....Pwwwww...P.P.P
PPPPP.PPPwPPPP.P.P.P
P.....P..w..P..P...P
P.PPPPP.P.P.P.PPPPPP
P.P.....P.P.P......P
P.P.PPPPP.P.PPPPPP.P
P.P.Pwww..PwwwwwwP.P
P...PwwwPPPwwwwww..P
PPPPPPPPPPffPPPPPPPP
""",
        "warps": [(10, 19, "PEBBLE_LANE", 0), (11, 19, "PEBBLE_LANE", 0), (4, 0, "BRINDLE", 4), (5, 0, "BRINDLE", 4)],
        "objects": [
            {"x": 9, "y": 9, "sprite": "KID", "move": "stay", "face": "down", "trainer": "NETTER_WOOD"},
            {"x": 8, "y": 1, "sprite": "KID", "move": "stay", "face": "left", "trainer": "NETTER_WOOD_2"},
            {"x": 16, "y": 3, "sprite": "BALL", "move": "stay", "item": "NET", "toggle": "WOOD_NET", "event": "FOUND_WOOD_NET"},
        ],
        "hidden": [(5, 18, {"script": "WOOD_HONEY"})],
    },
    {
        "name": "CAVE_1F", "id": 59, "tileset": "CAVE", "border": "#", "dark": 1, "wild": "CAVE",
        "cells": """
####################
#....#......##.....#
#.##.#.####.##.###.#
#.#..#.#..#.##.#...#
#.#.##.#.H#.##.#.#.#
#.#....#.##.##.#H#.#
#.######.#..##.###.#
#..........###.....#
####.#####.####.####
#......##..####.####
#.####......###...##
#.#..#####.####.#.##
#.#......#.####.#.##
#.##.###.#.####.#.##
#....###..######..##
#e###############e##
""",
        "warps": [(1, 15, "REED_PATH", 2), (9, 4, "CAVE_B1F", 0), (16, 5, "CAVE_B1F", 1), (17, 15, "HIGHMERE", 0)],
        "objects": [
            {"x": 9, "y": 7, "sprite": "ELDER", "move": "stay", "face": "left", "trainer": "HIKER_CAVE"},
            {"x": 10, "y": 14, "sprite": "BALL", "move": "stay", "item": "HONEY_JAR", "toggle": "CAVE_HONEY",
             "event": "FOUND_CAVE_HONEY"},
        ],
    },
    {
        "name": "CAVE_B1F", "id": 60, "tileset": "CAVE", "border": "#", "dark": 1, "wild": "CAVE",
        "cells": """
####################
#H.....#...........#
#.####.#.o.......o.#
#.#..#.#...........#
#.#....#.....!.....#
#.####.#...........#
#......#.o.......o.#
#.######...........#
#........####.######
#.######.####.######
#.#....#.####.######
#.#.##.#.####.######
#.#..#.#....#.....##
#.##.#.####.#####.##
#....#......#####H##
####################
""",
        "warps": [(1, 1, "CAVE_1F", 1), (17, 14, "CAVE_1F", 2)],
        "signs": [(13, 4, {"script": "PLATES"})],
        "objects": [
            {"x": 13, "y": 9, "sprite": "BOULDER", "move": "stay", "toggle": "BOULDER",
             "text": "A boulder. No amount of pushing moves it."},
            {"x": 8, "y": 12, "sprite": "SCHOLAR", "move": "stay", "face": "up", "trainer": "SCHOLAR_CAVE"},
        ],
    },
    {
        "name": "HIGHMERE_HEAL", "id": 64, "tileset": "HOUSE", "border": " ",
        "cells": """
########
M..bb..M
........
kkkkkkkk
.......c
p......p
........
..mm....
""",
        "warps": [(2, 7, "LAST_MAP", 2), (3, 7, "LAST_MAP", 2)],
        "objects": [
            {"x": 3, "y": 2, "sprite": "WOMAN", "move": "stay", "face": "down", "script": "HEALER"},
            {"x": 5, "y": 6, "sprite": "CLERK", "move": "stay", "face": "up", "script": "STALL"},
        ],
        "hidden": [(7, 4, {"script": "BOX"})],
    },
    {
        "name": "TIDE_HALL", "id": 65, "tileset": "HOUSE", "border": " ",
        "cells": """
##########
p...rr...p
....rr....
.ttt..ttt.
.t......t.
.t.tttt.t.
...t......
.ttt.tt.tt
.t......t.
.t.rrrr.t.
....rr....
....mm....
""",
        "warps": [(4, 11, "LAST_MAP", 3), (5, 11, "LAST_MAP", 3)],
        "objects": [
            {"x": 4, "y": 2, "sprite": "LEADER", "move": "stay", "face": "down", "trainer": "LEADER_TIDE"},
            {"x": 5, "y": 6, "sprite": "SCHOLAR", "move": "stay", "face": "right", "trainer": "HALL_SCHOLAR"},
        ],
    },
    {
        "name": "SUMMIT_HALL", "id": 113, "tileset": "HOUSE", "border": " ",
        "cells": """
##########
S...r<...S
S...rr...S
....rr....
S...rr...S
....rr....
S...rr...S
....rr....
S...rr...S
....mm....
""",
        "warps": [(4, 9, "LAST_MAP", 1), (5, 9, "LAST_MAP", 1), (5, 1, "HALL_OF_FRIENDS", 0)],
        "objects": [
            {"x": 5, "y": 2, "sprite": "LEADER", "move": "stay", "face": "down", "trainer": "CHAMPION", "toggle": "CHAMPION"},
            {"x": 4, "y": 1, "sprite": "STATUE", "move": "stay",
             "text": "A stone creature. Many hands have patted it."},
        ],
    },
    {
        "name": "HALL_OF_FRIENDS", "id": 118, "tileset": "HOUSE", "border": " ",
        "cells": """
########
S..MM..S
...rr...
S..rr..S
...rr...
S..m>..S
""",
        "warps": [(4, 5, "SUMMIT_HALL", 2)],
        "hidden": [(3, 1, {"script": "MACHINE"}), (4, 1, {"script": "MACHINE"})],
    },
]  # fmt: skip

#: name: event set by winning, words before, words after, script that runs after the win (or none)
TRAINERS = {
    "RIVAL_LAB": ("BATTLED_RIVAL_IN_LAB", "{R}: Mine is the stronger one. Shall I show you?^", "", "AFTER_LAB_BATTLE"),
    "RIVAL_PATH": ("BEAT_RIVAL_PATH", "{R}: {P}! I have been training under this very tree. Look!^",
                   "{R}: Go on, then.", "AFTER_RIVAL_PATH"),
    "KID_LANE": ("BEAT_KID_LANE", "Our eyes met! That means we fight!^", "I should have looked away.", None),
    "NETTER_WOOD": ("BEAT_NETTER_WOOD", "Quiet! You will scare them. Too late!^", "They are all gone now.", None),
    "NETTER_WOOD_2": ("BEAT_NETTER_WOOD_2", "You found the way out? First you find me!^", "North, always north.", None),
    "HALL_KID": ("BEAT_HALL_KID", "GRETA taught me to stand like a rock!^", "I stood like a pebble.", None),
    "LEADER_STONE": ("BEAT_LEADER_STONE", "GRETA: Stone does not hurry. Stone waits, and wins.^",
                     "GRETA: You carry the badge well.", "AFTER_LEADER_STONE"),
    "HIKER_PATH": ("BEAT_HIKER_PATH", "The cave? Not before you have passed me!^", "Take a light. It is black in there.", None),
    "HIKER_CAVE": ("BEAT_HIKER_CAVE", "Who is there? I cannot see a thing! Fight!^", "I still cannot see a thing.", None),
    "SCHOLAR_CAVE": ("BEAT_SCHOLAR_CAVE", "I study moths. In the dark. Obviously.^", "The plates? Ask the old stone.", None),
    "HALL_SCHOLAR": ("BEAT_HALL_SCHOLAR", "Water carries every shock further!^", "Grounded.", None),
    "LEADER_TIDE": ("BEAT_LEADER_TIDE", "MARLO: Every wave comes back. Do you?^",
                    "MARLO: The SUMMIT HALL waits for you.", "AFTER_LEADER_TIDE"),
    "CHAMPION": ("BEAT_CHAMPION", "IONE: So you climbed all the way. I was a child from MOSSBY, too. Come!^", "",
                 "AFTER_CHAMPION"),
}  # fmt: skip

#: texts of scripts, menus and battles
TEXTS = {
    "OTTI_ASK": "Oh dear, oh dear. My seed pouch is gone!|I had it on PEBBLE LANE, by the pond. Would you look for it?",
    "OTTI_WAIT": "Not found yet? By the pond, in the north, I am nearly sure.",
    "OTTI_THANKS": "My pouch! And nothing has sprouted yet.|Bless you, {P}.",
    "OTTI_AFTER": "Come by when the tulips are up.",
    "POUCH_FOUND": "{P} found the SEED POUCH!",
    "BAG_FULL": "But the bag is full.",
    "FOUND_ITEM": "{P} found one {S}!",
    "GRANDMA_1": "Up at last, {P}? The sun has been out for hours.|Otti next door has been looking for somebody "
                 "with young legs. And the lab called.",
    "GRANDMA_2": "Sit down, all of you. There is soup.^",
    "GRANDMA_3": "There. Everybody is well again. Off you go!",
    "STONE_ORDER": "An old stone. Moss covers it, but words can be read:|{N}\n{S}|The letters crumble as you read them.",
    "STONE_GONE": "An old stone. Its letters have crumbled away.",
    "SCHOLAR_1": "Ah, {P}! I am glad you came. Three little friends sit on the table.|Choose one. {R} will take another. "
                 "He has been waiting since breakfast.",
    "SCHOLAR_2": "Take your time. They are looking at you, too.",
    "SCHOLAR_3": "A fine pair! Go and see the world. TANGLEWOOD leads to BRINDLE.|The shop there keeps a parcel for me.",
    "SCHOLAR_PARCEL": "My parcel! You carried it all the way?|Then you have earned this.",
    "SCHOLAR_BOOK": "{P} got the BOOK! It writes down every creature you meet.|Take these five nets, too.",
    "SCHOLAR_4": "How far is the BOOK? The lamplighter in BRINDLE is a friend of mine.",
    "SCHOLAR_5": "The champion, from MOSSBY! Otti planted tulips for it.",
    "RIVAL_1": "{R}: Go on, choose. I am being polite.",
    "RIVAL_2": "{R}: Mine looks stronger.",
    "BALL_WAIT": "A seed pod, warm to the touch.",
    "CHOOSE_LEAF": "LEAFLING, the leaf. Calm and stubborn. Take it?",
    "CHOOSE_EMBER": "EMBERKIT, the flame. Quick and proud. Take it?",
    "CHOOSE_PUDDLE": "PUDDLIN, the wave. Round and patient. Take it?",
    "GOT_STARTER": "{P} got {N}!",
    "RIVAL_TAKES": "{R}: Then I take this one!",
    "LAB_AFTER": "{R}: That was only the first time! I am off.|See you on the road, {P}.",
    "RIVAL_PATH_AFTER": "{R}: How?|I will be champion first. You will see.",
    "HEAL_ASK": "Welcome to the healing house. Shall your friends rest?",
    "HEAL_DONE": "All well again. Come back any time.",
    "HEAL_NOBODY": "You travel all alone? Ask at the lab in MOSSBY.",
    "HEAL_NO": "Another time, then.",
    "CLERK_PARCEL": "You come from MOSSBY? The scholar's parcel has been here for weeks.|{P} got the PARCEL!",
    "CLERK_REMIND": "Please bring the PARCEL to the lab in MOSSBY.",
    "LAMP_1": "I keep the lamps of BRINDLE. Come back when the scholar trusts you with a BOOK.",
    "LAMP_2": "So the scholar gave you the BOOK. Then you may carry this.|{P} got the LANTERN!",
    "LAMP_3": "The LANTERN makes the cave as bright as a kitchen.",
    "BADGE_1": "GRETA: You moved the mountain!|{P} got the STONE BADGE and a GATE PASS!",
    "BADGE_2": "MARLO: You came back stronger than the wave.|{P} got the TIDE BADGE!",
    "TIDE_GIFT": "Take a HONEY JAR for the road.",
    "KEEPER_NO": "Halt! Nobody passes without a GATE PASS.|The leader in BRINDLE hands them out.",
    "KEEPER_YES": "A GATE PASS! In order. Pass, and mind the cave.",
    "GUARD_NO": "The SUMMIT HALL opens for two badges. You do not have two badges.",
    "GUARD_YES": "Two badges! Champion IONE awaits you.",
    "PLATES_1": "LEAF top left, FLAME top right, WAVE below, STAR beside it.|The old order moves the mountain.",
    "PLATE_CLICK": "Click. The plate stays down.",
    "PLATE_WRONG": "All plates spring up again.",
    "PLATE_OPEN": "Click. Far away, a boulder rolls aside.",
    "CHAMPION_AFTER": "IONE: Well fought, {P}. Behind me lies the HALL OF FRIENDS.|Show the machine who came with you.",
    "MACHINE_1": "A machine that never forgets a face.",
    "THE_END": "These friends will be remembered.|Thank you for playing!^",
    "WOOD_HONEY": "Something sticky between the roots. {P} found a HONEY JAR!",
    "NOTHING": "Only roots.",
    "EMPTY_POCKET": "Nobody is with you yet.",
    # menus
    "SAVED": "{P} wrote the day down.",
    "SAVE_SURE": "Write the day down?",
    "SAVING": "Writing...".replace("...", "~"),
    "INTRO": "Good morning! Who are you?^",
    "INTRO_RIVAL": "And the boy next door?^",
    "INTRO_END": "{P}! Time to get up!^",
    "SHOP_HELLO": "Good day! Look around.",
    "SHOP_BYE": "Thank you. Mind the step.",
    "SHOP_SURE": "{S}?\nShall I pack it?",
    "SHOP_SELL_SURE": "{S}?\nAgreed?",
    "SHOP_POOR": "You do not have enough coins.^",
    "SHOP_THANKS": "Here you are.^",
    "NOTHING_TO_SELL": "The bag is empty.^",
    "TOO_IMPORTANT": "That is too important to give away!",
    "TOSS_SURE": "Throw {S} away?",
    "TOSSED": "{S} is gone.",
    "NOT_NOW": "Not the time for that.",
    "NO_EFFECT": "It would do nothing.",
    "FEELS_BETTER": "{N} feels better.",
    "HEALED_BY": "{N} got {#} HP back.",
    "SMOKE": "Smoke all around. Weak creatures keep away.",
    "BOX_HELLO": "The box of friends hums.^",
    "BOX_COUNT": "{#} friends rest in here.",
    "BOX_LAST": "You cannot go alone.",
    "BOX_FULL": "The box is full.",
    "BOX_EMPTY": "There is nothing inside.",
    "BOX_STORED": "{N} rests in the box.",
    "BOX_TAKEN": "{N} comes along.",
    "BOX_FREE_SURE": "Set {N} free for good?",
    "BOX_FREED": "Farewell, {N}!",
    "TEAM_FULL": "Six friends are enough.",
    # battle
    "WILD_APPEARED": "A wild {N} appeared!^",
    "WANTS_TO_FIGHT": "{N} wants to fight!^",
    "SENDS_OUT": "{N} sends out {S}!",
    "SENDS_NEXT": "{N} sends out {S}!^",
    "GO": "Go! {N}!",
    "USED": "{N} used\n{S}!",
    "MISSED": "{N} missed!",
    "CRITICAL": "A lucky hit!",
    "EFFECTIVE": "It hits hard!",
    "NOT_EFFECTIVE": "It hardly hurts.",
    "NOTHING_HAPPENED": "But nothing happens.",
    "ATTACK_FELL": "{N} loses ATTACK!",
    "DEFENSE_FELL": "{N} loses DEFENSE!",
    "BURNED": "{N} is burned!",
    "PARALYZED": "{N} is numb!",
    "POISONED": "{N} is poisoned!",
    "FELL_ASLEEP": "{N} falls asleep!",
    "SLEEPS": "{N} is asleep.",
    "WOKE": "{N} wakes up!",
    "CANNOT_MOVE": "{N} is too numb to move!",
    "HURT_POISON": "{N} is hurt by poison!",
    "HURT_BURN": "{N} is hurt by the burn!",
    "FAINTED": "{N} is out!^",
    "GAINED": "{N} learned from it: {#} EXP!^",
    "GREW": "{N} grew to level {#}!^",
    "LEARNED": "{N} learned {S}!^",
    "WANTS_TO_LEARN": "{N} could learn {S}, but four are enough. Forget one?",
    "FORGET_WHICH": "Which one?",
    "DID_NOT_LEARN": "{N} did not learn {S}.^",
    "NO_PP": "No strength left for that!",
    "NO_PP_AT_ALL": "{N} has no moves left!",
    "NO_WILL": "It cannot fight!",
    "ALREADY_OUT": "It is fighting already!",
    "NO_RUNNING": "No running from this!",
    "GOT_AWAY": "Got away!^",
    "CANNOT_RUN": "No way out!",
    "THREW_NET": "{P} threw a NET!",
    "NO_NET": "Do not catch others' friends!",
    "BROKE_FREE": "{N} broke free!",
    "CAUGHT": "{N} was caught!^",
    "TO_BOX": "It was sent to the box.^",
    "NEW_PAGE": "{N} gets a page in the book.^",
    "EVOLVING": "Oh? {N}\nis evolving!",
    "EVOLVED": "{N} is now\n{S}!",
    "STOPPED_EVOLVING": "{N} stays as it is.^",
    "NICKNAME": "Give {N} a name of its own?",
    "NO_ROOM": "No room for another friend!",
    "PP_BACK": "{S} is fresh again.",
    "WHICH_MOVE": "Which move?",
    "MIMICKED": "{N} copies\n{S}!",
    "DELETE_SURE": "Wipe away the day written down?",
    "DEFEATED": "{N} was beaten!^",
    "PRIZE": "{P} got {#} coins.^",
    "LOST_LAB": "{R}: Ha! I knew it all along.^",
    "NO_MORE": "{P} has no friend left who can fight!|{P} is carried home.^",
}  # fmt: skip

SCRIPTS = [
    "OTTI", "POUCH", "GRANDMA", "OLD_STONE", "SCHOLAR", "RIVAL", "STARTER_LEAF", "STARTER_EMBER", "STARTER_PUDDLE",
    "AFTER_LAB_BATTLE", "AFTER_RIVAL_PATH", "HEALER", "CLERK", "STALL", "LAMPLIGHTER", "AFTER_LEADER_STONE", "AFTER_LEADER_TIDE",
    "AFTER_CHAMPION", "KEEPER", "SUMMIT_GUARD", "PLATES", "MACHINE", "BOX", "ITEM_PC", "WOOD_HONEY",
]  # fmt: skip

#: name: its place in the list is its bit in wEventFlags
EVENTS = [
    "ASKED_BY_OTTI", "GOT_SEED_POUCH", "RETURNED_SEED_POUCH", "MET_SCHOLAR", "GOT_STARTER", "BATTLED_RIVAL_IN_LAB",
    "RIVAL_LEFT_LAB", "READ_OLD_STONE", "SOUP_WITH_GRANDMA", "ENTERED_PEBBLE_LANE", "BEAT_KID_LANE", "FOUND_LANE_DROP",
    "ENTERED_TANGLEWOOD", "BEAT_NETTER_WOOD", "BEAT_NETTER_WOOD_2", "FOUND_WOOD_NET", "FOUND_WOOD_HONEY",
    "REACHED_BRINDLE", "HEALED_ONCE", "GOT_PARCEL", "DELIVERED_PARCEL", "GOT_BOOK", "BOUGHT_SOMETHING", "CAUGHT_FIRST",
    "GOT_LANTERN", "BEAT_HALL_KID", "BEAT_LEADER_STONE", "GOT_GATE_PASS", "BEAT_RIVAL_PATH", "SHOWED_GATE_PASS",
    "BEAT_HIKER_PATH", "FOUND_PATH_HONEY", "ENTERED_CAVE", "BEAT_HIKER_CAVE", "FOUND_CAVE_HONEY", "BEAT_SCHOLAR_CAVE",
    "PRESSED_FIRST_PLATE", "PRESSED_SECOND_PLATE", "PRESSED_THIRD_PLATE", "SOLVED_PLATES", "REACHED_HIGHMERE",
    "BEAT_HALL_SCHOLAR", "BEAT_LEADER_TIDE", "GOT_TIDE_GIFT", "SUMMIT_OPEN", "BEAT_CHAMPION", "HALL_OF_FAME",
]  # fmt: skip

#: name: number, name on the screen, price (0 marks a thing that is not sold)
ITEMS = {
    "NET": (4, "NET", 200),
    "BITTER_TEA": (11, "BITTER TEA", 100),
    "WAKE_BELL": (14, "WAKE BELL", 200),
    "LIMBER_OIL": (15, "LIMBER OIL", 200),
    "HONEY_JAR": (19, "HONEY JAR", 700),
    "DEW_DROP": (20, "DEW DROP", 300),
    "SMOKE_PUFF": (30, "SMOKE PUFF", 350),
    "MINT_LEAF": (80, "MINT LEAF", 400),
    "GATE_PASS": (63, "GATE PASS", 0),
    "SEED_POUCH": (64, "SEED POUCH", 0),
    "PARCEL": (70, "PARCEL", 0),
    "LANTERN": (72, "LANTERN", 0),
}

#: kind of each map, for the tables of the package
PLACES = {
    "MOSSBY": "town", "BRINDLE": "town", "HIGHMERE": "town", "PEBBLE_LANE": "route", "REED_PATH": "route",
    "HOME_1F": "interior", "HOME_2F": "interior", "OTTIS_HOUSE": "interior", "LAB": "interior",
    "BRINDLE_HEAL": "healing", "BRINDLE_SHOP": "shop", "BRINDLE_HOUSE": "interior", "STONE_HALL": "gym",
    "GATEHOUSE": "gate", "TANGLEWOOD": "dungeon", "CAVE_1F": "dungeon", "CAVE_B1F": "dungeon",
    "HIGHMERE_HEAL": "healing", "TIDE_HALL": "gym", "SUMMIT_HALL": "league", "HALL_OF_FRIENDS": "league",
}  # fmt: skip

#: milestones in the order of the story: (name, condition)
MILESTONES = [
    ("leave_home", {"map": "MOSSBY"}), ("starter", {"event": "GOT_STARTER"}), ("rival_1", {"event": "BATTLED_RIVAL_IN_LAB"}),
    ("pebble_lane", {"map": "PEBBLE_LANE"}), ("tanglewood", {"map": "TANGLEWOOD"}), ("brindle", {"map": "BRINDLE"}),
    ("parcel", {"event": "GOT_PARCEL"}), ("parcel_delivered", {"event": "DELIVERED_PARCEL"}), ("book", {"event": "GOT_BOOK"}),
    ("lantern", {"event": "GOT_LANTERN"}), ("badge_stone", {"badge": 0}), ("reed_path", {"map": "REED_PATH"}),
    ("rival_2", {"event": "BEAT_RIVAL_PATH"}), ("gate", {"event": "SHOWED_GATE_PASS"}), ("cave", {"event": "ENTERED_CAVE"}),
    ("plates", {"event": "SOLVED_PLATES"}), ("highmere", {"map": "HIGHMERE"}), ("badge_tide", {"badge": 1}),
    ("champion", {"event": "BEAT_CHAMPION"}), ("hall_of_fame", {"hall_of_fame": True}),
]  # fmt: skip
