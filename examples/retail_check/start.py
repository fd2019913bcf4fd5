"""Check the cartridge, the start, the decoder and walking."""

from collections import deque
from typing import Any

import torch

from pokered_rl.emulator import Cartridge, Emulator, SaveState, boot, press_effects
from pokered_rl.game import FULL_LAYOUT, GameState, ScreenKind
from pokered_rl.game.state_fields import MAX_COINS, MAX_MONEY

from .checks import CheckFailed
from .prober import Prober

#: Direction -> step and facing.
DIRECTIONS = {"down": (0, 1, 0), "up": (0, -1, 1), "left": (-1, 0, 2), "right": (1, 0, 3)}
#: What a new game of the retail cartridges begins with (pret/pokered: special_warps.asm, oak_speech.asm).
_RETAIL_START = {"map_id": 38, "x": 3, "y": 6, "party_count": 0, "money": 3000, "badge_bits": 0, "pokedex_owned": 0}

Place = tuple[int, int, int]


def check_rom(path: str | None) -> tuple[str, Cartridge]:
    """Identify the cartridge."""
    cartridge = Cartridge.find(path)
    return f"{cartridge.kind}: title {cartridge.title!r}, SHA-1 {cartridge.sha1}, {cartridge.size:,} bytes", cartridge


def check_boot(emulator: Emulator) -> tuple[str, SaveState]:
    """Boot to the playable start."""
    first = emulator.frame_count
    state = boot(emulator)
    frames = emulator.frame_count - first
    prober = Prober(emulator)
    now = prober.state()
    name = _map_name(emulator.cartridge, int(now.map_id))
    detail = f"{frames:,} frames to {name} ({now.map_id}) at ({now.x}, {now.y}), return {prober.outermost():04X}"
    if emulator.cartridge.kind in ("red", "blue"):
        other = {key: int(getattr(now, key)) for key, value in _RETAIL_START.items() if getattr(now, key) != value}
        if other:
            raise CheckFailed(f"{detail}; a new game has {_RETAIL_START}, found {other}")
    return detail, state


def check_decoder(emulator: Emulator, start: SaveState) -> tuple[str, None]:
    """Check that the decoded numbers are possible and that the clock runs."""
    emulator.load_state(start)
    prober = Prober(emulator)
    before = prober.state()
    faults = decoder_faults(prober.ram, before)
    emulator.tick(600)
    clock = _clock(prober.state()) - _clock(before)
    if not 595 <= clock <= 605:
        faults.append(f"the game's clock made {clock} frames in 600")
    if faults:
        raise CheckFailed("; ".join(faults))
    return (
        f"party {before.party_count}, money {before.money}, bag {before.bag_count}, "
        f"{int(before.event_flags.sum())} events set, clock {clock} frames in 600",
        None,
    )


def decoder_faults(ram: torch.Tensor, state: GameState) -> list[str]:
    """Return what is impossible in a decoded state."""
    faults = []

    def expect(holds: Any, what: str) -> None:
        if not bool(holds):
            faults.append(what)

    def read(label: str) -> Any:
        return FULL_LAYOUT.read(ram, label)

    width, height = int(read("wCurMapWidth")), int(read("wCurMapHeight"))
    expect(
        (state.width_steps, state.height_steps) == (2 * width, 2 * height),
        f"the map has {width} x {height} blocks but {state.width_steps} x {state.height_steps} steps",
    )
    expect(state.x < state.width_steps, f"x {state.x} on a map of {state.width_steps} steps")
    expect(state.y < state.height_steps, f"y {state.y} on a map of {state.height_steps} steps")
    facing = int(read("wSpritePlayerStateData1FacingDirection"))
    expect(facing in (0, 4, 8, 12), f"facing {facing}")
    expect(state.money <= MAX_MONEY and state.coins <= MAX_COINS, f"money {state.money}, coins {state.coins}")
    count = int(read("wPartyCount"))
    species = read("wPartySpecies").tolist()
    expect(count <= 6 and species[min(count, 6)] == 255, f"{count} in the party, species list {species}")
    expect(species[:count] == state.party_species[:count].tolist(), f"species list {species}, records differ")
    for slot in range(min(count, 6)):
        # Current HP can be anything in states that somebody's program has written to.
        most = int(state.party_max_hp[slot])
        expect(1 <= most <= 999, f"party slot {slot} has {most} HP at most")
        expect(1 <= state.party_level[slot] <= 100, f"party slot {slot} has level {state.party_level[slot]}")
    items = int(read("wNumBagItems"))
    bag = read("wBagItems").tolist()
    expect(items <= 20 and (items == 20 or bag[2 * items] == 255), f"{items} items in the bag, no end mark")
    expect(state.pokedex_owned <= state.pokedex_seen, f"{state.pokedex_owned} owned, {state.pokedex_seen} seen")
    return faults


def check_walk(emulator: Emulator, start: SaveState, *, presses: int) -> tuple[str, None]:
    """Walk by trying directions, nearest untried first, until another map is reached or every tile is known."""
    emulator.load_state(start)
    prober = Prober(emulator)
    walker = _Walker(prober)
    walker.explore(presses)
    if not walker.steps:
        walker.faults.append("no direction moved the player")
    walker.faults += decoder_faults(prober.ram, prober.state())
    if walker.faults:
        raise CheckFailed("; ".join(walker.faults))
    reached = _map_name(emulator.cartridge, prober.place()[0])
    return (
        f"{walker.steps} steps of {walker.frames[0]} to {walker.frames[1]} frames, {walker.blocked} bumps, "
        f"{len(walker.known)} tiles, now on {reached}; screens {', '.join(prober.kinds)}",
        None,
    )


class _Walker:
    """Explores a map by trying every direction on every tile."""

    def __init__(self, prober: Prober) -> None:
        self._prober = prober
        self.known: dict[Place, dict[str, Place]] = {}
        self.steps = self.blocked = 0
        self.frames = (999, 0)
        self.faults: list[str] = []
        self._tried_while_walking = False

    def explore(self, presses: int) -> None:
        """Continue until the map changes, nothing is left to try, or ``presses`` are used up."""
        first_map = self._prober.place()[0]
        for _ in range(presses):
            here = self._prober.place()
            direction = self._next(here)
            if here[0] != first_map or direction is None:
                return
            self._step(here, direction)
            if self._prober.settle() is not ScreenKind.OVERWORLD:
                if self._prober.value("wIsInBattle"):
                    return
                self._prober.back_to(ScreenKind.OVERWORLD)

    def _next(self, here: Place) -> str | None:
        """Return the first step of the shortest known way to a tile with an untried direction."""
        queue: deque[tuple[Place, str | None]] = deque([(here, None)])
        seen = {here}
        while queue:
            place, first = queue.popleft()
            ways = self.known.setdefault(place, {})
            for direction in DIRECTIONS:
                if direction not in ways:
                    return first or direction
                if ways[direction] not in seen:
                    seen.add(ways[direction])
                    queue.append((ways[direction], first or direction))
        return None

    def _step(self, here: Place, direction: str) -> None:
        prober, emulator = self._prober, self._prober.emulator
        emulator.press(direction)
        began = ended = 0
        for frame in range(1, 33):
            if frame == 9:
                emulator.release(direction)
            emulator.tick(1)
            if frame % 2:
                continue  # the game itself moves every second frame
            reading = prober.look()
            if reading.kind == ScreenKind.WALKING:
                began = began or frame
                if not reading.ignored:
                    self.faults.append("input counts while a step is walked")
                if not self._tried_while_walking and frame > 9:
                    self._try_while_walking()
            elif began and not ended:
                ended = frame
        prober.settle()
        there = prober.place()
        self.known[here][direction] = there
        facing = int(prober.state().facing)
        dx, dy, expected = DIRECTIONS[direction]
        if there[0] != here[0]:
            return  # on another map coordinates begin anew
        if facing != expected:
            self.faults.append(f"{direction} at {here} made the player face {facing}, not {expected}")
        if there == here:
            self.blocked += 1
            return
        self.steps += 1
        if there != (here[0], here[1] + dx, here[2] + dy):
            # Ledges, spinners and scripts carry further; only the ordinary step has to be told apart from them.
            if ScreenKind.SCRIPTED.name not in prober.kinds:
                self.faults.append(f"{direction} led from {here} to {there}")
            return
        if not began:
            self.faults.append(f"no WALKING was seen while the player went {direction} from {here}")
        elif ended:
            length = ended - began
            self.frames = (min(self.frames[0], length), max(self.frames[1], length))

    def _try_while_walking(self) -> None:
        """Try every button in the middle of a step."""
        self._tried_while_walking = True
        emulator = self._prober.emulator
        effects = press_effects(emulator, hold_frames=2, frames=4)
        if effects.any():
            self.faults.append("a button acted in the middle of a step")


def check_repeats(emulator: Emulator, start: SaveState) -> tuple[str, None]:
    """Check that the same buttons from the same state give the same memory."""
    hashes = set()
    for _ in range(2):
        emulator.load_state(start)
        for button in ("down", "left", "a", "up", "start", "down", "a", "b", "b", "right") * 3:
            emulator.press(button)
            emulator.tick(8)
            emulator.release(button)
            emulator.tick(16)
        hashes.add(emulator.ram_hash())
    if len(hashes) > 1:
        raise CheckFailed("30 presses from one state gave two different memories")
    return f"30 presses from one state, twice: RAM SHA-256 {hashes.pop()[:16]}...", None


def _clock(state: GameState) -> int:
    return 60 * int(state.play_time_seconds) + int(state.play_time_frames)


def _map_name(cartridge: Cartridge, map_id: int) -> str:
    maps = cartridge.profile.maps
    return str(maps[map_id].name) if map_id in maps else "a map without a name"
