"""Proofs: what an honest author makes verifies, what a forger makes does not."""

import json
import random
from dataclasses import replace

import numpy as np
import pytest
import torch

from pokered_rl.data.proofs import VerifiedProof, make_proof, verify_proof
from pokered_rl.emulator import Emulator
from pokered_rl.envs import make_env
from pokered_rl.episodes import EpisodeLog, find_logs
from pokered_rl.episodes.container import pack_container, unpack_container
from pokered_rl.episodes.header import Acted
from pokered_rl.episodes.proof import _MAGIC, Leg, Proof
from pokered_rl.errors import EpisodeLogError

GOAL = "map:HOME_1F"


def _record(folder, sprout, start, actions, *, capture_at=None, **recorder):
    """Play actions on one emulator; return its log and the state that was captured after ``capture_at`` steps."""
    recorder = {"folder": folder, "job": 1, "acting": "random", **recorder}
    env = make_env(sprout, start_states=start, recorder=recorder, max_episode_steps=1000)
    td, state = env.reset(), None
    for step, action in enumerate(actions, 1):
        td = env.step(td.set("action", torch.tensor([action])))["next"]
        if step == capture_at:
            state = env.base_env.capture(0)
    env.close()
    return max((EpisodeLog.load(path) for path in find_logs([folder])), key=lambda log: log.end_unix_seconds), state


@pytest.fixture(scope="module")
def way(sprout, start, tmp_path_factory):
    """Actions from the bed down the stairs: those of the first random episode that comes there."""
    folder = tmp_path_factory.mktemp("search")
    for seed in range(1, 30):
        torch.manual_seed(seed)
        env = make_env(sprout, start_states=start, num_emulators=8, max_episode_steps=150, recorder={"folder": folder})
        env.rollout(150)
        env.close()
        for log in map(EpisodeLog.load, find_logs([folder])):
            for milestone in log.milestones:
                if milestone.name == GOAL:
                    return log.actions[: milestone.step].tolist()
    raise AssertionError("no random episode comes down the stairs")


@pytest.fixture(scope="module")
def logs(sprout, start, way, tmp_path_factory):
    """A chain of two logs: the second begins where the first, which goes on elsewhere, was captured."""
    folder, middle = tmp_path_factory.mktemp("chain"), len(way) // 2
    first, state = _record(folder / "a", sprout, start, [*way[:middle], 1, 2, 3], capture_at=middle)
    second, _ = _record(folder / "b", sprout, state, [*way[middle:], 1, 1])
    return [second, first]


@pytest.fixture(scope="module")
def proof(logs, sprout):
    return make_proof(logs, GOAL, cartridge=sprout)


def verified(proof, sprout):
    return verify_proof(Proof.from_bytes(proof.to_bytes()), cartridge=sprout)


def test_proof_chains_the_boot_and_both_logs(proof, logs, sprout, way):
    found = verified(proof, sprout)
    boot, first, second = proof.legs
    assert (boot.wait_rule, first.wait_rule) == ("free", "busy")
    assert first.steps + second.steps == len(way)
    assert first.steps == logs[1].captured[0].step == len(way) // 2
    assert proof.actions[boot.steps :].tolist() == way
    assert found.acted == {"script": boot.steps, "random": len(way)}
    assert [each.name for each, _ in found.milestones] == [GOAL]
    assert found.milestones[0][1] == proof.frames
    assert found.policy_share == 0


def test_weights_that_are_not_those_of_the_header_are_a_policy_too(proof):
    found = VerifiedProof(proof=proof, milestones=(), acted={"policy": 3, "policy:0123456789ab": 1, "person": 4})
    assert found.policy_share == 0.5


def test_state_that_no_log_led_to_begins_no_chain(logs):
    with pytest.raises(EpisodeLogError, match="to which no log leads"):
        make_proof(logs[:1], GOAL)
    with pytest.raises(EpisodeLogError, match="none of 2 logs reaches 'hall_of_fame'"):
        make_proof(logs, "hall_of_fame")


def test_captured_state_that_is_not_that_of_its_log_makes_no_proof(logs, sprout):
    # A forger says that the second log's start state was captured at another step of the first.
    second, first = logs
    forged = replace(first, captured=(first.captured[0]._replace(step=first.captured[0].step - 3),), chain=None)
    with pytest.raises(EpisodeLogError, match="does not lead to the start"):
        make_proof([second, forged], GOAL, cartridge=sprout)


def test_segments_of_an_endless_episode_are_a_chain(sprout, start, way, tmp_path):
    _record(tmp_path, sprout, start, [*way, 1], segment_steps=len(way) // 3)
    segments = [EpisodeLog.load(path) for path in find_logs([tmp_path])]
    assert len(segments) >= 3
    found = verified(make_proof(segments, GOAL, cartridge=sprout), sprout)
    assert sum(leg.steps for leg in found.proof.legs[1:]) == len(way)


def _forgeries(proof, generator, count):
    """Yield (what, forged proof); the files are whole and their checksums right."""
    boot = proof.legs[0].steps
    for number in range(count):
        step = generator.randrange(proof.steps)
        leg = generator.randrange(len(proof.legs))
        kind = ("exchange", "drop", "add", "wait", "swap", "claim", "leg", "cut", "chain", "timing")[number % 10]
        actions, waits, chain, legs = proof.actions.copy(), proof.wait_frames.copy(), proof.chain.copy(), proof.legs
        changes = {}
        if kind == "exchange":
            actions[step] = (actions[step] + generator.randrange(1, 8)) % 8
        elif kind in ("drop", "add"):
            legs = list(legs)
            position = boot + generator.randrange(legs[1].steps - 1)
            sign = -1 if kind == "drop" else 1
            legs[1] = replace(legs[1], steps=legs[1].steps + sign)
            if kind == "drop":
                actions, waits = np.delete(actions, position), np.delete(waits, position)
                chain = np.delete(chain, position + 1)
            else:
                actions = np.insert(actions, position, generator.randrange(8))
                waits = np.insert(waits, position, 0)
                chain = np.insert(chain, position + 1, generator.getrandbits(32))
            changes = {"legs": tuple(legs), "steps": len(actions)}
        elif kind == "wait":
            waits[step] = (int(waits[step]) + generator.randrange(1, 60)) % 200
        elif kind == "swap":
            actions[[boot, -1]] = actions[[-1, boot]]
            actions[step] = (actions[step] + 1) % 8
        elif kind == "claim":
            field, value = generator.choice(
                [
                    ("milestone", f"map:FORGED_{number}"),
                    ("pyboy_version", f"9.{number}"),
                    ("cartridge_title", f"POKEMON {number}"),
                    ("cartridge_sha1", f"{number:040x}"),
                ]
            )
            changes = {field: value}
        elif kind == "leg":
            other = generator.choice(
                [
                    {"claims": {"run": f"champion {number}"}},
                    {"acted": (Acted(0, "policy"),)},
                    {"max_wait_frames": 65_535 - number},
                ]
            )
            legs = [replace(each, **other) if index == leg else each for index, each in enumerate(legs)]
            changes = {"legs": tuple(legs)}
        elif kind == "cut":  # the first leg of play is left out: a start state that no log led to
            taken = boot + legs[1].steps
            actions, waits = np.delete(actions, np.s_[boot:taken]), np.delete(waits, np.s_[boot:taken])
            chain = np.delete(chain, np.s_[boot + 1 : taken + 1])
            changes = {"legs": (legs[0], *legs[2:]), "steps": len(actions), "milestone": f"{GOAL}{number or ''}"}
        elif kind == "chain":
            chain[step] ^= 1 << generator.randrange(32)
        else:
            hold = generator.randrange(1, 24)
            other = {"hold_frames": hold} if hold != 8 else {"frames_per_action": 25}
            legs = (legs[0], *(replace(each, **other) for each in legs[1:]))
            changes = {"legs": legs}
        legs = changes.get("legs", proof.legs)
        lengths = np.repeat([each.frames_per_action for each in legs], [each.steps for each in legs])
        fields = {"frames": int(lengths.sum() + waits.sum(dtype=np.int64)), **changes}
        arrays = {"actions": actions.astype(np.uint8), "wait_frames": waits, "chain": chain.astype(np.uint32)}
        try:
            forged = replace(proof, **arrays, **fields)
        except EpisodeLogError:
            continue  # not even a file
        same = all(np.array_equal(getattr(forged, name), getattr(proof, name)) for name in arrays)
        if same and forged.meta() == proof.meta():
            continue
        yield kind, forged


@pytest.mark.timeout(1800)  # one replay each, a tenth of a second of a core: on a busy machine many times that
@pytest.mark.parametrize("count", [50, pytest.param(600, marks=pytest.mark.long)])
def test_no_forgery_is_verified(proof, sprout, count):
    tried, passed = {}, []
    for kind, forged in _forgeries(proof, random.Random(0), count):
        files = [forged]
        if forged.chain[0] != forged.chain_start():  # else the header is as it was, and both were the same file
            chain = forged.chain.copy()  # the forger knows the format: the chain begins as it must
            chain[0] = forged.chain_start()
            files.append(replace(forged, chain=chain))
        # Where only the chain's beginning was forged, who corrects it has the honest file again.
        files = [each for each in files if each.to_bytes() != proof.to_bytes()]
        tried[kind] = tried.get(kind, 0) + len(files)
        for each in files:
            try:
                verified(each, sprout)
            except EpisodeLogError:
                continue
            passed.append((kind, each is forged))
    assert passed == []
    # Half of the kinds change the header, too, and are two files each; some are refused before they are a file.
    assert sum(tried.values()) >= 1.2 * count
    assert set(tried) == {"exchange", "drop", "add", "wait", "swap", "claim", "leg", "cut", "chain", "timing"}


def rechained(proof, sprout):
    """Return a proof with the chain of what it really plays: what a forger with an emulator can make."""
    from pokered_rl.data.proofs import _play

    _, values = _play(proof, sprout, check=False)
    return replace(proof, chain=np.array(values, np.uint32))


@pytest.mark.parametrize(
    "change",
    [
        lambda proof: {"milestone": "hall_of_fame"},
        lambda proof: {"actions": np.concatenate([proof.actions[:-4], [2, 2, 2, 2]]).astype(np.uint8)},
        lambda proof: {"wait_frames": np.where(np.arange(proof.steps) == proof.steps - 5, 40, proof.wait_frames)},
        lambda proof: {"legs": (proof.legs[0], *(replace(leg, max_wait_frames=900) for leg in proof.legs[1:]))},
    ],
)
def test_forger_with_an_emulator_proves_only_what_was_played(proof, sprout, change):
    changes = change(proof)
    if "wait_frames" in changes:
        waits = changes["wait_frames"] = changes["wait_frames"].astype(np.uint16)
        changes["frames"] = proof.frames + int(waits.sum()) - int(proof.wait_frames.sum())
    forged = rechained(replace(proof, **changes), sprout)
    if "legs" in changes:  # a longer limit that no wait came to is what was played, and says so
        assert verified(forged, sprout).proof.legs[1].max_wait_frames == 900
        return
    with pytest.raises(EpisodeLogError):
        verified(forged, sprout)


def test_damage_is_refused_with_a_line(proof):
    data = proof.to_bytes()
    for position in range(0, len(data), 7):
        with pytest.raises(EpisodeLogError):
            Proof.from_bytes(data[:position])
        with pytest.raises(EpisodeLogError):
            Proof.from_bytes(data[:position] + bytes([data[position] ^ 0x55]) + data[position + 1 :])


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("steps", -1),
        ("steps", 10**12),
        ("steps", "many"),
        ("frames", 1),
        ("legs", []),
        ("legs", {}),
        ("legs", [1]),
        ("legs", [[]] * 20_000),
        ("milestone", None),
    ],
)
def test_wrong_field_is_refused(proof, field, value):
    sections = unpack_container(proof.to_bytes(), name="x", magic=_MAGIC, versions=(1,))
    meta = json.loads(sections["META"]) | {field: value}
    packed = pack_container(sections | {"META": json.dumps(meta).encode()}, version=1, magic=_MAGIC)
    with pytest.raises(EpisodeLogError):
        Proof.from_bytes(packed)


def test_other_writer_needs_no_logs(sprout, start):
    """A proof from nothing but presses: the format is enough."""
    leg = {"steps": 3, "actions": ("noop", "a"), "frames_per_action": 24, "hold_frames": 8}
    with Emulator(sprout):
        made = Leg(**leg, wait_rule="none", max_wait_frames=0)
    fields = {"cartridge_sha1": sprout.sha1, "cartridge_title": sprout.title, "pyboy_version": "any", "milestone": GOAL}
    arrays = {"actions": np.array([0, 1, 0], np.uint8), "wait_frames": np.zeros(3, np.uint16)}
    proof = Proof(**fields, **arrays, steps=3, frames=72, legs=(made,), chain=np.zeros(4, np.uint32))
    with pytest.raises(EpisodeLogError, match=f"{GOAL} was not reached"):
        verified(rechained(proof, sprout), sprout)
