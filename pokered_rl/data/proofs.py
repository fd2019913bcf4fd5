"""Make proofs from the logs of runs, and verify proofs of strangers."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from pokered_rl.data.verification import MilestoneFinder
from pokered_rl.emulator import PYBOY_VERSION, ActionSet, Cartridge, Emulator, SaveState
from pokered_rl.emulator.boot import boot
from pokered_rl.emulator.pool import WAIT_CHUNK_FRAMES
from pokered_rl.episodes import EpisodeLog, EpisodePlayer, ReachedMilestone, cartridge_for
from pokered_rl.episodes.header import Acted
from pokered_rl.episodes.proof import Leg, Proof
from pokered_rl.errors import EpisodeLogError
from pokered_rl.game.screens import BusyRule

__all__ = ["VerifiedProof", "make_proof", "verify_proof"]

_BOOT_HOLD_FRAMES = 4
_BOOT_ACTIONS = ("noop", "a", "b", "select", "start", "right", "left", "up", "down")


@dataclass(frozen=True, kw_only=True)
class VerifiedProof:
    """What a proof proves: everything here was computed from the replay, but for what the author says of the legs."""

    proof: Proof
    #: Milestones with the steps and the emulator frames from power-on, in order.
    milestones: tuple[tuple[ReachedMilestone, int], ...]
    #: Steps of each kind of player, by the author's word; ``unknown`` where nothing is said.
    acted: Mapping[str, int]

    @property
    def furthest(self) -> str:
        """The milestone of the story that was reached last."""
        return next((each.name for each, _ in reversed(self.milestones) if not each.name.startswith("map:")), "")

    @property
    def policy_share(self) -> float:
        """Share of the steps that a policy chose."""
        by_policy = sum(steps for who, steps in self.acted.items() if who.partition(":")[0] == "policy")
        return by_policy / max(1, sum(self.acted.values()))

    @property
    def helpers(self) -> tuple[str, ...]:
        """What made the game easier than a controller in a hand; what is in quotes is the author's word."""
        found = []
        if any(leg.wait_rule == "busy" for leg in self.proof.legs):
            found.append("waits while the game ignores input")
        free = sum(leg.steps for leg in self.proof.legs if leg.wait_rule == "free")
        if free:
            found.append(f"free timing in {free} steps")
        if len(self.proof.legs) > 1:
            found.append(f"saved and loaded {len(self.proof.legs) - 1} times")
        said = {str(leg.claims["helpers"]) for leg in self.proof.legs if leg.claims.get("helpers")}
        return (*found, *(f'"{each}"' for each in sorted(said)))


def verify_proof(
    proof: Proof, *, cartridge: Cartridge, on_progress: Callable[[int], None] | None = None
) -> VerifiedProof:
    """Play a proof from power-on and compare the RAM after every step, the waiting frames and the milestone.

    Args:
        proof: The proof.
        cartridge: The verifier's own.
        on_progress: Called with the number of steps played, now and then.

    Raises:
        EpisodeLogError: The proof is of another cartridge, or the replay departs from it; the message says where.
    """
    if proof.cartridge_sha1 != cartridge.sha1:
        raise EpisodeLogError(
            f"{proof.name}: played on {proof.cartridge_title} (SHA-1 {proof.cartridge_sha1}); {cartridge.path} is "
            f"{cartridge.title} (SHA-1 {cartridge.sha1})"
        )
    if proof.chain_start() != proof.chain[0]:
        raise EpisodeLogError(f"{proof.name}: its claims are not those that it was made with")
    milestones, _ = _play(proof, cartridge, check=True, on_progress=on_progress)
    proved = next((each for each, _ in milestones if each.name == proof.milestone), None)
    if proved is None or proved.step != proof.steps:
        when = "not reached" if proved is None else f"reached at step {proved.step}"
        raise EpisodeLogError(f"{proof.name}: {proof.milestone} was {when}, it says at step {proof.steps}")
    return VerifiedProof(proof=proof, milestones=milestones, acted=_acted(proof))


def make_proof(
    logs: Iterable[EpisodeLog],
    milestone: str,
    *,
    cartridge: Cartridge | None = None,
    claims: Callable[[EpisodeLog], Mapping[str, Any]] | None = None,
) -> Proof:
    """Chain logs from power-on to a milestone, by the way with the fewest steps.

    A log continues another one where it begins in a state that the other captured, or in which the other ended. The
    first one begins in the state to which the game boots; the presses of the boot are part of the proof.

    Args:
        logs: Of one run or of several.
        milestone: Its name.
        cartridge: The cartridge that was played; found by default.
        claims: Says more about a log, such as the helpers that were on.

    Raises:
        EpisodeLogError: No log reaches the milestone, no chain leads from power-on to one that does, or a replay is
            not what was logged.
    """
    logs = list(logs)
    reaching = [log for log in logs if any(each.name == milestone for each in log.milestones)]
    if not reaching:
        known = sorted({each.name for log in logs for each in log.milestones})
        raise EpisodeLogError(
            f"none of {len(logs)} logs reaches {milestone!r}; reached were {', '.join(known) or 'no milestones'}"
        )
    cartridge = cartridge if cartridge is not None else cartridge_for(reaching[0])
    logs = [log for log in logs if log.header.cartridge_sha1 == cartridge.sha1]
    boot_leg = _boot(cartridge)
    chain = _shortest_chain(logs, milestone, boot_leg.state)
    legs, actions, waits = [boot_leg.leg], [boot_leg.actions], [boot_leg.waits]
    for number, (log, steps) in enumerate(chain):
        legs.append(_leg_of(log, steps, dict(claims(log)) if claims is not None else {}))
        actions.append(log.actions[:steps])
        waits.append(log.wait_frames[:steps])
        with EpisodePlayer(log, cartridge=cartridge, screen="half") as player:
            player.play_to(steps)  # the log is what was played, up to where it is used
            reached = player.emulator.ram_hash()
        if number + 1 < len(chain) and chain[number + 1][0].ram_hashes.get(0) != reached:
            raise EpisodeLogError(
                f"{log.name}: its step {steps} does not lead to the start of {chain[number + 1][0].name}, whose RAM is "
                "another"
            )
    played, waited = np.concatenate(actions), np.concatenate(waits)
    lengths = np.repeat([leg.frames_per_action for leg in legs], [leg.steps for leg in legs])
    proof = Proof(
        cartridge_sha1=cartridge.sha1,
        cartridge_title=cartridge.title,
        pyboy_version=PYBOY_VERSION,
        milestone=milestone,
        steps=len(played),
        frames=int(lengths.sum() + waited.sum(dtype=np.int64)),
        legs=tuple(legs),
        actions=played.astype(np.uint8),
        wait_frames=waited.astype(np.uint16),
        chain=np.zeros(len(played) + 1, np.uint32),
    )
    _, values = _play(proof, cartridge, check=False)
    proof = replace(proof, chain=np.array(values, np.uint32))
    verify_proof(proof, cartridge=cartridge)
    return proof


def _play(
    proof: Proof, cartridge: Cartridge, *, check: bool, on_progress: Callable[[int], None] | None = None
) -> tuple[tuple[tuple[ReachedMilestone, int], ...], list[int]]:
    """Play all legs in one console; return the milestones with their frames, and the chain."""
    finder = MilestoneFinder(cartridge.profile)
    is_busy = BusyRule(stack_words=cartridge.profile.stack_words)
    milestones: list[tuple[ReachedMilestone, int]] = []
    values = [proof.chain_start()]
    step = frame = 0
    with Emulator(cartridge) as emulator:
        for number, leg in enumerate(proof.legs):
            if number:  # as the author did: a state was saved and loaded between two legs
                emulator.load_state(emulator.save_state())
            buttons = ActionSet(leg.actions).button_indices
            for _ in range(leg.steps):
                action, waited = int(proof.actions[step]), int(proof.wait_frames[step])
                right_wait = _play_step(emulator, leg, buttons[action], waited, is_busy)
                step += 1
                frame += leg.frames_per_action + waited
                ram = emulator.ram()
                values.append(proof.chain_step(values[-1], action, waited, ram))
                if check and (values[-1] != proof.chain[step] or not right_wait):
                    what = "the RAM is not that of the proof" if right_wait else "it waited otherwise than its rule"
                    raise EpisodeLogError(
                        f"{proof.name}: it departs at step {step} of {proof.steps} (leg {number}): {what}"
                    )
                known = len(finder.found)
                finder.show_from_power_on(emulator.ram(finder.LAYOUT), step)
                milestones += [(each, frame) for each in finder.found[known:]]
                if on_progress is not None and step % 1000 == 0:
                    on_progress(step)
    return tuple(milestones), values


def _play_step(emulator: Emulator, leg: Leg, button: int, waited: int, is_busy: BusyRule) -> bool:
    """Play a step; return whether its wait is what the rule of the leg says."""
    if button >= 0:
        emulator.press(button)
    emulator.tick(leg.hold_frames)
    if button >= 0:
        emulator.release(button)
    rest = leg.frames_per_action - leg.hold_frames
    if leg.wait_rule != "busy":
        emulator.tick(rest + waited)
        return leg.wait_rule == "free" or waited == 0
    if rest < 1:
        return False  # the rule looks one frame before the end
    emulator.tick(rest - 1)
    done, right = 0, True
    while True:
        goes_on = done < leg.max_wait_frames and is_busy(emulator.memory)
        right = right and goes_on == (done < waited)
        if done >= waited:
            break
        chunk = min(WAIT_CHUNK_FRAMES, waited - done)
        emulator.tick(chunk)
        done += chunk
    emulator.tick(1)
    return right


@dataclass(frozen=True, kw_only=True)
class _Boot:
    leg: Leg
    actions: np.ndarray[Any, np.dtype[np.uint8]]
    waits: np.ndarray[Any, np.dtype[np.uint16]]
    state: SaveState


class _Watched(Emulator):
    """Notes what is pressed since power-on, without what a loaded state has undone."""

    def __init__(self, cartridge: Cartridge) -> None:
        super().__init__(cartridge)
        self.frame = 0
        self.presses: list[tuple[int, str]] = []
        self._saved = (0, 0)

    def reset(self) -> None:
        super().reset()
        self.frame, self._saved = 0, (0, 0)
        self.presses.clear()

    def tick(self, frames: int = 1, render: bool = False) -> None:
        super().tick(frames, render)
        self.frame += frames

    def press(self, button: int | str) -> None:
        super().press(button)
        self.presses.append((self.frame, str(button)))

    def save_state(self) -> SaveState:
        self._saved = (self.frame, len(self.presses))
        return super().save_state()

    def load_state(self, state: SaveState) -> None:
        super().load_state(state)
        self.frame, kept = self._saved
        del self.presses[kept:]


def _boot(cartridge: Cartridge) -> _Boot:
    """Boot the game and return what was pressed as a leg of steps of four frames and free waits."""
    emulator = _Watched(cartridge)
    with emulator:
        state = boot(emulator)
        presses, end = emulator.presses, emulator.frame
    hold = _BOOT_HOLD_FRAMES
    times = [0, *(frame for frame, _ in presses), end]
    lengths = np.diff(times)
    if lengths.min() < hold:
        raise EpisodeLogError(
            f"the boot of {cartridge.title} presses a button every {lengths.min()} frames, not {hold}"
        )
    names = ["noop", *(name for _, name in presses)]
    leg = Leg(
        steps=len(names),
        actions=_BOOT_ACTIONS,
        frames_per_action=hold,
        hold_frames=hold,
        wait_rule="free",
        max_wait_frames=int(lengths.max()),
        acted=(Acted(0, "script"),),
        claims={"part": "boot"},
    )
    actions = np.array([_BOOT_ACTIONS.index(name) for name in names], np.uint8)
    return _Boot(leg=leg, actions=actions, waits=(lengths - hold).astype(np.uint16), state=state)


def _leg_of(log: EpisodeLog, steps: int, claims: dict[str, Any]) -> Leg:
    header = log.header
    said: dict[str, Any] = {
        "run": header.run_name,
        "run_id": header.run_id,
        "job": header.job,
        "weights_version": header.weights_version,
        "weights_sha256": header.weights_sha256,
        "config_sha256": header.config_sha256,
        "epsilon": header.epsilon,
        "log": log.path.name if log.path is not None else "",
    }
    return Leg(
        steps=steps,
        actions=header.actions,
        frames_per_action=header.frames_per_action,
        hold_frames=header.hold_frames,
        wait_rule="busy" if header.wait_while_busy else "none",
        max_wait_frames=header.max_wait_frames,
        acted=tuple(each for each in log.acted if each.step < steps),
        claims=said | claims,
    )


def _shortest_chain(logs: Sequence[EpisodeLog], milestone: str, start: SaveState) -> list[tuple[EpisodeLog, int]]:
    """Return the logs of a chain from the booted state to a milestone, each with the steps of it that are used."""
    beginning: dict[str, list[int]] = {}  # start state or RAM hash -> logs that begin there
    for index, log in enumerate(logs):
        beginning.setdefault(log.header.start_state_sha256, []).append(index)
        if 0 in log.ram_hashes:
            beginning.setdefault(log.ram_hashes[0], []).append(index)
    best: dict[int, int] = {index: 0 for index in beginning.get(start.sha256, ())}
    before: dict[int, tuple[int, int]] = {}
    waiting = [(0, index) for index in best]
    while waiting:
        cost, index = heapq.heappop(waiting)
        if cost > best[index]:
            continue
        log = logs[index]
        joints = [(each.step, each.sha256) for each in log.captured]
        joints += [(step, found) for step, found in log.ram_hashes.items() if step == log.steps]
        for step, state in joints:
            for following in beginning.get(state, ()):
                if cost + step < best.get(following, cost + step + 1) and following != index:
                    best[following], before[following] = cost + step, (index, step)
                    heapq.heappush(waiting, (cost + step, following))
    ends = [
        (best[index] + each.step, index, each.step)
        for index, log in enumerate(logs)
        if index in best
        for each in log.milestones
        if each.name == milestone
    ]
    if not ends:
        lost = [log for log in logs if any(each.name == milestone for each in log.milestones)]
        raise EpisodeLogError(
            f"no chain of logs leads from power-on to {milestone!r}: {len(lost)} logs reach it, the first, "
            f"{lost[0].name}, begins in the state {lost[0].header.start_state_sha256[:16]}, to which no log leads that "
            "was given; name the run that captured it, too"
        )
    _, index, steps = min(ends)
    chain = [(logs[index], steps)]
    while index in before:
        index, steps = before[index]
        if steps:
            chain.append((logs[index], steps))
    return chain[::-1]


def _acted(proof: Proof) -> dict[str, int]:
    steps: dict[str, int] = {}
    for leg in proof.legs:
        marks = [*leg.acted] if leg.acted and leg.acted[0].step == 0 else [Acted(0, "unknown"), *leg.acted]
        for mark, until in zip(marks, [*(each.step for each in marks[1:]), leg.steps], strict=True):
            steps[mark.who] = steps.get(mark.who, 0) + until - mark.step
    return steps
