"""What `verify_log` calls verified is what was played: every change of a log is found, or the word says less."""

import random
from dataclasses import fields, replace

import numpy as np
import pytest
import torch

from pokered_rl.data import verify_log
from pokered_rl.emulator import Emulator
from pokered_rl.envs import make_env
from pokered_rl.envs.factory import default_transforms
from pokered_rl.episodes import EpisodeHeader, EpisodeLog, Outcome, ReachedMilestone, find_logs, load_start_state
from pokered_rl.episodes.log import chain_start, chain_step
from pokered_rl.errors import EpisodeLogError

STEPS = 60


@pytest.fixture(scope="module")
def log(sprout, start, tmp_path_factory):
    """An episode of 60 random steps with rewards and milestones, its start state embedded."""
    folder = tmp_path_factory.mktemp("run") / "episode_logs"
    recorder = {"folder": folder, "job": 1, "acting": "random", "ram_hash_every_steps": 20}
    env = make_env(sprout, start_states=start, num_emulators=2, max_episode_steps=STEPS, recorder=recorder, seed=0)
    torch.manual_seed(4)
    env.rollout(STEPS)
    env.close()
    read = EpisodeLog.load(find_logs([folder])[0])
    return replace(read.with_start_state(load_start_state(read)), path=None)


def check(log, sprout):
    """Return the word for a log that went through its file."""
    return verify_log(EpisodeLog.from_bytes(log.to_bytes()), cartridge=sprout, transforms=default_transforms).word


def rechained(log, sprout):
    """Return the log with the chain that belongs to its present content, as a forger with an emulator would make it."""
    values = [chain_start(log.header, log.ram_hashes[0])]
    with Emulator(sprout) as emulator:
        emulator.load_state(log.start_state)
        buttons = dict(enumerate(log.header.actions))
        for action, waited in zip(log.actions.tolist(), log.wait_frames.tolist(), strict=True):
            name = buttons[action]
            if name != "noop":
                emulator.press(name)
            emulator.tick(log.header.hold_frames)
            if name != "noop":
                emulator.release(name)
            emulator.tick(log.header.frames_per_action - log.header.hold_frames + waited)
            values.append(chain_step(values[-1], action, waited, emulator.ram(log.header.chain_layout)))
    hashes = {step: found for step, found in log.ram_hashes.items() if step != log.steps}
    log = replace(log, ram_hashes=hashes | {log.steps: log.ram_hashes[log.steps]})
    return replace(log, chain=np.array([*values, log.chain_end(values[-1])], np.uint32))


def changed(array, position, value):
    array = array.copy()
    array[position] = value
    return array


def test_log_of_a_run_is_verified(log, sprout):
    found = verify_log(log, cartridge=sprout, transforms=default_transforms)
    assert (found.word, found.steps, found.hashes_equal) == ("verified", STEPS, 4)  # at 0, 20, 40 and 60
    assert found.milestones == log.milestones
    assert rechained(log, sprout).chain.tolist() == log.chain.tolist()


def test_without_the_run_s_reward_the_word_says_less(log, sprout):
    found = verify_log(log, cartridge=sprout)
    assert found.word == "RAM equal"
    assert list(found.not_compared) == ["rewards"]


@pytest.mark.parametrize("step", range(0, STEPS, 4))
def test_exchanged_action_is_found_at_its_step(log, sprout, step):
    other = (int(log.actions[step]) + 1) % len(log.header.actions)
    with pytest.raises(EpisodeLogError, match=f"at step {step + 1} of {STEPS}"):
        check(replace(log, actions=changed(log.actions, step, other)), sprout)


@pytest.mark.parametrize(
    "change",
    [
        lambda log: {"wait_frames": changed(log.wait_frames, 30, int(log.wait_frames[30]) + 4)},
        lambda log: {"rewards": changed(log.rewards, 7, log.rewards[7] + 1)},
        lambda log: {"term_rewards": changed(log.term_rewards, (7, 0), 5.0)},
        lambda log: {"outcome": Outcome.TERMINATED},
        lambda log: {"outcome": Outcome.SHUTDOWN},
        lambda log: {"milestones": (*log.milestones, ReachedMilestone(STEPS, "hall_of_fame"))},
        lambda log: {"milestones": log.milestones[1:] or (ReachedMilestone(1, "map:PALLET_TOWN"),)},
        lambda log: {"ram_hashes": {key: value for key, value in log.ram_hashes.items() if key != 20}},
        lambda log: {"ram_hashes": log.ram_hashes | {20: log.ram_hashes[40]}},
        lambda log: {"end_unix_seconds": log.end_unix_seconds + 3600},
        lambda log: {"acted": ()},
        lambda log: {"chain": changed(log.chain, 30, int(log.chain[30]) ^ 1)},
    ],
)
def test_any_other_change_is_found(log, sprout, change):
    with pytest.raises(EpisodeLogError):
        check(replace(log, **change(log)), sprout)


_OTHER = {int: lambda value: value + 1, str: lambda value: value + "x", bool: lambda value: not value}


@pytest.mark.parametrize("field", [field.name for field in fields(EpisodeHeader)])
def test_changed_header_is_found(log, sprout, field):
    value = getattr(log.header, field)
    if isinstance(value, tuple):
        other = (*value[:-2], *value[:2]) if field == "chain_ranges" else (*value, *(value[:1] or ("more",)))
    elif isinstance(value, dict):
        other = {**value, "more": 1}
    elif field in ("start_state_sha256", "cartridge_sha1"):
        other = value[::-1]
    else:
        other = {None: 0.5, 24: 25}.get(value) or _OTHER.get(type(value), lambda value: value + 1)(value)
    with pytest.raises(EpisodeLogError):
        check(replace(log, header=replace(log.header, **{field: other})), sprout)


@pytest.mark.parametrize(
    "change",
    [
        lambda log: {"rewards": changed(log.rewards, 7, log.rewards[7] + 1)},
        lambda log: {"outcome": Outcome.TERMINATED},
        lambda log: {"milestones": (ReachedMilestone(STEPS, "hall_of_fame"),)},
        lambda log: {"wait_frames": changed(log.wait_frames, 30, int(log.wait_frames[30]) + 4)},
        lambda log: {"header": replace(log.header, ram_hash_every_steps=10)},
        lambda log: {"header": replace(log.header, max_episode_steps=STEPS + 1)},
        lambda log: {"header": replace(log.header, milestone_rule="mine")},
        lambda log: {"chain": None},
    ],
)
def test_forger_who_makes_the_chain_anew_is_not_called_verified(log, sprout, change):
    forged = replace(log, **change(log))
    if forged.chain is not None:
        forged = rechained(forged, sprout)
    try:
        word = check(forged, sprout)
    except EpisodeLogError:
        return
    assert word == "RAM equal"


def test_more_waiting_than_the_header_allows_is_refused_before_it_is_played(log):
    waits = changed(log.wait_frames, 3, log.header.max_wait_frames + 1)
    with pytest.raises(EpisodeLogError, match="at most 240 are possible"):
        replace(log, wait_frames=waits)


def test_episode_that_began_with_memories_says_that_its_rewards_were_not_compared(log, sprout):
    later = rechained(replace(log, header=replace(log.header, carried_memory=True)), sprout)
    found = verify_log(later, cartridge=sprout, transforms=default_transforms)
    assert found.not_compared == {"rewards": "they depend on what was remembered of earlier steps"}


@pytest.mark.long
def test_two_thousand_mutations_with_right_checksums_and_none_is_verified(log, sprout):
    random.seed(0)
    verified = []
    for number in range(2000):
        step = random.randrange(STEPS)
        kind = random.choice(["action", "wait", "reward", "term", "hash", "drop", "milestone", "swap", "cut", "header"])
        try:
            if kind == "action":
                mutant = replace(
                    log, actions=changed(log.actions, step, (log.actions[step] + random.randrange(1, 8)) % 8)
                )
            elif kind == "wait":
                mutant = replace(log, wait_frames=changed(log.wait_frames, step, random.randrange(241)))
            elif kind == "reward":
                mutant = replace(log, rewards=changed(log.rewards, step, random.gauss(0, 1)))
            elif kind == "term":
                column = random.randrange(log.term_rewards.shape[1])
                mutant = replace(log, term_rewards=changed(log.term_rewards, (step, column), random.gauss(0, 1)))
            elif kind == "hash":
                at = random.choice(list(log.ram_hashes))
                mutant = replace(log, ram_hashes=log.ram_hashes | {at: random.randbytes(32).hex()})
            elif kind == "drop":
                at = random.choice([each for each in log.ram_hashes if each != STEPS])
                mutant = replace(log, ram_hashes={key: one for key, one in log.ram_hashes.items() if key != at})
            elif kind == "milestone":
                mutant = replace(log, milestones=(*log.milestones, ReachedMilestone(step, f"forged {number}")))
            elif kind == "swap":
                actions = log.actions.copy()
                actions[[step, -1]] = actions[[-1, step]]
                mutant = replace(log, actions=actions)
            elif kind == "cut":
                arrays = {
                    name: getattr(log, name)[1:] for name in ("actions", "wait_frames", "rewards", "term_rewards")
                }
                hashes = {key: one for key, one in log.ram_hashes.items() if key < STEPS} | {59: log.final_ram_hash}
                mutant = replace(log, **arrays, ram_hashes=hashes, milestones=(), chain=log.chain[1:])
            else:
                name = random.choice(
                    ["worker", "emulator", "global_step", "episode", "job", "history_steps", "attempt"]
                )
                mutant = replace(log, header=replace(log.header, **{name: random.randrange(2, 1000)}))
            if mutant.to_bytes() != log.to_bytes() and check(mutant, sprout) == "verified":
                verified.append((kind, step))
        except EpisodeLogError:
            continue
    assert verified == []
