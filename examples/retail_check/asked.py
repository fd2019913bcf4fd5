"""Screens and moments that are asked for with a save state: what is expected, from which source, and how it is checked.

Sources are files of pret/pokered.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pokered_rl.emulator import Emulator, load_raw
from pokered_rl.envs import make_env
from pokered_rl.game import MOVES, ScreenKind

from .checks import CheckFailed, Claim
from .prober import MaskTrial, Prober, state_of
from .start import DIRECTIONS

__all__ = ["ASKED", "Asked", "check_asked"]

#: Looks at what a state shows; the last argument is the name for the masks.
_Look = Callable[[Prober, MaskTrial, str], str]

_NOT_IN_PARTY = (0, 255)
_BATTLE_MENUS = (ScreenKind.BATTLE_LEFT, ScreenKind.BATTLE_RIGHT)


@dataclass(frozen=True, kw_only=True)
class Asked(Claim):
    """A screen or moment that the state shows.

    Attributes:
        state: What the state has to show.
        look: Checks it; returns what was seen or raises :class:`CheckFailed`.
    """

    state: str
    look: _Look


def check_asked(name: str, emulator: Emulator, path: Path, masks: MaskTrial) -> tuple[str, None]:
    """Load the state of an entry of ``ASKED`` and check it.

    Args:
        name: Key in ``ASKED``.
        emulator: Is set to the state.
        path: A state of this library or of PyBoy.
        masks: Tries the screens with every button.
    """
    emulator.load_state(load_raw(path, emulator.cartridge))
    return ASKED[name].look(Prober(emulator), masks, name), None


def _expect(holds: bool, what: str) -> None:
    if not holds:
        raise CheckFailed(what)


def _screen(*kinds: ScreenKind, then: tuple[tuple[str, ScreenKind], ...] = (), battle_type: int | None = None) -> _Look:
    """Return a check of a screen of one of ``kinds``; button by button it leads on to those of ``then``."""

    def look(prober: Prober, masks: MaskTrial, name: str) -> str:
        seen = [prober.settle()]
        _expect(seen[0] in kinds, f"{seen[0].name}, text {prober.text()!r}")
        if battle_type is not None:
            _expect(prober.value("wBattleType") == battle_type, f"wBattleType {prober.value('wBattleType')}")
        acts = masks(prober, name)["acts"]
        for button, kind in then:
            seen.append(prober.press(button))
            while seen[-1] is ScreenKind.TEXT_WAITING is not kind and len(seen) < 12:
                seen.append(prober.press("a"))
            _expect(
                seen[-1] is kind, f"{button.upper()} led to {seen[-1].name}, expected {kind.name}; {prober.text()!r}"
            )
            masks(prober, f"{name}, {kind.name}")
        return f"{', '.join(kind.name for kind in seen)}; on the first act {' '.join(acts) or 'no buttons'}"

    return look


def _naming(prober: Prober, masks: MaskTrial, name: str) -> str:
    kind = prober.settle()
    _expect(kind is ScreenKind.NAMING, f"{kind.name}, text {prober.text()!r}")
    masks(prober, name)
    before = prober.text()
    prober.press("a")
    _expect(prober.text() != before, "A added no letter")
    after = prober.press("start")
    _expect(after is not ScreenKind.NAMING, "START did not end the naming screen")
    return f"A added a letter, START led to {after.name}"


def _yes_no(prober: Prober, masks: MaskTrial, name: str) -> str:
    kind = prober.settle()
    _expect(kind is ScreenKind.YES_NO, f"{kind.name}, text {prober.text()!r}")
    masks(prober, name)
    asked, ends = state_of(prober), {}
    for button in ("a", "b"):
        prober.emulator.load_state(asked)
        ends[button] = prober.press(button).name
    return ", ".join(f"{button.upper()} led to {end}" for button, end in ends.items())


def _page(prober: Prober, masks: MaskTrial, name: str) -> str:
    shown = prober.text()
    prober.emulator.tick(120)
    _expect(prober.text() == shown, f"the page does not wait: {shown!r}, then {prober.text()!r}")
    reading = prober.look()
    _expect(not reading.ignored, f"{prober.kind.name} counts as a screen that ignores the buttons")
    acts = masks(prober, name)["acts"]
    _expect(set(acts) == {"A", "B"}, f"{' '.join(acts) or 'no button'} acted")
    return f"{prober.kind.name}; A and B act"


def _trainer(prober: Prober, masks: MaskTrial, name: str) -> str:
    for _ in range(40):
        kind = prober.settle()
        if prober.value("wIsInBattle"):
            break
        prober.press("a")
    _expect(prober.value("wIsInBattle") == 2, f"wIsInBattle {prober.value('wIsInBattle')} after 40 presses of A")
    _expect(kind is ScreenKind.TEXT_WAITING, f"{kind.name}, text {prober.text()!r}")
    masks(prober, name)
    position = prober.value("wEnemyMonPartyPos")
    _expect(position == 0xFF, f"wEnemyMonPartyPos {position:#04x} while the text waits")
    paid = _battle_damage(prober)
    _expect(not any(paid), f"battle_damage paid {paid} for steps without a button")
    prober.press("a")
    prober.back_to(*_BATTLE_MENUS, button="a")
    state = prober.state()
    _expect(0 < state.enemy_hp <= state.enemy_max_hp, f"enemy with {state.enemy_hp} of {state.enemy_max_hp} HP")
    return f"wEnemyMonPartyPos 0xff, battle_damage {paid}; then an enemy of level {state.enemy_level}"


def _battle_damage(prober: Prober) -> list[float]:
    """Return what the reward term pays in four steps without a button."""
    env = make_env(
        prober.emulator.cartridge, actions=("noop", "a"), start_states=state_of(prober), wait_while_busy=False
    )
    paid = []
    try:
        tensordict = env.reset()
        for _ in range(4):
            action = env.full_action_spec.zero()
            action["action"][..., 0] = 1
            tensordict = env.step(tensordict.update(action))["next"]
            paid.append(round(float(tensordict["reward_terms", "battle_damage"]), 3))
    finally:
        env.close()
    return paid


def _species(prober: Prober) -> list[int]:
    return [number for number in prober.state().party_species.tolist() if number not in _NOT_IN_PARTY]


def _evolution(prober: Prober, masks: MaskTrial, name: str) -> str:
    before, state = _species(prober), state_of(prober)
    _expect(prober.value("wIsInBattle") in (1, 2), f"wIsInBattle {prober.value('wIsInBattle')}")
    frames = 0
    while _species(prober) == before and frames < 3000:
        prober.emulator.tick(4)
        frames += 4
    _expect(_species(prober) != before, f"no species changed within 3,000 frames: {before}")
    _expect(prober.value("wIsInBattle") in (1, 2), "the species changed after the battle")
    prober.back_to(ScreenKind.OVERWORLD, button="a", most=60)
    _expect(not prober.value("wIsInBattle"), f"wIsInBattle {prober.value('wIsInBattle')} on the map")
    prober.emulator.load_state(state)
    for _ in range(120):
        prober.emulator.press("b")
        prober.emulator.tick(4)
        prober.emulator.release("b")
        prober.emulator.tick(4)
    _expect(_species(prober) == before, "B did not stop it")
    return f"the species changed {frames} frames after the state, in battle; B stopped it"


def _hall_of_fame(prober: Prober, masks: MaskTrial, name: str) -> str:
    counted = before = prober.value("wNumHoFTeams")
    for _ in range(1500):  # the credits take minutes
        teams = prober.value("wNumHoFTeams")
        if counted and not teams:
            break
        counted = max(counted, teams)
        prober.emulator.press("a")
        prober.emulator.tick(4)
        prober.emulator.release("a")
        prober.emulator.tick(20)
    _expect(counted > 0 and prober.value("wNumHoFTeams") == 0, f"no restart; {counted} teams, text {prober.text()!r}")
    rest = {label: prober.value(label) for label in ("wPartyCount", "wObtainedBadges", "wIsInBattle")}
    _expect(not any(rest.values()), f"work RAM is not clear: {rest}")
    kind = prober.settle(6000)
    _expect(kind is ScreenKind.TITLE, f"{kind.name} after the restart, text {prober.text()!r}")
    return f"{counted} team(s), was {before}; then work RAM is clear, and {kind.name}"


def _riding(mode: int) -> _Look:
    """Return a check of walking on the bicycle (1) or on water (2): at most a tile a press, in the right direction."""

    def look(prober: Prober, masks: MaskTrial, name: str) -> str:
        prober.settle()
        found = prober.value("wWalkBikeSurfState")
        _expect(found == mode, f"wWalkBikeSurfState {found}")
        start, moved = state_of(prober), []
        for direction, (dx, dy, _) in DIRECTIONS.items():
            prober.emulator.load_state(start)
            here = prober.place()
            prober.press(direction)
            there = prober.place()
            if there == here or there[0] != here[0]:
                continue
            step = (there[1] - here[1], there[2] - here[2])
            _expect(step == (dx, dy), f"{direction} moved by {step}")
            moved.append(direction)
        _expect(bool(moved), "no direction moved the player")
        return f"wWalkBikeSurfState {found}; {', '.join(moved)}: one tile each"

    return look


def _spinner(prober: Prober, masks: MaskTrial, name: str) -> str:
    start = state_of(prober)
    for direction in DIRECTIONS:
        prober.emulator.load_state(start)
        prober.kinds.clear()
        here = prober.place()
        kind = prober.press(direction)
        there = prober.place()
        tiles = abs(there[1] - here[1]) + abs(there[2] - here[2])
        if tiles > 1:
            _expect(kind is ScreenKind.OVERWORLD, f"{kind.name} at the end")
            _expect(ScreenKind.SCRIPTED.name in prober.kinds, f"SCRIPTED was not seen: {', '.join(prober.kinds)}")
            return f"{direction}: {tiles} tiles, SCRIPTED until it stopped"
    raise CheckFailed("no direction led onto a spinning tile")


def _helped(helper: str, is_done: Callable[[Prober, Prober, float], bool]) -> _Look:
    """Return a check of a helper.

    Args:
        helper: It is let act until it leaves more than one button.
        is_done: Told the game before and after it, and what ``field_moves`` paid.
    """

    def look(prober: Prober, masks: MaskTrial, name: str) -> str:
        state = state_of(prober)
        weights = {"weights": {"field_moves": 1.0}}
        env = make_env(prober.emulator.cartridge, start_states=state, helpers=[helper], reward=weights)
        pressed: list[str] = []
        paid = 0.0
        try:
            tensordict = env.reset()
            while int(tensordict["action_mask"].sum()) == 1 and len(pressed) < 400:
                tensordict = env.rand_action(tensordict)
                pressed.append(env.base_env.actions.names[int(tensordict["action"])])
                tensordict = env.step(tensordict)["next"]
                paid += float(tensordict["reward_terms", "field_moves"])
            after = env.base_env.save_states()[0]
        finally:
            env.close()
        with Emulator(prober.emulator.cartridge) as emulator:
            emulator.load_state(after)
            end = Prober(emulator)
            last = " ".join(pressed[-12:]) or "none"
            seen = f"{len(pressed)} buttons, the last: {last}; {end.kind.name}, field_moves {paid:g}"
            _expect(bool(pressed) and is_done(prober, end, paid), f"{seen}, text {end.text()!r}")
        return seen

    return look


def _field_moves(prober: Prober) -> int:
    """Return how many of the moves that HMs teach are known to the party."""
    known = set(prober.state().party_moves.flatten().tolist())
    return len(known & {MOVES.id(move) for move in ("CUT", "FLY", "SURF", "STRENGTH", "FLASH")})


#: By name, as ``--state NAME=FILE`` takes it.
ASKED: dict[str, Asked] = {
    "shop": Asked(
        state="the BUY list of a shop",
        expected="LIST; A leads to QUANTITY, A again to YES_NO",
        source="engine/events/pokemart.asm, home/list_menu.asm",
        look=_screen(ScreenKind.LIST, then=(("a", ScreenKind.QUANTITY), ("a", ScreenKind.YES_NO))),
    ),
    "pc": Asked(
        state="the menu of the PC for items or creatures",
        expected="OTHER_MENU",
        source="engine/menus/players_pc.asm, engine/pokemon/bills_pc.asm",
        look=_screen(ScreenKind.OTHER_MENU),
    ),
    "yes_no": Asked(
        state="a YES/NO box",
        expected="YES_NO; A and B both lead on",
        source="home/yes_no.asm, engine/menus/text_box.asm",
        look=_yes_no,
    ),
    "naming": Asked(
        state="the naming screen, cursor on a letter",
        expected="NAMING; A adds a letter, START ends it",
        source="engine/menus/naming_screen.asm",
        look=_naming,
    ),
    "pokedex": Asked(
        state="the list of the Pokédex",
        expected="OTHER_MENU",
        source="engine/menus/pokedex.asm",
        look=_screen(ScreenKind.OTHER_MENU),
    ),
    "pokedex_page": Asked(
        state="the last Pokédex page after a capture",
        expected="a screen that waits; A and B act, no other button",
        source="engine/menus/pokedex.asm (ShowPokedexDataInternal)",
        look=_page,
    ),
    "trainer": Asked(
        state="a trainer's text before a battle",
        expected="wIsInBattle 2 and wEnemyMonPartyPos 0xFF while 'wants to fight' waits; battle_damage pays nothing",
        source="engine/battle/core.asm (InitBattleCommon, EnemySendOutFirstMon)",
        look=_trainer,
    ),
    "evolution": Asked(
        state="the text 'is evolving' after a battle",
        expected="the species changes while wIsInBattle is 1 or 2; B stops it",
        source="engine/pokemon/evos_moves.asm, engine/movie/evolution.asm, engine/battle/end_of_battle.asm",
        look=_evolution,
    ),
    "hall_of_fame": Asked(
        state="the hall of fame, before the team is counted",
        expected="wNumHoFTeams counts, then work RAM is cleared and the title shows",
        source="scripts/HallOfFame.asm, home/init.asm",
        look=_hall_of_fame,
    ),
    "safari": Asked(
        state="the menu of a battle in the Safari Zone",
        expected="BATTLE_LEFT or BATTLE_RIGHT; wBattleType 2",
        source="engine/battle/core.asm (DisplayBattleMenu), engine/battle/safari_zone.asm",
        look=_screen(*_BATTLE_MENUS, battle_type=2),
    ),
    "bicycle": Asked(
        state="on the bicycle, not on Cycling Road",
        expected="wWalkBikeSurfState 1; one tile a press",
        source="home/overworld.asm (DoBikeSpeedup)",
        look=_riding(1),
    ),
    "surfing": Asked(
        state="on the water",
        expected="wWalkBikeSurfState 2; one tile a press",
        source="home/overworld.asm (CollisionCheckOnWater)",
        look=_riding(2),
    ),
    "spinner": Asked(
        state="beside a spinning tile",
        expected="SCRIPTED until the player stops",
        source="engine/overworld/spinners.asm",
        look=_spinner,
    ),
    "slots": Asked(
        state="a slot machine, the wheels turning",
        expected="OTHER_MENU; masked buttons do nothing",
        source="engine/slots/slot_machine.asm",
        look=_screen(ScreenKind.OTHER_MENU),
    ),
    "town_map": Asked(
        state="the town map",
        expected="OTHER_MENU; masked buttons do nothing",
        source="engine/items/town_map.asm (DisplayTownMap)",
        look=_screen(ScreenKind.OTHER_MENU),
    ),
    "fly_map": Asked(
        state="the map that FLY shows",
        expected="OTHER_MENU; masked buttons do nothing",
        source="engine/items/town_map.asm (LoadTownMap_Fly)",
        look=_screen(ScreenKind.OTHER_MENU),
    ),
    "nickname": Asked(
        state="the YES/NO box of the question for a nickname",
        expected="the helper skip_nicknaming answers NO with one button",
        source="engine/menus/naming_screen.asm (AskName)",
        look=_helped("skip_nicknaming", lambda before, after, paid: after.kind is not ScreenKind.NAMING),
    ),
    "full_bag": Asked(
        state="the menu of a PC for items or of a public PC, the bag full",
        expected="the helper deposit_items leaves 15 items in the bag",
        source="engine/menus/players_pc.asm",
        look=_helped("deposit_items", lambda before, after, paid: after.value("wNumBagItems") == 15),
    ),
    "hm": Asked(
        state="the map, an HM (not FLY) in the bag that no member knows and one can learn",
        expected="the helper teach_field_moves teaches it",
        source="engine/items/item_effects.asm (ItemUseTMHM), engine/pokemon/learn_move.asm",
        look=_helped("teach_field_moves", lambda before, after, paid: _field_moves(after) > _field_moves(before)),
    ),
    "field_move": Asked(
        state="the map, facing a tree, water or a boulder, or in the dark, with badge and move",
        expected="the helper use_field_moves uses it, and the reward term field_moves pays 1",
        source="engine/menus/start_sub_menus.asm, engine/overworld/cut.asm",
        look=_helped("use_field_moves", lambda before, after, paid: paid == 1),
    ),
}
