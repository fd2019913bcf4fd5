"""Play Sprout from power-on to the hall of friends, as a list of named steps.

Agents are compared with ``STEPS``: each step ends where its milestone is reached. Battles are repeated until they are
won, and the player trains until the first creature is strong enough.
"""

from __future__ import annotations

import io
from collections.abc import Callable

import creatures
import world
from sprout_player import CUR_MAP, OVERWORLD, TALK, Player, X, Y

TIMES = {(a, d): tenths / 10 for a, d, tenths in creatures.MATCHUPS}
MAPS = {entry["name"]: entry["id"] for entry in world.MAPS}
WORDS = {"LEAF": (9, 2), "FLAME": (17, 2), "WAVE": (9, 6), "STAR": (17, 6)}


def power(player: Player, number: int) -> float:
    """Return the value of a move against the enemy."""
    _, kind, strength, accuracy, _, _ = creatures.MOVES[number]
    own, foe = {player[0xD019], player[0xD01A]}, {player[0xCFEA], player[0xCFEB]}
    worth = strength * accuracy / 100 * (1.5 if kind in own else 1.0)
    for other in foe:
        worth *= TIMES.get((kind, other), 1.0)
    return worth


def event(player: Player, name: str) -> bool:
    return player.event(world.EVENTS.index(name))


def level(player: Player) -> int:
    return player[0xD18C]


class Traveller(Player):
    """A player who fights every battle, or throws nets while ``nets_ready``."""

    nets_ready = False

    def settle(self) -> None:
        super().settle()
        while self.outermost not in OVERWORLD or self[0xD057]:
            if self[0xD057] or self[0xD059]:
                if self.nets_ready:
                    throw(self)
                else:
                    self.fight(power)
            elif self.outermost in (TALK, 0x041A, 0x046E):
                self.through()
            super().settle()

    def through(self) -> str:
        """Press A until the map is back; fight a battle that begins meanwhile."""
        seen = ""
        for _ in range(80):
            waits = self.settle_any()
            if waits == "map":
                return seen
            seen += self.screen_text() + "\n"
            if self[0xD057] or self[0xD059]:
                self.fight(power)
            else:
                self.press("a", 4, 8)
        raise AssertionError(f"the text does not end\n{self.screen_text()}")

    def go(self, *goals: tuple[int, int]) -> None:
        """Walk like ``walk_to``; a lost battle is an error."""
        here = self[CUR_MAP]
        self.walk_to(*goals)
        if self[CUR_MAP] != here:
            raise AssertionError(f"unexpectedly at {self.where}")

    def speak(self, slot: int) -> str:
        self.talk_to(slot)
        return self.through()

    def train(self, goal: int, *grass: tuple[int, int]) -> None:
        """Walk to and fro until the first creature has this level."""
        while level(self) < goal:
            for spot in grass:
                if level(self) >= goal:
                    break
                self.go(spot)

    def healed(self) -> bool:
        return self.big(0xD16C) * 2 > self.big(0xD18D)


def fast_text(player: Traveller) -> None:
    player.press("start")
    player.settle_any()
    book = 1 if event(player, "GOT_BOOK") else 0
    player.choose(4 + book)
    player.wait(lambda: player[0xCC24] == 3, 60)
    player.tick(4)
    player.press("left", 4, 8)
    assert player[0xD355] & 7 == 1
    player.press("b", 4, 8)
    player.settle_any()
    player.press("b", 4, 8)
    player.settle()


def leave_home(player: Traveller) -> None:
    player.begin()
    fast_text(player)
    player.enter((0, 1))
    player.leave("down", (6, 7))


def read_the_stone(player: Traveller) -> None:
    """Read the order of the plates, which is shown once."""
    player.go((16, 14))
    player.look("up")
    seen = player.through()
    player.order = sorted(WORDS, key=seen.index)  # type: ignore[attr-defined]
    assert event(player, "READ_OLD_STONE")


def starter(player: Traveller) -> None:
    player.enter((13, 11))
    player.speak(1)
    player.go((6, 5))  # PUDDLIN
    player.face("up")
    player.press("a", 4, 8)
    player.through()
    assert event(player, "GOT_STARTER")
    assert player[0xD163] == 1
    assert player[0xD164] == 0xB1


def rival_1(player: Traveller) -> None:
    player.go((4, 8))
    player.settle()
    assert event(player, "BATTLED_RIVAL_IN_LAB")
    player.leave("down", (4, 11))


def otti(player: Traveller) -> None:
    player.speak(1)
    assert event(player, "ASKED_BY_OTTI")


def soup(player: Traveller) -> None:
    """Heal at home."""
    player.enter((3, 4))
    player.speak(1)
    player.leave("down", (6, 7))
    assert player.big(0xD16C) == player.big(0xD18D)


def pebble_lane(player: Traveller) -> None:
    player.leave("up", (9, 0))
    assert player[CUR_MAP] == MAPS["PEBBLE_LANE"]


def grow_on_the_lane(player: Traveller, goal: int) -> None:
    while level(player) < goal:
        for spot in ((4, 32), (9, 31)):
            player.walk_to(spot)
            if player[CUR_MAP] == MAPS["MOSSBY"]:  # after a lost battle
                player.leave("up", (9, 0))
            elif not player.healed():
                player.leave("down", (9, 35))
                soup(player)
                player.leave("up", (9, 0))
            if level(player) >= goal:
                break


def pouch(player: Traveller) -> None:
    grow_on_the_lane(player, 13)
    player.speak(1)
    assert event(player, "GOT_SEED_POUCH")
    player.leave("down", (9, 35))
    soup(player)
    player.speak(1)
    assert event(player, "RETURNED_SEED_POUCH")
    player.leave("up", (9, 0))


def tanglewood(player: Traveller) -> None:
    player.enter((17, 3))
    assert player[CUR_MAP] == MAPS["TANGLEWOOD"]


def through_the_wood(player: Traveller) -> None:
    """Go to BRINDLE from anywhere on the way; begin again after a lost battle."""
    for _ in range(8):
        if player[CUR_MAP] == MAPS["MOSSBY"]:
            soup(player)
            player.leave("up", (9, 0))
        if player[CUR_MAP] == MAPS["PEBBLE_LANE"]:
            player.enter((17, 3))
        if player[CUR_MAP] == MAPS["TANGLEWOOD"]:
            player.walk_to((4, 0), (5, 0))
        if player[CUR_MAP] == MAPS["TANGLEWOOD"]:
            player.leave("up", (4, 0), (5, 0))
        if player[CUR_MAP] == MAPS["BRINDLE"]:
            return
    raise AssertionError("the wood is too deep")


def brindle(player: Traveller) -> None:
    through_the_wood(player)
    assert event(player, "REACHED_BRINDLE")


def rest(player: Traveller) -> None:
    player.enter((5, 5))
    player.go((3, 4))
    player.look("up")
    player.through()
    assert player.big(0xD16C) == player.big(0xD18D)
    player.leave("down", (3, 7))


def parcel(player: Traveller) -> None:
    rest(player)
    player.enter((5, 15))
    player.go((2, 4))
    player.look("up")
    player.through()
    assert event(player, "GOT_PARCEL")
    player.leave("down", (3, 7))


def delivered(player: Traveller) -> None:
    player.leave("down", (10, 19), (11, 19))
    player.leave("down", (8, 35), (9, 35))
    player.enter((13, 11))
    player.speak(1)
    assert event(player, "GOT_BOOK")
    player.leave("down", (4, 11))


def lantern(player: Traveller) -> None:
    through_the_wood(player)
    rest(player)
    player.enter((15, 15))
    player.speak(1)
    assert event(player, "GOT_LANTERN")
    player.leave("down", (3, 7))


def shopping(player: Traveller) -> None:
    """Buy six nets."""
    money = bytes(player.memory[0xD347:0xD34A])
    player.enter((5, 15))
    player.go((2, 4))
    player.look("up")
    player.wait(lambda: player.settle_any() == "menu", 10)
    player.choose(0)  # BUY
    player.settle_any()
    player.press("a", 4, 8)  # NET
    player.tick(20)
    for _ in range(5):
        player.press("up", 4, 8)
    assert player[0xCF96] == 6
    player.press("a", 4, 8)
    for _ in range(10):
        player.settle_any()
        player.press("a", 4, 8)
        if player[0xCC24] == 8 and player[0xD12D] == 0:
            break
    for _ in range(40):
        if player.settle_any() == "map":
            break
        player.press("b", 4, 8)
    assert bytes(player.memory[0xD347:0xD34A]) < money
    assert event(player, "BOUGHT_SOMETHING")
    player.leave("down", (3, 7))


def badge_stone(player: Traveller) -> None:
    for _ in range(5):
        rest(player)
        player.enter((16, 5))
        player.walk_to((4, 3))
        if player[CUR_MAP] != MAPS["STONE_HALL"]:
            continue
        if not event(player, "BEAT_LEADER_STONE"):
            player.look("up")
            player.through()
            player.settle()
        if event(player, "GOT_GATE_PASS"):
            assert player[0xD356] & 1
            player.leave("down", (4, 11))
            rest(player)
            return
    raise AssertionError("the leader is too strong")


def in_the_reeds(player: Traveller) -> None:
    """Go to REED PATH, to the healing house first if the creature is weak."""
    if player[CUR_MAP] == MAPS["REED_PATH"] and player.healed():
        return
    if player[CUR_MAP] == MAPS["REED_PATH"]:
        player.leave("left", (0, 6), (0, 7))
    rest(player)
    player.leave("right", (23, 10), (23, 11))


def catch(player: Traveller) -> None:
    """Catch a creature in the reeds."""
    for spot in ((6, 5), (9, 5)) * 30:
        player.nets_ready = False
        if event(player, "CAUGHT_FIRST"):
            return
        in_the_reeds(player)
        player.nets_ready = True
        player.walk_to(spot)
    raise AssertionError("nothing was caught")


def throw(player: Traveller) -> None:
    for _ in range(300):
        waits = player.settle_any()
        if waits == "map":
            return
        if waits == "menu" and player.menu_is(0x21):
            player.press("left", 4, 8)
        elif waits == "menu" and player.menu_is(0x11):
            nets = [player[0xD31E + 2 * i] for i in range(player[0xD31D])]
            if 4 not in nets:
                player.fight(power)
                return
            player.choose(1)
            player.settle_any()
            for _ in range(20):
                if player[0xCC36] + player[0xCC26] == nets.index(4):
                    break
                player.press("down", 4, 8)
            player.press("a", 4, 8)
        elif waits == "menu" and (player.menu_is(0xC7) or player.menu_is(0x03, 8, 15)):
            player.press("b", 4, 8)  # no nickname
        else:
            player.press("a", 4, 8)


def rival_2(player: Traveller) -> None:
    while level(player) < 18:
        for spot in ((6, 5), (9, 4)):
            in_the_reeds(player)
            player.walk_to(spot)
    for _ in range(5):
        if player[CUR_MAP] == MAPS["REED_PATH"]:
            player.leave("left", (0, 6), (0, 7))
        in_the_reeds(player)
        player.walk_to((15, 8))
        player.settle()
        if event(player, "BEAT_RIVAL_PATH"):
            return
    raise AssertionError("the rival is too strong")


def gate(player: Traveller) -> None:
    player.leave("left", (0, 6), (0, 7))
    in_the_reeds(player)
    player.enter((15, 7))
    player.go((3, 3))
    player.look("right")
    player.through()
    assert event(player, "SHOWED_GATE_PASS")
    player.leave("down", (7, 5))


def from_the_cave_and_back(player: Traveller) -> None:
    """Go from the far side of the gate to the healing house and back."""
    player.enter((18, 7))
    player.leave("down", (2, 5))
    player.leave("left", (0, 6), (0, 7))
    rest(player)
    player.leave("right", (23, 10), (23, 11))
    player.enter((15, 7))
    player.leave("down", (7, 5))


def to_the_cave(player: Traveller) -> None:
    """Enter the cave in good health, from anywhere on the way."""
    for _ in range(10):
        if player[CUR_MAP] == MAPS["BRINDLE"]:
            rest(player)
            player.leave("right", (23, 10), (23, 11))
        if player[CUR_MAP] == MAPS["REED_PATH"] and player[X] < 16:
            player.enter((15, 7))
            player.leave("down", (7, 5))
        if player[CUR_MAP] == MAPS["REED_PATH"]:
            player.walk_to((25, 2))
        if player[CUR_MAP] == MAPS["REED_PATH"]:
            if player.healed():
                player.enter((25, 1))
                return
            from_the_cave_and_back(player)
    raise AssertionError("the way to the cave is too long")


def cave(player: Traveller) -> None:
    to_the_cave(player)
    assert event(player, "BEAT_HIKER_PATH")
    assert player[CUR_MAP] == MAPS["CAVE_1F"]
    assert player[0xD35D] == 0  # the LANTERN lights the cave


def plates(player: Traveller) -> None:
    for _ in range(6):
        if player[CUR_MAP] in (MAPS["BRINDLE"], MAPS["REED_PATH"]):
            to_the_cave(player)
        player.enter((9, 4))
        for word in player.order:  # type: ignore[attr-defined]
            for spot in (WORDS[word], (13, 5)):
                if player[CUR_MAP] == MAPS["CAVE_B1F"]:
                    player.walk_to(spot)
                    player.settle()
        if event(player, "SOLVED_PLATES"):
            return
    raise AssertionError("the plates do not open")


def highmere(player: Traveller) -> None:
    for _ in range(6):
        if player[CUR_MAP] in (MAPS["BRINDLE"], MAPS["REED_PATH"]):
            to_the_cave(player)
        if player[CUR_MAP] == MAPS["CAVE_1F"] and player[X] < 13:
            player.enter((9, 4))
        if player[CUR_MAP] == MAPS["CAVE_B1F"]:
            player.enter((17, 14))
        if player[CUR_MAP] == MAPS["CAVE_1F"] and player[X] > 13:
            player.walk_to((17, 15))
        if player[CUR_MAP] == MAPS["CAVE_1F"] and player[X] > 13:
            player.leave("down", (17, 15))
        if player[CUR_MAP] == MAPS["HIGHMERE"]:
            return
    raise AssertionError("the cave is too deep")


def rest_above(player: Traveller) -> None:
    player.enter((8, 11))
    player.go((3, 4))
    player.look("up")
    player.through()
    player.leave("down", (3, 7))


def badge_tide(player: Traveller) -> None:
    while level(player) < 26:
        for spot in ((15, 1), (17, 10)):
            if player[CUR_MAP] == MAPS["CAVE_1F"] and not player.healed():
                player.leave("down", (17, 15))
            if player[CUR_MAP] == MAPS["HIGHMERE"]:
                rest_above(player)
                player.enter((2, 1))
            player.walk_to(spot)
    if player[CUR_MAP] == MAPS["CAVE_1F"]:
        player.leave("down", (17, 15))
    for _ in range(5):
        rest_above(player)
        player.enter((16, 11))
        player.walk_to((4, 3), (3, 2), (5, 2))
        if player[CUR_MAP] != MAPS["TIDE_HALL"]:
            continue
        player.speak(1)
        player.settle()
        if player[0xD356] & 2:
            player.leave("down", (4, 11))
            return
    raise AssertionError("the leader is too strong")


def champion(player: Traveller) -> None:
    rest_above(player)
    player.speak(1)
    assert event(player, "SUMMIT_OPEN")
    for _ in range(8):  # a lost battle ends in the healing house
        player.enter((12, 4))
        player.walk_to((5, 3))
        player.settle()
        if event(player, "BEAT_CHAMPION"):
            return
    raise AssertionError("the champion is too strong")


def hall_of_fame(player: Traveller) -> None:
    """The machine saves and restarts the game; A leads through the title to CONTINUE."""
    player.enter((5, 1))
    player.go((3, 2))
    player.look("up")
    player.through()
    player.settle()
    assert player[0xD5A2] == 1
    assert player[CUR_MAP] == MAPS["HOME_1F"]


STEPS: list[tuple[str, Callable[[Traveller], None]]] = [
    ("leave_home", leave_home), ("old_stone", read_the_stone), ("starter", starter), ("rival_1", rival_1),
    ("otti", otti),
    ("pebble_lane", pebble_lane), ("pouch", pouch), ("tanglewood", tanglewood), ("brindle", brindle),
    ("parcel", parcel),
    ("parcel_delivered", delivered), ("lantern", lantern), ("shopping", shopping), ("badge_stone", badge_stone),
    ("catch", catch), ("rival_2", rival_2), ("gate", gate), ("cave", cave), ("plates", plates), ("highmere", highmere),
    ("badge_tide", badge_tide), ("champion", champion), ("hall_of_fame", hall_of_fame),
]  # fmt: skip


def play(player: Traveller, last: str = "hall_of_fame") -> dict[str, int]:
    """Play up to a step; return the frames at the end of each."""
    reached = {}
    for name, step in STEPS:
        step(player)
        reached[name] = player.frames
        if name == last:
            break
    return reached


def grass_state() -> bytes:
    """Return a PyBoy state of a player with one creature in the tall grass of the first lane."""
    with Traveller() as player:
        play(player, "pebble_lane")
        player.go((4, 32))
        state = io.BytesIO()
        player.pyboy.save_state(state)
    return state.getvalue()


__all__ = ["STEPS", "Traveller", "X", "Y", "grass_state", "play"]
