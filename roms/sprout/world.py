"""The maps of Sprout as one reads them: a character is a step (2x2 tiles), tables beside it say what stands there.

Texts: ``|`` begins a new box, words wrap by themselves, ``{P}`` is the player, ``{R}`` the rival.
"""

from __future__ import annotations

#: char -> (drawing, attributes); attributes: "walk", "door" (warps at once), "grass", "over" (talk across)
OUTDOOR = {
    ".": ("ground", "walk"), ",": ("path", "walk"), ":": ("flowers", "walk"), '"': ("grass", "walk grass"),
    "T": ("tree", ""), "P": ("pine", ""), "~": ("water", "water"), "=": ("fence", ""), "!": ("sign", ""),
    "_": ("ledge", "ledge"), "R": ("roof", ""), "E": ("eaves", ""), "W": ("wall", ""), "O": ("window", ""),
    "D": ("door", "walk door"), "H": ("plate_heal", ""), "S": ("plate_shop", ""), "G": ("plate_hall", ""),
    "#": ("rock", ""), "C": ("cave_mouth", "walk door"),
}  # fmt: skip
INDOOR = {
    ".": ("floor", "walk"), "#": ("inner_wall", ""), " ": ("void", ""), "m": ("mat", "walk"),
    "<": ("stairs_up", "walk door"), ">": ("stairs_down", "walk door"), "t": ("table", ""), "k": ("counter", "over"),
    "b": ("shelf", ""), "B": ("bed_head", ""), "F": ("bed_foot", ""), "p": ("plant", ""), "c": ("computer", ""),
    "r": ("rug", "walk"), "M": ("machine", ""), "S": ("statue", ""),
}  # fmt: skip

#: name -> (tileset id, cells, tile animation); ids 0 (outdoor), 3 (forest), 17 (cave) mean the same in the original
TILESETS = {"OUTDOOR": (0, OUTDOOR), "HOUSE": (1, INDOOR)}

MAPS = [
    {
        "name": "MOSSBY", "id": 0, "tileset": "OUTDOOR", "border": "T", "town": True,
        "north": ("PEBBLE_LANE", 0), "at": (40, 120),
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
T.......,,,,,,.....T
T..~~~~~........!..T
T..~~~~~..::..::...T
T..~~~~~..::..::...T
T..................T
TTTTTTTTTTTTTTTTTTTT
""",
        "warps": [(3, 4, "HOME_1F", 0), (14, 4, "OTTIS_HOUSE", 0)],
        "signs": [
            (2, 6, "{P}'s house. The gate squeaks."),
            (16, 6, "Otti's house. Seeds and bulbs, planted with love."),
            (16, 13, "MOSSBY|Where the first green shows."),
        ],
        "objects": [
            {"x": 6, "y": 7, "sprite": "WOMAN", "move": "walk", "script": "OTTI"},
            {"x": 9, "y": 13, "sprite": "KID", "move": "stay", "face": "down",
             "text": "Tall grass rustles on its own. Something lives in it!|Press START and your pockets open up. "
                     "I tell everybody."},
        ],
    },
    {
        "name": "PEBBLE_LANE", "id": 12, "tileset": "OUTDOOR", "border": "T", "south": ("MOSSBY", 0),
        "cells": """
TTTTTTTTTTTTTTTTTTTT
TT......,,......TTTT
TT..!...,,......TTTT
T....\"\"\"\"..\"\"\"\"...TT
T....\"\"\"\"..\"\"\"\"...TT
T....\"\"\"\"..\"\"\"\"...TT
T_____..____......TT
T.......,,........TT
TTTTTT..,,..TTTTTTTT
TTTTTT..,,..TTTTTTTT
T.......,,.......TTT
T..\"\"\"\"\",,..~~~~.TTT
T..\"\"\"\"\",,..~~~~.TTT
T..\"\"\"\"\",,..~~~~...T
T..\"\"\"\"\",,..~~~~...T
T.......,,.........T
T__...__,,_________T
T.......,,.........T
T.TTTT..,,..TTTTT..T
T.TTTT..,,..TTTTT..T
T.......,,.........T
T.\"\"\"\"..,,..\"\"\"\"\"..T
T.\"\"\"\"..,,..\"\"\"\"\"..T
T.\"\"\"\"..,,..\"\"\"\"\"..T
T..........\"\"\"\"\"\"..T
T____...____....___T
T.......,,.........T
T.:::...,,...TTTT..T
T.:::...,,...TTTT..T
T.......,,......TTTT
T.......,,......TTTT
T.\"\"\"\"\"\"\"\"\"\"\"\"...TTT
T.\"\"\"\"\"\"\"\"\"\"\"\"...TTT
T.......,,........TT
TTTT..!.,,.......TTT
TTTTTTTT,,TTTTTTTTTT
""",
        "signs": [
            (6, 34, "PEBBLE LANE|South: MOSSBY"),
            (4, 2, "The lane to the north is being swept. Come back another day!"),
        ],
        "objects": [
            {"x": 16, "y": 13, "sprite": "BALL", "move": "stay", "script": "POUCH", "toggle": "POUCH"},
        ],
    },
    {
        "name": "HOME_1F", "id": 37, "tileset": "HOUSE", "border": " ",
        "cells": """
########
bb..p..<
........
...tt...
...tt...
........
p......p
..mm....
""",
        "warps": [(2, 7, "LAST_MAP", 0), (3, 7, "LAST_MAP", 0), (7, 1, "HOME_2F", 0)],
        "objects": [
            {"x": 5, "y": 4, "sprite": "ELDER", "move": "stay", "face": "left",
             "text": "Up at last, {P}? The sun has been out for hours.|Otti next door has been looking for somebody "
                     "with young legs."},
        ],
        "hidden": [
            (0, 1, "A book on beetles, and a pressed clover."),
            (1, 1, "Cook books. One page is stuck to the next."),
        ],
    },
    {
        "name": "HOME_2F", "id": 38, "tileset": "HOUSE", "border": " ",
        "cells": """
########
cb....b>
........
........
...tt...
B.......
F......p
.......p
""",
        "warps": [(7, 1, "HOME_1F", 2)],
        "hidden": [
            (0, 1, "{P} switched the old computer on.|It hums, and shows a slowly growing leaf."),
            (1, 1, "Adventure stories. Every one begins with getting out of bed."),
            (6, 1, "A row of smooth stones, each with a name."),
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
]  # fmt: skip

#: texts that scripts say
TEXTS = {
    "OTTI_ASK": "Oh dear, oh dear. My seed pouch is gone!|I had it on PEBBLE LANE, by the pond. Would you look for it?",
    "OTTI_WAIT": "Not found yet? By the pond, in the north, I am nearly sure.",
    "OTTI_THANKS": "My pouch! And nothing has sprouted yet.|Bless you, {P}.",
    "OTTI_AFTER": "Come by when the tulips are up.",
    "POUCH_FOUND": "{P} found the SEED POUCH!",
    "BAG_FULL": "But the bag is full.",
    "SAVED": "{P} wrote the day down.",
}

SCRIPTS = ["OTTI", "POUCH"]

#: name -> bit in wEventFlags
EVENTS = ["ASKED_BY_OTTI", "GOT_SEED_POUCH", "RETURNED_SEED_POUCH"]

ITEMS = {"SEED_POUCH": (1, "SEED POUCH", 0)}
